"""Numbers as the pages write them, for still pictures."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np

__all__ = ["minus", "number", "shortened"]


def number(value: float) -> str:
    """Write a number as `number` of shared.js does.

    Examples
    --------
    >>> number(0.5), number(-12.34), number(1 / 16), number(123456.0), number(float("nan"))
    ('0.500', '−12.3', '0.063', '1.23e+5', 'undefined')
    >>> number(np.float32(0.25))
    '0.250'
    """
    size = abs(value)
    if not np.isfinite(value):
        return "undefined"
    if size != 0 and (size >= 1e5 or size < 1e-3):
        digits, power = f"{value:.2e}".split("e")
        return minus(f"{digits}e{int(power):+d}")
    last = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return minus(f"{Decimal(float(value)).quantize(Decimal(1).scaleb(-last), ROUND_HALF_UP):f}")


def minus(text: str) -> str:
    """Write a minus sign where there is a hyphen."""
    return text.replace("-", "−")


def shortened(text: str, most: int) -> str:
    """Write a text in one line of at most so many letters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
