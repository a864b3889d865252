"""Which curves the training explorer shows, and what is written above each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from nbtools.errors import InputError

__all__ = ["Names", "curves_of"]

Names = Sequence[str] | Mapping[str, str] | None

_USUAL = ("sink", "drain", "backcopy_accuracy", "bigram_excess", "trigger_to_previous", "residual_ratio")
_MOST_PANELS = 8


def curves_of(measures: xr.Dataset, names: Names, layer: int | None) -> tuple[xr.Dataset, dict[str, str]]:
    """Give the curves that are asked for, and their names: those of all layers, or of one where that is too much.

    Raises
    ------
    InputError
        If one of them is not measured, or there are too many.
    """
    texts = _texts(measures, names)
    parts = {name: _parts(measures[name].variable) for name in texts}
    whole = sum(map(len, parts.values())) <= _MOST_PANELS
    curves, titles = {}, {}
    for name, known in parts.items():
        for each in known if whole else [layer] if layer in known else [*known][:1]:
            curves[f"{name} {each}"] = _bounded(known[each], measures[name].attrs)
            titles[f"{name} {each}"] = f"layer {each}: {texts[name]}" if len(known) > 1 else texts[name]
    return xr.Dataset(curves, {"step": measures.step}), titles


def _texts(measures: xr.Dataset, names: Names) -> dict[str, str]:
    measured = [str(name) for name in measures]
    if names is None:
        names = [name for name in _USUAL if name in measured] or measured[:_MOST_PANELS]
    names = [names] if isinstance(names, str) else names
    wrong = [name for name in names if name not in measured]
    if wrong or not 0 < len(names) <= _MOST_PANELS:
        got = f"{wrong[0]!r}" if wrong else f"{len(names)}"
        msg = f"expected names= as 1 to {_MOST_PANELS} of {', '.join(measured)}, got {got}"
        raise InputError(msg)
    return dict(names) if isinstance(names, Mapping) else {name: name.replace("_", " ") for name in names}


def _parts(array: xr.Variable) -> dict[int | None, xr.Variable]:
    """Give the numbers of each layer of which something is known; what has no layers is one part, named None."""
    finite = array.where(np.isfinite(array))
    if "layer" not in array.dims:
        return {None: finite}
    layers = {layer: finite.isel(layer=layer) for layer in range(array.sizes["layer"])}
    return {layer: part for layer, part in layers.items() if part.notnull().any()} or {0: layers[0]}


def _bounded(part: xr.Variable, attrs: Mapping[str, Any]) -> xr.Variable:
    """Let the axis of amounts begin at 0, and end at 1 where none was more so far."""
    known = part.values[np.isfinite(part.values)]
    ends = {"vmin": 0} if known.size and known.min() >= 0 else {}
    if ends and known.max() <= 1:
        ends["vmax"] = 1
    return xr.Variable(part.dims, part.values, {**attrs, **ends})
