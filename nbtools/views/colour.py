"""Numbers as bytes, and matplotlib's colour maps as tables that Python and the page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, InputError

__all__ = ["Scale", "as_floats", "check_numbers", "check_tokens", "scale_for"]

_CAP_MB = 4.0


@dataclass(frozen=True)
class Scale:
    """A colour map with its range and what it shows."""

    cmap: str
    vmin: float
    vmax: float
    label: str

    def table(self) -> bytes:
        """Give the colour map as 256 red, green, blue bytes."""
        import matplotlib as mpl

        colours = mpl.colormaps[self.cmap](np.linspace(0, 1, 256))[:, :3]
        return np.round(colours * 255).astype(np.uint8).tobytes()

    def frame(self) -> dict[str, Any]:
        """Give what the page needs to draw this scale and its legend."""
        return {"lut": self.table(), "vmin": self.vmin, "vmax": self.vmax, "label": self.label}


def scale_for(
    values: np.ndarray, *, cmap: str | None, vmin: float | None, vmax: float | None, label: str, signed: bool = False
) -> Scale:
    """Choose a colour scale: viridis for amounts, RdBu with a symmetric range for signed effects.

    Raises
    ------
    InputError
        If there is no such colour map, or the range is empty.
    """
    import matplotlib as mpl

    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if signed:
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    low, high = (low if vmin is None else float(vmin)), (high if vmax is None else float(vmax))
    if low == high and vmin is None:
        low = min(low, 0.0)
    if low == high and vmax is None:
        high = low + 1.0
    name = cmap or ("RdBu" if signed else "viridis")
    if name not in mpl.colormaps:
        msg = f"no colour map {name!r}: expected a name of matplotlib's, such as 'viridis', 'magma' or 'RdBu'"
        raise InputError(msg)
    if not low < high:
        msg = f"the colour range is empty: expected vmin < vmax, got {low:g} and {high:g}"
        raise InputError(msg)
    return Scale(name, low, high, label)


def as_floats(values: Any) -> np.ndarray:
    """Read any array, list or tensor as float32, without importing what made it."""
    if hasattr(values, "detach"):  # a torch tensor, possibly in bfloat16, which NumPy does not know
        values = values.detach().float().cpu().numpy()
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        msg = f"expected numbers in a regular array, got {type(values).__name__}: {error}"
        raise ArrayError(msg) from error


def check_numbers(values: np.ndarray, *, what: str) -> None:
    """Raise an ArrayError if an array holds NaN or infinity, saying where the first one is."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        msg = f"{what} must be finite numbers, got {values[where]} at index {where} ({int(wrong.sum())} in all)"
        raise ArrayError(msg)


def check_tokens(tokens: Sequence[Any] | None, length: int, *, what: str) -> list[str]:
    """Give the token texts, numbers in their place if there are none; their count must fit."""
    if tokens is None:
        return [str(position) for position in range(length)]
    texts = [str(token) for token in tokens]
    if isinstance(tokens, str) or len(texts) != length:
        got = "one text" if isinstance(tokens, str) else f"{len(texts)} tokens"
        msg = f"expected {length} tokens, one for each {what}, got {got}"
        raise ArrayError(msg)
    return texts


def check_size(size: int, *, knob: str) -> None:
    """Raise an ArrayError that names the knob if more bytes would be sent than a page should hold."""
    if size > _CAP_MB * 1e6:
        msg = (
            f"this view would send {size / 1e6:.1f} MB to the page, more than {_CAP_MB:g} MB: choose fewer with {knob}"
        )
        raise ArrayError(msg)
