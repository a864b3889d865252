"""Circuits as data: which parts of a model do a task, what they tell each other, and what each is for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nbtools.errors import InputError

__all__ = ["Circuit", "Edge", "Node"]

_NAME = re.compile(r"(?P<component>(?P<layer>\d+)\.\d+|mlp(?P<mlp>\d+)|logits)(@(?P<position>\S.*))?")
_FORMAT = "nbtools circuit 1"
_NODE_VARIABLES = ("component", "kind", "position", "role", "stage", "effect")


@dataclass(frozen=True)
class Node:
    """One part of a model at one position of a task.

    Attributes
    ----------
    component
        A head ``"23.0"``, an MLP ``"mlp25"``, or ``"logits"``.
    position
        A name of the task's, such as ``"END"``; empty where it is not tied to one.
    role
        What it does, in a few words; empty as long as nobody has said so.
    stage
        The step of a search in which it was found.
    effect
        What it does to the metric, on the scale of effects; NaN where it was not measured.

    Examples
    --------
    >>> node = Node("23.0", "END", role="name mover", effect=0.2)
    >>> node.name, node.layer, node.kind
    ('23.0@END', 23, 'head')
    """

    component: str
    position: str = ""
    role: str = ""
    effect: float = np.nan
    stage: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            msg = (
                f"expected a part of a model such as Node('23.0', 'END'), Node('mlp25', 'END') or Node('logits'), got "
                f"Node({self.component!r}, {self.position!r})"
            )
            raise InputError(msg)

    @classmethod
    def parse(cls, name: str, **facts: Any) -> Node:
        """Read a name such as ``"23.0@END"``."""
        component, _, position = name.partition("@")
        return cls(component, position, **facts)

    @property
    def name(self) -> str:
        """The component and the position: ``"23.0@END"``."""
        return f"{self.component}@{self.position}" if self.position else self.component

    @property
    def kind(self) -> str:
        """``"head"``, ``"mlp"`` or ``"logits"``."""
        return "logits" if self.component == "logits" else "mlp" if self.component.startswith("mlp") else "head"

    @property
    def layer(self) -> int | None:
        """The layer; None for the logits, which come after all."""
        found = _NAME.fullmatch(self.name)
        number = found["layer"] or found["mlp"]
        return None if number is None else int(number)


@dataclass(frozen=True)
class Edge:
    """What one node tells another.

    Attributes
    ----------
    sender, receiver
        Names of nodes.
    through
        What of a receiver head is changed: its ``"q"``, ``"k"`` or ``"v"``; empty for the logits.
    effect
        What the sender does to the metric by this way alone, on the scale of effects.
    """

    sender: str
    receiver: str
    through: str = ""
    effect: float = np.nan


@dataclass(frozen=True, repr=False)
class Circuit:
    """The parts of a model that do a task: nodes, and edges between them.

    A circuit is found by `circuit_search`, or written down by hand. `faithfulness` measures how much of the task it
    does alone, `overlap` how much of it another circuit shares, and ``views.circuit`` draws it.

    Attributes
    ----------
    nodes
        Parts of the model, each at a position.
    edges
        What they tell each other. Their ends are nodes of the circuit.
    name
        What the circuit does, for pictures.
    attrs
        How it was found: model, task, prompts, and what else its maker wrote down.

    Examples
    --------
    >>> nodes = [Node("23.0", "END", "name mover", 0.2), Node("20.0", "END")]
    >>> movers = Circuit(nodes, [Edge("20.0@END", "23.0@END", "q")])
    >>> movers
    Circuit(nodes=2, edges=1: 20.0 23.0)
    >>> movers.heads(role="name mover")
    ['23.0']
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    name: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "edges", tuple(self.edges))
        names = [node.name for node in self.nodes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"expected each node once, got {twice[0]} {names.count(twice[0])} times"
            raise InputError(msg)
        for edge in self.edges:
            for end in (edge.sender, edge.receiver):
                if end not in names:
                    msg = f"the edge {edge.sender} to {edge.receiver} has an end that is no node: {end}"
                    raise InputError(msg)

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in {node.name for node in self.nodes} | {node.component for node in self.nodes}

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        msg = f"no node {name!r} in the circuit: it has {' '.join(node.name for node in self.nodes)}"
        raise InputError(msg)

    def __repr__(self) -> str:
        parts = list(dict.fromkeys(node.component for node in self.ordered() if node.kind != "logits"))
        return f"Circuit(nodes={len(self.nodes)}, edges={len(self.edges)}: {' '.join(parts)})"

    def ordered(self) -> list[Node]:
        """Give the nodes from the lowest layer to the logits."""
        return sorted(self.nodes, key=lambda node: np.inf if node.layer is None else node.layer)

    def heads(self, *, role: str | None = None, stage: str | None = None, position: str | None = None) -> list[str]:
        """List its heads, each once; only those of a role, a stage or at a position if one is given."""
        wanted = {"kind": "head"} | {"role": role, "stage": stage, "position": position}
        return list(
            dict.fromkeys(
                node.component
                for node in self.nodes
                if all(value in (None, getattr(node, name)) for name, value in wanted.items())
            )
        )

    @property
    def roles(self) -> dict[str, list[str]]:
        """For each role the names of its nodes."""
        found: dict[str, list[str]] = {}
        for node in self.ordered():
            if node.role:
                found.setdefault(node.role, []).append(node.name)
        return found

    def named(self, roles: Mapping[str, str | Iterable[str]]) -> Circuit:
        """Give the same circuit with roles: for each role the nodes, by name or component.

        Examples
        --------
        >>> Circuit([Node("23.0", "END")]).named({"name mover": "23.0"}).roles
        {'name mover': ['23.0@END']}
        """
        given = {one: role for role, names in roles.items() for one in ([names] if isinstance(names, str) else names)}
        unknown = [name for name in given if name not in self]
        if unknown:
            msg = f"no node {unknown[0]!r} to give a role: the circuit has {' '.join(node.name for node in self.nodes)}"
            raise InputError(msg)
        nodes = [replace(node, role=given.get(node.name, given.get(node.component, node.role))) for node in self.nodes]
        return replace(self, nodes=tuple(nodes))

    def without(self, names: str | Iterable[str]) -> Circuit:
        """Give the circuit without some nodes, by name or component, and without the edges that end there."""
        gone = {names} if isinstance(names, str) else set(names)
        unknown = sorted(name for name in gone if name not in self)
        if unknown:
            msg = f"no node {unknown[0]!r} to leave out: the circuit has {' '.join(node.name for node in self.nodes)}"
            raise InputError(msg)
        return self._keep([node for node in self.nodes if not {node.name, node.component} & gone], self.edges)

    def above(self, effect: float, *, nodes: bool = False) -> Circuit:
        """Give the edges of at least this effect, whatever its sign, and the nodes at their ends; or all `nodes`."""
        edges = [edge for edge in self.edges if abs(edge.effect) >= effect]
        ends = {end for edge in edges for end in (edge.sender, edge.receiver)}
        return self._keep([node for node in self.nodes if nodes or node.name in ends], edges)

    def at(self, positions: Mapping[str, str]) -> Circuit:
        """Give the same circuit with other names for positions, so that it can be laid over one of another task.

        Examples
        --------
        >>> Circuit([Node("17.4", "S2")]).at({"S2": "repeated"}).nodes[0].name
        '17.4@repeated'
        """
        nodes = [replace(node, position=positions.get(node.position, node.position)) for node in self.nodes]
        new = {old.name: node.name for old, node in zip(self.nodes, nodes, strict=True)}
        edges = [replace(edge, sender=new[edge.sender], receiver=new[edge.receiver]) for edge in self.edges]
        return replace(self, nodes=tuple(nodes), edges=tuple(edges))

    def _keep(self, nodes: list[Node], edges: Iterable[Edge]) -> Circuit:
        names = {node.name for node in nodes}
        kept = [edge for edge in edges if {edge.sender, edge.receiver} <= names]
        return replace(self, nodes=tuple(nodes), edges=tuple(kept))

    def to_dataset(self) -> xr.Dataset:
        """Give the circuit as labelled arrays over ``node`` and ``edge``: what ``views.circuit`` draws."""
        last = 1 + max((node.layer for node in self.nodes if node.layer is not None), default=-1)
        logits = int(self.attrs.get("layers", last))
        nodes = {name: [getattr(node, name) for node in self.nodes] for name in _NODE_VARIABLES}
        nodes["layer"] = [logits if node.layer is None else node.layer for node in self.nodes]
        edges = {name: [getattr(edge, name) for edge in self.edges] for name in ("sender", "receiver", "through")}
        edges["edge_effect"] = [edge.effect for edge in self.edges]
        variables = {
            name: (dim, _column(values))
            for dim, columns in (("node", nodes), ("edge", edges))
            for name, values in columns.items()
        }
        names = np.array([node.name for node in self.nodes], dtype=object)
        return xr.Dataset(variables, {"node": names}, attrs={"name": self.name, **self.attrs})

    def save(self, path: str | Path) -> Path:
        """Write the circuit to a JSON file, which `load` reads.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Circuit.load(Circuit([Node("23.0", "END")]).save(f"{folder}/movers.json"))
        Circuit(nodes=1, edges=0: 23.0)
        """
        path = Path(path)
        content = {
            "format": _FORMAT,
            "name": self.name,
            "attrs": dict(self.attrs),
            "nodes": [_plain(node) for node in self.nodes],
            "edges": [_plain(edge) for edge in self.edges],
        }
        draft = path.with_name(f"{path.name}.part")
        draft.write_text(_written(content), encoding="utf-8")
        draft.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Circuit:
        """Read a circuit that `save` wrote.

        Raises
        ------
        InputError
            If the file holds no circuit.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                msg = f"its format is {content['format']!r}"
                raise ValueError(msg)
            nodes = tuple(Node(**facts) for facts in content["nodes"])
            edges = tuple(Edge(**facts) for facts in content["edges"])
            return cls(nodes, edges, content["name"], content["attrs"])
        except (OSError, ValueError, KeyError, TypeError, InputError) as error:
            msg = f"{path} holds no circuit of {_FORMAT!r} ({error}): expected a file that Circuit.save wrote"
            raise InputError(msg) from error


def _column(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=object if values and isinstance(values[0], str) else None)


def _plain(part: Node | Edge) -> dict[str, Any]:
    """Give what was said of a node or edge; JSON has no NaN."""
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(part).items()
        if value not in ("", None) and value == value
    }


def _written(content: dict[str, Any]) -> str:
    """Write one node or edge a line, so that a change is a line in a diff."""
    head = {name: content[name] for name in ("format", "name", "attrs")}
    parts = [json.dumps(head, ensure_ascii=False, indent=1)[:-2]]
    for name in ("nodes", "edges"):
        rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in content[name])
        parts.append(f',\n "{name}": [\n  {rows}\n ]' if rows else f',\n "{name}": []')
    return "".join(parts) + "\n}\n"
