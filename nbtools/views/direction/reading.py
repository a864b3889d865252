"""Curves and projections as they are given: what they must hold, and what is wrong with those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbtools.errors import ArrayError
from nbtools.views.colour import as_floats, check_size
from nbtools.views.direction.parts import Parts

__all__ = ["read_parts"]

_MOST = 4  # parts side by side
_MOST_SHARES = 400


def read_parts(curves: Any, projections: Any) -> Parts:
    """Read curves and projections, the parts in the order of the curves.

    Raises
    ------
    ArrayError
        If dimensions, variables or parts are not those that are expected, or there are too many of them.
    """
    tables, attrs = _tables(curves)
    names, (shares, order) = _names(tables["mean"], "curves"), _shares(tables["mean"])
    numbers = {name: _numbers(table, ("part", "share"), f"curves ({name})")[:, order] for name, table in tables.items()}
    _check_sizes(names, len(shares))
    along = _along(projections, names)
    check_size(sum(values.nbytes for values in along.values()), knob="projections.isel(pair=slice(…))")
    classes = _classes(projections, along["base"].shape[1])
    band = _band(attrs) if len(numbers) > 1 else ""
    return Parts(names, shares[order], numbers, along, classes, _sides(projections), _label(attrs, curves), band)


def _tables(curves: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the mean and, where it is known, its low and high end; and what is said about them."""
    if not hasattr(curves, "dims"):
        msg = (
            "expected curves as a DataArray (part, share), or a Dataset of mean, low and high, got "
            f"{type(curves).__name__}: xarray.DataArray(values, dims=('part', 'share'), coords={{'share': shares}})"
        )
        raise ArrayError(msg)
    if not hasattr(curves, "data_vars"):
        return {"mean": curves}, dict(curves.attrs)
    spread = [name for name in ("low", "high") if name in curves]
    if "mean" not in curves or len(spread) == 1:
        got = ", ".join(map(str, curves.data_vars)) or "nothing"
        msg = f"expected curves with mean, and with both low and high or neither, got {got}"
        raise ArrayError(msg)
    return {name: curves[name] for name in ("mean", *spread)}, {**curves.attrs, **curves["mean"].attrs}


def _numbers(table: Any, dims: tuple[str, str], what: str) -> np.ndarray:
    if set(table.dims) != set(dims):
        extra = [name for name in table.dims if name not in dims]
        how = f": choose with .sel({extra[0]}=…), or summarise with .mean({extra[0]!r})" if extra else ""
        msg = f"expected {what} with dimensions {' and '.join(dims)}, got {_dims(table)}{how}"
        raise ArrayError(msg)
    numbers = as_floats(table.transpose(*dims))
    if not numbers.size or np.isinf(numbers).any():
        got = "infinity" if numbers.size else f"shape {numbers.shape}"
        msg = f"expected {what} as one finite number, or NaN, for each {' and '.join(dims)}, got {got}"
        raise ArrayError(msg)
    return numbers


def _dims(table: Any) -> str:
    return f"({', '.join(map(str, table.dims))})"


def _names(table: Any, what: str) -> list[str]:
    if "part" not in table.dims:
        msg = f"expected {what} with the dimension part, got {_dims(table)}: name it with .expand_dims(part=['v'])"
        raise ArrayError(msg)
    names = [str(name) for name in table["part"].values.tolist()]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"expected each part of the {what} once, {twice!r} is there {names.count(twice)} times: rename one"
        raise ArrayError(msg)
    return names


def _shares(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give the shares of the way, and their order."""
    if "share" not in table.coords or table.coords["share"].dims != ("share",):
        msg = (
            "expected curves with the dimension share and its coordinate, how far activations have gone, got "
            f"{_dims(table)} with {', '.join(map(str, table.coords)) or 'none'}: .assign_coords(share=[0, 0.5, 1])"
        )
        raise ArrayError(msg)
    shares = as_floats(table.coords["share"].values).astype(float).round(6)
    different = np.isfinite(shares).all() and len(np.unique(shares)) == len(shares) > 1
    if not different or not shares.min() <= 0 <= shares.max():
        some = ", ".join(f"{share:g}" for share in shares[:6]) + (", …" if len(shares) > 6 else "")
        msg = f"expected two or more different shares, with 0, the base as it is, in their range, got {some or 'none'}"
        raise ArrayError(msg)
    return shares, np.argsort(shares)


def _check_sizes(names: list[str], shares: int) -> None:
    if len(names) > _MOST:
        msg = f"this view shows at most {_MOST} parts, got {len(names)}: choose with curves.sel(part={names[:_MOST]})"
        raise ArrayError(msg)
    if shares > _MOST_SHARES:
        msg = f"this view shows at most {_MOST_SHARES} shares, got {shares}: choose with curves.isel(share=slice(…))"
        raise ArrayError(msg)


def _along(projections: Any, names: list[str]) -> dict[str, np.ndarray]:
    """Give where the activations of both runs lie along each part, and the patched ones at share 1."""
    if not {"base", "source"} <= set(getattr(projections, "data_vars", ())):
        got = ", ".join(map(str, getattr(projections, "data_vars", ()))) or type(projections).__name__
        msg = f"expected projections as a Dataset (part, pair) with the variables base and source, got {got}"
        raise ArrayError(msg)
    ours = _names(projections["base"], "projections")
    if set(ours) != set(names):
        msg = (
            f"expected projections along the parts of the curves, {', '.join(names)}, got {', '.join(ours)}: "
            f"choose with projections.sel(part={names}), or add those that lack"
        )
        raise ArrayError(msg)
    chosen = [ours.index(name) for name in names]
    found = [name for name in ("base", "source", "patched") if name in projections]
    along = {name: _numbers(projections[name], ("part", "pair"), f"projections ({name})")[chosen] for name in found}
    return {"patched": along["source"], **along}


def _classes(projections: Any, pairs: int) -> dict[str, np.ndarray]:
    """Give the class of each base and of each source, which is the other one unless it is known."""
    if "side" not in projections.variables:
        msg = (
            "expected projections with side, the class of each base: .assign_coords(side=('pair', [0, 1, …])), got none"
        )
        raise ArrayError(msg)
    base = _class(projections["side"], pairs, "side")
    known = "source_side" in projections.variables
    return {"base": base, "source": _class(projections["source_side"], pairs, "source_side") if known else 1 - base}


def _class(sides: Any, pairs: int, name: str) -> np.ndarray:
    values = np.asarray(sides.values)
    if values.shape != (pairs,) or not np.isin(values, (0, 1)).all():
        got = f"shape {values.shape}" if values.shape != (pairs,) else np.unique(values)[:4].tolist()
        msg = f"expected {name} as 0 or 1 for each of {pairs} pairs, the class of an activation, got {got}"
        raise ArrayError(msg)
    return values.astype(int)


def _sides(projections: Any) -> list[str]:
    sides = projections.attrs.get("sides", ("class 0", "class 1"))
    if isinstance(sides, str) or len(sides) != 2:
        msg = f"expected the names of both classes, such as attrs['sides'] = ('ABBA', 'BABA'), got {sides!r}"
        raise ArrayError(msg)
    return [str(side) for side in sides]


def _label(attrs: dict[str, Any], curves: Any) -> str:
    """Say what the curves are, with its unit."""
    named = attrs.get("long_name") or getattr(curves, "name", None) or attrs.get("metric") or "logit difference"
    return str(named).replace("_", " ") + (f" ({attrs['units']})" if attrs.get("units") else "")


def _band(attrs: dict[str, Any]) -> str:
    return f"{100 * float(attrs['level']):g} % interval" if "level" in attrs else "low to high"
