"""Curves, attention and norms over training as they are given, and what is wrong with those that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, InputError
from nbtools.views.colour import as_floats, check_numbers, check_size
from nbtools.views.log_axis import check_amounts
from nbtools.views.scrubber.history import History, Kept, Panel

__all__ = ["read_history"]

_MOST_PANELS, _MOST_STEPS, _MOST_TOKENS = 8, 2000, 64
_SCALES = ("linear", "log")
_LAST_STEP = np.iinfo(np.int32).max


def read_history(curves: Any, maps: Any, bars: Any, names: Any, scale: str, until: int | None) -> History:
    """Read what a scrubber shows.

    Raises
    ------
    ArrayError
        If dimensions or steps are not those that are expected, or there is too much of something.
    InputError
        If there is no such variable or scale.
    """
    if scale not in _SCALES:
        msg = f"no scale {scale!r}: expected 'linear' or 'log'"
        raise InputError(msg)
    chosen = _chosen(_dataset(curves), names)
    steps, order = _steps(next(iter(chosen.values()))[0], "curves", least=2 if until is None else 1)
    if len(steps) > _MOST_STEPS:
        how = "choose with .isel(step=slice(None, None, 2))"
        msg = f"this view shows at most {_MOST_STEPS} steps, got {len(steps)}: {how}"
        raise ArrayError(msg)
    panels = [panel for array, name in chosen.values() for panel in _panels(array, name, order)]
    if len(panels) > _MOST_PANELS:
        msg = (
            f"this view shows at most {_MOST_PANELS} curves, each in its panel, got {len(panels)}: "
            f"choose with names={[panel.name for panel in panels[:2]]}, or .sel(layer=…)"
        )
        raise ArrayError(msg)
    seeds = max(array.sizes.get("seed", 1) for array, _ in chosen.values())
    return History(steps, scale, _last(steps, until), panels, seeds, _maps(maps), _bars(bars))


def _last(steps: np.ndarray, until: int | None) -> int:
    """Give the step at which the axis ends."""
    if until is None:
        return int(steps[-1])
    if not steps[0] < until <= _LAST_STEP:
        msg = f"expected until= as a step after {steps[0]}, the first one, got {until}"
        raise InputError(msg)
    return max(int(until), int(steps[-1]))


def _dataset(curves: Any) -> Any:
    if hasattr(curves, "data_vars"):
        return curves
    if not hasattr(curves, "dims"):
        msg = (
            "expected curves as a Dataset or DataArray with the dimension step, got "
            f"{type(curves).__name__}: xarray.DataArray(values, dims='step', coords={{'step': steps}})"
        )
        raise ArrayError(msg)
    return {curves.name or "value": curves}


def _chosen(curves: Any, names: Any) -> dict[str, tuple[Any, str]]:
    """Give for each variable that is to be shown its array, and what is written above it."""
    known = getattr(curves, "data_vars", curves)
    if names is None:
        names = [name for name in known if "step" in known[name].dims]
    if isinstance(names, str):
        names = [names]
    for name in names:
        if name not in known:
            msg = f"no variable {name!r} among the curves: expected some of {', '.join(map(str, known))}"
            raise InputError(msg)
    texts = names if isinstance(names, Mapping) else {name: str(name).replace("_", " ") for name in names}
    if not texts:
        msg = f"expected curves over step, got {', '.join(map(str, known)) or 'no variable'} without that dimension"
        raise ArrayError(msg)
    return {name: (_squeezed(known[name], str(name)), str(text)) for name, text in texts.items()}


def _squeezed(array: Any, name: str) -> Any:
    """Leave only dimensions that a curve can have."""
    array = array.squeeze([dim for dim in array.dims if dim != "step" and array.sizes[dim] == 1])
    extra = [dim for dim in array.dims if dim not in ("step", "seed", "layer")]
    if "step" not in array.dims or extra:
        how = f": choose with .sel({extra[0]}=…), or summarise with .mean({extra[0]!r})" if extra else ""
        msg = f"expected {name} over step, and perhaps seed and layer, got ({', '.join(map(str, array.dims))}){how}"
        raise ArrayError(msg)
    return array


def _steps(array: Any, what: str, *, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Give the steps, and their order."""
    if "step" not in array.coords or array.coords["step"].dims != ("step",):
        msg = f"expected {what} with the coordinate step, got none: .assign_coords(step=[0, 10, 100])"
        raise ArrayError(msg)
    steps = np.asarray(array.coords["step"].values)
    whole = np.issubdtype(steps.dtype, np.number) and bool(((steps % 1 == 0) & (steps <= _LAST_STEP)).all())
    if not whole or steps.min(initial=0) < 0 or len(set(steps.tolist())) < len(steps):
        some = ", ".join(f"{step}" for step in steps[:4].tolist()) + (", …" if len(steps) > 4 else "")
        msg = f"expected the steps of {what} as different whole numbers, 0 or more, got {some}"
        raise ArrayError(msg)
    if len(steps) < least:
        msg = f"expected {what} at {least} or more steps, got {len(steps)}"
        raise ArrayError(msg)
    return np.sort(steps.astype(int)), np.argsort(steps)


