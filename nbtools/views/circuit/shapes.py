"""The outlines of nodes: one for each role, a flat box for MLPs, and a pill for the ends of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nbtools.views.circuit.reading import Node

__all__ = ["SHAPES", "Shape", "shape_of_each"]


@dataclass(frozen=True)
class Shape:
    """An outline around a node's middle, in pixels, with y downward.

    Attributes
    ----------
    name
        What it is called.
    points
        Corners of a closed polygon.
    text
        How far below the middle the label stands.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    text: float = 0.0

    def frame(self) -> dict[str, Any]:
        """Give what the page draws."""
        x, y = zip(*self.points, strict=True)
        return {
            "points": list(map(list, self.points)),
            "text": self.text,
            "up": -min(y),
            "down": max(y),
            "half": max(x),
        }


def _round(wide: float, tall: float, flat: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Give an ellipse, or with a flat part between its halves a pill."""
    turns = np.linspace(0, 2 * np.pi, 33)[:-1] + np.pi / 32
    return tuple(
        (round(float(wide * np.cos(turn) + flat * np.sign(np.cos(turn))), 2), round(float(tall * np.sin(turn)), 2))
        for turn in turns
    )


_CIRCLE = Shape("circle", _round(18, 16))
_BOX = Shape("flat box", ((-22, -9), (22, -9), (22, 9), (-22, 9)))
_PILL = Shape("pill", _round(12, 12, 26))
_FALLING = Shape("triangle down", ((-22, -15), (22, -15), (0, 20)), -5)
_FOR_ROLES = (
    Shape("diamond", ((0, -20), (21, 0), (0, 20), (-21, 0))),
    Shape("square", ((-16, -15), (16, -15), (16, 15), (-16, 15))),
    Shape("hexagon", ((-11, -16), (11, -16), (21, 0), (11, 16), (-11, 16), (-21, 0))),
    Shape("triangle up", ((-22, 15), (22, 15), (0, -20)), 5),
    Shape("pentagon", ((0, -18), (19, -4), (13, 15), (-13, 15), (-19, -4)), 1),
    Shape("plus", ((-9, -18), (9, -18), (9, -9), (20, -9), (20, 9), (9, 9),
                   (9, 18), (-9, 18), (-9, 9), (-20, 9), (-20, -9), (-9, -9))),
    Shape("parallelogram", ((-13, -14), (23, -14), (13, 14), (-23, 14))),
    Shape("trapezoid", ((-12, -15), (12, -15), (21, 15), (-21, 15)), 1),
    Shape("funnel", ((-21, -15), (21, -15), (12, 15), (-12, 15)), -1),
    Shape("arch", ((-16, 15), (-16, -3), (-12, -12), (0, -16), (12, -12), (16, -3), (16, 15))),
)  # fmt: skip
SHAPES = (_CIRCLE, _BOX, _PILL, _FALLING, *_FOR_ROLES)
"""Those of heads without a role or of the first role, of MLPs, of the ends, of negative roles, and of other roles."""


def shape_of_each(nodes: Sequence[Node]) -> tuple[list[int], list[tuple[int, str]]]:
    """Give the place in `SHAPES` of each node, and for the legend of each role's, in the order in which roles come.

    The last shape stands for all the roles that find no other.
    """
    roles = list(dict.fromkeys(node.role for node in nodes if node.kind == "head" and node.role))
    negative = [role for role in roles if role.startswith("negative")][:1]
    unnamed = any(node.kind == "head" and not node.role for node in nodes)
    free = [SHAPES.index(_CIRCLE)] * (not unnamed) + list(range(4, len(SHAPES)))
    others = [role for role in roles if role not in negative]
    at = {role: free[min(place, len(free) - 1)] for place, role in enumerate(others)}
    at |= {role: SHAPES.index(_FALLING) for role in negative}
    ends, boxes = SHAPES.index(_PILL), SHAPES.index(_BOX)
    known = {"mlp": boxes, "logits": ends, "embed": ends}
    legend = [(at[role], role) for role in roles]
    legend += [(SHAPES.index(_CIRCLE), "head without a role" if roles else "head")] * unnamed
    legend += [(boxes, "MLP")] * any(node.kind == "mlp" for node in nodes)
    return [known.get(node.kind, at.get(node.role, 0)) for node in nodes], legend
