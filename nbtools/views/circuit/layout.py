"""Where a circuit's nodes lie and how its edges run: rows are layers, columns are positions.

Across, the unit is a slot, which holds one node; upward it is the way from one layer to the next. The page and the
still picture stretch both to pixels, each in its own measure, and decide nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbtools.views.circuit.reading import THROUGH
from nbtools.views.circuit.routes import routes
from nbtools.views.circuit.shapes import SHAPES, shape_of_each

if TYPE_CHECKING:
    from nbtools.views.circuit.graph import Graph
    from nbtools.views.circuit.reading import Node

__all__ = ["Layout", "lay_out"]

_LINE = 8  # nodes side by side in one layer and position; more go into another line
_WITHIN = 0.8  # from one line of a layer to the next
_TALL, _ROWS = 760, (60, 84)  # pixels: all layers, if it can be had with so many from one to the next
_GAP = 0.4  # slots between two columns


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of nodes and edges.

    Attributes
    ----------
    x, y
        The middle of each node, from the left and from below.
    paths
        For each edge the points it goes through, from the middle of its sender to that of its receiver.
    offsets
        For each edge how far from the middle of its receiver it ends, as a part of half its width.
    shapes
        For each node its place in `SHAPES`.
    legend
        Which shape is which role.
    rows
        What stands beside each layer, and its height.
    columns
        The name of each position, its middle, and how many slots it is wide.
    wide, tall
        All slots, and the height of the last line.
    """

    x: np.ndarray
    y: np.ndarray
    paths: list[list[tuple[float, float]]]
    offsets: np.ndarray
    shapes: list[int]
    legend: list[tuple[int, str]]
    rows: list[tuple[str, float]]
    columns: list[tuple[str, float, float]]
    wide: float
    tall: float

    @property
    def row(self) -> float:
        """How many pixels it is from one layer to the next: fewer where there are many."""
        return float(np.clip(_TALL / max(self.tall, 1.0), *_ROWS))

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws."""
        points = np.array([point for path in self.paths for point in path], np.float32)
        counts = np.array([len(path) for path in self.paths], np.uint8)
        return {
            "x": self.x.astype(np.float32).tobytes(),
            "y": self.y.astype(np.float32).tobytes(),
            "points": points.tobytes(),
            "counts": counts.tobytes(),
            "offsets": self.offsets.astype(np.float32).tobytes(),
            "shape": np.array(self.shapes, np.uint8).tobytes(),
            "shapes": [shape.frame() for shape in SHAPES],
            "legend": [list(sign) for sign in self.legend],
            "rows": [list(row) for row in self.rows],
            "columns": [list(column) for column in self.columns],
            "wide": self.wide,
            "tall": self.tall,
            "row": self.row,
        }


def lay_out(graph: Graph) -> Layout:
    """Place the nodes of a graph in layers and positions, and lead its edges around them."""
    column_of = _columns_of(graph)
    lines, rows = _lines(graph.nodes, column_of)
    columns = _columns(graph.positions, lines, column_of)
    x, y = np.zeros(len(graph.nodes)), np.zeros(len(graph.nodes))
    for height, line in lines:
        for column, (_, middle, _) in enumerate(columns):
            here = [node for node in line if column_of[node] == column]
            x[here] = middle + np.arange(len(here)) - (len(here) - 1) / 2
            y[here] = height
    paths = routes(x, y, [(sender, receiver) for sender, receiver, _ in graph.ends])
    shapes, legend = shape_of_each(graph.nodes)
    wide = max(middle + width / 2 for _, middle, width in columns)
    offsets = _offsets(graph.ends, paths)
    return Layout(x, y, paths, offsets, shapes, legend, rows, columns, float(wide), float(y.max()))


def _columns_of(graph: Graph) -> list[int]:
    """Give the column of each node; logits of no position stand in the last one, where they are read."""
    last = max(len(graph.positions) - 1, 0)
    lonely = "" not in graph.positions
    return [
        last if node.kind == "logits" and not node.position and lonely else graph.positions.index(node.position)
        for node in graph.nodes
    ]


def _lines(nodes: list[Node], column_of: list[int]) -> tuple[list[tuple[float, list[int]]], list[tuple[str, float]]]:
    """Give the height and the nodes of each line, lowest first, and the label of each layer at its middle.

    In a layer MLPs stand above heads, which they read. Where a position has more nodes than fit, a line is added.
    """
    lines: list[tuple[float, list[int]]] = []
    rows, height = [], -1.0
    for layer in sorted({node.order[0] for node in nodes}):
        height, begin = height + 1, len(lines)
        for line in _of_layer(nodes, column_of, layer):
            height += _WITHIN if len(lines) > begin else 0
            lines.append((height, line))
        of_layer = lines[begin:]
        first = nodes[of_layer[0][1][0]]
        label = str(first.layer) if first.kind in ("head", "mlp") else ""
        rows.append((label, (of_layer[0][0] + of_layer[-1][0]) / 2))
    return lines, rows


def _of_layer(nodes: list[Node], column_of: list[int], layer: int) -> Iterator[list[int]]:
    for kind in sorted({node.order[1] for node in nodes if node.order[0] == layer}):
        here = sorted(
            (at for at, node in enumerate(nodes) if node.order == (layer, kind)), key=lambda at: _place(nodes[at])
        )
        parts = [[at for at in here if column_of[at] == column] for column in sorted({column_of[at] for at in here})]
        for start in range(0, max(map(len, parts)), _LINE):
            yield [at for part in parts for at in part[start : start + _LINE]]


def _place(node: Node) -> tuple[tuple[int, ...], str]:
    """Order heads by their number."""
    numbers = tuple(int(part) for part in node.component.split(".") if part.isdigit())
    return numbers, node.component


def _columns(
    positions: list[str], lines: list[tuple[float, list[int]]], column_of: list[int]
) -> list[tuple[str, float, float]]:
    found, left = [], 0.0
    for column, name in enumerate(positions or [""]):
        width = float(max(1, *(sum(column_of[node] == column for node in line) for _, line in lines)))
        found.append((name, left + width / 2, width))
        left += width + _GAP
    return found


def _offsets(ends: np.ndarray, paths: list[list[tuple[float, float]]]) -> np.ndarray:
    """Let edges that lead into q, k and v of a head end beside each other; spread those that end in another node."""
    offsets = np.zeros(len(ends))
    for receiver in sorted(set(ends[:, 1].tolist())):
        into = np.flatnonzero(ends[:, 1] == receiver)
        ports = sorted({int(ends[edge, 2]) for edge in into} - {0})
        for port, where in zip(ports, np.linspace(-0.45, 0.45, 3)[_SPOTS[len(ports)]], strict=True):
            offsets[into[ends[into, 2] == port]] = where
        plain = [edge for edge in into if ends[edge, 2] == 0]
        if not ports and len(plain) > 1:
            order = sorted(plain, key=lambda edge: (paths[edge][-2][0], edge))
            offsets[order] = np.linspace(-0.7, 0.7, len(order))
    return offsets


_SPOTS = {0: [], 1: [1], 2: [0, 2], 3: [0, 1, 2]}  # which of three places the ports of a head take
assert len(THROUGH) == 1 + max(_SPOTS)
