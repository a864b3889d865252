"""Activation patching beside TransformerLens and beside its own floor. One JSON line per figure.

Run with ``python benchmarks/patching.py``. The floor of a sweep is the multiply-adds that no exact method can avoid
(layers from the patched one on, positions from the patched one on, cells in which the two runs differ at all), divided
by the rate that this machine's matrix products reach in the same run. TransformerLens is timed on a sample of cells,
in turns with ours; the load is printed beside each figure, because on a busy machine only ratios mean anything.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch
from transformer_lens import patching as lens

import nbtools as nb

ROUNDS, SAMPLE = 3, 24


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rate(rows: int = 2048) -> float:
    """Give the multiply-adds a second that products of the model's own shapes reach; the best of several."""
    left, weight = torch.randn(rows, 576), torch.randn(1536, 576)
    return rows * 576 * 1536 / min(seconds(lambda: torch.nn.functional.linear(left, weight)) for _ in range(30))


def floor(model, cells: list[tuple[int, int]], length: int) -> float:
    """Give the multiply-adds of cells (layer, first position)."""
    cfg = model.cfg
    keys = (cfg.n_key_value_heads or cfg.n_heads) * cfg.d_head
    per_token = 2 * cfg.d_model * cfg.d_model + 2 * cfg.d_model * keys + 3 * cfg.d_model * cfg.d_mlp
    return sum((cfg.n_layers - layer) * (length - start) * per_token for layer, start in cells)


def peer(model, task, setter, name: str, axes: list[str], sample: list[tuple[int, ...]]) -> Callable[[], object]:
    """Give TransformerLens's sweep over a sample of cells."""
    with torch.no_grad():
        _, cache = model.run_with_cache(task.clean.ids)
    table = pd.DataFrame(sample, columns=axes)

    def metric(logits):
        return task.metric(logits[:, -1]).mean()

    @torch.no_grad()
    def run():
        return lens.generic_activation_patch(
            model, task.corrupted.ids, cache, metric, setter, name, index_axis_names=None, index_df=table
        )

    return run


def figure(name: str, model, task, ours, theirs, cells: list[tuple[int, int]], total: int) -> None:
    ours(), theirs()
    rounds = [(seconds(ours), seconds(theirs), rate()) for _ in range(ROUNDS)]
    mine, sampled = (statistics.median(round[at] for round in rounds) for at in (0, 1))
    scaled = sampled / SAMPLE * total
    least = floor(model, cells, len(task.clean)) / max(round[2] for round in rounds)
    line = {"figure": name, "cells": total, "prompts": len(task), "tokens": len(task.clean), "seconds": round(mine, 3)}
    line |= {"peer": "transformer_lens.patching", "peer_seconds": round(scaled, 1), "peer_cells_timed": SAMPLE}
    line |= {
        "times_faster": round(scaled / mine, 1),
        "floor_seconds": round(least, 3),
        "floor_share": round(least / mine, 2),
    }
    print(json.dumps(line | {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}), flush=True)


def spaced(cells: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [cells[round(at * (len(cells) - 1) / (SAMPLE - 1))] for at in range(SAMPLE)]


def streams(model, task, name: str) -> None:
    layers, length, first = range(model.cfg.n_layers), len(task.clean), min(task.first_difference)
    every = [(layer, position) for layer in layers for position in range(length)]
    open_cells = [(layer, position) for layer, position in every if position >= first] * len(task)
    theirs = peer(model, task, lens.layer_pos_patch_setter, "resid_pre", ["layer", "pos"], spaced(every))
    figure(name, model, task, lambda: nb.patching.patch(model, task, "resid_pre"), theirs, open_cells, len(every))


def heads(model, task) -> None:
    layers, length, first = range(model.cfg.n_layers), len(task.clean), task.first_difference[0]
    every = [(layer, head) for layer in layers for head in range(model.cfg.n_heads)]
    theirs = peer(model, task, lens.layer_head_vector_patch_setter, "z", ["layer", "head"], spaced(every))
    cells = [(layer, first) for layer, _ in every]
    figure("heads, all positions", model, task, lambda: nb.patching.patch(model, task, "z"), theirs, cells, len(every))
    each = [
        (layer, position, head) for layer in layers for position in range(length) for head in range(model.cfg.n_heads)
    ]
    theirs = peer(model, task, lens.layer_pos_head_vector_patch_setter, "z", ["layer", "pos", "head"], spaced(each))
    cells = [(layer, position) for layer, position, _ in each if position >= first]
    ours = lambda: nb.patching.patch(model, task, "z", over=("position", "head"))  # noqa: E731
    figure("heads by position", model, task, ours, theirs, cells, len(each))


def main() -> None:
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    model = nb.load()
    nb.setup(seed=0)
    nb.patching.prove(model)
    start = "When Mary and John went to the store, John gave a drink to"
    whole = nb.tasks.pair(model, start, start.replace("When Mary", "When Anna"), " Mary", " Anna")
    late = nb.tasks.pair(model, start, start.replace("John gave", "Mary gave"), " Mary", " John")
    streams(model, whole, "residual stream, first name differs")
    streams(model, late, "residual stream, second mention differs")
    heads(model, whole)
    many = nb.tasks.ioi(model, prompts=16, template=0, corruption="names")
    streams(model, many, "residual stream, 16 pairs, first name differs")


if __name__ == "__main__":
    main()
