"""Train the small models of notebook 06 and keep what happens to them: ``make sinks``.

Ten minutes on one core. What is written stands beside this script: a trajectory for each model.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import nbtools as nb
from nbtools.training import TinyConfig, Trajectory, bigram_backcopy, train

HERE = Path(__file__).parent
FORMING = sorted(  # close together where most happens
    {
        *range(0, 401, 25),
        *range(400, 701, 50),
        *range(700, 1001, 100),
        *range(1000, 2001, 250),
        *range(2000, 4001, 1000),
    }
)
FEW = (0, 100, 200, 400, 1000)
MIDDLE = {"layers": 3, "attention": ("none", "softmax", "none")}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # the model, and how it is trained
    "softmax-0": ({}, {"steps": 4000, "keep": FORMING}),
    **{f"softmax-{seed}": ({}, {"seed": seed, "keep": ()}) for seed in (1, 2, 3, 4)},
    "relu": ({"attention": "relu"}, {"keep": FEW}),
    "clipped": ({"attention": "clipped"}, {"keep": FEW}),
    "clipped-more": ({"attention": "clipped", "gamma": -12 / 64}, {"keep": ()}),
    "gated": ({"attention": "gated"}, {"keep": FEW}),
    "sgd": ({}, {"optimizer": "sgd", "keep": FEW}),
    "attention_only": ({"d_mlp": 0}, {"keep": FEW}),
    "three_layers": (MIDDLE, {"steps": 4000, "measure_every": 50, "keep": (4000,)}),
    "three_layers-sgd": (MIDDLE, {"optimizer": "sgd", "steps": 4000, "measure_every": 50, "keep": (4000,)}),
}
SHOWN = ("backcopy_accuracy", "bigram_excess", "sink", "trigger_to_previous", "drain", "residual_ratio")


def main() -> None:
    nb.setup(seed=0)
    data = bigram_backcopy()
    for name in sys.argv[1:] or RUNS:
        model, options = RUNS[name]
        found = train(TinyConfig(**model), data, **{"steps": 1000, "measure_every": 25} | options)
        found.save(HERE / f"{name}.safetensors", half=True)
        print(name, found, *last(found), sep="\n  ", flush=True)


def last(found: Trajectory) -> list[str]:
    """Say what was measured at the last step."""
    end = found.measures.isel(step=-1)
    return [f"{name} {end[name].values.round(3)}" for name in SHOWN]


if __name__ == "__main__":
    main()
