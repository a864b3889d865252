"""The circuit view while its threshold is dragged: how long a frame takes. One JSON line per figure.

Run with ``python benchmarks/circuit_view.py``. A saved page with a circuit of 60 nodes and 200 edges is opened in
Chromium, and the slider goes from one end to the other and back, two steps in each frame of the screen: faster than any
mouse. A second circuit is as large as edges are led around nodes.

- *frame* is the time from one frame of the screen to the next while the slider moves; 16.7 ms are 60 a second.
- *work* is what one redraw keeps the main thread busy, from `requestAnimationFrame` until its callback returns.
- *redraws* counts how often the picture was drawn from one frame to the next, at most.

There is no GPU: the canvas is painted by the processor.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path

from dragging import DRAG
from playwright.sync_api import Browser, sync_playwright

from nbtools import views
from tests.browser.conftest import CHROMIUM_FLAGS, find_chromium
from tests.unit.test_circuit_view import random_circuit

SIZES = (60, 200), (200, 600)
STEPS = 360
TARGET = 1000 / 60


def measure(browser: Browser, folder: Path, nodes: int, edges: int) -> None:
    path = views.circuit(random_circuit(nodes, edges)).save(folder / "circuit.html")
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(path.as_uri())
    page.locator(".nb-circuit canvas").wait_for()
    page.get_by_role("slider").scroll_into_view_if_needed()
    page.evaluate(DRAG, [".nb-circuit", STEPS])  # warm up
    seen = page.evaluate(DRAG, [".nb-circuit", STEPS])
    size, facts = f"{nodes} nodes, {edges} edges", {"frames": len(seen["frames"]), "load": round(os.getloadavg()[0], 2)}
    for figure, values in (("frame", seen["frames"]), ("work", seen["work"])):
        slow = statistics.quantiles(values, n=20)[-1]
        for name, value in (("median", statistics.median(values)), ("95 % at most,", slow), ("longest", max(values))):
            line = {
                "figure": f"{name} {figure}, {size}",
                "ours_ms": round(value, 2),
                "target": round(TARGET, 1),
                **facts,
            }
            print(json.dumps(line), flush=True)
    print(json.dumps({"figure": f"redraws in a frame, {size}", "most": max(seen["redraws"]), **facts}), flush=True)
    page.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        for nodes, edges in SIZES:
            measure(browser, Path(name), nodes, edges)
        browser.close()


if __name__ == "__main__":
    main()
