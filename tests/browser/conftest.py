"""A real JupyterLab in a real Chromium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from nbtools.cli import quiet_lab
from tests.conftest import need

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = find_chromium()
    need(found, "Chromium: install Debian's package chromium, or set CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


class Lab:
    """A Jupyter server on the loopback address, with notebooks in a folder of its own: JupyterLab, or Notebook 7."""

    def __init__(self, folder: Path, *, application: str = "jupyterlab") -> None:
        self.folder, self.token, self.port = folder, secrets.token_hex(16), free_port()
        self.place = {"jupyterlab": "lab/tree", "notebook": "notebooks"}[application]
        command = [
            *(sys.executable, "-m", application, "--no-browser", "--expose-app-in-browser", "--allow-root"),
            *(f"--ServerApp.port={self.port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={folder}"),
        ]
        settings = {"JUPYTER_CONFIG_DIR": str(folder / ".config"), "JUPYTER_DATA_DIR": str(folder / ".data")}
        settings |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".lab"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".lab")}
        self.log = (folder / "lab.log").open("w")
        environment = {**os.environ, **quiet_lab(), **settings, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended:\n{(self.folder / 'lab.log').read_text()}")
            try:
                if self.get("api/status"):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("JupyterLab did not answer within two minutes")

    def get(self, path: str) -> object:
        return json.loads(self._ask("GET", path))

    def end(self, whose: Callable[[str], bool]) -> None:
        """End the kernels of the notebooks of these names."""
        for session in self.get("api/sessions"):
            if whose(session["path"]):
                self._ask("DELETE", f"api/sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> bytes:
        address, headers = f"http://127.0.0.1:{self.port}/{path}", {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(address, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def url(self, notebook: str) -> str:
        return f"http://127.0.0.1:{self.port}/{self.place}/{notebook}?token={self.token}&reset"

    def write(self, name: str, *cells: str) -> str:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.folder / name)
        return name

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


class Notebook:
    """A notebook open in the browser, driven as a user drives it."""

    def __init__(self, page, lab: Lab, name: str) -> None:
        self.page = page
        page.goto(lab.url(name))
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length", timeout=90_000)
        page.wait_for_function(f"{SESSION}.session?.kernel?.status === 'idle'", timeout=90_000)

    def run_all(self, *, timeout: float = 180) -> None:
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(DONE, timeout=timeout * 1000)

    def run_cell(self, index: int, *, timeout: float = 120, wait: bool = True) -> None:
        self.page.evaluate(f"{CONTENT}.activeCellIndex = {index}")
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
        if wait:
            self.page.wait_for_function(
                f"{CONTENT}.widgets[{index}].model.executionState === 'idle'", timeout=timeout * 1000
            )

    def add(self, code: str, *, timeout: float = 120) -> str:
        """Run a new cell at the end and give what it printed or returned."""
        self.page.evaluate(
            f"""code => {{
                const notebook = {CONTENT};
                notebook.activeCellIndex = notebook.widgets.length - 1;
                window.jupyterapp.commands.execute('notebook:insert-cell-below').then(() => {{
                    notebook.activeCell.model.sharedModel.setSource(code);
                    return window.jupyterapp.commands.execute('notebook:run-cell');
                }});
            }}""",
            code,
        )
        last = f"{CONTENT}.widgets[{CONTENT}.widgets.length - 1].model"
        self.page.wait_for_function(
            f"code => {last}.sharedModel.source === code && {last}.executionState === 'idle' && {last}.executionCount",
            arg=code,
            timeout=timeout * 1000,
        )
        return self.text(-1)

    def text(self, index: int) -> str:
        """Give what a cell printed, returned or raised."""
        return self.page.evaluate(f"index => ({TEXTS})({CONTENT}.widgets.at(index).model.outputs.toJSON())", index)


TEXTS = """outputs => outputs.map(
    output => output.text ?? output.data?.['text/plain'] ?? output.traceback?.join('\\n') ?? ''
).flat().join('')"""
CONTENT = "window.jupyterapp.shell.currentWidget.content"
SESSION = "window.jupyterapp.shell.currentWidget.context.sessionContext"
DONE = f"""{CONTENT}.widgets.filter(cell => cell.model.type === 'code' && cell.model.sharedModel.source)
    .every(cell => cell.model.executionCount && cell.model.executionState === 'idle')"""


@pytest.fixture
def new_page(browser) -> Iterator[Callable]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    yield context.new_page
    context.close()


@pytest.fixture
def open_notebook(new_page, lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Open notebooks, each on a kernel of its own."""

    def open_one(*cells: str, name: str = "test.ipynb") -> Notebook:
        if cells:
            lab.write(name, *cells)
        return Notebook(new_page(), lab, name)

    yield open_one
    lab.end(lambda name: name != WARM)


WARM = "warm.ipynb"
TIDY = """
from ipywidgets import Widget
Widget.close_all()
get_ipython().displayhook.flush()
%reset_selective -f ^(?!(nb|model)$)
"""


@pytest.fixture
def open_warm(request: pytest.FixtureRequest, new_page, lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook on a kernel that tests share: it keeps `nb` and `model`, and nothing else of a test.

    A test has a page of its own. Where one fails, its kernel ends with it, and the next begins with a new one.
    """
    opened, failed, tidy = [], request.session.testsfailed, False

    def open_one(*cells: str) -> Notebook:
        opened.append(Notebook(new_page(), lab, lab.write(WARM, *cells)))
        return opened[-1]

    yield open_one
    try:
        if request.session.testsfailed == failed:
            assert [notebook.add(TIDY) for notebook in opened] == [""] * len(opened)
            tidy = True
    finally:
        if not tidy:
            lab.end(lambda name: name == WARM)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
