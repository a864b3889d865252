"""Logarithmic axes: ends and marks that are round numbers."""

from __future__ import annotations

import numpy as np

from nbtools.errors import ArrayError

__all__ = ["check_amounts", "log_ends", "log_numbers"]

_ROUND = np.array([1, 2, 5, 10])
_SLACK = 1e-6  # of a number that may have been a float32


def log_ends(values: np.ndarray) -> tuple[float, float]:
    """Give round numbers, 1, 2 or 5 times a power of ten, between which all positive values lie.

    Examples
    --------
    >>> log_ends(np.array([0.0, 0.3, 170.0]))
    (0.2, 200.0)
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return 1.0, 10.0
    least, most = float(positive.min()), float(positive.max())
    low, high = _below(least), _above(most)
    return (low, high) if low < high else (low, low * 10)


def _below(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(value))
    return _plain(power * _ROUND[value / power * (1 + _SLACK) >= _ROUND].max(initial=1))


def _above(value: float) -> float:
    power = 10.0 ** np.floor(np.log10(value))
    return _plain(power * _ROUND[value / power * (1 - _SLACK) <= _ROUND].min(initial=10))


def log_numbers(low: float, high: float, most: int) -> list[float]:
    """Give round numbers on a logarithmic axis, at most so many.

    Examples
    --------
    >>> log_numbers(0.2, 200.0, 5), log_numbers(1.0, 10.0, 5)
    ([1.0, 10.0, 100.0], [1.0, 2.0, 5.0, 10.0])
    """
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for parts, every in ((_ROUND[:3], 1), *((_ROUND[:1], apart) for apart in range(1, len(powers) + 1))):
        marks = [_plain(part * 10.0**power) for power in powers if power % every == 0 for part in parts]
        found = [mark for mark in marks if low * (1 - _SLACK) <= mark <= high * (1 + _SLACK)]
        if len(found) <= most:
            return found
    return []


def check_amounts(values: np.ndarray, *, what: str) -> None:
    """Raise an ArrayError if a number is negative or infinite; a logarithmic axis holds 0 and NaN as no mark."""
    if not values.size or np.isinf(values).any() or (values < 0).any():
        got = "nothing" if not values.size else "infinity" if np.isinf(values).any() else f"{np.nanmin(values):g}"
        msg = f"expected {what} as finite amounts, 0 or more, for a logarithmic axis, got {got}: take norms of vectors"
        raise ArrayError(msg)


def _plain(value: float) -> float:
    return float(f"{value:.6g}")
