"""Learn the directions of notebook 02 and measure them on prompts they were not learned on: ``make subspaces``.

Half an hour on two cores. What is written stands beside this script: the directions, and two tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
import torch
from safetensors.torch import save_file

import nbtools as nb
from nbtools.patching import Mediator, Subspace, compare_patches, diagnose, split

HERE = Path(__file__).parent
FIRST = 20  # of which more seeds and random weights are tried
LAYERS = (FIRST, 21, 22, 19)
NAME_MOVERS = ["23.0", "23.1", "23.7"]  # of notebook 01, those that act by queries
TRAIN = {"pairs": 200, "template": 0, "crossing": False, "half": "first", "seed": 1}
HELD_OUT = {"pairs": 600, "template": 5, "crossing": True, "half": "second", "seed": 2}
FACT_LAYERS = (0, 2, 5, 8, 11, 14, 17, 20)
FACTS = 24  # which the model knows
NAMES = {"row": "row part", "null": "null part"}  # pandas would read "null" as missing


def main() -> None:
    nb.setup(seed=0)
    model = nb.load()
    directions: dict[str, torch.Tensor] = {}
    rows: list[dict] = []
    for found in orders(model, directions):  # what is known is written at once
        rows.append(found)
        if found["patch"] == NAMES["null"]:
            pd.DataFrame(rows).round(4).to_csv(HERE / "orders.csv", index=False)
            save_file(directions, HERE / "directions.safetensors")
    pd.DataFrame(facts(model)).round(4).to_csv(HERE / "facts.csv", index=False)


def orders(model, directions: dict[str, torch.Tensor]) -> Iterator[dict]:
    """Find directions for the order of two names in several layers, and measure each."""
    train, held_out = (nb.tasks.ioi_orders(model, **options) for options in (TRAIN, HELD_OUT))
    for layer in LAYERS:
        yield from at_layer(model, train, held_out, layer, directions, seeds=range(3 if layer == FIRST else 1))
        if layer == FIRST:
            with random_mlp(model, layer):
                yield from at_layer(model, train, held_out, layer, directions, seeds=range(1), weights="random")


def at_layer(model, train, held_out, layer, directions, *, seeds, weights="trained") -> Iterator[dict]:
    streams = [Mediator(model, pairs, "resid_post", layer=layer) for pairs in (train, held_out)]
    for site in ("resid_post", "neurons"):
        learning, measured = streams if site == "resid_post" else [stream.beside(site) for stream in streams]
        heads = NAME_MOVERS if site == "resid_post" else []
        if heads and layer >= 23:
            continue
        reading = nb.patching.reader_weights(measured, heads=heads)
        found = {("means", 0): nb.patching.mean_direction(learning)}
        found |= {("learned", seed): nb.patching.learn_subspace(learning, seed=seed) for seed in seeds}
        for (how, seed), subspace in found.items():
            directions[".".join([site, str(layer), how, str(seed), weights])] = subspace.basis[:, 0].contiguous()
            about = {"site": site, "layer": layer, "how": how, "seed": seed, "weights": weights}
            yield from measures(about, measured, subspace, reading)
        print(site, layer, weights, flush=True)


def measures(about: dict, mediator: Mediator, subspace: Subspace, reading: torch.Tensor) -> Iterator[dict]:
    found = diagnose(mediator, subspace, reading)
    names = ("row_norm", "null_norm", "off_range", "off_nearest")
    about = about | {name: getattr(found, name) for name in names}
    for patch, figures in found.effects.to_dataframe().iterrows():
        yield about | {"patch": NAMES.get(patch, patch)} | figures.to_dict()


@contextmanager
def random_mlp(model, layer: int) -> Iterator[None]:
    """Put random weights as large as the trained ones in place of an MLP for a while."""
    generator = torch.Generator().manual_seed(0)
    weights = [part.data for part in model.blocks[layer].mlp.parameters()]
    kept = [part.clone() for part in weights]
    try:
        for part in weights:
            part.normal_(0.0, part.std().item(), generator=generator)
        yield
    finally:
        for part, before in zip(weights, kept, strict=True):
            part.copy_(before)


def facts(model) -> Iterator[dict]:
    """Try to flip each fact by a direction of its own in one MLP, at the last token of its subject."""
    pairs = nb.tasks.interchange(nb.tasks.facts(model, relation="capital", prompts=40), direction="noising")
    says = [nb.runs.forward(model, side).logits[:, -1].argmax(-1) for side in (pairs.base, pairs.source)]
    known = torch.nonzero((says[0] == pairs.own) & (says[1] == pairs.other))[:FACTS, 0].tolist()
    for layer in FACT_LAYERS:
        mediator = Mediator(model, pairs.take(known), "neurons", layer=layer, position="SUBJECT")
        v = nb.patching.pair_directions(mediator, steps=30)
        row, null = (part.T for part in split(v.T, nb.patching.reader_weights(mediator)))
        patches = {"full": mediator.source} | {
            name: nb.patching.patch_directions(mediator.base, mediator.source, part)
            for name, part in (("v", v), (NAMES["row"], row), (NAMES["null"], null))
        }
        table = compare_patches(mediator, patches)
        for patch, figures in table.to_dataframe().iterrows():
            yield {"layer": layer, "pairs": len(known), "null_norm": null.norm(dim=1).mean().item(), "patch": patch} | {
                "flipped": figures.accuracy, "flipped_low": figures.accuracy_low, "flipped_high": figures.accuracy_high,
                "fldd": figures.fldd,
            }  # fmt: skip
        print("facts", layer, flush=True)


if __name__ == "__main__":
    main()
