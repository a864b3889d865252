"""Train the small language models of notebook 08 on which induction heads form: ``make induction``.

Seven minutes on one core. What is written stands beside this script: a trajectory for each model.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import nbtools as nb
from nbtools.training import TinyConfig, Trajectory, markov_repeats, train

HERE = Path(__file__).parent
STEPS = 2000
FORMING = sorted({*range(0, 401, 100), *range(400, 801, 20), *range(800, STEPS + 1, 200)})
TWO = {"layers": 2, "heads": 4, "d_head": 16, "d_mlp": 0, "length": 32, "positions": "attention"}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {  # data, model, training
    "two_layers-0": ({}, {}, {"keep": FORMING}),
    **{f"two_layers-{seed}": ({}, {}, {"seed": seed}) for seed in (1, 2, 3, 4)},
    "one_layer": ({}, {"layers": 1}, {}),
    "no_chain": ({"spread": 0.0}, {}, {"keep": (STEPS,)}),
    "no_repeats": ({"repeats": 0.0}, {}, {}),
}


def main() -> None:
    nb.setup(seed=0)
    for name in sys.argv[1:] or RUNS:
        data, model, options = RUNS[name]
        usual = {"steps": STEPS, "measure_every": 20, "weight_decay": 0.01, "keep": ()}
        found = train(TinyConfig(**TWO | model), markov_repeats(**data), **usual | options)
        found.save(HERE / f"{name}.safetensors", half=True)
        print(name, found, *last(found), sep="\n  ", flush=True)


def last(found: Trajectory) -> list[str]:
    """Say what was measured at the last step."""
    end = found.measures.isel(step=-1)
    return [f"{name} {end[name].values.round(2)}" for name in ("repeated_accuracy", "induction", "previous_token")]


if __name__ == "__main__":
    main()
