"""How good a circuit is: what it does alone, what the model does without it, and what each node is needed for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from nbtools.errors import HookError, InputError
from nbtools.naming import parse_head
from nbtools.patching.circuit import Circuit, Node
from nbtools.patching.exact import usable_site
from nbtools.patching.plan import read_positions
from nbtools.runs.forward import Edit, forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["Instead", "completeness", "faithfulness", "minimality"]

Instead = Literal["resample", "mean", "zero"]
Masks: TypeAlias = "dict[str, Bool[Tensor, 'prompt position head']]"


def faithfulness(
    model: TransformerBridge, task: Task, circuit: Circuit, *, instead: Instead = "resample", batch: int = 16
) -> xr.Dataset:
    """Run a circuit alone: all heads that it does not name put out something else, at every position.

    A node keeps its head at its position; one without a position keeps it everywhere. If the circuit names an MLP, all
    other MLPs are taken out too; otherwise MLPs stay as they are.

    Parameters
    ----------
    task
        Its clean prompts are run; its corrupted ones say what the rest puts out instead.
    circuit
        What stays.
    instead
        What the rest puts out. ``"resample"``: what it does on the prompt's own corrupted partner. ``"mean"``: its mean
        over all corrupted prompts at the same position, which must mean the same in all of them (one sentence of
        `ioi`, say). ``"zero"``: nothing. Papers take the mean over prompts in which nobody is repeated, which is
        ``ioi(…, corruption="abc")``.
    batch
        How many prompts are run at once.

    Returns
    -------
    xarray.Dataset
        Over ``prompt`` the task's metric: ``whole``, of the model as it is; ``circuit``, of the circuit alone; and
        ``empty``, with every head taken out. ``recovered`` is the part of the way from empty to whole that the circuit
        goes, in the mean over prompts, and ``difference`` what is between the means of whole and circuit.

    Raises
    ------
    HookError
        If the model has no such head or MLP.
    InputError
        If the task has no such position, or `instead` is something else.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
       2022 (faithfulness, completeness, minimality).

    Examples
    --------
    >>> from nbtools.patching import Node
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=4, corruption="abc")
    >>> everything = Circuit([Node(f"{layer}.{head}") for layer in range(30) for head in range(9)])
    >>> round(faithfulness(model, task, everything).recovered.item(), 3)
    1.0
    """
    alone = _Alone(model, task, instead, batch, mlps=_names_mlps(circuit))
    measured = alone.run([None, alone.only(circuit.nodes), alone.only(())])
    names = ("whole", "circuit", "empty")
    variables = {name: ("prompt", values) for name, values in zip(names, measured, strict=True)}
    found = xr.Dataset(variables, attrs=alone.attrs(circuit))
    means = found.mean("prompt")
    found["recovered"] = (means.circuit - means.empty) / (means.whole - means.empty)
    found["difference"] = means.whole - means.circuit
    return found


def completeness(
    model: TransformerBridge,
    task: Task,
    circuit: Circuit,
    sets: Mapping[str, Iterable[str]] | None = None,
    *,
    instead: Instead = "resample",
    batch: int = 16,
) -> xr.Dataset:
    """Take the same nodes out of a circuit and out of the whole model: a complete circuit suffers as the model does.

    Where the model suffers less, something outside the circuit stands in for what was taken out, such as backup heads.

    Parameters
    ----------
    sets
        For each name the nodes that are taken out, by name or component; by default those of each role.
    task, circuit, instead, batch
        As in `faithfulness`.

    Returns
    -------
    xarray.Dataset
        Over ``set`` and ``prompt`` the task's metric: ``circuit`` and ``whole``, both without the nodes of the set. The
        first set, ``""``, is empty.

    Raises
    ------
    InputError
        If there are no sets and the circuit has no roles, or a set names what is no node.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> circuit = Circuit([Node("23.0", "END"), Node("23.3", "END")])
    >>> found = completeness(model, ioi(model, prompts=2), circuit, {"movers": ["23.0"]})
    >>> found.circuit.dims, found["set"].values.tolist()
    (('set', 'prompt'), ['', 'movers'])
    """
    chosen = circuit.roles if sets is None else {name: _listed(nodes) for name, nodes in sets.items()}
    if not chosen:
        msg = "expected sets of nodes to take out, as {'movers': ['23.0', '23.1']}: the circuit has no roles"
        raise InputError(msg)
    alone = _Alone(model, task, instead, batch, mlps=_names_mlps(circuit))
    rows = [("", circuit)] + [(name, circuit.without(nodes)) for name, nodes in chosen.items()]
    inside = [alone.only(rest.nodes) for _, rest in rows]
    outside = [alone.without(_except(circuit.nodes, rest.nodes)) for _, rest in rows]
    measured = alone.run([*inside, *outside])
    return xr.Dataset(
        {
            "circuit": (("set", "prompt"), measured[: len(rows)]),
            "whole": (("set", "prompt"), measured[len(rows) :]),
        },
        {"set": [name for name, _ in rows]},
        attrs=alone.attrs(circuit),
    )


def minimality(
    model: TransformerBridge, task: Task, circuit: Circuit, *, instead: Instead = "resample", batch: int = 16
) -> xr.Dataset:
    """Take each node out of a circuit, alone and after the others of its role, to see whether it is needed.

    Nodes of one role stand in for each other, so a node that seems idle alone can be the last of its kind.

    Returns
    -------
    xarray.Dataset
        Over ``node`` and ``prompt`` what the metric loses: ``alone``, when the node is taken out of the circuit; and
        ``last``, when it is taken out after all others of its role were.

    See Also
    --------
    faithfulness : What the arguments mean.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> circuit = Circuit([Node("23.0", "END", "mover"), Node("23.1", "END", "mover")])
    >>> found = minimality(model, ioi(model, prompts=2), circuit)
    >>> found["last"].dims, found.node.values.tolist()
    (('node', 'prompt'), ['23.0@END', '23.1@END'])
    """
    alone = _Alone(model, task, instead, batch, mlps=_names_mlps(circuit))
    nodes = [node for node in circuit.nodes if node.kind != "logits"]
    rests = [
        _except(nodes, [one for one in nodes if one is not node and node.role == one.role != ""]) for node in nodes
    ]
    without = [_except(nodes, [node]) for node in nodes]
    bare = [_except(rest, [node]) for rest, node in zip(rests, nodes, strict=True)]
    measured = alone.run([alone.only(kept) for kept in (nodes, *without, *rests, *bare)])
    whole, (less, before, after) = measured[0], np.split(measured[1:], 3)
    lost, last = whole - less, before - after
    names = np.array([node.name for node in nodes], dtype=object)
    return xr.Dataset(
        {"alone": (("node", "prompt"), lost), "last": (("node", "prompt"), last)},
        {"node": names, "role": ("node", np.array([node.role for node in nodes], dtype=object))},
        attrs=alone.attrs(circuit),
    )


def _listed(nodes: str | Iterable[str]) -> list[str]:
    return [nodes] if isinstance(nodes, str) else list(nodes)


def _names_mlps(circuit: Circuit) -> bool:
    return any(node.kind == "mlp" for node in circuit.nodes)


def _except(nodes: Iterable[Node], gone: Iterable[Node]) -> list[Node]:
    names = {node.name for node in gone}
    return [node for node in nodes if node.name not in names]


def _of_its_role(nodes: Iterable[Node], node: Node) -> list[Node]:
    """Give the other nodes of a node's role; a node without a role has none."""
    return [one for one in nodes if one is not node and node.role and one.role == node.role]


