"""A circuit: which parts of a model do a task, where in the prompt, and what they hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.views.base import View
from nbtools.views.circuit.graph import BOTH, SHOWN, Graph, read_graph
from nbtools.views.circuit.layout import Layout, lay_out
from nbtools.views.circuit.still import circuit_drawing
from nbtools.views.colour import Scale
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.circuit.reading import Node
    from nbtools.views.pictures import Drawing

__all__ = ["Circuit", "circuit"]


class Circuit(View, folder="circuit"):
    """Layers upward, positions across, and the edges between nodes; made by `circuit`.

    Attributes
    ----------
    threshold
        Edges whose effect is smaller, whatever its sign, are hidden. It stays between 0 and the largest effect.
    node
        The label of the pinned node, such as ``"23.0@END"``; empty if none is pinned.
    shown
        What of two circuits is on show: ``"both"``, ``"first"``, ``"second"``, or ``"shared"``, what both have.
    """

    _pins: ClassVar[dict[str, str]] = {"node": "node"}

    threshold = traitlets.Float(0.0, help="edges of a smaller effect are hidden").tag(sync=True)
    node = traitlets.Unicode("", help='label of the pinned node, such as "23.0@END"; empty for none').tag(sync=True)
    shown = traitlets.Unicode(BOTH, help="what of two circuits is on show").tag(sync=True)

    _graph: Graph | None = None
    _layout: Layout | None = None

    def show(
        self,
        circuit: xr.Dataset | Any,
        other: xr.Dataset | Any | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Show another circuit, or two, keeping threshold and pin where they hold; takes what `circuit` takes."""
        graph = read_graph(circuit, other, names)
        self._graph, self._layout = graph, lay_out(graph)
        self._scale = self._fit(Scale("RdBu", -graph.most, graph.most, graph.label))
        with self.hold_sync():
            self._recolour()
            self.node = self.node if self.node in graph.labels else ""
            self.shown = self.shown if graph.two else BOTH
            self.threshold = self.threshold  # which the new effects may not reach

    def _recolour(self) -> None:
        graph, scale = self._graph, self._scale
        axis = {"vmin": scale.vmin, "vmax": scale.vmax, "most": self._most, "label": scale.label}
        with self.hold_sync():
            self._frame = {**graph.frame(), **self._layout.frame(), **axis}
            self.threshold = self.threshold

    @property
    def _most(self) -> float:
        """The effect of the widest edge, and where the threshold ends."""
        return max(abs(self._scale.vmin), abs(self._scale.vmax))

    def find(self, label: str) -> Node:
        """Give what is known of a node: its ``component``, ``kind``, ``layer``, ``position``, ``role`` and ``effect``.

        Raises
        ------
        InputError
            If there is no such node.
        """
        if self._graph is None:
            msg = f"no node {label!r}: this view shows nothing before show() was called"
            raise InputError(msg)
        return self._graph.find(label)

    def strongest(self, kind: str = "head") -> Node | None:
        """Give the node of a kind with the strongest edge, whatever its sign; the first if there are no edges."""
        graph = self._graph
        places = [at for at, node in enumerate(graph.nodes if graph else []) if node.kind == kind]
        if not places:
            return None
        sizes = np.abs(np.nan_to_num(graph.strengths(BOTH)))
        touching = {at: sizes[(graph.ends[:, :2] == at).any(1)].max(initial=0.0) for at in places}
        return graph.nodes[max(places, key=touching.get)]

    @traitlets.validate("threshold")
    def _within(self, proposal: dict[str, Any]) -> float:
        threshold = float(proposal["value"])
        if np.isnan(threshold):
            msg = "expected a threshold, such as 0.05, the least effect of an edge that is drawn, got nan"
            raise InputError(msg)
        return threshold if self._graph is None else float(np.clip(threshold, 0.0, self._most))

    @traitlets.validate("node")
    def _known(self, proposal: dict[str, Any]) -> str:
        return self.find(proposal["value"]).label if proposal["value"] else ""

    @traitlets.validate("shown")
    def _can_show(self, proposal: dict[str, Any]) -> str:
        shown = proposal["value"]
        if shown not in SHOWN:
            msg = f"expected what is shown as one of {', '.join(SHOWN)}, got {shown!r}"
            raise InputError(msg)
        if shown != BOTH and self._graph is not None and not self._graph.two:
            msg = f"this view shows one circuit, of which {shown!r} cannot be chosen: give a second with show()"
            raise InputError(msg)
        return shown

    def _drawing(self) -> Drawing:
        return circuit_drawing(self._graph, self._layout, self._scale, self.threshold, self.node, self.shown)

    def __repr__(self) -> str:
        graph = self._graph
        counts = f"nodes={len(graph.nodes) if graph else 0}, edges={len(graph.ends) if graph else 0}"
        two = f", names={list(graph.names)}, shown={self.shown!r}" if graph and graph.two else ""
        return f"Circuit({counts}{two}, threshold={round(self.threshold, 6)}, node={self.node!r})"


