"""Finding a circuit: from the logits backwards, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.naming import head_label
from nbtools.patching.circuit import Circuit, Edge, Node
from nbtools.patching.labels import Direction
from nbtools.patching.path_plan import Mlps, Through
from nbtools.patching.paths import path_patch
from nbtools.patching.spread import pooled

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching.running import Metric
    from nbtools.tasks import Task

__all__ = ["Stage", "circuit_search", "searching"]

_LOGITS = Node("logits")


@dataclass(frozen=True)
class Stage:
    """One step of a search: which heads tell some receivers something.

    Attributes
    ----------
    name
        What the heads that are found are called.
    to
        The receivers: the name of an earlier stage, of which those heads receive that work for the answer; or heads,
        such as ``["23.0", "23.1"]``. None is the logits.
    through
        What of the receivers is changed: ``"q"``, ``"k"`` or ``"v"``.
    position
        Where senders write, which is where receivers read: with attention frozen nothing moves in between.

    Examples
    --------
    >>> Stage("inhibition", to="movers", through="q")
    Stage(name='inhibition', to='movers', through='q', position='END')
    """

    name: str
    to: str | Sequence[str] | None = None
    through: Through = "q"
    position: str = "END"


TWO_STAGES = (Stage("movers"), Stage("steering", to="movers", through="q"))


def circuit_search(
    model: TransformerBridge,
    task: Task,
    stages: Sequence[Stage] = TWO_STAGES,
    *,
    keep: float = 0.02,
    name: str = "",
    edges: bool = True,
    mlps: Mlps = "recomputed",
    direction: Direction = "noising",
    metric: Metric | None = None,
    budget_mb: float = 1024,
) -> Circuit:
    """Find the heads that do a task, from the logits backwards: the senders of the senders, the strongest of each.

    At each stage `path_patch` measures every head that can reach the receivers, and those of the greatest effect stay,
    whatever its sign. Then each of them is measured once more to each receiver alone: the edges.

    Parameters
    ----------
    stages
        What to look for, in order. By default heads that write the answer, then those that tell them where to look.
    keep
        How many heads stay at each stage: a share of the model's heads below 1 (the 0.02 of [1]_), or a number.
    name
        What the circuit is called; by default as the task.
    edges
        Whether to measure what heads tell each receiver alone, which takes a few more runs. Without, the circuit has
        the edges to the logits only.
    mlps, direction, metric, budget_mb
        As in `path_patch`. Effects are those of all prompts together, see `pooled`.

    Returns
    -------
    Circuit
        Its nodes have their ``stage`` and no role: what a head does is for the reader to find out.

    Raises
    ------
    InputError
        If a stage names none before it, nothing is to be kept, or no head works for the answer where one must.
    HookError
        If a head or position does not exist.

    References
    ----------
    .. [1] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2024.
    .. [2] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
       2022.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> circuit = circuit_search(model, ioi(model, prompts=4), [Stage("movers")], keep=4)
    >>> len(circuit.heads(stage="movers")), "23.3" in circuit
    (4, True)
    """
    found = list(
        searching(
            model, task, stages, keep=keep, name=name, edges=edges, mlps=mlps, direction=direction, metric=metric,
            budget_mb=budget_mb,
        )
    )  # fmt: skip
    return found[-1][0]


def searching(
    model: TransformerBridge,
    task: Task,
    stages: Sequence[Stage] = TWO_STAGES,
    *,
    keep: float = 0.02,
    name: str = "",
    edges: bool = True,
    mlps: Mlps = "recomputed",
    direction: Direction = "noising",
    metric: Metric | None = None,
    budget_mb: float = 1024,
) -> Iterator[tuple[Circuit, xr.DataArray]]:
    """Search stage by stage; after each give the circuit so far, and the effect of every head in that stage.

    It takes what `circuit_search` takes. Effects are over ``(layer, head)``, and of all prompts together.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> for circuit, effect in searching(model, ioi(model, prompts=2), [Stage("movers")], keep=3):
    ...     print(len(circuit.heads()), effect.dims)
    3 ('layer', 'head')
    """
    count = _count(keep, model)
    _check(stages)
    options = {"mlps": mlps, "direction": direction, "metric": metric, "budget_mb": budget_mb}
    attrs = {
        "model": str(model.cfg.model_name), "task": task.name, "prompts": len(task), "layers": model.cfg.n_layers,
        "heads": model.cfg.n_heads, "kept": count, "direction": direction, "positions": list(task.positions),
    }  # fmt: skip
    circuit = Circuit((_LOGITS,), name=name or task.name, attrs=attrs)
    for stage in stages:
        receivers = _receivers(circuit, stage)
        places = {"positions": stage.position, **_at(stage, receivers)}
        effect = pooled(_over_prompts(path_patch(model, task, **places, **options)))
        kept = _strongest(effect, count)
        nodes = [Node(head, stage.position, effect=value, stage=stage.name) for head, value in kept.items()]
        found = [
            Edge(f"{head}@{stage.position}", receiver.name, "" if receiver is _LOGITS else stage.through, value)
            for receiver in receivers
            if edges or receiver is _LOGITS
            for head, value in _each(model, task, kept, receiver, stage, options).items()
        ]
        circuit = _joined(circuit, nodes, found)
        yield circuit, effect


def _count(keep: float, model: TransformerBridge) -> int:
    total = model.cfg.n_layers * model.cfg.n_heads
    count = max(1, round(keep * total)) if 0 < keep < 1 else keep
    if isinstance(keep, bool) or count != int(count) or not 1 <= count <= total:
        msg = f"expected keep to be a share of the {total} heads between 0 and 1, or a number of them, got {keep!r}"
        raise InputError(msg)
    return int(count)


def _check(stages: Sequence[Stage]) -> None:
    if not stages:
        msg = "expected one stage or more, got none: Stage('movers') looks for heads that write the answer"
        raise InputError(msg)
    names: list[str] = []
    for stage in stages:
        if isinstance(stage.to, str) and stage.to not in names:
            msg = f"stage {stage.name!r} goes to {stage.to!r}: expected an earlier stage ({', '.join(names)}) or heads"
            raise InputError(msg)
        names.append(stage.name)


def _receivers(circuit: Circuit, stage: Stage) -> list[Node]:
    """Give the nodes that receive in a stage."""
    if stage.to is None:
        return [_LOGITS]
    if isinstance(stage.to, str):
        found = [node for node in circuit.nodes if node.stage == stage.to and node.effect > 0]
    else:
        found = [node for node in circuit.nodes if node.component in set(stage.to)]
    found = [node for node in found if node.layer]  # nothing comes before layer 0
    if not found:
        msg = f"stage {stage.name!r} has no receivers: no head of {stage.to!r} was found to work for the answer"
        raise InputError(msg)
    return found


def _at(stage: Stage, receivers: Sequence[Node]) -> dict[str, object]:
    """Give what `path_patch` is told of receivers."""
    if receivers[0] is _LOGITS:
        return {}
    heads = list(dict.fromkeys(node.component for node in receivers))
    return {"receivers": heads, "through": stage.through, "receiver_positions": stage.position}


def _over_prompts(effect: xr.DataArray) -> xr.DataArray:
    return (
        effect
        if "prompt" in effect.dims
        else effect.expand_dims("prompt").assign_coords(
            base=("prompt", [effect["base"].item()]), source=("prompt", [effect["source"].item()])
        )
    )


def _strongest(effect: xr.DataArray, count: int) -> dict[str, float]:
    """Give the heads of the greatest effect, the strongest first."""
    size = np.nan_to_num(np.abs(effect.values), nan=-1)
    order = np.argsort(-size, axis=None, kind="stable")[:count]
    places = [np.unravel_index(place, size.shape) for place in order if size.flat[place] > 0]
    return {head_label(layer, head): float(effect.values[layer, head]) for layer, head in places}


def _each(
    model: TransformerBridge,
    task: Task,
    kept: dict[str, float],
    receiver: Node,
    stage: Stage,
    options: dict[str, object],
) -> dict[str, float]:
    """Measure what kept heads do to one receiver alone; those above it do nothing."""
    if receiver is _LOGITS:
        return kept
    below = [head for head in kept if int(head.split(".")[0]) < receiver.layer]
    if not below:
        return {}
    places = {"positions": stage.position, **_at(stage, [receiver])}
    effect = pooled(_over_prompts(path_patch(model, task, senders=below, **places, **options)))
    return dict(zip(below, effect.values.tolist(), strict=True))


def _joined(circuit: Circuit, nodes: list[Node], edges: list[Edge]) -> Circuit:
    """Add what a stage found; a node that is there already stays as it is."""
    new = [node for node in nodes if node.name not in {one.name for one in circuit.nodes}]
    return replace(circuit, nodes=(*circuit.nodes, *new), edges=(*circuit.edges, *edges))
