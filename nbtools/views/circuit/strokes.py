"""How an edge or an outline is drawn: what it says can be read without its colour."""

from __future__ import annotations

from typing import Any

__all__ = ["NEGATIVE", "NODE", "POSITIVE", "edge_strokes", "width_of"]

POSITIVE, NEGATIVE = "#3f7fd0", "#d6604d"  # as in circuit.js; seen on white and on black
THINNEST, WIDEST = 1.0, 6.0  # pixels
_POINT = 0.72

NODE: tuple[dict[str, Any], ...] = (
    {"linewidth": 0.9},  # both circuits: a second line within
    {"linewidth": 1.1},
    {"linewidth": 1.1, "linestyle": (0, (3, 2))},
)
"""The outline of a node that both circuits have, only the first, and only the second."""


def width_of(strength: float) -> float:
    """Give the width of an edge in pixels, from its share of the largest effect."""
    return THINNEST + (WIDEST - THINNEST) * min(1.0, abs(strength))


def edge_strokes(strength: float, side: int) -> list[dict[str, Any]]:
    """Give the lines of an edge, lowest first: a double one if both circuits have it, beads if only the second."""
    width = width_of(strength)
    colour = {"edgecolor": NEGATIVE if strength < 0 else POSITIVE}
    if side == 2:
        beads = {"linewidth": _POINT * (width + 2), "linestyle": (0, (0.01, 10 / (width + 2))), "capstyle": "round"}
        return [_line(1.2, strength) | colour, beads | colour]
    if side == 0:
        within = {"edgecolor": "white", "linewidth": _POINT * width, "linestyle": "solid", "capstyle": "butt"}
        return [_line(width + 3, strength) | colour, within]
    return [_line(width, strength) | colour]


def _line(width: float, strength: float) -> dict[str, Any]:
    dashes = (0, (8 / width, 5 / width)) if strength < 0 else "solid"
    return {"linewidth": _POINT * width, "linestyle": dashes, "capstyle": "butt"}
