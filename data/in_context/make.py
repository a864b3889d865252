"""Train the networks of notebook 08 that learn in context or in their weights: ``make in-context``.

Half an hour on one core. What is written stands beside this script: a trajectory for each setting, of several seeds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import nbtools as nb
from nbtools.training import ClassifierConfig, Trajectory, in_context, train

HERE = Path(__file__).parent
STEPS, EVERY = 1500, 25
SEEDS = [0, 1, 2]
FORMING = sorted({*range(0, 601, 25), *range(600, 1001, 100), STEPS})
CLASSES, BURSTINESS, ZIPF, NOISE = (64, 128, 256, 512, 1024, 2048), (1, 2, 4), (0.5, 1.0, 1.5), (0.4, 0.8)
SCALE = (64 / 31) ** 0.5  # of attention's matrices: a standard deviation of one over the root of the dimensions
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {  # data, network, training
    "seeds": ({}, {}, {"seed": [0, 1, 2, 3, 4], "keep": ()}),
    "forming": ({}, {}, {"seed": 0, "keep": FORMING}),
    "weights": ({"burstiness": 1}, {}, {"seed": 0, "keep": (0, 100, 500, STEPS)}),
    "two_parameters": ({}, {"layers": 0}, {"seed": SEEDS, "keep": (STEPS,)}),
    **{
        f"classes_{classes}-burstiness_{times}": ({"classes": classes, "burstiness": times}, {}, {})
        for classes in CLASSES
        for times in BURSTINESS
    },
    **{f"zipf_{zipf:g}": ({"zipf": zipf}, {}, {}) for zipf in ZIPF},
    **{f"noise_{noise:g}": ({"noise": noise}, {}, {}) for noise in NOISE},
    "all_labels": ({"labels": 8, "classes": 512, "burstiness": 1}, {"labels": 8}, {}),
    "sgd": ({"burstiness": 4}, {}, {"optimizer": "sgd", "lr": 0.05, "steps": 4000, "measure_every": 100}),
}


def main() -> None:
    nb.setup(seed=0)
    for name in sys.argv[1:] or RUNS:
        data, network, options = RUNS[name]
        usual = {"steps": STEPS, "batch": 128, "measure_every": EVERY, "seed": SEEDS, "keep": (STEPS,)}
        found = train(ClassifierConfig(weight_scale=SCALE, **network), in_context(**data), **usual | options)
        found.save(HERE / f"{name}.safetensors", half=True)
        print(name, found, *last(found), sep="\n  ", flush=True)


def last(found: Trajectory) -> list[str]:
    """Say what was measured at the last step."""
    end = found.measures.isel(step=-1)
    return [f"{name} {end[name].values.round(2)}" for name in ("in_context", "in_weights", "target_label")]


if __name__ == "__main__":
    main()
