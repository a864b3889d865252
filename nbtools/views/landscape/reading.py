"""A surface and a path as they are given, and what is wrong with those that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbtools.errors import ArrayError
from nbtools.views.colour import as_floats, check_numbers
from nbtools.views.landscape.surface import Axis, Surface, Track

__all__ = ["read_surface"]

_MOST, _MOST_STEPS = 128, 2000
_LAST_STEP = np.iinfo(np.int32).max
_UNEVEN = 0.01  # of a step: what coordinates may be off that were float32


def read_surface(values: Any, path: Any, label: str | None) -> Surface:
    """Read a number over two parameters, and the path of a training if there is one.

    Raises
    ------
    ArrayError
        If dimensions, coordinates or numbers are not those that are expected, or there are too many of them.
    """
    if len(getattr(values, "dims", ())) != 2:
        got = f"({', '.join(map(str, values.dims))})" if hasattr(values, "dims") else type(values).__name__
        msg = f"expected values as a DataArray over two parameters, got {got}: choose one of each other with .sel(…)"
        raise ArrayError(msg)
    (y, rows), (x, columns) = (_axis(values, dim) for dim in values.dims)
    numbers = as_floats(values)[np.ix_(rows, columns)]
    if np.isinf(numbers).any():
        msg = "expected finite values, or NaN where nothing is known, got infinity"
        raise ArrayError(msg)
    return Surface(numbers, x, y, _label(values, label), None if path is None else _track(path, x.name, y.name))


def _axis(values: Any, dim: Any) -> tuple[Axis, np.ndarray]:
    """Give a parameter, and the order in which its values ascend."""
    size = values.sizes[dim]
    if not 2 <= size <= _MOST:
        msg = (
            f"expected 2 to {_MOST} values of {dim}, got {size}: "
            f"choose with .isel({dim}=slice(None, None, {max(2, -(-size // _MOST))}))"
        )
        raise ArrayError(msg)
    if dim not in values.coords or not np.issubdtype(values.coords[dim].dtype, np.number):
        msg = f"expected numbers as the coordinate {dim}: .assign_coords({dim}=numpy.linspace(0, 1, {size}))"
        raise ArrayError(msg)
    found = values.coords[dim].values.astype(float)
    order = np.argsort(found)
    gaps = np.diff(found[order])
    if not (np.isfinite(gaps).all() and gaps.min() > 0 and np.ptp(gaps) <= _UNEVEN * gaps.mean()):
        low, high = np.nanmin(found), np.nanmax(found)
        msg = (
            f"expected {dim} in even steps, got steps of {gaps.min():g} to {gaps.max():g}: "
            f".interp({dim}=numpy.linspace({low:g}, {high:g}, {size})), or its logarithm as the coordinate"
        )
        raise ArrayError(msg)
    return Axis(str(dim), found[order]), order


def _label(values: Any, label: str | None) -> str:
    return str(values.attrs.get("long_name") or values.name or "value").replace("_", " ") if label is None else label


def _track(path: Any, *names: str) -> Track:
    columns = [_column(path, name) for name in names]
    steps = _steps(columns[0])
    order = np.argsort(steps)
    places = np.stack([as_floats(column) for column in columns])[:, order]
    check_numbers(places, what="the parameters of the path")
    return Track(steps[order].astype(int), places)


def _column(path: Any, name: str) -> Any:
    """Give one parameter over step, of a Dataset or of a DataArray that has both along another dimension."""
    if not hasattr(path, "data_vars"):
        found = [dim for dim in getattr(path, "dims", ()) if dim in path.coords and name in path.coords[dim].values]
        array = path.sel({found[0]: name}) if found else None
    else:
        array = path.get(name)
    if array is None or array.dims != ("step",):
        got = type(path).__name__ if array is None and not hasattr(path, "dims") else _described(path, array)
        msg = f"expected path as a Dataset over step with {name}, the parameter of that name, got {got}"
        raise ArrayError(msg)
    return array


def _described(path: Any, array: Any) -> str:
    if array is not None:
        return f"{array.name} ({', '.join(map(str, array.dims))})"
    return f"a {type(path).__name__} with {', '.join(map(str, getattr(path, 'data_vars', path.dims))) or 'nothing'}"


def _steps(column: Any) -> np.ndarray:
    if "step" not in column.coords:
        msg = "expected path with the coordinate step, got none: .assign_coords(step=[0, 10, 100])"
        raise ArrayError(msg)
    steps = np.asarray(column.coords["step"].values)
    if not 1 <= len(steps) <= _MOST_STEPS:
        how = f"choose with .isel(step=slice(None, None, {max(2, -(-len(steps) // _MOST_STEPS))}))"
        msg = f"expected a path of 1 to {_MOST_STEPS} steps, got {len(steps)}: {how}"
        raise ArrayError(msg)
    whole = np.issubdtype(steps.dtype, np.number) and bool(((steps % 1 == 0) & (steps <= _LAST_STEP)).all())
    if not whole or steps.min() < 0 or len(set(steps.tolist())) < len(steps):
        some = ", ".join(f"{step}" for step in steps[:4].tolist()) + (", …" if len(steps) > 4 else "")
        msg = f"expected the steps of path as different whole numbers, 0 or more, got {some}"
        raise ArrayError(msg)
    return steps
