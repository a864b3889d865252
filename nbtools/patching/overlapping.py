"""How much two circuits share, and how much they would by chance."""

from __future__ import annotations

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.naming import parse_head
from nbtools.patching.circuit import Circuit

__all__ = ["overlap"]

EVERY = "all stages"


def overlap(
    first: Circuit, second: Circuit, *, heads: int | None = None, draws: int = 10_000, seed: int = 0
) -> xr.Dataset:
    """Count the heads that two circuits share, stage by stage, and compare with heads drawn at random.

    A head counts once in each stage in which it was found, at whatever position. By chance means: each head of the
    second circuit is replaced by a random one of its own layer. That circuits use the same layers is then no overlap.

    Parameters
    ----------
    first, second
        Circuits whose nodes have stages with the same names, from `circuit_search`.
    heads
        How many heads a layer has; by default what the circuits' attrs say.
    draws, seed
        How many random circuits are drawn, and from which seed.

    Returns
    -------
    xarray.Dataset
        Over ``stage``, of which the last is all of them together: ``of_first``, ``of_second`` and ``shared`` heads;
        ``share``, the shared ones over the mean of both (with equal numbers: over the number, as in [1]_);
        ``jaccard``, over the union; of the random circuits' ``share`` the mean ``chance`` and the 95 % range ``low`` to
        ``high``; ``p``, the part of them that share as much or more.

    Raises
    ------
    InputError
        If the circuits have no stage in common, or nothing says how many heads a layer has.

    References
    ----------
    .. [1] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2024.

    Examples
    --------
    >>> from nbtools.patching import Node
    >>> first = Circuit([Node("23.0", "END", stage="movers"), Node("24.4", "END", stage="movers")])
    >>> second = Circuit([Node("23.0", "END", stage="movers"), Node("24.5", "END", stage="movers")])
    >>> found = overlap(first, second, heads=9).sel(stage="movers")
    >>> found.shared.item(), found.share.item(), round(found.jaccard.item(), 2), round(found.chance.item(), 2)
    (1, 0.5, 0.33, 0.11)
    """
    width = heads or first.attrs.get("heads") or second.attrs.get("heads")
    if width is None:
        msg = "expected to know how many heads a layer has: pass heads="
        raise InputError(msg)
    stages = [stage for stage in _stages(first) if stage in _stages(second)]
    if not stages:
        msg = f"expected circuits with stages in common, got {_stages(first)} and {_stages(second)}"
        raise InputError(msg)
    own = [_sets(circuit, stages) for circuit in (first, second)]
    generator = np.random.default_rng(seed)
    drawn = np.array([_shared(own[0], _random(own[1], width, generator)) for _ in range(draws)])
    counts = np.array([[len(found) for found in sets] for sets in own])
    shared = _shared(*own)
    counts, shared, drawn = (
        np.concatenate([part, part.sum(-1, keepdims=True)], -1) for part in (counts, shared, drawn)
    )
    mean = counts.mean(0)
    low, high = np.quantile(drawn / mean, [0.025, 0.975], axis=0)
    columns = {
        "of_first": counts[0], "of_second": counts[1], "shared": shared, "share": shared / mean,
        "jaccard": shared / (counts.sum(0) - shared), "chance": (drawn / mean).mean(0), "low": low, "high": high,
        "p": (drawn >= shared).mean(0),
    }  # fmt: skip
    return xr.Dataset(
        {name: ("stage", values) for name, values in columns.items()},
        {"stage": [*stages, EVERY]},
        attrs={"first": first.name, "second": second.name, "draws": draws, "chance": "heads of the same layers"},
    )


def _stages(circuit: Circuit) -> list[str]:
    return list(dict.fromkeys(node.stage for node in circuit.nodes if node.stage and node.kind == "head"))


def _sets(circuit: Circuit, stages: list[str]) -> list[set[tuple[int, int]]]:
    return [{parse_head(head) for head in circuit.heads(stage=stage)} for stage in stages]


def _shared(first: list[set[tuple[int, int]]], second: list[set[tuple[int, int]]]) -> np.ndarray:
    return np.array([len(ours & theirs) for ours, theirs in zip(first, second, strict=True)])


def _with_all(counts: np.ndarray) -> np.ndarray:
    """Add all stages together as a last one."""
    return np.concatenate([counts, counts.sum(-1, keepdims=True)], -1)


def _random(sets: list[set[tuple[int, int]]], width: int, generator: np.random.Generator) -> list[set[tuple[int, int]]]:
    """Replace heads by others of their layers."""
    drawn = []
    for heads in sets:
        layers = [layer for layer, _ in heads]
        counts = {layer: layers.count(layer) for layer in sorted(set(layers))}
        drawn.append(
            {
                (layer, int(head))
                for layer, count in counts.items()
                for head in generator.choice(width, count, replace=False)
            }
        )
    return drawn
