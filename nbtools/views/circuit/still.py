"""A circuit with matplotlib: the same places, shapes, dashes and legend as in the page."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nbtools.views.circuit.graph import BOTH
from nbtools.views.circuit.legend import entries, legend_drawing
from nbtools.views.circuit.reading import THROUGH
from nbtools.views.circuit.shapes import SHAPES
from nbtools.views.circuit.strokes import NODE, edge_strokes
from nbtools.views.pictures import ACCENT, FAINT, MUTED, Drawing, blank_axes, stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.circuit.graph import Graph
    from nbtools.views.circuit.layout import Layout
    from nbtools.views.colour import Scale

__all__ = ["circuit_drawing"]

# pixels, as in circuit.js; a hundred of them are an inch
_SLOT, _WIDEST, _LETTER = 62, 1600, 11
_LEFT, _RIGHT, _TOP, _FOOT = 44, 16, 24, 46
_INCH = 100
_FAINT = 0.35  # how much is left of nodes without an edge
_PALE = 0.2  # and of edges that do not touch the pinned node


class _Place:
    """Where on the picture, in pixels from its upper left corner."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.slot = min(_SLOT, max(44.0, (_WIDEST - _LEFT - _RIGHT) / layout.wide))
        self.width = max(_LEFT + layout.wide * self.slot + _RIGHT, 260)
        self.height = _TOP + layout.tall * layout.row + _FOOT

    def at(self, x: float, y: float) -> tuple[float, float]:
        return _LEFT + x * self.slot, _TOP + (self.layout.tall - y) * self.layout.row


def circuit_drawing(graph: Graph, layout: Layout, scale: Scale, threshold: float, node: str, shown: str) -> Drawing:
    """Draw the graph as it is on show, what the pinned node touches standing out, and below it what its signs mean."""
    place = _Place(layout)
    pinned = graph.labels.index(node) if node in graph.labels else None
    there = graph.among(graph.node_side, shown)
    pinned = pinned if pinned is not None and there[pinned] else None
    kept = graph.kept(threshold, shown)
    touched = kept if pinned is None else kept & (graph.ends[:, :2] == pinned).any(1)
    most = max(abs(scale.vmin), abs(scale.vmax))

    def draw(figure: FigureBase) -> None:
        axes = blank_axes(figure, (0, 0, 1, 1))
        axes.set(xlim=(0, place.width), ylim=(place.height, 0))
        _draw_ground(axes, place)
        _draw_edges(axes, graph, place, (kept, touched), graph.strengths(shown) / most, shown)
        _draw_nodes(axes, graph, place, there, _bright(graph, touched, pinned), kept, pinned)

    picture = Drawing(place.width / _INCH, place.height / _INCH, draw)
    legend = legend_drawing(entries(graph, layout, scale, shown), max(place.width, 520) / _INCH)
    return stacked([[picture], [legend]], gap=0)


def _bright(graph: Graph, touched: np.ndarray, pinned: int | None) -> np.ndarray:
    """Mark the nodes at the ends of edges that stand out, and the pinned one."""
    bright = np.zeros(len(graph.nodes), bool)
    bright[graph.ends[touched][:, :2].ravel()] = True
    if pinned is not None:
        bright[pinned] = True
    return bright


def _draw_ground(axes: Axes, place: _Place) -> None:
    """Name layers and positions; a line parts two positions."""
    layout = place.layout
    style = {"fontsize": 8, "color": MUTED, "parse_math": False, "va": "center"}
    bottom = place.height - _FOOT + 34
    for label, y in layout.rows:
        axes.text(_LEFT - 8, place.at(0, y)[1], label, ha="right", **style)
    axes.text(_LEFT - 8, bottom, "layer", ha="right", **style)
    for column, (name, middle, width) in enumerate(layout.columns):
        x = place.at(middle, 0)[0]
        axes.text(x, bottom, name, ha="center", fontweight="bold", **{**style, "color": "black"})
        if column:
            edge = x - (width / 2 + 0.2) * place.slot
            axes.plot([edge, edge], [6, bottom], color=FAINT, linewidth=0.7, zorder=0)


