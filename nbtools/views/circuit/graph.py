"""One circuit, or two laid over each other: which nodes and edges either has, and how strong they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, InputError
from nbtools.views.circuit.reading import MOST_EDGES, MOST_NODES, THROUGH, Given, Node, read_circuit

__all__ = ["BOTH", "SHOWN", "Graph", "read_graph"]

BOTH = "both"
SHOWN = (BOTH, "first", "second", "shared")
"""What of two circuits may be on show."""
_SLACK = 1e-6  # of the largest effect: numbers travel as float32


@dataclass(frozen=True, eq=False)
class Graph:
    """The nodes and edges of one circuit or of two.

    Attributes
    ----------
    nodes
        Those of the first circuit, then those that only the second has.
    ends
        For each edge the places of its sender and receiver, and the place in `THROUGH` of what it leads into.
    node_effects, edge_effects
        ``[circuit, node]`` and ``[circuit, edge]``; NaN where a circuit does not have it, or nothing was measured.
    held
        ``[circuit, node]``: which circuit has which node.
    roles
        For each node what the circuits call its role, in words.
    names
        What each circuit is called; one alone may have no name.
    positions
        Names of positions, in order.
    label
        What effects are.
    """

    nodes: list[Node]
    ends: np.ndarray
    node_effects: np.ndarray
    edge_effects: np.ndarray
    held: np.ndarray
    roles: list[str]
    names: tuple[str, ...]
    positions: list[str]
    label: str

    @property
    def two(self) -> bool:
        """Whether there are two circuits."""
        return len(self.held) == 2

    @cached_property
    def labels(self) -> list[str]:
        """What each node is called."""
        return [node.label for node in self.nodes]

    @property
    def most(self) -> float:
        """The largest effect of an edge, whatever its sign."""
        sizes = np.abs(self.edge_effects[np.isfinite(self.edge_effects)])
        return float(sizes.max()) if sizes.size and sizes.max() > 0 else 1.0

    def find(self, label: str) -> Node:
        """Give a node by its label, or raise an InputError that says which there are."""
        if label not in self.labels:
            some = ", ".join(map(repr, self.labels[:6])) + (", …" if len(self.labels) > 6 else "")
            msg = f"{label!r} is no node of this circuit: expected one of {some}"
            raise InputError(msg)
        return self.nodes[self.labels.index(label)]

    def side(self, held: np.ndarray) -> np.ndarray:
        """Say of what is held by circuits who has it: 0 both, 1 only the first, 2 only the second."""
        return np.where(held.all(0) & self.two, 0, np.where(held[0], 1, 2))

    def among(self, side: np.ndarray, shown: str) -> np.ndarray:
        """Mark what is on show."""
        kept = {"first": (0, 1), "second": (0, 2), "shared": (0,)}.get(shown, (0, 1, 2))
        return np.isin(side, kept)

    @cached_property
    def node_side(self) -> np.ndarray:
        """Who has each node."""
        return self.side(self.held)

    @cached_property
    def edge_side(self) -> np.ndarray:
        """Who has each edge."""
        return self.side(np.isfinite(self.edge_effects))

    def strengths(self, shown: str) -> np.ndarray:
        """Give the effect with which each edge is drawn: where two circuits are on show, the larger of the two."""
        if shown in ("first", "second"):
            return self.edge_effects[SHOWN.index(shown) - 1]
        sizes = np.abs(np.nan_to_num(self.edge_effects, nan=0.0))
        return self.edge_effects[
            np.where(np.isfinite(self.edge_effects), sizes, -1).argmax(0), np.arange(len(self.ends))
        ]

    def kept(self, threshold: float, shown: str) -> np.ndarray:
        """Mark the edges that are on show and not below a threshold."""
        sizes = np.abs(np.nan_to_num(self.strengths(shown)))
        return self.among(self.edge_side, shown) & (sizes >= threshold - _SLACK * self.most)

    @property
    def tally(self) -> tuple[int, int, int]:
        """How many components both circuits have, only the first, and only the second; logits and embedding apart."""
        parts = np.array([node.kind not in ("logits", "embed") for node in self.nodes])
        return tuple(int((parts & (self.node_side == side)).sum()) for side in range(3))

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws, apart from where."""
        return {
            "nodes": self.labels,
            "texts": [node.component for node in self.nodes],
            "called": [node.name for node in self.nodes],
            "places": [node.position for node in self.nodes],
            "roles": self.roles,
            "names": list(self.names),
            "tally": list(self.tally) if self.two else [],
            "ends": self.ends.astype(np.uint16).tobytes(),
            "node_side": self.node_side.astype(np.uint8).tobytes(),
            "edge_side": self.edge_side.astype(np.uint8).tobytes(),
            "node_effects": self.node_effects.astype(np.float32).tobytes(),
            "edge_effects": self.edge_effects.astype(np.float32).tobytes(),
        }


