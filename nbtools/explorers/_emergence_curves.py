"""Which curves show that something emerges, and those of other seeds beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.explorers._training_curves import Names, curves_of
from nbtools.training import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["emergence_curves"]

_IN_CONTEXT = ("loss_train", "in_context", "in_weights", "context_label", "item_label", "target_label")
_TOKENS = {  # and in which of the layers
    "repeated_accuracy": None,
    "loss_repeated": None,
    "loss_novel": None,
    "previous_token": 0,
    "induction": -1,
    "sink_novel": -1,
    "sink_repeated": -1,
}


def emergence_curves(
    run: Trajectory, seeds: Any, names: Names, layers: Sequence[int]
) -> tuple[xr.Dataset, dict[str, str]]:
    """Give the curves of a run and of other seeds, and what is written above each.

    Raises
    ------
    InputError
        If one of them is not measured, or what is given as seeds are no measures.
    """
    measures = run.measures if seeds is None else _together(run.measures, seeds)
    if names is None:
        measures, names = _usual(measures, layers)
    return curves_of(measures, names, layers[-1])


def _usual(measures: xr.Dataset, layers: Sequence[int]) -> tuple[xr.Dataset, Names]:
    """Choose what shows it most clearly, each measure of attention in the layer that is meant to do that."""
    flat = [name for name in _IN_CONTEXT if name in measures]
    if "in_context" in flat:
        return measures, flat
    if "induction" not in measures:
        return measures, None
    names = {}
    for name, place in _TOKENS.items():
        if name in measures:
            text = name.replace("_", " ")
            names[name] = text if place is None else f"layer {layers[place]}: {text}"
            measures = measures.assign(
                {name: measures[name].isel({} if place is None else {"layer": layers[place]}, drop=True)}
            )
    return measures, names


def _together(own: xr.Dataset, seeds: Any) -> xr.Dataset:
    """Put the measures of a run and those of others side by side, each seed once, at the steps that all have."""
    given = [seeds] if isinstance(seeds, Trajectory | xr.Dataset) else seeds
    others = [_over_seeds(_measures(other)) for other in (given if isinstance(given, Iterable) else [given])]
    known = [_over_seeds(own)]
    for other in others:
        if missing := [str(name) for name in own if name not in other]:
            msg = f"expected seeds= with the measures of the run, got some without {', '.join(missing)}"
            raise InputError(msg)
        seen = np.concatenate([each.seed.values for each in known])
        new = ~np.isin(other.seed.values, seen)
        known.append(other[[*own]].isel(seed=new))
    found = xr.concat(known, "seed", join="inner", coords="minimal", compat="override", combine_attrs="override")
    if found.sizes["step"] < 2:
        msg = "expected seeds= measured at steps of the run, got fewer than two in common: use the same measure_every="
        raise InputError(msg)
    return found


def _measures(other: Any) -> xr.Dataset:
    if isinstance(other, Trajectory):
        return other.measures
    if not isinstance(other, xr.Dataset) or "step" not in other.coords or "seed" not in other.coords:
        got = (
            f"a Dataset without {'step' if 'step' not in other.coords else 'seed'}"
            if isinstance(other, xr.Dataset)
            else type(other).__name__
        )
        msg = f"expected seeds= as a Trajectory, its measures over step and seed, or a list of these, got {got}"
        raise InputError(msg)
    return other


def _over_seeds(measures: xr.Dataset) -> xr.Dataset:
    return measures if "seed" in measures.dims else measures.expand_dims("seed")
