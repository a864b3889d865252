"""Views in a page without a kernel, and in a stored notebook: they answer to the hand, and fetch nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nbtools import views
from nbtools.explorers import three_logits
from tests.conftest import need
from tests.unit.test_circuit_view import COLORED_EDGES, COLORED_NODES, circuit_of, random_circuit
from tests.unit.test_direction import projections_of, spread_of
from tests.unit.test_landscape import bowl_of, path_of
from tests.unit.test_lens_grid import lens_of
from tests.unit.test_norms_view import norms_of
from tests.unit.test_patch_grid import effect_of
from tests.unit.test_scrubber import bars_of, curves_of, maps_of
from tests.unit.test_views import HOSTILE

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = ROOT / "screenshots"
TOKENS = ["The", " cat", " sat", " on", " the", " mat", "\n"]
LIVE = ".nb"


def scores() -> np.ndarray:
    return np.linspace(-1, 1, 8).reshape(4, 2)


def patterns(tokens: int = 7, layers: int = 4, heads: int = 2) -> np.ndarray:
    values = np.tril(np.random.default_rng(0).random((layers, heads, tokens, tokens)) ** 4)
    return values / values.sum(-1, keepdims=True)


def everything(tokens: list[str] = TOKENS) -> views.Group:
    """All views that can be made without a model, linked."""
    strip = views.token_strip(tokens, np.linspace(0, 1, len(tokens)), label="amount", details=tokens, title="strip")
    grid = views.head_grid(scores(), signed=True, label="effect", selected=["1.0"])
    attention = views.attention(patterns(len(tokens)), tokens, head="1.0")
    lens = views.lens_grid(lens_of(tokens=tokens, vocabulary=tokens), selected=(7, 1))
    bars = views.bars(dict(zip(tokens, np.linspace(0, 1, len(tokens)), strict=True)))
    effect = effect_of(tokens=tokens, sources=tokens[::-1])
    patched = views.patch_grid(effect.where(effect.layer > 3), estimate=effect, selected=(4, 1))
    moved = views.direction(spread_of(level=0.95), projections_of(), share=0.5)
    circuit = views.circuit(circuit_of(), circuit_of(COLORED_NODES, COLORED_EDGES), names=["IOI", tokens[1]])
    scrubber = views.scrubber(curves_of(seeds=2), maps=maps_of(tokens), bars=bars_of(tokens))
    norms = views.norms(norms_of(tokens=tokens), layer=2, position=1)
    landscape = views.landscape(bowl_of((tokens[1], "a")), path=path_of((tokens[1], "a")))
    views.link(strip, attention)
    views.link(grid, attention)
    views.link(strip, patched)
    single = [[view] for view in (lens, bars, patched, moved, circuit, scrubber, norms, landscape)]
    return views.Group([[strip], [grid, attention], *single, [three_logits(4, 32, steps=1000)]])


@pytest.fixture
def open_page(browser, tmp_path):
    """Open a saved view as a file; anything asked of a network, and any error, fails the test."""
    contexts, problems = [], []

    def open_one(view, *, scheme: str = "light"):
        context = browser.new_context(viewport={"width": 1100, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: problems.append(request.url) if request.url[:4] not in LOCAL else None)
        page.goto(view.save(tmp_path / "view.html").as_uri())
        page.locator(LIVE).first.wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []


LOCAL = ("file", "blob", "data")


def test_a_page_without_a_kernel_hovers_pins_and_turns_layers(open_page):
    page = open_page(everything())
    read = page.locator(".nb-read").first
    page.locator(".nb-token").nth(1).hover()
    assert read.inner_text().startswith("1 “·cat”")
    page.locator(".nb-token").nth(3).click()
    page.mouse.move(5, 890)
    assert read.inner_text().startswith("3 “·on”")
    page.get_by_label("next layer").click()
    assert page.locator(".nb-head[aria-checked=true]").get_attribute("data-head") == "2.0"
    page.locator("[data-head='2.1']").click()
    assert page.locator(".nb-head[aria-checked=true]").get_attribute("data-head") == "2.1"


def test_links_hold_in_a_page_without_a_kernel(open_page):
    page = open_page(everything())
    page.locator(".nb-token").nth(3).click()
    assert page.locator(".nb-read").nth(2).inner_text().startswith("query 3 “·on”")
    grid = page.locator("canvas[aria-roledescription='grid of heads']")
    grid.click(position={"x": 28 + 26 + 13, "y": 18 + 3 * 26 + 13})
    assert page.locator(".nb-head[aria-checked=true]").get_attribute("data-head") == "3.1"
    page.get_by_label("previous layer").click()
    assert page.locator(".nb-read").nth(1).inner_text().startswith("2.1")


def test_the_keyboard_alone_reaches_every_view_of_a_page(open_page):
    page = open_page(everything())
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('role') ?? document.activeElement.tagName"))
    assert {"option", "application", "radio", "BUTTON"} <= set(reached)
    page.locator("canvas[aria-roledescription='attention matrix']").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator(".nb-token[aria-selected=true]").inner_text() == "·sat"
    page.keyboard.press("Escape")
    assert page.locator(".nb-token[aria-selected=true]").count() == 0


def test_hostile_tokens_appear_literally_in_a_page(open_page):
    page = open_page(everything(HOSTILE))
    shown = page.locator(".nb-token").all_inner_texts()
    assert shown == ["<bos>", "</script><script>x", '<img·src=x·onerror="y">', "↵", "·", "𝕏", "ا", "$a_b$", "日本"]
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1  # the page's own
    page.locator(".nb-token").nth(2).hover()
    assert '“<img·src=x·onerror="y">”' in page.locator(".nb-read").first.inner_text()
    assert page.locator(".nb-row").nth(1).inner_text().startswith("</script><script>x")


def test_a_prompt_of_512_tokens_is_drawn_in_a_window_that_can_be_moved(open_page):
    size = 512
    view = views.attention(np.eye(size)[None, None], [f"w{n}" for n in range(size)], query=300)
    page = open_page(view)
    matrix = page.locator("canvas[aria-roledescription='attention matrix']")
    assert page.locator(".nb-read").inner_text() == "query 300 “w300” → most to key 300 “w300”  1.00"
    overview = page.locator(".nb-overview")
    overview.click(position={"x": 100, "y": 100})
    box = matrix.bounding_box()
    matrix.hover(position={"x": box["width"] - 60, "y": box["height"] / 2})
    assert 230 < int(page.locator(".nb-read").inner_text().split()[1]) < 290
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "window.png")


CIRCUIT = "canvas[aria-roledescription='circuit']"
WATCH = """async (steps) => {
    const slider = document.querySelector('.nb-circuit input'), clear = CanvasRenderingContext2D.prototype.clearRect;
    let [drawn, most, work] = [0, 0, 0];
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        drawn += 1;
        return clear.apply(this, box);
    };
    for (let step = 0; step < steps; step++) {
        const start = performance.now();
        for (const part of [0.2, 0.5, 0.8]) {
            slider.value = Number(slider.max) * (step + part) / steps;
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }
        work += performance.now() - start;
        drawn = 0;
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        most = Math.max(most, drawn);
    }
    return [most, work / steps];
}"""


def test_a_threshold_that_is_dragged_draws_a_circuit_once_for_each_frame(open_page):
    page = open_page(views.circuit(random_circuit(60, 200)))
    page.evaluate(WATCH, 3)
    most, work = page.evaluate(WATCH, 20)
    assert most == 1
    assert work < 200  # milliseconds; a few on a quiet machine: what is held here is that drawing does not pile up


def test_a_circuit_answers_to_mouse_and_keyboard_without_a_kernel(open_page):
    view = views.circuit(circuit_of(), circuit_of(COLORED_NODES, COLORED_EDGES), names=["IOI", "colored objects"])
    page = open_page(view)
    canvas, read = page.locator(CIRCUIT), page.locator(".nb-read")
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert read.inner_text().startswith("29.0 at END · negative mover · only in IOI · effect −0.200")
    page.get_by_role("radio", name="shared").click()
    assert read.inner_text() == ""
    page.get_by_role("radio", name="both").click()
    page.get_by_role("slider", name="hide edges below").focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "document.querySelector('.nb-cut output').textContent === '0.520'"
    )  # drawn in the next frame
    assert "no edge on show" in read.inner_text()
    canvas.focus()
    page.keyboard.press("Escape")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "circuit_page.png")


def test_a_narrow_page_holds_a_circuit(open_page):
    page = open_page(views.circuit(circuit_of()))
    page.set_viewport_size({"width": 480, "height": 1100})
    page.wait_for_function("document.querySelector('.nb-circuit canvas').getBoundingClientRect().width < 440")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "circuit_page_narrow.png")


SCRUB = """async (steps) => {
    const slider = document.querySelector('.nb-scrubber input'), curves = document.querySelector('.nb-scrubber canvas');
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    let [drawn, most] = [0, 0];
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (this.canvas === curves) drawn += 1;
        return clear.apply(this, box);
    };
    for (let step = 0; step < steps; step++) {
        for (const part of [1, 3, 5]) {
            slider.value = (step + part) % 8;
            slider.dispatchEvent(new Event('input', { bubbles: true }));
        }
        drawn = 0;
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        most = Math.max(most, drawn);
    }
    return most;
}"""


def test_a_scrubber_plays_and_is_dragged_without_a_kernel(open_page):
    page = open_page(views.scrubber(curves_of(), maps=maps_of(), bars=bars_of(), step=0))
    read, play = page.locator(".nb-read"), page.get_by_role("button", name="play")
    assert page.evaluate(SCRUB, 10) == 1
    page.get_by_role("slider", name="step").focus()
    page.keyboard.press("Home")
    assert read.inner_text().startswith("step 0:")
    play.click()
    page.wait_for_function("document.querySelector('.nb-scrub output').textContent === '1,000'")
    play.wait_for()
    page.locator("canvas[aria-roledescription='curves over training']").focus()
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    assert read.inner_text().startswith("step 200:")
    page.locator("canvas[role=img]").first.hover(position={"x": 62, "y": 92})
    assert read.inner_text().startswith("step 90:  query")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "scrubber_page.png")


def test_a_scrubber_takes_single_steps_where_less_motion_is_asked_for(open_page):
    page = open_page(views.scrubber(curves_of(), step=0))
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("button", name="play").click()
    page.wait_for_function("document.querySelector('.nb-scrub output').textContent === '20'")
    page.get_by_role("button", name="pause").click()
    page.wait_for_timeout(700)
    assert page.locator(".nb-read").inner_text().startswith("step 20:")


def test_a_narrow_page_holds_a_scrubber(open_page):
    page = open_page(views.scrubber(curves_of(), maps=maps_of(), bars=bars_of()))
    page.set_viewport_size({"width": 480, "height": 1100})
    page.wait_for_function("document.querySelector('.nb-scrubber canvas').getBoundingClientRect().width < 440")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=SHOTS / "scrubber_page_narrow.png")


def test_norms_answer_to_mouse_and_keyboard_without_a_kernel(open_page):
    page = open_page(views.norms(norms_of()))
    canvas, read = page.locator("canvas[aria-roledescription='norms by layer and token']"), page.locator(".nb-read")
    canvas.hover(position={"x": 36 + 22, "y": 24 + 10})
    assert read.inner_text() == "layer 4, 0 “<bos>”: 10,000, 5,000 × the median of the other tokens"
    canvas.focus()
    for key in ("Home", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.mouse.move(5, 890)
    assert read.inner_text().startswith("layer 3, 0 “<bos>”: 1,000,")
    page.set_viewport_size({"width": 480, "height": 1100})
    page.wait_for_function("document.querySelector('.nb-norms canvas').getBoundingClientRect().width < 440")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "norms_page_narrow.png")


def test_a_landscape_and_a_scrubber_are_at_one_step_without_a_kernel(open_page):
    landscape, scrubber = views.landscape(bowl_of(), path=path_of()), views.scrubber(path_of())
    views.link(landscape, scrubber)
    page = open_page(views.Group([[landscape], [scrubber]]))
    canvas, read = (
        page.locator("canvas[aria-roledescription='landscape over two parameters']"),
        page.locator(".nb-read"),
    )
    canvas.hover(position={"x": 44 + 420 * 0.25, "y": 24 + 336 * 0.75})
    assert read.first.inner_text() == "a −1.00   b −0.500   loss in nats 1.25"
    canvas.click(position={"x": 44 + 420 * 0.84, "y": 24 + 336 * 0.16})
    assert page.locator(".nb-scrub output").inner_text() == "10"
    page.get_by_role("slider", name="step").focus()
    page.keyboard.press("ArrowRight")
    page.mouse.move(5, 890)
    assert read.first.inner_text().startswith("step 50:  a 0.667   b 0.333   loss in nats 0.5")
    canvas.focus()
    for key in ("ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert page.locator(".nb-scrub output").inner_text() == "100"
    page.keyboard.press("Escape")
    assert page.locator(".nb-scrub output").inner_text() == "0"
    page.set_viewport_size({"width": 400, "height": 1100})
    page.wait_for_function("document.querySelector('.nb-landscape canvas').getBoundingClientRect().width < 360")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "landscape_page_narrow.png")


def test_three_logits_are_trained_in_a_page_without_a_kernel(open_page):
    page = open_page(three_logits(8, 32))
    slider, output = page.get_by_role("slider", name="pairs N"), page.locator(".nb-dial output").first
    page.get_by_text("P passes 0.5 at step 993; plateau: ").wait_for()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 8 + (box["width"] - 16) * 6 / 30, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 8 + (box["width"] - 16) * 2 / 30, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    page.get_by_text("P passes 0.5 at step 403; plateau: ").wait_for()
    assert output.inner_text() == "4"
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowUp", "PageUp", "PageDown"):
        page.keyboard.press(key)
    page.get_by_text("P passes 0.5 at step 993; plateau: ").wait_for()
    page.get_by_label("landscape").select_option("over alpha, beta")
    page.get_by_text("loss with xi held at 5.38, as at step 993").wait_for()
    page.get_by_label("step axis").select_option("log")
    page.locator("canvas[aria-roledescription='landscape over two parameters']").focus()
    for key in ("End", "Enter"):
        page.keyboard.press(key)
    page.get_by_text("loss with xi held at 9.32, as at step 6,000").wait_for()
    assert page.locator(".nb-scrub output").inner_text() == "6,000"
    page.set_viewport_size({"width": 480, "height": 1900})
    page.wait_for_function("document.querySelector('.nb-landscape canvas').getBoundingClientRect().width < 440")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / "three_logits_page_narrow.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, scheme):
    need(AXE.is_file(), "axe-core: run `npm ci`")
    page = open_page(everything(), scheme=scheme)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    serious = [(issue["id"], [node["html"] for node in issue["nodes"]]) for issue in found if issue["impact"] in WORSE]
    assert serious == []
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"page_{scheme}.png")


WORSE = ("serious", "critical")


def test_the_picture_and_the_canvas_agree_in_colour(open_page):
    """Each cell's colour on the canvas is that of a whole area of the stored picture."""
    view = views.head_grid(scores(), signed=True)
    page = open_page(view)
    colours = page.locator("canvas[role=application]").evaluate(
        """canvas => Array.from({ length: 8 }, (_, at) => [...canvas.getContext("2d")
            .getImageData(28 + 26 * (at % 2) + 10, 18 + 26 * Math.floor(at / 2) + 10, 1, 1).data].slice(0, 3))"""
    )
    stored = np.asarray(Image.open(io.BytesIO(view._repr_mimebundle_()[0]["image/png"])).convert("RGB")).astype(int)
    for colour in colours:
        alike = (np.abs(stored - np.array(colour)).max(-1) <= 4).sum()
        assert alike > 80, f"no area of the picture has the colour {colour}"
    assert len({tuple(colour) for colour in colours}) == 8


def test_a_notebook_turned_into_html_is_alive(browser, tmp_path):
    """nbconvert keeps the script, and drops the live widget that no kernel stands behind."""
    page_path = converted(tmp_path)
    page = browser.new_page()
    page.goto(page_path.as_uri())
    page.locator(".nb canvas").first.wait_for()
    page.locator(".nb-token").nth(1).click()
    assert page.locator(".nb-token[aria-selected=true]").inner_text() == "·cat"
    assert page.locator("[data-nb] img").count() == 0
    page.close()


def converted(folder: Path) -> Path:
    import nbformat

    data = everything()._repr_mimebundle_()
    stored = {name: data[name] for name in ("text/plain", "text/html")}
    cell = nbformat.v4.new_code_cell("view", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("execute_result", data=stored, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "stored.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "stored.ipynb"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "stored.html"
