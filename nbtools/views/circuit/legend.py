"""What the signs of a circuit mean, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbtools.views.circuit.graph import BOTH
from nbtools.views.circuit.shapes import SHAPES
from nbtools.views.circuit.strokes import NODE, edge_strokes
from nbtools.views.pictures import MUTED, Drawing, blank_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.circuit.graph import Graph
    from nbtools.views.circuit.layout import Layout
    from nbtools.views.colour import Scale

__all__ = ["entries", "legend_drawing"]

_LETTER, _SIGN, _APART, _LINE = 0.064, 0.34, 0.16, 0.22  # inches
_PIXELS = 100


def entries(graph: Graph, layout: Layout, scale: Scale, shown: str) -> list[list[tuple[str, Any, str]]]:
    """Give the signs in their groups, each as what kind it is, what it looks like, and what it means."""
    most = max(abs(scale.vmin), abs(scale.vmax))
    edges = [
        ("edge", (1.0, 1), f"{scale.label} {most:.3g}"),
        ("edge", (0.1, 1), f"{most / 10:.2g}"),
        ("edge", (-0.4, 1), "negative"),
    ]
    found = [edges, [("shape", shape, role) for shape, role in layout.legend]]
    if graph.two:
        said = zip(("shared", *(f"only {name}" for name in graph.names)), graph.tally, strict=True)
        found.append([("side", side, f"{who} {count}") for side, (who, count) in enumerate(said)])
        if shown != BOTH:
            found[-1].append(
                ("", None, f"on show: {dict(zip(('first', 'second'), graph.names, strict=True)).get(shown, shown)}")
            )
    return found


def legend_drawing(groups: list[list[tuple[str, Any, str]]], width: float) -> Drawing:
    """Draw signs in lines of at most so many inches, each group on lines of its own."""
    lines = [line for group in groups if group for line in _wrapped(group, width)]
    height = _LINE * len(lines) + 0.08

    def draw(figure: FigureBase) -> None:
        axes = blank_axes(figure, (0, 0, 1, 1))
        axes.set(xlim=(0, width * _PIXELS), ylim=(height * _PIXELS, 0))
        for row, line in enumerate(lines):
            for left, (kind, sign, text) in line:
                middle = np.array([(left + _SIGN / 2) * _PIXELS, (row + 0.5) * _LINE * _PIXELS])
                _draw_sign(axes, middle, kind, sign)
                start = (left + (_SIGN + 0.06 if kind else 0)) * _PIXELS
                axes.text(start, middle[1], text, fontsize=8, color=MUTED, va="center", parse_math=False)

    return Drawing(width, height, draw)


def _wrapped(group: list[tuple[str, Any, str]], width: float) -> list[list[tuple[float, tuple[str, Any, str]]]]:
    lines: list[list[tuple[float, tuple[str, Any, str]]]] = [[]]
    left = 0.1
    for sign in group:
        wide = _SIGN + 0.06 + _LETTER * len(sign[2])
        if lines[-1] and left + wide > width:
            lines, left = [*lines, []], 0.1
        lines[-1].append((left, sign))
        left += wide + _APART
    return lines


def _draw_sign(axes: Axes, middle: np.ndarray, kind: str, sign: Any) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    if kind in ("edge", "side"):
        half = np.array([15, 0])
        strokes = edge_strokes(*sign) if kind == "edge" else edge_strokes(0.25, sign)
        shift = np.array([9, 0]) if kind == "side" else 0
        line = Path([middle - half + 2 * np.array(shift), middle + half])
        for stroke in strokes:
            axes.add_patch(PathPatch(line, fill=False, **stroke))
    if kind == "shape":
        points = 0.5 * np.array(SHAPES[sign].points)
        axes.add_patch(Polygon(middle + points, fill=False, edgecolor="black", linewidth=0.9))
    if kind == "side":
        points = np.array([(-6, -6), (6, -6), (6, 6), (-6, 6)])
        for size in (1, 0.6) if sign == 0 else (1,):
            axes.add_patch(Polygon(middle - (10, 0) + size * points, fill=False, edgecolor="black", **NODE[sign]))
