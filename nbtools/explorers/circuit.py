"""A circuit, and where the head that is pinned in it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
import traitlets
import xarray as xr

from nbtools.errors import InputError
from nbtools.explorers._prompt import Explorer
from nbtools.measures.attention import attention as attention_of
from nbtools.measures.positions import attention_to_positions
from nbtools.naming import parse_head
from nbtools.views.attention import Attention
from nbtools.views.bars import Bars
from nbtools.views.circuit import Circuit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["CircuitExplorer", "CircuitResult", "circuit"]

_AVERAGED = 16  # prompts over which the bars are averaged


@dataclass(frozen=True, eq=False)
class CircuitResult:
    """Where one head looks.

    Attributes
    ----------
    node
        Its label in the circuit.
    head
        The head, such as ``"23.0"``.
    query
        The name of the position from which it looks.
    prompt
        The prompt of the task that was run, from 0.
    pattern
        Its attention on that prompt, ``(layer, head, query, key)``.
    paid
        Its share of attention to each named position, to the first token and to the rest ``(key)``, the mean over the
        first prompts of the task.
    """

    node: str
    head: str
    query: str
    prompt: int
    pattern: xr.DataArray
    paid: xr.DataArray


class CircuitExplorer(Explorer):
    """A circuit, and the attention of the head that is pinned; made by `circuit`.

    Attributes
    ----------
    node
        The label of the pinned node, empty if none is; set it and the model runs.
    prompt
        The prompt of the task on which attention is shown, from 0.
    threshold, shown
        What of the circuit is drawn, as in `nbtools.views.circuit`.
    result
        The last head that was asked for: a `CircuitResult`. What is no head has no attention, and leaves it as it is.
    state
        What is on show, or why there is no attention, in words.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    node = traitlets.Unicode()
    prompt = traitlets.Int(0)
    threshold = traitlets.Float()
    shown = traitlets.Unicode("both")
    result = traitlets.Instance(CircuitResult, allow_none=True)
    state = traitlets.Unicode()

    def __init__(self, model: TransformerBridge, task: Task, view: Circuit, *, prompt: int) -> None:
        self.task, self.view, self.map, self.bars = task, view, Attention(), Bars()
        self._paid: dict[tuple[str, str], xr.DataArray] = {}
        self.picker = widgets.BoundedIntText(value=prompt, min=0, max=len(task) - 1, description="prompt")
        self.picker.layout.width = "160px"
        self.status = widgets.Label().add_class("nb-says")
        self.model = model
        result = self._answer(_strongest(view), prompt)
        controls = widgets.HBox([self.picker, self.status], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__(model, [[view], [self.map, self.bars]], controls=[controls])
        beside = widgets.VBox([self.map, self.bars], layout=_share("380px"))
        view.layout = _share("380px")
        self.children = [
            controls,
            widgets.HBox([view, beside], layout=widgets.Layout(flex_flow="row wrap", grid_gap="24px")),
        ]
        view.node = result.node
        self.node, self.prompt = result.node, prompt
        self.threshold, self.shown = view.threshold, view.shown
        self._publish(result, *self._asked())
        self._connect()

    def _connect(self) -> None:
        for name in ("node", "threshold", "shown"):
            traitlets.link((self.view, name), (self, name))
        traitlets.link((self, "prompt"), (self.picker, "value"))
        self.observe(self._request, ["node", "prompt"])

    @traitlets.validate("node")
    def _known(self, proposal: dict[str, Any]) -> str:
        return self.view.find(proposal["value"]).label if proposal["value"] else ""

    @traitlets.validate("prompt")
    def _there(self, proposal: dict[str, Any]) -> int:
        return _check_prompt(proposal["value"], self.task)

    def show(self, circuit: Any, other: Any = None, *, names: Sequence[str] | None = None) -> None:
        """Show another circuit, or two, keeping threshold, pin and prompt where they hold."""
        self.view.show(circuit, other, names=names)
        self._request({})  # a label may be another head now

    def _asked(self) -> tuple[str, int]:
        return self.node, self.prompt

    def _answer(self, node: str, prompt: int) -> CircuitResult | str:
        """Run the model for a head; say of what is none that it has no attention."""
        if not node:
            return "click a head to see where it looks"
        found = self.view.find(node)
        if found.kind != "head":
            return f"{found.component}: only heads have attention"
        layer, head = parse_head(found.component, shape=(self.model.cfg.n_layers, self.model.cfg.n_heads))
        query = _query(found.position, self.task)
        key = found.component, query
        if key not in self._paid:
            self._paid[key] = _paid(self.model, self.task, layer, head, query)
        pattern = attention_of(self.model, self.task[prompt].clean, layers=layer).sel(head=[head])
        return CircuitResult(node, found.component, query, prompt, pattern, self._paid[key])

    def _publish(self, result: CircuitResult | str, *request: Any) -> None:
        self.error = ""
        if isinstance(result, CircuitResult):
            self.result = result
            self._show(result)
            self.state = f"{result.head}, looking from {result.query}"
        else:
            self.state = result if self.result is None else f"{result}; below is still {self.result.head}"
        self.status.value = self.state

    def _show(self, result: CircuitResult) -> None:
        averaged = min(_AVERAGED, len(self.task))
        self.map.show(result.pattern, head=result.head)
        self.map.query = self.task.positions[result.query][result.prompt]
        self.map.title = f"{result.head} on prompt {result.prompt}"
        shares = dict(zip(result.paid.key.values.tolist(), result.paid.values.tolist(), strict=True))
        self.bars.show(shares, label="attention", vmin=0, vmax=1)
        self.bars.title = f"{result.head} from {result.query}, mean of {averaged} prompt{'s' * (averaged > 1)}"

    def __repr__(self) -> str:
        return f"CircuitExplorer(task={self.task.name!r}, node={self.node!r}, prompt={self.prompt})"


def circuit(
    model: TransformerBridge,
    task: Task,
    circuit: xr.Dataset | Any,
    other: xr.Dataset | Any | None = None,
    *,
    threshold: float = 0.0,
    prompt: int = 0,
) -> CircuitExplorer:
    """A circuit as a graph, and for the head you click where it looks: on one prompt, and by position on several.

    The head with the strongest edge is pinned first. The query of the attention map is the position at which the node
    stands in the circuit, and the bars say how much of its attention goes from there to each named position of the
    task, on the mean of its first 16 prompts. Another prompt can be chosen by number.

    Parameters
    ----------
    model
        A hooked model.
    task
        Its clean prompts are run, and its positions are named in the bars.
    circuit, other
        One circuit, or two to lay over each other, as in `nbtools.views.circuit`.
    threshold
        The least effect of an edge that is drawn.
    prompt
        The prompt of the task that is shown first, from 0.

    Returns
    -------
    CircuitExplorer
        Its traits ``node``, ``prompt``, ``threshold`` and ``shown`` follow the hand, and can be set; ``show`` shows
        another circuit.

    Raises
    ------
    ArrayError, InputError
        If a circuit cannot be drawn or has no head, there is no such prompt, or a node stands at a position that the
        task does not name.
    HookError
        If the model does not have the head.

    Examples
    --------
    >>> import xarray as xr
    >>> from nbtools.tasks import ioi
    >>> nodes = {"component": ["23.0", "logits"], "kind": ["head", "logits"], "layer": [23, 30]}
    >>> nodes |= {"position": ["END", ""], "role": ["name mover", ""], "effect": [0.2, float("nan")]}
    >>> edges = {"sender": ["23.0@END"], "receiver": ["logits"], "through": [""], "edge_effect": [0.2]}
    >>> found = xr.Dataset(
    ...     {name: ("node", values) for name, values in nodes.items()}
    ...     | {name: ("edge", values) for name, values in edges.items()},
    ...     coords={"node": ["23.0@END", "logits"]},
    ... )
    >>> model = load()
    >>> explorer = circuit(model, ioi(model, prompts=4), found)
    >>> explorer
    CircuitExplorer(task='ioi', node='23.0@END', prompt=0)
    >>> explorer.result.paid.idxmax("key").item()
    'IO'
    """
    view = Circuit()
    view.show(circuit, other)
    view.threshold = threshold
    return CircuitExplorer(model, task, view, prompt=_check_prompt(prompt, task))


def _share(least: str) -> widgets.Layout:
    """Give a widget its share of a row, which wraps where it would be less than that."""
    return widgets.Layout(flex=f"1 1 {least}", min_width="0")


def _check_prompt(prompt: int, task: Task) -> int:
    if not 0 <= prompt < len(task):
        msg = f"expected a prompt of the task from 0 to {len(task) - 1}, got {prompt}"
        raise InputError(msg)
    return int(prompt)


def _strongest(view: Circuit) -> str:
    """Give the head with the strongest edge; of a circuit without edges the first."""
    found = view.strongest("head")
    if found is None:
        msg = (
            "expected a circuit with at least one head, whose attention can be shown: draw this one with views.circuit"
        )
        raise InputError(msg)
    return found.label


def _query(position: str, task: Task) -> str:
    """Give the named position from which a node looks: its own, or END if it has none."""
    query = position or "END"
    if query not in task.positions:
        msg = f"the task {task.name!r} names no position {query!r}: expected any of {', '.join(task.positions)}"
        raise InputError(msg)
    return query


def _paid(model: TransformerBridge, task: Task, layer: int, head: int, query: str) -> xr.DataArray:
    """Give the mean attention of a head from one named position to the others."""
    some = task[:_AVERAGED]
    paid = attention_to_positions(
        model, some.clean, some.positions, query=query, keys=_apart(some.positions), layers=layer
    ).sel(layer=layer, head=head)
    mean = paid if some.single else paid.mean("prompt", skipna=False)
    return mean.sel(key=np.isfinite(mean.values))


def _apart(positions: dict[str, list[int]]) -> list[str]:
    """Give names of which no two are the same token of a prompt: of those that are, the first."""
    kept: list[str] = []
    for name, places in positions.items():
        if not any(place == other for one in kept for place, other in zip(places, positions[one], strict=True)):
            kept.append(name)
    return kept