@listed_options
def circuit(
    circuit: xr.Dataset | Any,
    other: xr.Dataset | Any | None = None,
    *,
    threshold: float = 0.0,
    names: Sequence[str] | None = None,
    title: str = "",
) -> Circuit:
    """A circuit as a graph: one row for each layer, the logits on top; one column for each position.

    An edge is as wide as its effect is large, solid where that is positive and dashed where it is negative; a small
    letter tells whether it leads into the q, k or v of a head. The shape of a head is its role. A slider hides weak
    edges. Hover a node, and its edges stand out; click to pin it, Esc to let go; the arrow keys move among nodes.

    With a second circuit both are laid over each other: nodes are the same if component and position are. What both
    have is drawn with a double line, what only the second has with a broken outline and as beads on a string, and
    the legend counts components. Buttons choose which of the two is on show.

    Parameters
    ----------
    circuit
        A Dataset, or what has a method ``to_dataset()``, such as `nbtools.patching.Circuit`. Its coordinate ``node``
        holds labels, with the variables ``component`` ("23.0", "mlp25", "logits"), ``kind`` ("head", "mlp", "logits",
        "embed"), ``layer``, ``position`` ("END", or "" for none), ``role`` and ``effect`` (NaN where not measured).
        Over ``edge`` are ``sender`` and ``receiver`` (labels), ``through`` ("q", "k", "v" or "") and ``edge_effect``.
        ``attrs`` may hold ``name``, ``task``, ``metric``, and ``positions`` in their order.
    other
        A second circuit to lay over the first.
    threshold
        The least effect of an edge that is drawn, whatever its sign.
    names
        What to call the circuits; by default ``attrs["name"]`` or ``attrs["task"]``.
    title
        Written above the view.

    Returns
    -------
    Circuit
        Its traits ``threshold``, ``node`` and ``shown`` follow the hand, and can be set; ``show`` shows another one.

    Raises
    ------
    ArrayError
        If a variable is missing, a node is there twice or of an unknown kind, an edge leads backward, from or to what
        is no node, or has no effect; or there are more than 500 nodes or 4000 edges.
    InputError
        If the names do not fit, or the threshold is not a number.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification", 2022.

    Examples
    --------
    >>> import xarray as xr
    >>> from nbtools import views
    >>> nodes = {
    ...     "component": ["20.0", "23.0", "logits"],
    ...     "kind": ["head", "head", "logits"],
    ...     "layer": [20, 23, 30],
    ...     "position": ["END", "END", ""],
    ...     "role": ["inhibition", "name mover", ""],
    ...     "effect": [0.3, 0.2, float("nan")],
    ... }
    >>> edges = {"sender": ["20.0@END", "23.0@END"], "receiver": ["23.0@END", "logits"], "through": ["q", ""]}
    >>> found = xr.Dataset(
    ...     {name: ("node", values) for name, values in nodes.items()}
    ...     | {name: ("edge", values) for name, values in (edges | {"edge_effect": [0.3, 0.2]}).items()},
    ...     coords={"node": ["20.0@END", "23.0@END", "logits"]},
    ... )
    >>> view = views.circuit(found, threshold=0.25)
    >>> view.node = "23.0@END"
    >>> view
    Circuit(nodes=3, edges=2, threshold=0.25, node='23.0@END')
    """
    view = Circuit(title=title)
    view.show(circuit, other, names=names)
    view.threshold = threshold
    return view
