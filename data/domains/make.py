"""Measure every head of SmolLM2-135M on four kinds of text, and what its sink is worth: ``make domains``.

Eight minutes on a GPU, a day on two cores. What is written stands beside this script: three tables.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import xarray as xr

import nbtools as nb
from nbtools.patching import quantize, sink_costs, spread
from nbtools.tasks import WINDOW_KINDS

HERE = Path(__file__).parent
WINDOWS, LENGTH = 128, 64
START = {"prose": 8, "code": 8, "repeats": 33, "random": 8}  # the first token that counts: repeats after the first time
BITS = (8, 6, 4)


def main() -> None:
    nb.setup(seed=0)
    model = nb.load()
    parts = {"costs": costs, "quantized": quantized, "heads": heads}
    for name in sys.argv[1:] or parts:
        began, rows = time.monotonic(), []
        for row in parts[name](model):
            rows.append(row)
            if len(rows) % 90 == 0:  # what is known is written at once
                write(name, rows)
        write(name, rows)
        print(f"{name}: {len(rows)} rows in {time.monotonic() - began:.0f} s", flush=True)


def write(name: str, rows: list[dict]) -> None:
    pd.DataFrame(rows).round(5).to_csv(HERE / f"{name}.csv", index=False)


def drawn(model) -> Iterator[tuple[str, object]]:
    """Draw the windows of each kind."""
    for kind in WINDOW_KINDS:
        yield kind, nb.tasks.windows(model, kind, prompts=WINDOWS, length=LENGTH)


def batch(model) -> int:
    return 8 if str(model.cfg.device) == "cpu" else 64


def heads(model) -> Iterator[dict]:
    """Force each head onto the first token, and take each out: what is each missed for, on which kind of text?"""
    every = [f"{layer}.{head}" for layer in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]
    for kind, ids in drawn(model):
        found = nb.measures.dormancy(model, ids, every, start=START[kind], batch=batch(model))
        for head in every:
            own = found.sel(head=head)
            row = {"kind": kind, "head": head}
            for figure in ("attention", "forced", "ablated"):
                row |= interval(own[figure].values, figure)
            yield row
        print("heads", kind, flush=True)


def costs(model) -> Iterator[dict]:
    """Change the sink in each way, and measure loss, sinks and peak."""
    for kind, ids in drawn(model):
        found = sink_costs(model, ids, start=START[kind], batch=batch(model))
        found["cost"] = found.loss - found.loss.sel(intervention="unchanged")
        for name in found.intervention.values:
            own = found.sel(intervention=name)
            row = {"kind": kind, "intervention": name}
            for figure in ("loss", "cost", "sink_rate", "elsewhere", "peak"):
                row |= interval(own[figure].values, figure)
            yield row


def quantized(model) -> Iterator[dict]:
    """Round activations, sparing the outlier dimensions, the first position, both, or nothing."""
    for kind, ids in drawn(model):
        massive = nb.measures.massive_activations(model, ids[0])
        outliers = np.unique(massive.dimension[massive.position == 0]).tolist()
        usual = losses(model, ids, None, START[kind])
        for at in ("stream", "inputs"):
            for bits in BITS:
                for spared, kept in spare(outliers).items():
                    edit = quantize(model, bits=bits, at=at, **kept)
                    cost = losses(model, ids, edit, START[kind]) - usual
                    about = {"kind": kind, "at": at, "bits": bits, "spared": spared, "loss": usual.mean()}
                    yield about | interval(cost, "cost")


def spare(outliers: list[int]) -> dict[str, dict]:
    return {
        "nothing": {},
        "outlier dimensions": {"dimensions": outliers},
        "first position": {"positions": [0]},
        "both": {"dimensions": outliers, "positions": [0]},
    }


def losses(model, ids, edit, start: int) -> np.ndarray:
    """Give the mean surprise of each window."""
    size = batch(model)
    parts = [ids[first : first + size] for first in range(0, len(ids), size)]
    return np.concatenate([nb.measures.surprise(model, part, edit=edit)[:, start:].mean("position") for part in parts])


def interval(values: np.ndarray, figure: str) -> dict[str, float]:
    found = spread(xr.DataArray(values, dims="prompt"))
    return {
        figure: float(found["mean"]),
        f"{figure}_low": float(found.low),
        f"{figure}_high": float(found.high),
    }


if __name__ == "__main__":
    main()
