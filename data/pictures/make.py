"""Take the pictures of the README in a real JupyterLab: ``make pictures``."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from playwright.sync_api import sync_playwright  # noqa: E402

from tests.browser.conftest import CHROMIUM_FLAGS, Lab, Notebook, find_chromium  # noqa: E402

SETUP = "import nbtools as nb\nnb.setup(seed=0)\nmodel = nb.load()"
EXPLORER = """
text = "Anna met Tom. Later that day, Anna called Tom. Then Anna wrote to"
explorer = nb.explorers.attention(model, text, head="17.3")
explorer.query = 13
explorer
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, ExitStack() as stack:
        lab = Lab(Path(folder))
        stack.callback(lab.stop)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 900}, device_scale_factor=1.5)
        notebook = Notebook(page, lab, lab.write("picture.ipynb", SETUP, EXPLORER))
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        notebook.run_all()
        page.locator(".nb-grid canvas").first.wait_for()
        page.wait_for_timeout(500)
        page.locator(".jp-OutputArea-output").last.screenshot(path=HERE / "explorer.png")
        browser.close()


if __name__ == "__main__":
    main()
