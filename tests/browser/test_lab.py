"""The first notebook and the attention explorer in a real JupyterLab, driven as a person drives them."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "screenshots"

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

LOADED = """
import nbtools as nb
nb.setup(seed=0)
model = globals().get("model") or nb.load()
"""
EXPLORER = """
explorer = nb.explorers.attention(model, "The Eiffel Tower is in the city of", head="18.6")
explorer
"""


@pytest.fixture(scope="module", autouse=True)
def _model() -> None:
    from nbtools.models import embedded

    need(embedded.status().present, "the embedded model: run `nbtools fetch` once")


def shot(notebook, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    notebook.page.screenshot(path=SHOTS / f"{name}.png")


def value(notebook, expression: str):
    """Evaluate an expression in the kernel."""
    return ast.literal_eval(notebook.add(f"print(repr(({expression})))").strip().splitlines()[-1])


def grid_canvas(notebook):
    return notebook.page.locator(".nb-grid canvas[role=application]").first


def click_head(notebook, layer: int, head: int, **options) -> None:
    """Click the middle of a cell; the geometry is the view's own."""
    canvas = grid_canvas(notebook)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    cell = (box["width"] - 30) / 9
    canvas.click(position={"x": 28 + (head + 0.5) * cell, "y": 18 + (layer + 0.5) * cell}, **options)


def pixels(locator) -> str:
    return locator.evaluate("canvas => canvas.toDataURL()")


def fresh(notebook) -> bool:
    """Whether what the explorer shows is what a new run gives for its own text."""
    return value(
        notebook,
        "(lambda fresh: bool((fresh.pattern == explorer.result.pattern).all()) and fresh.expected == "
        "explorer.result.expected)(__import__('importlib').import_module('nbtools.explorers.attention')"
        ".explore(model, explorer.result.text, 18))",
    )


@pytest.fixture
def explorer(open_warm):
    notebook = open_warm(LOADED, EXPLORER)
    notebook.run_all()
    grid_canvas(notebook).wait_for()
    return notebook


def test_the_first_notebook_runs_from_top_to_bottom_and_draws_its_views(open_notebook, lab):
    shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", lab.folder / "00_start_here.ipynb")
    notebook = open_notebook(name="00_start_here.ipynb")
    notebook.run_all(timeout=300)
    errors = notebook.page.evaluate(
        """window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === 'code')
            .flatMap(cell => cell.model.outputs.toJSON()).filter(output => output.output_type === 'error')"""
    )
    assert errors == []
    notebook.page.locator(".nb canvas").first.wait_for()
    assert notebook.page.get_by_text("Error displaying widget").count() == 0
    assert notebook.page.get_by_text("Jupyter news").count() == 0
    notebook.page.locator(".nb-grid").first.scroll_into_view_if_needed()
    shot(notebook, "start_here")


def test_typing_a_prompt_runs_the_model_and_changes_picture_and_python(explorer):
    page = explorer.page
    picture = pixels(page.locator("canvas[aria-roledescription='attention matrix']"))
    box = page.locator(".widget-text input")
    box.fill("")
    box.type("The Colosseum is in the city of", delay=15)
    page.wait_for_function(
        "[...document.querySelectorAll('.widget-label')].some(e => e.textContent.startsWith('next: ·Rome'))"
    )
    assert value(explorer, "explorer.result.text") == "The Colosseum is in the city of"
    assert "·Col" in page.locator(".nb-tokens").inner_text()
    assert pixels(page.locator("canvas[aria-roledescription='attention matrix']")) != picture
    assert fresh(explorer)
    shot(explorer, "explorer_light")


def test_clicking_a_head_changes_picture_and_python_and_back(explorer):
    page = explorer.page
    picture = pixels(page.locator("canvas[aria-roledescription='attention matrix']"))
    click_head(explorer, 3, 2)
    page.wait_for_selector("[data-head='3.2'][aria-checked=true]")
    assert value(explorer, "explorer.head, explorer.grid.selected, explorer.map.head") == ("3.2", ["3.2"], "3.2")
    assert pixels(page.locator("canvas[aria-roledescription='attention matrix']")) != picture
    page.locator("[data-head='3.7']").click()
    page.wait_for_selector("[data-head='3.7'][aria-checked=true]")
    assert value(explorer, "explorer.head, explorer.grid.selected") == ("3.7", ["3.7"])
    explorer.add("explorer.head = '20.4'")
    page.wait_for_selector("[data-head='20.4'][aria-checked=true]")


