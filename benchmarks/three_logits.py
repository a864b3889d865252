"""The explorer of three nested logits in JupyterLab: from a move of the mouse to the redrawn landscape and curves.

Run with ``python benchmarks/three_logits.py``. One JSON line per figure. A real mouse drags the handle of a slider from
one end to the other, in moves of which each chooses another value, and waits each time for what it did.

- *redrawn* runs from the time of the mouse event, as the browser gives it, until the frame of the screen in which both
  pictures were drawn is over. In between lie a training of 6000 steps from the first to the last and the landscape, all
  of it in the page.
- *in the kernel* is what setting the same values in Python takes, without a page; it follows the page, and holds
  nothing up there.
- *training* is what `nbtools.training.three_logits` takes of that.

There is no GPU: the canvas is painted by the processor.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from nbtools import explorers
from nbtools.training import three_logits
from tests.browser.conftest import CHROMIUM_FLAGS, Lab, Notebook, find_chromium
from tests.browser.test_explorers_lab import REDRAWN, moved

TARGET = 50
SLIDERS = {"pairs N": 24, "start xi": 40}
CELL = "import nbtools as nb\nexplorer = nb.explorers.three_logits(8, 64)\nexplorer"


def report(figure: str, values: list[float], **facts: Any) -> None:
    slow = statistics.quantiles(values, n=10)[-1]
    numbers = {"median_ms": statistics.median(values), "slow_ms": slow, "longest_ms": max(values)}
    line = {name: round(value, 1) for name, value in numbers.items()}
    print(json.dumps({"figure": figure, **line, **facts, "load": round(os.getloadavg()[0], 2)}), flush=True)


def dragged(page: Page, name: str, moves: int) -> list[float]:
    """Drag a slider to and fro, and give the milliseconds that each move took."""
    slider = page.get_by_role("slider", name=name)
    where, part = slider.bounding_box(), slider.evaluate("input => input.value / input.max")
    left, wide, y = where["x"] + 8, where["width"] - 16, where["y"] + where["height"] / 2
    found = []
    page.mouse.move(left + part * wide, y)
    page.mouse.down()
    for move in range(moves):
        found.append(moved(page, left + (0.1 + 0.8 * (move + 1) / moves) * wide, y))
    page.mouse.up()
    return found[1:]


def timed(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def in_python() -> None:
    explorer = explorers.three_logits(8, 64)
    starts = [round(-1 + 0.05 * step, 2) for step in range(40)]
    report("in the kernel, start xi", [timed(lambda xi=xi: explorer.set_trait("xi", xi)) for xi in starts])
    report("training", [timed(lambda xi=xi: three_logits(8, 64, start=(0, 0, xi))) for xi in starts])


def main() -> None:
    in_python()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        lab = Lab(Path(name))
        try:
            page = browser.new_context(viewport={"width": 1280, "height": 1300}).new_page()
            notebook = Notebook(page, lab, lab.write("drag.ipynb", CELL))
            notebook.run_all()
            page.locator(".nb-landscape canvas[role]").wait_for()
            page.evaluate(REDRAWN)
            for slider, moves in SLIDERS.items():
                dragged(page, slider, moves)  # warm up
                report(f"redrawn, {slider}", dragged(page, slider, moves), target_ms=TARGET, moves=moves - 1)
        finally:
            lab.stop()
            browser.close()


if __name__ == "__main__":
    main()