def _panels(array: Any, name: str, order: np.ndarray) -> list[Panel]:
    """Give the panel of a variable, or one for each of its layers."""
    layers = array.coords.get("layer", range(array.sizes["layer"])) if "layer" in array.dims else []
    parts = [array.isel(layer=place) for place in range(len(layers))] or [array]
    texts = [f"layer {int(layer)}: {name}" for layer in layers] or [name]
    return [_panel(part, text, array.attrs, order) for part, text in zip(parts, texts, strict=True)]


def _panel(array: Any, name: str, attrs: Mapping[str, Any], order: np.ndarray) -> Panel:
    each = as_floats(array.transpose("seed", "step") if "seed" in array.dims else array.expand_dims("seed"))[:, order]
    if np.isinf(each).any():
        msg = f"expected {name} as finite numbers, or NaN where there is none, got infinity"
        raise ArrayError(msg)
    known = np.isfinite(each)
    count = np.where(known.any(0), known.sum(0), np.nan)
    fewest = int(known.sum(0)[known.any(0)].min(initial=len(each)))
    mean = (np.where(known, each, 0).sum(0) / count).astype(np.float32)
    low, high = (np.where(known.any(0), ends, np.nan) for ends in _spread(each, known))
    return Panel(name, _note(attrs), mean, low, high, _ends(each[known], attrs, name), fewest)


def _spread(each: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(known, each, np.inf).min(0), np.where(known, each, -np.inf).max(0)


def _note(attrs: Mapping[str, Any]) -> str:
    name, units = str(attrs.get("long_name", "")), str(attrs.get("units", ""))
    return f"{name} ({units})" if name and units else name or units


def _ends(values: np.ndarray, attrs: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Give the ends of an axis: those that are asked for, else those of the data, with 0 if it is not far."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    low = 0.0 if 0 < low < 0.4 * high else low
    low, high = float(attrs.get("vmin", low)), float(attrs.get("vmax", high))
    if low > high or ("vmin" in attrs and "vmax" in attrs and low == high):
        msg = f"the axis of {name} is empty: expected attrs vmin < vmax, got {low:g} and {high:g}"
        raise ArrayError(msg)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _kept(array: Any, what: str, dims: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Give the steps of what was kept, and its numbers."""
    if not hasattr(array, "dims") or set(array.dims) != set(dims):
        got = f"({', '.join(map(str, array.dims))})" if hasattr(array, "dims") else type(array).__name__
        msg = f"expected {what} as a DataArray ({', '.join(dims)}), got {got}: choose one of each other dimension"
        raise ArrayError(msg)
    longest = max(array.sizes[dim] for dim in dims[1:])
    if longest > _MOST_TOKENS:
        how = f"choose with .isel({dims[-1]}=slice({_MOST_TOKENS}))"
        msg = f"this view shows {what} of at most {_MOST_TOKENS} tokens, got {longest}: {how}"
        raise ArrayError(msg)
    steps, order = _steps(array, what, least=1)
    return steps, as_floats(array.transpose(*dims))[order]


def _maps(maps: Any) -> Kept | None:
    if maps is None:
        return None
    steps, values = _kept(maps, "maps", ("step", "query", "key"))
    check_numbers(values, what="maps")
    if not values.size or values.min() < -1e-3 or values.max() > 1.001:
        got = f"{values.min():g} to {values.max():g}" if values.size else "nothing"
        msg = f"expected maps of attention, from 0 to 1, got {got}: divide by their sum over key"
        raise ArrayError(msg)
    check_size(values.size, knob="maps.isel(step=slice(None, None, 2))")
    texts = (_texts(maps, dim, f"{dim}_token") for dim in ("query", "key"))
    return Kept(steps, values.clip(0, 1), *texts, _label(maps, "attention"))


def _bars(bars: Any) -> Kept | None:
    if bars is None:
        return None
    steps, values = _kept(bars, "bars", ("step", "position"))
    check_amounts(values, what="bars")
    check_size(values.nbytes, knob="bars.isel(step=slice(None, None, 2))")
    return Kept(steps, values, _texts(bars, "position", "token"), [], _label(bars, "norm"))


def _texts(array: Any, dim: str, coord: str) -> Sequence[str]:
    source = coord if coord in array.coords and array.coords[coord].dims == (dim,) else dim
    return [str(text) for text in (array.coords[source].values if source in array.coords else range(array.sizes[dim]))]


def _label(array: Any, otherwise: str) -> str:
    named = array.attrs.get("long_name") or array.name or otherwise
    return str(named).replace("_", " ")
