"""A circuit as it is given: the variables that it must have, and what is wrong with one that lacks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.errors import ArrayError

__all__ = ["KINDS", "THROUGH", "Edge", "Given", "Node", "read_circuit"]

KINDS = ("embed", "head", "mlp", "logits")
"""What a node may be, in the order in which a layer computes them."""
THROUGH = ("", "q", "k", "v")
"""What of a head an edge may lead into; nothing for all other nodes, or where it is not known."""

MOST_NODES, MOST_EDGES = 500, 4000
_TEXTS = ("component", "kind", "position", "role")
_ENDS = ("sender", "receiver", "through")
_FIRST, _LAST = -1, 10**6  # layers of the embedding and of the logits, whatever they are said to be


@dataclass(frozen=True)
class Node:
    """A component of the model at a position of the prompt.

    Attributes
    ----------
    label
        What the node is called in its circuit, such as ``"23.0@END"``.
    component
        ``"23.0"``, ``"mlp25"``, ``"logits"`` …
    kind
        One of `KINDS`.
    layer
        Its layer; the number of layers for the logits, -1 for the embedding.
    position
        The name of its position, such as ``"END"``; empty where it has none.
    role
        Such as ``"name mover"``; empty where none was named.
    effect
        Its own effect, signed; NaN where it was not measured.
    """

    label: str
    component: str
    kind: str
    layer: int
    position: str
    role: str
    effect: float

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same node in two circuits."""
        return self.component, self.position

    @property
    def name(self) -> str:
        """What it is called in a sentence, such as ``23.0 at END``."""
        return f"{self.component} at {self.position}" if self.position else self.component

    @property
    def order(self) -> tuple[int, int]:
        """When it is computed: edges lead from lower to higher."""
        return {"embed": _FIRST, "logits": _LAST}.get(self.kind, self.layer), KINDS.index(self.kind)


@dataclass(frozen=True)
class Edge:
    """What one node, by its place in the circuit, hands to another, and the effect of that."""

    sender: int
    receiver: int
    through: str
    effect: float


@dataclass(frozen=True, eq=False)
class Given:
    """One circuit that was read: its nodes and edges, and what is said about it."""

    nodes: list[Node]
    edges: list[Edge]
    attrs: dict[str, Any]


def read_circuit(circuit: Any, what: str = "the circuit") -> Given:
    """Read a Dataset, or what has a method ``to_dataset()`` that gives one.

    Raises
    ------
    ArrayError
        If a variable is missing or has another dimension, a node is there twice or is of an unknown kind, an edge
        leads from or to a node that is not there, or backward, or has no effect; or there are too many of them.
    """
    data = circuit if hasattr(circuit, "data_vars") else _asked(circuit, what)
    nodes = _nodes(data, what)
    ends = list(zip(*(_texts(data, name, "edge", what) for name in _ENDS), strict=True))
    _check_many(len(ends), MOST_EDGES, "edges", what)
    effects = _numbers(data, "edge_effect", "edge", what).tolist()
    places = {node.label: place for place, node in enumerate(nodes)}
    edges = [_edge(nodes, places, end, effect, what) for end, effect in zip(ends, effects, strict=True)]
    _check_once(ends, "edge", what)
    return Given(nodes, edges, dict(data.attrs))


def _asked(circuit: Any, what: str) -> Any:
    data = circuit.to_dataset() if hasattr(circuit, "to_dataset") else circuit
    if not hasattr(data, "data_vars"):
        msg = (
            f"expected {what} as an xarray.Dataset with the dimensions node and edge, or as an object with "
            f"to_dataset(), got {type(circuit).__name__}"
        )
        raise ArrayError(msg)
    return data


def _column(data: Any, name: str, dim: str, what: str) -> np.ndarray:
    """Give the values of a variable, one for each node or edge."""
    if name not in data.variables or data[name].dims != (dim,):
        got = "none" if name not in data.variables else f"one with ({', '.join(map(str, data[name].dims))})"
        msg = f"expected {what} with the variable {name} ({dim}), one value for each {dim}, got {got}: {_SHAPE}"
        raise ArrayError(msg)
    return np.asarray(data[name].values)


