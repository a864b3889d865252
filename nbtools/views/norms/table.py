"""Norms by layer and position as they are given, and what they are next to those of the other tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, InputError
from nbtools.views.colour import Scale, as_floats, check_tokens, scale_for
from nbtools.views.log_axis import check_amounts, log_ends, log_numbers

__all__ = ["Table", "check_ends", "log_scale", "marks_of", "read_table"]

_MOST = 128  # layers, and tokens
_MARKS = 6
_DIMS = ("layer", "position")


@dataclass(frozen=True, eq=False)
class Table:
    """Norms ``[layer, position]``, with the names of both; NaN where nothing is known."""

    values: np.ndarray
    layers: list[int]
    positions: list[int]
    tokens: list[str]
    label: str

    @property
    def strongest(self) -> int:
        """The place of the token with the largest norm, the first of several."""
        known = np.where(np.isfinite(self.values), self.values, -1)
        return int(known.max(0).argmax())

    def others(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give for each layer the least, the median and the greatest norm of all other tokens."""
        rest = [row[np.isfinite(row)] for row in np.delete(self.values, place, axis=1)]
        if not any(len(row) for row in rest):
            return (np.full(len(rest), np.nan),) * 3
        found = [np.quantile(row, (0, 0.5, 1)) if len(row) else np.full(3, np.nan) for row in rest]
        return tuple(np.array(found).T)

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws."""
        names = {"layers": self.layers, "positions": self.positions, "tokens": self.tokens}
        return {**names, "values": self.values.astype(np.float32).tobytes()}


def read_table(values: Any, tokens: Sequence[str] | None, label: str | None) -> Table:
    """Read norms.

    Raises
    ------
    ArrayError
        If they are not layers by positions, not amounts, or too many.
    """
    dims = tuple(getattr(values, "dims", _DIMS))
    if set(dims) != set(_DIMS):
        extra = [name for name in dims if name not in _DIMS]
        how = f": choose with .sel({extra[0]}=…), or summarise with .mean({extra[0]!r})" if extra else ""
        msg = f"expected norms with dimensions layer and position, got ({', '.join(map(str, dims))}){how}"
        raise ArrayError(msg)
    array = values.transpose(*_DIMS) if hasattr(values, "dims") else values
    numbers = as_floats(array)
    if numbers.ndim != 2 or not numbers.size or max(numbers.shape) > _MOST:
        msg = (
            f"expected norms (layer, position) of 1 to {_MOST} layers and tokens, got shape {numbers.shape}: "
            f"choose with .isel(position=slice({_MOST}))"
        )
        raise ArrayError(msg)
    check_amounts(numbers, what="norms")
    coords = getattr(array, "coords", {})
    layers, positions = (_numbers(coords, name, size) for name, size in zip(_DIMS, numbers.shape, strict=True))
    given = [str(text) for text in coords["token"].values] if tokens is None and "token" in coords else tokens
    return Table(
        numbers, layers, positions, check_tokens(given, numbers.shape[1], what="position"), _label(array, label)
    )


def _numbers(coords: Any, name: str, size: int) -> list[int]:
    found = [int(number) for number in coords[name].values] if name in coords else list(range(size))
    if len(set(found)) < size:
        msg = f"expected each {name} once, got {found[:6]}: choose with .drop_duplicates({name!r})"
        raise ArrayError(msg)
    return found


def _label(values: Any, label: str | None) -> str:
    if label is not None:
        return label
    attrs = getattr(values, "attrs", {})
    return str(attrs.get("long_name") or getattr(values, "name", None) or "norm").replace("_", " ")


def log_scale(table: Table, *, cmap: str | None, vmin: float | None, vmax: float | None) -> Scale:
    """Choose a colour scale with round ends, on which equal ratios are equal distances."""
    check_ends(vmin, vmax)
    low, high = log_ends(table.values)
    low, high = low if vmin is None else float(vmin), high if vmax is None else float(vmax)
    return scale_for(table.values, cmap=cmap, vmin=low, vmax=high, label=table.label)


def check_ends(vmin: float | None, vmax: float | None) -> None:
    """Raise an InputError if an end has no logarithm."""
    for name, end in (("vmin", vmin), ("vmax", vmax)):
        if end is not None and not end > 0:
            msg = f"a logarithmic scale begins above 0: expected {name} > 0, got {end:g}"
            raise InputError(msg)


def marks_of(scale: Scale) -> list[tuple[float, str]]:
    """Give round numbers on the scale, and how they are written."""
    return [(mark, f"{mark:,g}") for mark in log_numbers(scale.vmin, scale.vmax, _MARKS)]
