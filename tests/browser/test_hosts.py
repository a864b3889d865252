"""The same views in the other hosts: Notebook 7, Voilà, and a trusted notebook that nobody has run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from tests.browser.conftest import Lab, Notebook, free_port

VIEW = """
import nbtools as nb, ipywidgets
strip = nb.views.token_strip(["The", " cat", "<img src=x onerror=alert(1)>"], [0.1, 0.5, 0.9])
grid = nb.views.head_grid([[0.1, 0.5], [0.2, 0.4], [0.3, 0.6]])
attention = nb.views.attention([[[[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]] * 2] * 3)
nb.views.link(grid, attention)
said = ipywidgets.Label("nothing")
grid.observe(lambda change: setattr(said, "value", f"said {change['new']}"), "selected")
ipywidgets.VBox([strip, grid, attention, said])
"""


def click_head(page, layer: int, head: int) -> None:
    grid = page.locator("canvas[aria-roledescription='grid of heads']").first
    grid.click(position={"x": 28 + 26 * head + 13, "y": 18 + 26 * layer + 13})


def check(page) -> None:
    """Use the views as a person does; the answer comes from Python."""
    page.locator("canvas[aria-roledescription='attention matrix']").wait_for()
    assert page.locator(".nb-token").nth(2).inner_text() == "<img·src=x·onerror=alert(1)>"
    assert page.locator(".nb img").count() == 0
    click_head(page, 2, 1)
    page.get_by_text("said ['2.1']").wait_for()
    page.wait_for_selector("[data-head='2.1'][aria-checked=true]")


def test_the_views_live_in_notebook_7(browser, chromium, tmp_path):
    server = Lab(tmp_path, application="notebook")
    page = browser.new_page()
    page.set_default_timeout(60_000)
    try:
        notebook = Notebook(page, server, server.write("test.ipynb", VIEW))
        notebook.run_all()
        check(page)
        assert ast.literal_eval(notebook.add("print(grid.selected)").strip()) == ["2.1"]
    finally:
        page.close()
        server.stop()


@pytest.fixture
def voila(tmp_path):
    """A Voilà server that shows one notebook."""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(VIEW)]), tmp_path / "test.ipynb")
    port = free_port()
    command = [sys.executable, "-m", "voila", "test.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / ".config"), "HF_HUB_OFFLINE": "1"}
    with (tmp_path / "voila.log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            answered(f"http://127.0.0.1:{port}/voila/static/voila.js", process, tmp_path / "voila.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def answered(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("the server did not answer within two minutes")


def test_the_views_live_in_voila_and_fetch_nothing_from_elsewhere(browser, voila):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    elsewhere = []
    page.on("request", lambda request: elsewhere.append(request.url) if foreign(request.url) else None)
    page.goto(voila)
    check(page)
    page.close()
    assert elsewhere == []


def foreign(url: str) -> bool:
    """Whether something is asked of another machine; Voilà's own template wants its icons from one."""
    return url.startswith("http") and not url.startswith("http://127.0.0.1") and "fortawesome" not in url


def test_a_trusted_notebook_that_nobody_has_run_is_alive(open_notebook, lab):
    """What the series stores: no live widget, but a page that its script brings to life."""
    lab.write("trusted.ipynb", VIEW)
    run = subprocess.run([sys.executable, "-c", STORE], cwd=lab.folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    environment = {**os.environ, "JUPYTER_DATA_DIR": str(lab.folder / ".data")}
    command = [sys.executable, "-m", "jupyter", "trust", "trusted.ipynb"]
    subprocess.run(command, cwd=lab.folder, env=environment, check=True, capture_output=True)
    page = open_notebook(name="trusted.ipynb").page
    page.locator(".nb canvas").first.wait_for()
    click_head(page, 1, 1)
    assert page.locator("[data-nb] img").count() == 0
    assert page.get_by_text("Error displaying widget").count() == 0


STORE = """
import nbformat
import nbtools as nb
view = nb.views.head_grid([[0.1, 0.5], [0.2, 0.4]])
data = {name: value for name, value in view._repr_mimebundle_()[0].items() if name in ("text/plain", "text/html")}
notebook = nbformat.read("trusted.ipynb", 4)
notebook.cells[0].execution_count = 1
notebook.cells[0].outputs = [nbformat.v4.new_output("execute_result", data=data, execution_count=1)]
nbformat.write(notebook, "trusted.ipynb")
"""