_SHAPE = (
    "component, kind, layer, position, role and effect go with node; "
    "sender, receiver, through and edge_effect go with edge"
)


def _texts(data: Any, name: str, dim: str, what: str) -> list[str]:
    return [str(text) for text in _column(data, name, dim, what).tolist()]


def _numbers(data: Any, name: str, dim: str, what: str) -> np.ndarray:
    values = _column(data, name, dim, what)
    try:
        return values.astype(float)
    except (TypeError, ValueError) as error:
        msg = f"expected {name} of {what} as numbers, got {values.ravel()[0]!r}"
        raise ArrayError(msg) from error


def _nodes(data: Any, what: str) -> list[Node]:
    labels = _texts(data, "node", "node", what)
    _check_many(len(labels), MOST_NODES, "nodes", what)
    if not labels:
        msg = f"expected {what} with one node or more, got none: lower the effect in circuit.above(x)"
        raise ArrayError(msg)
    texts = [_texts(data, name, "node", what) for name in _TEXTS]
    layers, effects = (_numbers(data, name, "node", what) for name in ("layer", "effect"))
    _check_once(labels, "node", what)
    _check_once(list(zip(texts[0], texts[2], strict=True)), "component and position", what)
    return [
        _node(label, *said, layer=layer, effect=effect, what=what)
        for label, *said, layer, effect in zip(labels, *texts, layers, effects, strict=True)
    ]


def _node(
    label: str, component: str, kind: str, position: str, role: str, *, layer: float, effect: float, what: str
) -> Node:
    if kind not in KINDS:
        msg = f"expected the kind of each node of {what} as one of {', '.join(KINDS)}, got {kind!r} for {label}"
        raise ArrayError(msg)
    if not float(layer).is_integer():
        msg = f"expected the layer of each node of {what} as a whole number, got {layer} for {label}"
        raise ArrayError(msg)
    if np.isinf(effect):
        msg = f"expected the effect of each node of {what} as a finite number, or NaN, got {effect} for {label}"
        raise ArrayError(msg)
    return Node(label, component, kind, int(layer), position, role, float(effect))


def _edge(nodes: list[Node], places: dict[str, int], ends: tuple[str, str, str], effect: float, what: str) -> Edge:
    sender, receiver, through = ends
    named = f"the edge from {sender} to {receiver}"
    for end in (sender, receiver):
        if end not in places:
            some = ", ".join(list(places)[:6]) + (", …" if len(places) > 6 else "")
            msg = f"{named} of {what} has an end that is no node, {end!r}: expected any of {some}"
            raise ArrayError(msg)
    if through not in THROUGH:
        msg = f"expected {named} of {what} to go through q, k or v, or '' where that does not apply, got {through!r}"
        raise ArrayError(msg)
    if not np.isfinite(effect):
        msg = f"expected the effect of {named} of {what} as a finite number, got {effect}: measure it, or leave it out"
        raise ArrayError(msg)
    one, other = places[sender], places[receiver]
    if nodes[one].order >= nodes[other].order:
        msg = f"{named} of {what} leads backward: expected what is computed first as the sender"
        raise ArrayError(msg)
    return Edge(one, other, through, effect)


def _check_many(count: int, most: int, many: str, what: str) -> None:
    if count > most:
        msg = (
            f"this view draws at most {most} {many}, {what} has {count}: keep the strongest edges with "
            "circuit.above(x), or select fewer nodes"
        )
        raise ArrayError(msg)


def _check_once(found: Sequence[Any], kind: str, what: str) -> None:
    if len(set(found)) < len(found):
        seen: set[Any] = set()
        twice = next(one for one in found if one in seen or seen.add(one))
        said = " ".join(filter(None, twice)) if isinstance(twice, tuple) else twice
        msg = f"expected each {kind} of {what} once, {said} is there {found.count(twice)} times"
        raise ArrayError(msg)
