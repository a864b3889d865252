"""What path patching has to run: which senders reach which receivers, and at which positions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from nbtools.errors import HookError, InputError
from nbtools.models.describe import n_key_value_heads
from nbtools.naming import HeadLike, head_label, parse_head, parse_heads
from nbtools.patching.plan import Batch, in_batches, read_positions

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["Heads", "Mlps", "PathPlan", "Positions", "Senders", "Through", "plan_paths"]

Through = Literal["q", "k", "v"]
Mlps = Literal["recomputed", "frozen"]
Heads: TypeAlias = "HeadLike | Iterable[HeadLike]"
Senders: TypeAlias = "Literal['heads', 'mlps', 'all'] | Heads"
Positions: TypeAlias = int | str | Iterable[int | str]

_MLP = re.compile(r"\s*mlp\s*(\d+)\s*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class PathPlan:
    """All runs of path patching; an MLP stands in its layer after the last head.

    Attributes
    ----------
    senders
        Layer and column of each; the column of an MLP is the number of heads.
    receivers
        For each layer that has some, in order, its receiver heads; empty for the logits.
    through
        What of the receiver heads is read: queries, keys or values.
    mlps_frozen
        Whether MLPs between senders and receivers do what they do in the base run.
    layers
        All layers of the model.
    heads, shared
        How many heads a layer has, and how many of them share keys and values.
    replaced, put
        At which positions senders are replaced, and receivers get what arrives ``[prompt, position]``.
    first_difference
        For each prompt the first position at which base and source differ.
    """

    senders: list[tuple[int, int]]
    receivers: dict[int, list[int]]
    through: Through
    mlps_frozen: bool
    layers: list[int]
    heads: int
    shared: int
    replaced: np.ndarray
    put: np.ndarray
    first_difference: np.ndarray

    def of(self, prompts: slice) -> PathPlan:
        """Give the plan of some of the prompts."""
        rows = {name: getattr(self, name)[prompts] for name in ("replaced", "put", "first_difference")}
        return replace(self, **rows)

    @property
    def positions(self) -> int:
        """How many tokens a prompt has."""
        return self.put.shape[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the array of results: prompts, layers, columns."""
        return (len(self.put), len(self.layers), self.heads + 1)

    @property
    def arrivals(self) -> list[int]:
        """The layers whose input is wanted; after the last is the input of the unembedding."""
        return list(self.receivers) or [len(self.layers)]

    @property
    def asks_for_mlps(self) -> bool:
        """Whether the outputs of MLPs are needed."""
        return self.mlps_frozen or any(column == self.heads for _, column in self.senders)

    @cached_property
    def active(self) -> np.ndarray:
        """The positions at which something can arrive at a receiver ``[prompt, position]``.

        With attention frozen nothing moves from one position to another, and before the first difference base and
        source are the same.
        """
        return self.replaced & self.put & (np.arange(self.positions) >= self.first_difference[:, None])

    @cached_property
    def everything(self) -> Batch:
        """Every run of a sender that comes before a receiver; those that cost least come first."""
        prompts = np.arange(len(self.put))
        layer, column = np.array([sender for sender in self.senders if sender[0] < self.arrivals[-1]]).T
        sender, prompt = (where.ravel() for where in np.meshgrid(np.arange(len(layer)), prompts, indexing="ij"))
        start = np.where(self.active.any(1), self.active.argmax(1), self.positions - 1)[prompt]
        order = np.lexsort((prompt, -layer[sender], -start))
        return Batch(prompt, layer[sender], start, {"head": column[sender]}).take(order)

    @cached_property
    def known(self) -> Batch:
        """The runs in which nothing arrives: their result is that of the base run."""
        return self.everything.take(~self.active.any(1)[self.everything.prompt])

    @cached_property
    def open(self) -> Batch:
        """The runs that have to be run."""
        return self.everything.take(self.active.any(1)[self.everything.prompt])

    def batches(self, most_tokens: int, most_runs: int) -> Iterator[Batch]:
        """Cut the open runs into batches."""
        return in_batches(self.open, self.positions, most_tokens, most_runs)

    def entries(self, batch: Batch) -> np.ndarray:
        """Give for each run the first layer after its sender that has receivers."""
        return np.array(self.arrivals)[np.searchsorted(self.arrivals, batch.layer, side="right")]

    def label(self, sender: tuple[int, int]) -> str:
        """Write a sender as ``"18.6"`` or ``"mlp18"``."""
        return f"mlp{sender[0]}" if sender[1] == self.heads else head_label(*sender)

    def receiver_label(self) -> str:
        """Write the receivers."""
        if not self.receivers:
            return "logits"
        names = [head_label(layer, head) for layer, heads in self.receivers.items() for head in heads]
        return f"{self.through} of {' '.join(names)}"