class _Alone:
    """Runs of parts of a model on one task, with everything else replaced."""

    def __init__(self, model: TransformerBridge, task: Task, instead: Instead, batch: int, *, mlps: bool) -> None:
        if instead not in ("resample", "mean", "zero"):
            msg = f"expected instead 'resample', 'mean' or 'zero', got {instead!r}"
            raise InputError(msg)
        self.model, self.task, self.instead, self.batch = model, task, instead, batch
        sites = [usable_site(model, name) for name in (("z", "mlp_out") if mlps else ("z",))]
        self.hooks = {(site.name, layer): site.at(layer) for site in sites for layer in range(model.cfg.n_layers)}
        self.means = self._means() if instead == "mean" else {}

    def without(self, nodes: Iterable[Node]) -> Masks:
        """Replace these nodes, and nothing else."""
        return {hook: ~mask for hook, mask in self.only(nodes).items()}

    def run(self, kept: Sequence[Masks | None]) -> Float[np.ndarray, "run prompt"]:
        """Give the metric for each choice of what is kept; None is the model as it is."""
        found = np.empty((len(kept), len(self.task)))
        for start in range(0, len(self.task), self.batch):
            rows = slice(start, start + self.batch)
            part = self.task[rows]
            put = self._put(part)
            for number, masks in enumerate(kept):
                edit = {} if masks is None else _edits(masks, rows, put)
                logits = forward(self.model, part.clean, edit=edit, last=True).logits[:, -1].float()
                found[number, rows] = part.metric(logits).double().cpu().numpy()
        return found

    def _put(self, part: Task) -> Mapping[str, Tensor]:
        """Give what is put in instead, for each hook point."""
        if self.instead == "resample":
            return forward(self.model, part.corrupted, capture=list(self.hooks.values()), last=True).cache
        return self.means if self.instead == "mean" else dict.fromkeys(self.hooks.values(), torch.zeros(()))

    def attrs(self, circuit: Circuit) -> dict[str, object]:
        """Say what was done."""
        task = {"task": self.task.name, "prompts": len(self.task), "metric": self.task.metric.name, "units": "nats"}
        taken_out = "heads and MLPs" if _names_mlps(circuit) else "heads"
        return {"model": str(self.model.cfg.model_name), **task, "instead": self.instead, "taken_out": taken_out}

    def only(self, nodes: Iterable[Node]) -> Masks:
        """Mark for each hook point what is kept; an MLP is one head wide."""
        shape, heads = self.task.clean.ids.shape, self.model.cfg.n_heads
        masks = {
            hook: torch.zeros(*shape, heads if site == "z" else 1, dtype=torch.bool)
            for (site, _), hook in self.hooks.items()
        }
        for node in nodes:
            if node.kind != "logits":
                hook, column = self._place(node)
                at = read_positions(self.task, node.position or None, shape[1])[0]
                masks[hook][torch.arange(shape[0])[:, None], torch.tensor(at), column] = True
        return masks

    def _place(self, node: Node) -> tuple[str, int]:
        layers, heads = self.model.cfg.n_layers, self.model.cfg.n_heads
        if node.kind == "head":
            layer, head = parse_head(node.component, shape=(layers, heads))
            return self.hooks["z", layer], head
        if node.layer >= layers:
            msg = f"{node.component} does not exist: expected layers 0 to {layers - 1}"
            raise HookError(msg)
        return self.hooks["mlp_out", node.layer], 0

    def _means(self) -> dict[str, Float[Tensor, "one position ..."]]:
        """Give for each hook point the mean over all corrupted prompts, position by position."""
        sums: dict[str, Tensor] = {}
        for start in range(0, len(self.task), self.batch):
            part = self.task[start : start + self.batch]
            cache = forward(self.model, part.corrupted, capture=list(self.hooks.values()), last=True).cache
            for hook, value in cache.items():
                sums[hook] = sums.get(hook, 0) + value.double().sum(0, keepdim=True)
        return {hook: (value / len(self.task)).float() for hook, value in sums.items()}


def _edits(masks: Masks, rows: slice, put: Mapping[str, Tensor]) -> dict[str, Edit]:
    """Replace what is not kept of some prompts."""
    changed = {hook: mask[rows] for hook, mask in masks.items() if not mask[rows].all()}
    return {hook: partial(_replaced, mask=mask, put=put[hook]) for hook, mask in changed.items()}


def _replaced(value: Tensor, mask: Bool[Tensor, "prompt position head"], put: Tensor) -> Tensor:
    """Keep what the mask marks, of each head or of a whole MLP."""
    kept = mask.to(value.device)
    return torch.where(kept[..., None] if value.ndim == 4 else kept, value, put.to(value))
