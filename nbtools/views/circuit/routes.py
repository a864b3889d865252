"""How edges run: upward in gentle curves, and around the nodes in between."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

__all__ = ["curve", "routes"]

_HALF, _TALL = 0.46, 0.3  # what a node takes of a slot to either side of its middle, and of the way to the next layer
_BESIDE = 0.2  # an edge is upright from so far below the middle of a node that it passes to so far above
_CROWDED = 0.22  # slots of detour that are taken for each edge that is in a gap already
_SPREAD, _APART = 0.12, 0.07  # slots: how far edges in one gap lie from its middle at most, and from each other
_MOST = 600  # edges; more are not led around nodes, where no eye could follow them

_TIMES = np.linspace(0, 1, 65)

Point = tuple[float, float]


def curve(one: Point, other: Point, heights: np.ndarray) -> np.ndarray:
    """Give where the way from one point up to another is at some heights; both of its ends are upright.

    It is the cubic whose control points lie half way up, above the one and below the other.

    Examples
    --------
    >>> curve((0, 0), (1, 2), np.array([0.0, 1.0, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    rise, bend = 1.5 * _TIMES * (1 - _TIMES) + _TIMES**3, 3 * _TIMES**2 - 2 * _TIMES**3
    times = np.interp((heights - one[1]) / (other[1] - one[1]), rise, bend)
    return one[0] + (other[0] - one[0]) * times


def routes(x: np.ndarray, y: np.ndarray, ends: list[tuple[int, int]]) -> list[list[Point]]:
    """Give the points that each edge goes through, beside nodes that would lie on its way."""
    middles = [((float(x[one]), float(y[one])), (float(x[other]), float(y[other]))) for one, other in ends]
    if len(ends) > _MOST:
        return [list(pair) for pair in middles]
    taken = _Taken(x, y)
    short_first = sorted(range(len(ends)), key=lambda edge: (middles[edge][1][1] - middles[edge][0][1], edge))
    found: dict[int, list[Point]] = {edge: _route(*middles[edge], taken) for edge in short_first}
    return _drawn([found[edge] for edge in range(len(ends))], middles)


class _Taken:
    """Where the nodes of each line are, the gaps between and beside them, and how many edges are in a gap already."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.nodes: dict[float, list[float]] = defaultdict(list)
        for across, height in sorted(zip(x.tolist(), y.tolist(), strict=True)):
            self.nodes[height].append(across)
        self.gaps = {height: _free(nodes) for height, nodes in self.nodes.items()}
        self.edges: Counter[Point] = Counter()


def _free(nodes: list[float]) -> list[float]:
    sides = sorted({round(node + side, 6) for node in nodes for side in (-0.5, 0.5)})
    return [side for side in sides if all(abs(side - node) > 0.45 for node in nodes)]


def _route(start: Point, goal: Point, taken: _Taken) -> list[Point]:
    """Give the gaps that an edge goes through, lowest first."""
    heights = np.array(sorted(height for height in taken.nodes if start[1] + 0.1 < height < goal[1] - 0.1))
    gaps: list[Point] = []
    here = start
    while True:
        height = _blocked(here, goal, heights[heights > here[1]], taken)
        if height is None:
            break
        gap, below = _gap(here, goal, height, taken), heights[(heights > here[1]) & (heights < height)]
        while (lower := _blocked(here, (gap[0], height - _BESIDE), below, taken)) is not None:
            gap = _gap(here, gap, lower, taken)
            height, below = lower, below[below < lower]
        gaps.append(gap)
        taken.edges[gap] += 1
        here = gap[0], height + _BESIDE
    return gaps


def _blocked(here: Point, goal: Point, heights: np.ndarray, taken: _Taken) -> float | None:
    """Give the lowest of some lines in which the way runs into a node."""
    if not len(heights):
        return None
    way = curve(here, goal, np.clip(heights[:, None] + (-_TALL, 0, _TALL), here[1], goal[1]))
    for height, low, high in zip(heights.tolist(), way.min(1) - _HALF, way.max(1) + _HALF, strict=True):
        if any(low < across < high for across in taken.nodes[height]):
            return height
    return None


def _gap(here: Point, goal: Point, height: float, taken: _Taken) -> Point:
    """Give the gap in a line that is least out of the way, and not crowded."""
    (where,) = curve(here, goal, np.array([height]))
    cost = {
        gap: abs(gap - where) + 0.1 * abs(gap - here[0]) + _CROWDED * taken.edges[gap, height]
        for gap in taken.gaps[height]
    }
    return min(cost, key=lambda gap: (round(cost[gap], 6), gap)), height


def _drawn(found: list[list[Point]], middles: list[tuple[Point, Point]]) -> list[list[Point]]:
    """Give the points of whole edges, those that share a gap beside each other in it."""
    sharing: dict[Point, list[int]] = defaultdict(list)
    for edge, gaps in enumerate(found):
        for gap in gaps:
            sharing[gap].append(edge)
    paths: list[list[Point]] = [[start] for start, _ in middles]
    for gap in sorted(sharing, key=lambda gap: gap[1]):
        order = sorted(sharing[gap], key=lambda edge: (middles[edge][1][0], paths[edge][-1][0], edge))
        step = min(_APART, 2 * _SPREAD / max(1, len(order) - 1))
        for rank, edge in enumerate(order):
            across = gap[0] + step * (rank - (len(order) - 1) / 2)
            paths[edge] += [(across, gap[1] - _BESIDE), (across, gap[1] + _BESIDE)]
    return [[*path, goal] for path, (_, goal) in zip(paths, middles, strict=True)]
