"""The scrubber in a saved page: how long it takes to open, and how long a frame takes while its slider is dragged.

Run with ``python benchmarks/scrubber.py``. One JSON line per figure. A page is what ``save`` writes, with six curves,
the attention over 24 tokens and their norms at every step: of 60 steps, which is what a trajectory keeps, and of 400.
It is opened in Chromium nine times, in turns with a page that holds a word; then the slider goes from one end to the
other and back, two steps in each frame of the screen: faster than any mouse.

- *opened* runs from navigation until everything is drawn and the main thread is idle; *a word* is the same of a page
  that holds nothing else.
- *frame* is the time from one frame of the screen to the next while the slider moves; 16.7 ms are 60 a second.
- *work* is what one redraw keeps the main thread busy, from `requestAnimationFrame` until its callback returns.
- *redraws* counts how often the curves were drawn from one frame to the next, at most.

There is no GPU: the canvas is painted by the processor.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from dragging import DRAG
from playwright.sync_api import Browser, Page, sync_playwright

from nbtools import views
from tests.browser.conftest import CHROMIUM_FLAGS, find_chromium

STEPS = 60, 400
TOKENS, CURVES, ROUNDS, FRAMES = 24, 6, 9, 360
OPENED_TARGET, FRAME_TARGET = 300, 1000 / 60

OPENED = """() => new Promise((done) => {
    const look = () => {
        if (!document.querySelector('.nb-scrubber .nb-read')?.textContent) return requestAnimationFrame(look);
        requestAnimationFrame(() => setTimeout(() => done(performance.now())));
    };
    look();
})"""


WORD = '<!doctype html><div class="nb-scrubber"><span class="nb-read">word</span></div>'


def training(steps: int) -> views.Scrubber:
    """Six curves, and attention and norms at every step, all of them different at each."""
    rng, tokens = np.random.default_rng(0), [f"w{n}" for n in range(TOKENS)]
    at = {"step": np.unique(np.geomspace(1, 100 * steps, steps).round().astype(int) + np.arange(steps))}
    curves = {f"curve {n}": ("step", rng.normal(size=steps).cumsum(), {"long_name": "a walk"}) for n in range(CURVES)}
    maps = np.tril(rng.random((steps, TOKENS, TOKENS)))
    maps = xr.DataArray(maps / maps.sum(-1, keepdims=True), at, ("step", "query", "key"), name="attention")
    bars = xr.DataArray(np.exp(rng.normal(size=(steps, TOKENS))), at, ("step", "position"), name="norm")
    maps = maps.assign_coords(query_token=("query", tokens), key_token=("key", tokens))
    return views.scrubber(xr.Dataset(curves, at), maps=maps, bars=bars.assign_coords(token=("position", tokens)))


def report(figure: str, values: list[float], target: float, steps: int) -> None:
    slow = statistics.quantiles(values, n=20)[-1] if len(values) >= 20 else max(values)
    numbers = {"median_ms": statistics.median(values), "slow_ms": slow, "longest_ms": max(values)}
    line = {name: round(value, 2) for name, value in numbers.items()}
    facts = {"target_ms": round(target, 1), "looks": len(values), "load": round(os.getloadavg()[0], 2)}
    print(json.dumps({"figure": f"{figure}, {steps} steps", **line, **facts}), flush=True)


def opened(browser: Browser, path: Path) -> tuple[Page, float]:
    page = browser.new_page(viewport={"width": 1000, "height": 1000})
    page.goto(path.as_uri(), wait_until="commit")
    return page, page.evaluate(OPENED)


def measure(browser: Browser, folder: Path, steps: int) -> None:
    path = training(steps).save(folder / "scrubber.html")
    word = folder / "word.html"
    word.write_text(WORD)
    times = {path: [], word: []}
    for _ in range(ROUNDS):
        for shown, found in times.items():
            page, time = opened(browser, shown)
            found.append(time)
            page.close()
    report("opened", times[path], OPENED_TARGET, steps)
    report("opened, a word", times[word], OPENED_TARGET, steps)
    page, _ = opened(browser, path)
    page.evaluate(DRAG, [".nb-scrubber", FRAMES])  # warm up
    seen = page.evaluate(DRAG, [".nb-scrubber", FRAMES])
    report("frame", seen["frames"], FRAME_TARGET, steps)
    report("work", seen["work"], FRAME_TARGET, steps)
    facts = {"most": max(seen["redraws"]), "page_kb": round(path.stat().st_size / 1000)}
    print(json.dumps({"figure": f"redraws in a frame, {steps} steps", **facts}), flush=True)
    page.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        for steps in STEPS:
            measure(browser, Path(name), steps)
        browser.close()


if __name__ == "__main__":
    main()