def plan_paths(
    model: TransformerBridge,
    task: Task,
    senders: Senders,
    receivers: Heads | None,
    through: Through,
    positions: Positions | None,
    receiver_positions: Positions | None,
    mlps: Mlps,
) -> PathPlan:
    """Lay out path patching.

    Raises
    ------
    HookError
        If a sender, receiver or position does not exist.
    InputError
        If no sender comes before a receiver, or another argument does not fit.
    """
    _check_choices(through, mlps)
    cfg, wanted = model.cfg, None if receivers is None else _receivers(model, receivers)
    if wanted is None and receiver_positions is not None:
        msg = "receiver_positions= goes with receivers=: the logits are read at END"
        raise InputError(msg)
    plan = PathPlan(
        senders=_senders(model, senders), receivers=wanted or {}, through=through, mlps_frozen=mlps == "frozen",
        layers=list(range(cfg.n_layers)), heads=cfg.n_heads, shared=cfg.n_heads // n_key_value_heads(model),
        replaced=_mask(task, positions), put=_mask(task, "END" if wanted is None else receiver_positions),
        first_difference=np.array(task.first_difference),
    )  # fmt: skip
    if min(layer for layer, _ in plan.senders) >= plan.arrivals[-1]:
        msg = (
            f"no sender comes before a receiver ({plan.receiver_label()}): expected senders below layer "
            f"{plan.arrivals[-1]}, got {', '.join(plan.label(sender) for sender in plan.senders)}"
        )
        raise InputError(msg)
    return plan


def _check_choices(through: str, mlps: str) -> None:
    if through not in ("q", "k", "v"):
        msg = f"expected through 'q', 'k' or 'v', what of the receivers is changed, got {through!r}"
        raise InputError(msg)
    if mlps not in ("recomputed", "frozen"):
        msg = f"expected mlps 'recomputed' or 'frozen', got {mlps!r}"
        raise InputError(msg)


def _senders(model: TransformerBridge, asked: Senders) -> list[tuple[int, int]]:
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    if isinstance(asked, str) and asked in ("heads", "mlps", "all"):
        columns = {"heads": range(heads), "mlps": [heads], "all": range(heads + 1)}[asked]
        return [(layer, column) for layer in range(layers) for column in columns]
    single = isinstance(asked, str) or (len(asked) == 2 and all(hasattr(part, "__index__") for part in asked))
    found = [_sender(name, layers, heads) for name in ([asked] if single else asked)]
    if not found:
        msg = "expected one sender or more, got none: leave senders= away for all heads"
        raise InputError(msg)
    return list(dict.fromkeys(found))


def _sender(name: HeadLike, layers: int, heads: int) -> tuple[int, int]:
    if isinstance(name, str) and (match := _MLP.fullmatch(name)):
        if int(match[1]) >= layers:
            msg = f"{name} does not exist: expected layers 0 to {layers - 1}"
            raise HookError(msg)
        return int(match[1]), heads
    try:
        return parse_head(name, shape=(layers, heads))
    except HookError as error:
        if "does not exist" in str(error):
            raise
        msg = f"expected senders 'heads', 'mlps', 'all', or some such as '18.6' and 'mlp18', got {name!r}"
        raise HookError(msg) from error


def _receivers(model: TransformerBridge, asked: Heads) -> dict[int, list[int]]:
    heads = sorted(set(parse_heads(asked, shape=(model.cfg.n_layers, model.cfg.n_heads))))
    if not heads:
        msg = "expected one receiver head or more, got none: receivers=None is the logits"
        raise InputError(msg)
    found: dict[int, list[int]] = {}
    for layer, head in heads:
        found.setdefault(layer, []).append(head)
    return found


def _mask(task: Task, asked: Positions | None) -> np.ndarray:
    """Mark positions ``[prompt, position]``; None is all of them."""
    places, _ = read_positions(task, asked, len(task.clean))
    mask = np.zeros((len(task), len(task.clean)), bool)
    np.put_along_axis(mask, np.broadcast_to(places, (len(task), places.shape[-1])), True, axis=1)
    return mask
