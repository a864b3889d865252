"""The axis of bars: it always holds 0, at which every bar begins."""

from __future__ import annotations

import numpy as np

from nbtools.errors import InputError
from nbtools.views.colour import Scale

__all__ = ["axis_for", "check_ends", "ticks_of"]

_INTERVALS = 5


def axis_for(values: np.ndarray, *, signed: bool | None, vmin: float | None, vmax: float | None, label: str) -> Scale:
    """Choose an axis from 0 to the greatest value, or symmetric around 0 if the sign matters.

    Raises
    ------
    InputError
        If the axis is empty, or does not hold 0.
    """
    check_ends(vmin, vmax)
    finite = values[np.isfinite(values)]
    low, high = min(0.0, float(finite.min(initial=0))), max(0.0, float(finite.max(initial=0)))
    if signed or (signed is None and low < 0 < high):
        low, high = -max(-low, high), max(-low, high)
    if low == high:
        high = 1.0
    low, high = (low if vmin is None else float(vmin)), (high if vmax is None else float(vmax))
    if not low < high:
        msg = f"the axis is empty: expected vmin < vmax, got {low:g} and {high:g}"
        raise InputError(msg)
    return Scale("viridis", low, high, label)


def check_ends(vmin: float | None, vmax: float | None) -> None:
    """Raise an InputError if an axis with these ends would not hold 0."""
    if (vmin is not None and not vmin <= 0) or (vmax is not None and not vmax >= 0):
        given = " and ".join(f"{name}={end}" for name, end in (("vmin", vmin), ("vmax", vmax)) if end is not None)
        msg = f"bars begin at 0: expected vmin <= 0 <= vmax, got {given}"
        raise InputError(msg)


def ticks_of(axis: Scale) -> list[float]:
    """Give round numbers on the axis, 0 among them.

    Examples
    --------
    >>> ticks_of(Scale("viridis", 0.0, 0.66, "probability"))
    [0.0, 0.2, 0.4, 0.6]
    """
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(_INTERVALS, steps=[1, 2, 5, 10]).tick_values(axis.vmin, axis.vmax)
    return [float(f"{tick:.9g}") + 0.0 for tick in found if axis.vmin <= tick <= axis.vmax]