def read_graph(circuit: Any, other: Any = None, names: Sequence[str] | None = None) -> Graph:
    """Read one circuit, or two; nodes are the same if component and position are.

    Raises
    ------
    ArrayError
        If a circuit cannot be read, or two cannot be laid over each other.
    InputError
        If the names do not fit.
    """
    given = (
        [read_circuit(circuit)]
        if other is None
        else [read_circuit(circuit, "the first"), read_circuit(other, "the second")]
    )
    nodes, places = _merged(given)
    edges = list(dict.fromkeys(end for one, at in zip(given, places, strict=True) for end in _ends(one, at)))
    _check_many(len(nodes), MOST_NODES, "nodes")
    _check_many(len(edges), MOST_EDGES, "edges")
    held, effects, strengths = _tables(given, places, len(nodes), edges)
    called = _names(given, names)
    return Graph(
        nodes, np.array(edges, int).reshape(-1, 3), effects, strengths, held, _roles(given, places, nodes, called),
        called, _positions(given, nodes), _label(given[0]),
    )  # fmt: skip


def _merged(given: list[Given]) -> tuple[list[Node], list[list[int]]]:
    """Give all nodes once, and for each circuit where among them its own are."""
    nodes: list[Node] = []
    keys: dict[tuple[str, str], int] = {}
    places = []
    for one in given:
        for node in one.nodes:
            if node.key not in keys:
                keys[node.key] = len(nodes)
                nodes.append(node)
            elif not nodes[keys[node.key]].role:
                nodes[keys[node.key]] = replace(nodes[keys[node.key]], role=node.role)
        places.append([keys[node.key] for node in one.nodes])
    _check_labels(nodes)
    return nodes, places


def _check_labels(nodes: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for node in nodes:
        if node.label in seen:
            msg = (
                f"{node.label!r} is {seen[node.label].name} in one circuit and {node.name} in the other: "
                "label nodes by component and position, such as '23.0@END'"
            )
            raise ArrayError(msg)
        seen[node.label] = node


def _ends(one: Given, places: list[int]) -> list[tuple[int, int, int]]:
    return [(places[edge.sender], places[edge.receiver], THROUGH.index(edge.through)) for edge in one.edges]


def _tables(
    given: list[Given], places: list[list[int]], nodes: int, edges: list[tuple[int, int, int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give who holds which node, and the effects of nodes and of edges, one row for each circuit."""
    held = np.zeros((len(given), nodes), bool)
    effects, strengths = (np.full((len(given), count), np.nan) for count in (nodes, len(edges)))
    where = {end: place for place, end in enumerate(edges)}
    for row, (one, at) in enumerate(zip(given, places, strict=True)):
        held[row, at] = True
        effects[row, at] = [node.effect for node in one.nodes]
        for end, edge in zip(_ends(one, at), one.edges, strict=True):
            strengths[row, where[end]] = edge.effect
    return held, effects, strengths


def _called(one: Given) -> str:
    return str(one.attrs.get("name") or one.attrs.get("task") or "")


def _names(given: list[Given], names: Sequence[str] | None) -> tuple[str, ...]:
    if names is not None and (isinstance(names, str) or len(names) != len(given)):
        got = "one text" if isinstance(names, str) else len(names)
        msg = f"expected {len(given)} name{'s' if len(given) > 1 else ''}, one for each circuit, got {got}"
        raise InputError(msg)
    found = tuple(map(str, names)) if names is not None else tuple(map(_called, given))
    if len(given) == 1:
        return found
    plain = SHOWN[1:3]
    found = tuple(name or other for name, other in zip(found, plain, strict=True))
    return (
        found if found[0] != found[1] else tuple(f"{name} ({other})" for name, other in zip(found, plain, strict=True))
    )


def _roles(given: list[Given], places: list[list[int]], nodes: list[Node], names: tuple[str, ...]) -> list[str]:
    """Say the role of each node; if circuits call it by two names, both."""
    found: list[dict[str, str]] = [{} for _ in nodes]
    for one, at, name in zip(given, places, names, strict=True):
        for node, place in zip(one.nodes, at, strict=True):
            if node.role:
                found[place][name] = node.role
    return [
        ", ".join(f"{role} ({name})" for name, role in said.items())
        if len(set(said.values())) > 1
        else next(iter(said.values()), "")
        for said in found
    ]


def _positions(given: list[Given], nodes: list[Node]) -> list[str]:
    """Give the names of positions in order: those said first, then as they appear, with END at the end."""
    said = [name for one in given for name in _listed(one.attrs.get("positions", ()))]
    used = list(dict.fromkeys(node.position for node in nodes if node.position or node.kind != "logits"))
    order = [name for name in dict.fromkeys([*said, *used]) if name in used]
    return sorted(order, key=lambda name: (name == "END") - (name == ""))


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _label(one: Given) -> str:
    metric = str(one.attrs.get("metric", "")).replace("_", " ")
    return f"effect on {metric}" if metric else "effect"


def _check_many(count: int, most: int, many: str) -> None:
    if count > most:
        msg = (
            f"this view draws at most {most} {many}, the two circuits have {count} together: keep the strongest edges "
            "of both with circuit.above(x)"
        )
        raise ArrayError(msg)