def _draw_edges(
    axes: Axes, graph: Graph, place: _Place, which: tuple[np.ndarray, np.ndarray], strengths: np.ndarray, shown: str
) -> None:
    from matplotlib.patches import PathPatch

    kept, touched = which
    strengths = np.nan_to_num(strengths)
    order = sorted(np.flatnonzero(kept), key=lambda edge: (touched[edge], -abs(strengths[edge])))
    for edge in order:
        side = int(graph.edge_side[edge]) if graph.two and shown == BOTH else 1
        path = _path(graph, place, edge)
        for stroke in edge_strokes(float(strengths[edge]), side):
            whole = touched[edge] or stroke["edgecolor"] == "white"  # what parts a double line
            axes.add_patch(PathPatch(path, fill=False, alpha=1 if whole else _PALE, zorder=1, **stroke))


def _path(graph: Graph, place: _Place, edge: int) -> Any:
    """Give the curve of an edge, from the top of its sender to the bottom of its receiver."""
    from matplotlib.path import Path

    layout, (sender, receiver, through) = place.layout, graph.ends[edge]
    points = [np.array(place.at(*point)) for point in layout.paths[edge]]
    top, bottom = (SHAPES[layout.shapes[node]].frame() for node in (sender, receiver))
    points[0] = points[0] - (0, top["up"])
    points[-1] = points[-1] + (layout.offsets[edge] * bottom["half"], bottom["down"] + _LETTER * bool(through))
    corners = [points[0]]
    for one, other in pairwise(points):
        half = np.array([0, (one[1] - other[1]) / 2])
        corners += [one - half, other + half, other]
    return Path(corners, [Path.MOVETO, *[Path.CURVE4] * (len(corners) - 1)])


def _draw_nodes(
    axes: Axes, graph: Graph, place: _Place, there: np.ndarray, bright: np.ndarray, kept: np.ndarray, pinned: int | None
) -> None:
    for node in np.flatnonzero(there):
        shape = SHAPES[place.layout.shapes[node]]
        middle = np.array(place.at(place.layout.x[node], place.layout.y[node]))
        alpha = 1 if bright[node] else _FAINT
        _draw_outline(
            axes, middle, np.array(shape.points), int(graph.node_side[node]) if graph.two else 1, alpha, node == pinned
        )
        style = {"ha": "center", "va": "center", "parse_math": False, "zorder": 4, "alpha": alpha}
        text = graph.nodes[node].component
        axes.text(middle[0], middle[1] + shape.text, text if len(text) < 8 else text[:7] + "…", fontsize=7.5, **style)
        _letter(axes, graph, place, node, middle, kept, style)


def _draw_outline(axes: Axes, middle: np.ndarray, points: np.ndarray, side: int, alpha: float, pinned: bool) -> None:
    from matplotlib.patches import Polygon

    axes.add_patch(Polygon(middle + points, facecolor="white", edgecolor="none", zorder=2))
    strong = {"edgecolor": ACCENT, "linewidth": 1.8} if pinned else {}
    style = {"fill": False, "zorder": 3, "edgecolor": "black", "alpha": alpha, **NODE[side], **strong}
    axes.add_patch(Polygon(middle + points, **style))
    if side == 0:
        axes.add_patch(Polygon(middle + points * 0.82, **style))


def _letter(
    axes: Axes, graph: Graph, place: _Place, node: int, middle: np.ndarray, kept: np.ndarray, style: dict
) -> None:
    """Write below a head what of it edges lead into."""
    shape = SHAPES[place.layout.shapes[node]].frame()
    for edge in np.flatnonzero(kept & (graph.ends[:, 1] == node) & (graph.ends[:, 2] > 0)):
        x, y = middle[0] + place.layout.offsets[edge] * shape["half"], middle[1] + shape["down"] + _LETTER / 2
        axes.text(x, y, THROUGH[graph.ends[edge, 2]], fontsize=6.5, color=MUTED, fontweight="bold", **style)