def test_pinning_a_token_in_the_strip_pins_the_query_in_the_matrix(explorer):
    page = explorer.page
    page.locator(".nb-token").nth(3).click()
    page.wait_for_selector(".nb-token:nth-child(4)[aria-selected=true]")
    assert value(explorer, "explorer.query, explorer.map.query") == (3, 3)
    page.locator(".nb-token").nth(3).press("Escape")
    page.wait_for_selector(".nb-token:nth-child(4)[aria-selected=false]")
    assert value(explorer, "explorer.query") is None


def test_the_keyboard_alone_moves_picks_and_releases(explorer):
    page = explorer.page
    grid_canvas(explorer).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("[data-head='2.1'][aria-checked=true]")
    assert value(explorer, "explorer.head") == "2.1"
    page.locator("canvas[aria-roledescription='attention matrix']").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("document.querySelectorAll('.nb-token')[2].getAttribute('aria-selected') === 'true'")
    assert value(explorer, "explorer.query") == 2


def test_a_bad_prompt_is_explained_on_the_page_and_loses_nothing(explorer):
    box = explorer.page.locator(".widget-text input")
    box.fill("")
    explorer.page.get_by_text("the prompt is empty").wait_for()
    assert value(explorer, "explorer.result.text") == "The Eiffel Tower is in the city of"
    box.fill("Paris is in")
    explorer.page.wait_for_function("document.querySelectorAll('.nb-token').length === 3")
    assert value(explorer, "explorer.error") == ""


def test_two_hundred_quick_edits_while_a_cell_runs_end_in_the_last_one(explorer):
    explorer.add("shown = []\nexplorer.observe(lambda change: shown.append(change['new']), 'result')")
    busy = (
        "import time\nfresh = nb.measures.attention(model, 'Paris is in France')\nend = time.time() + 6\nruns = 0\n"
        "while time.time() < end:\n"
        "    assert (nb.measures.attention(model, 'Paris is in France') == fresh).all(); runs += 1\n"
        "print(runs > 3)"
    )
    explorer.page.evaluate(START_CELL, busy)
    box = explorer.page.locator(".widget-text input")
    for number in range(200):
        box.fill(f"{number} Paris is in France")
    explorer.page.wait_for_function(
        "[...document.querySelectorAll('.nb-token')].map(e => e.textContent).join('').startsWith('199·Paris')",
        timeout=120_000,
    )
    assert explorer.text(-1).strip() == "True"
    check = (
        "from importlib import import_module\n"
        "explore = import_module('nbtools.explorers.attention').explore\n"
        "same = [bool((explore(model, r.text, 18).pattern == r.pattern).all()) for r in shown]\n"
        "hooks = sum(len(p.fwd_hooks) for p in set(model.hook_dict.values()))\n"
        "print([len(same) > 0, all(same), hooks, explorer.result.text])"
    )
    assert ast.literal_eval(explorer.add(check)) == [True, True, 0, "199 Paris is in France"]


def test_the_explorer_is_readable_in_a_dark_theme(explorer):
    explorer.page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    explorer.page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    explorer.page.locator(".nb-token").nth(2).click()
    explorer.page.wait_for_selector(".nb-token:nth-child(3)[aria-selected=true]")
    shot(explorer, "explorer_dark")
    colour = explorer.page.locator(".nb-read").first.evaluate("e => getComputedStyle(e).color")
    red, green, blue = (int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    assert min(red, green, blue) > 150  # light text, since the page is dark


def test_a_reopened_notebook_shows_pictures_without_a_kernel(open_notebook, lab):
    stored = json.loads((ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8"))
    stored["cells"] = [
        cell for cell in stored["cells"] if any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))
    ]
    (lab.folder / "stored.ipynb").write_text(json.dumps(stored))
    notebook = open_notebook(name="stored.ipynb")
    notebook.page.locator(".jp-OutputArea-output img").first.wait_for()
    assert notebook.page.locator(".jp-OutputArea-output img").count() == len(stored["cells"])
    assert notebook.page.get_by_text("Error displaying widget").count() == 0
    shot(notebook, "stored")


START_CELL = """code => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.length - 1;
    return window.jupyterapp.commands.execute('notebook:insert-cell-below').then(() => {
        notebook.activeCell.model.sharedModel.setSource(code);
        window.jupyterapp.commands.execute('notebook:run-cell');
    });
}"""


def test_the_lab_listens_on_the_loopback_address_with_a_token(lab):
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{lab.port}/api/sessions", timeout=10)
