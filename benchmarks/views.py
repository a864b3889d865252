"""The attention view against CircuitsVis and BertViz, on the same patterns, in one Chromium. One JSON line per figure.

Run with ``python benchmarks/views.py``; the peers are installed on the first run (see ``peers.py``). A page is what a
notebook stores as `text/html`, and nothing else. Each tool is looked at in turns, five times, or until it has taken
20 s; medians are compared, and a peer that has drawn nothing after 120 s is left. All of it takes a quarter of an hour.

- *first paint* runs from navigation until all that the tool shows first is drawn and the main thread is idle. Ours
  and BertViz's head view show the heads of one layer first, the other peers every head.
- *hover move* runs from the first handler that a real move of the mouse reaches until the main thread is idle after
  the next frame. What is moved over is the main picture: our matrix, the zoomed matrix of `attention_heads`, the
  tokens of `attention_patterns` and `head_view`, the lines of `model_view` (which answer with a cursor only).
- *memory* is what is left after a garbage collection: JavaScript objects, array buffers and DOM nodes, no pixels.

There is no GPU. `attention_patterns` computes with WebGL, which is slower without one; the other four do not use it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import nbformat
import numpy as np
import peers
import torch
from peers import PEERS, Tool
from playwright.sync_api import Browser, Error, Page, TimeoutError, sync_playwright

import nbtools as nb
from nbtools import views
from tests.browser.conftest import CHROMIUM_FLAGS, CONTENT, Lab, Notebook, find_chromium

ROUNDS, ENOUGH = 5, 20  # looks at a tool, and seconds after which one more is too many
PATIENCE = 120  # seconds
MOVES = 24
TEXT = """
The harbour of the small town was built in the winter of 1871, after a storm had broken nine boats against the rocks in
a single night. The council asked an engineer from the capital, a quiet woman named Clara Holm, to draw a wall that no
storm could cross. She walked along the shore for three weeks before she drew a line. The fishermen laughed at her,
because she asked the old men about the wind and the children about the places where the sand moved, and wrote down
every answer in a green book. When she was done, the wall on her plan was shorter than anyone had expected. It did not
run across the bay, as the council had wished, but turned away from the open sea like a bent arm. "The sea is stronger
than stone," she told them, "so we will not stop it. We will ask it to go somewhere else." The council did not like the
answer, but it liked the price, and in the spring the work began. Forty men broke stone in the quarry behind the
church, and two boats carried it across the bay whenever the weather was calm. By the end of the summer the wall stood
two metres above the water, and the first ship that was not from the town came in to wait for better weather. Its
captain paid for bread, for rope, and for a new sail, and told other captains. Within ten years the town had a market,
a school with two teachers, and a light at the end of the wall that could be seen from twelve miles away. Clara Holm
came back once, when she was old. She walked out to the light in the evening, looked at the water on both sides, and
asked the keeper whether the wall had ever been damaged. The keeper said that in thirty years the sea had taken four
stones. She opened the green book, found the page where a fisherman's daughter had told her about the sand, and wrote a
number beside it. Then she went to the inn, ate a plate of fried herring, and slept until noon. The book is in the
museum now, open at that page. Visitors can read the question in her small, upright hand, and below it the answer of
the child: where does the sand go when the wind turns to the north? It goes home. Nobody knows which of the children
it was, although several families in the town are certain that it must have been a grandmother of theirs, and will
explain the matter at length to anyone who stops to look. The wall still stands. Every few years somebody proposes to
make it longer, and every few years somebody else takes the green book from its case and reads that page aloud.
"""


@dataclass(frozen=True)
class Size:
    """How many layers, heads of each, and tokens; without layers, a plain list of heads."""

    layers: int
    heads: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.layers * self.heads} heads x {self.tokens} tokens"


@dataclass
class Look:
    """What one visit to a page found; `paint` is None if nothing was drawn, and then `trouble` says why."""

    paint: float | None = None
    moves: list[float] = field(default_factory=list)
    memory: float = 0.0
    trouble: str = ""
    seconds: float = 0.0


SIZES = SMALL, MANY, LARGE = Size(1, 12, 128), Size(16, 9, 128), Size(30, 9, 512)
MATRIX = ".nb-scroll canvas[role=application]"
OURS = Tool("nbtools", "views.attention", f"inked(document.querySelector('{MATRIX}'))", MATRIX)
TARGETS = {
    f"in the notebook, {MANY}": 1000,
    f"first paint, {MANY}": 300,
    f"first paint, {LARGE}": 1000,
    f"live first paint, {LARGE}": 1000,
}
TARGETS |= {f"hover move, {size}": 16 for size in SIZES}

PROBE = Path(__file__).with_name("probe.js").read_text(encoding="utf-8")


def patterns() -> dict[Size, tuple[np.ndarray, list[str]]]:
    """Give real patterns (layer, head, query, key) of each size, and the tokens they are over."""
    model = nb.load()
    ids = nb.models.tokens(model, TEXT.strip()).ids[0].tolist()
    found = {}
    for size in SIZES:
        pattern = nb.measures.attention(model, ids[: size.tokens])
        numbers = pattern.values.reshape(-1, size.tokens, size.tokens)[: size.layers * size.heads]
        texts = [str(token) for token in pattern.key_token.values]
        found[size] = numbers.reshape(size.layers, size.heads, size.tokens, size.tokens), texts
    return found


def draw(pattern: np.ndarray, tokens: list[str]) -> dict[str, Any]:
    """Make our output, as a notebook stores it."""
    data, _ = views.attention(pattern, tokens)._repr_mimebundle_()
    return {**data, "image/png": b64encode(data["image/png"]).decode()}


def weight(data: dict[str, Any]) -> int:
    """Count the bytes of a notebook whose only cell has this output."""
    outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", id="one", outputs=outputs)])
    return len(nbformat.writes(notebook).encode())


def open_page(browser: Browser, size: Size, ready: str = "") -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    page.route("**/*.min.js", lambda route: route.fulfill(path=peers.script(route.request.url)))
    start = f"watch(() => {ready})" if ready else ""
    page.add_init_script(f"{PROBE}; const [LAYERS, HEADS] = [{size.layers}, {size.heads}]; {start}")
    return page


def wait(page: Page, what: str) -> float:
    page.wait_for_function(f"{what} !== null", polling=50, timeout=PATIENCE * 1000)
    return page.evaluate(what)


def look(browser: Browser, path: Path, tool: Tool, size: Size) -> Look:
    start, seen = time.monotonic(), Look()
    page = open_page(browser, size, tool.ready)
    try:
        page.goto(path.as_uri(), wait_until="commit")
        seen.paint = wait(page, "painted")
        seen.memory = memory(page)
        seen.moves = hover(page, tool.hover)
    except Error as error:
        seen.trouble = f"> {PATIENCE} s" if isinstance(error, TimeoutError) else str(error).splitlines()[0]
    page.context.close()
    seen.seconds = time.monotonic() - start
    return seen


def memory(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")
    return sum(used[kind] for kind in ("usedSize", "embedderHeapUsedSize", "backingStorageSize")) / 1e6


def hover(page: Page, selector: str) -> list[float]:
    moves, start = [], time.monotonic()
    for x, y in page.evaluate("asked => spots(asked)", [selector, MOVES]):
        page.evaluate("arm()")
        page.mouse.move(x, y)
        moves.append(wait(page, "took"))
        if time.monotonic() - start > PATIENCE:
            break
    return moves


def in_turns(browser: Browser, folder: Path, size: Size, tools: tuple[Tool, ...]) -> dict[Tool, list[Look]]:
    looks: dict[Tool, list[Look]] = {tool: [] for tool in tools}
    for _ in range(ROUNDS):
        for tool, seen in looks.items():
            if sum(one.seconds for one in seen) < ENOUGH:
                seen.append(look(browser, folder / f"{size} {tool.call}.html", tool, size))
    return looks


LINES: list[dict[str, Any]] = []


def report(figure: str, unit: str, ours: float, peer: str = "", theirs: float | str = 0, **facts: object) -> None:
    line: dict[str, Any] = {"figure": figure, f"ours_{unit}": round(ours, 1)}
    if peer:
        late = isinstance(theirs, str)
        ratio = f"< {ours / PATIENCE / 1000:.1g}" if late else float(f"{ours / theirs:.2g}")
        line |= {"peer": peer, f"peer_{unit}": theirs if late else round(theirs, 1), "ratio": ratio}
    if figure in TARGETS:
        line["target"] = TARGETS[figure]
    line |= {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 2)} | facts
    LINES.append(line)
    print(json.dumps(line), flush=True)


def table() -> str:
    rows = []
    for line in LINES:
        unit = next(key for key in line if key.startswith("ours_"))[5:]
        most = f" (aim {line['target']})" if "target" in line else ""
        peer = f"{line['peer']}: {line[f'peer_{unit}']}, ratio {line['ratio']}" if "peer" in line else ""
        rows.append(f"{line['figure']:46} {line[f'ours_{unit}']:>8} {unit}{most:11}  {peer}")
    return "\n".join(rows)


def middle(looks: list[Look], what: str) -> float:
    return statistics.median(getattr(one, what) for one in looks)


def counts(what: str, ours: list, theirs: list) -> dict[str, int]:
    return {what: len(ours)} if theirs == ours else {what: len(ours), f"peer_{what}": len(theirs)}


def report_looks(size: Size, looks: dict[Tool, list[Look]]) -> None:
    """Give all figures of the pages of one size, against each peer, or alone."""
    ours = looks.pop(OURS)
    assert ours[0].paint, f"our own page was not drawn: {ours[0].trouble}"
    for tool, seen in looks.items() or [(None, ours)]:
        peer, facts = f"{tool.name} {tool.call}" if tool else "", counts("rounds", ours, seen)
        late = seen[0].trouble if seen[0].paint is None else ""
        report(f"first paint, {size}", "ms", middle(ours, "paint"), peer, late or middle(seen, "paint"), **facts)
        if not late:
            report(f"memory, {size}", "MB", middle(ours, "memory"), peer, middle(seen, "memory"), **facts)
            report_moves(size, ours, peer, seen)


def report_moves(size: Size, ours: list[Look], peer: str, theirs: list[Look]) -> None:
    mine, other = ([move for one in side for move in one.moves] for side in (ours, theirs))
    facts, late = counts("moves", mine, other), "" if other else theirs[0].trouble
    median = statistics.median
    report(f"hover move, {size}", "ms", median(mine), peer, late or median(other), **facts)
    report(f"longest hover move, {size}", "ms", max(mine), peer, late or max(other), **facts)


def write_pages(folder: Path) -> None:
    """Write the pages of all tools, and report what making them took and what a notebook stores of them."""
    weights, seconds = {}, {}
    for size, (pattern, tokens) in patterns().items():
        np.savez(folder / f"{size}.npz", pattern=pattern, tokens=tokens)
        ours = pattern[0] if size.layers == 1 else pattern
        draw(ours[:1], tokens)  # warm up
        data, seconds[size] = peers.timed(partial(draw, ours, tokens))
        weights[size] = weight(data)
        keep(folder, f"{size} {OURS.call}", data["text/html"])
    theirs = peers.draw(folder, [str(SMALL), str(MANY)])
    for size in SIZES:
        report_pages(folder, size, weights[size], seconds[size], theirs)


def keep(folder: Path, name: str, html: str) -> None:
    (folder / f"{name}.html").write_text(f"<!doctype html><meta charset=utf-8><body>{html}", encoding="utf-8")


def report_pages(folder: Path, size: Size, stored: int, took: float, theirs: dict[str, float]) -> None:
    against = [tool for tool in PEERS if f"{size} {tool.call}" in theirs]
    for tool in against:
        name, peer = f"{size} {tool.call}", f"{tool.name} {tool.call}"
        html = (folder / f"{name}.html").read_text(encoding="utf-8")
        other = weight({"text/html": html, "text/plain": "<IPython.core.display.HTML object>"})
        report(f"in the notebook, {size}", "kB", stored / 1000, peer, other / 1000)
        report(f"making the output, {size}", "ms", took * 1000, peer, theirs[name] * 1000)
        keep(folder, name, html)
    if not against:
        report(f"in the notebook, {size}", "kB", stored / 1000)
        report(f"making the output, {size}", "ms", took * 1000)


CELL = f"{CONTENT}.activeCellIndex = 1; window.jupyterapp.commands.execute('notebook:run-cell')"
TURN = "document.querySelector('.nb-turn[aria-label=\"next layer\"]').click()"
LOAD = """import numpy as np
from nbtools import views
file = np.load(PATH)
pattern, tokens = file["pattern"], list(file["tokens"])
_ = views.attention(pattern, tokens)._repr_mimebundle_()"""


def live(browser: Browser, folder: Path) -> None:
    """Show the largest pattern in a real JupyterLab, and turn to layers that were not sent yet."""
    page, lab = open_page(browser, LARGE), Lab(folder / "lab")
    try:
        load = LOAD.replace("PATH", repr(str(folder / f"{LARGE}.npz")))
        notebook = Notebook(page, lab, lab.write("live.ipynb", load, "views.attention(pattern, tokens)"))
        notebook.run_cell(0)
        shown = [act_until_drawn(page, CELL, layer=0) for _ in range(ROUNDS)]
        turned = [act_until_drawn(page, TURN, layer=layer) for layer in range(1, 1 + ROUNDS)]
    finally:
        lab.stop()
    report(f"live first paint, {LARGE}", "ms", statistics.median(shown), rounds=ROUNDS)
    report(f"live turn to the next layer, {LARGE}", "ms", statistics.median(turned), rounds=ROUNDS)


def act_until_drawn(page: Page, act: str, *, layer: int) -> float:
    """Give the milliseconds from an act until a head of this layer is drawn; the picture there is does not count."""
    start = page.evaluate(f"""() => {{
        const start = performance.now();
        const old = document.querySelector('{MATRIX}'), said = old?.ariaLabel;
        painted = null;
        {act};
        watch(() => [...document.querySelectorAll('{MATRIX}')].some((one) => inked(one)
            && (one !== old || one.ariaLabel !== said) && one.ariaLabel.startsWith('attention of head {layer}.')
            && one.closest('.nb').querySelector('.nb-read').textContent !== '…'));
        return start;
    }}""")
    return wait(page, "painted") - start


def main() -> None:
    peers.install()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "lab").mkdir()
        write_pages(folder)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        look(browser, folder / f"{SMALL} {OURS.call}.html", OURS, SMALL)  # warm up
        for size in SIZES:
            report_looks(size, in_turns(browser, folder, size, (OURS, *PEERS) if size is not LARGE else (OURS,)))
        live(browser, folder)
        browser.close()
    print(table(), file=sys.stderr)


if __name__ == "__main__":
    main()
