"""Attention for rows of many patched runs at once, each with its own unchanged past, out of a reference run.

After a patch at one layer and position, only later layers at later positions change. So the rows of many patched runs
go through a layer as one long row of tokens; only attention has to know which run a row belongs to, and reads the keys
and values of unchanged positions from the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ATTENTION",
    "Enough",
    "Given",
    "Lane",
    "Put",
    "Reference",
    "along",
    "attending",
    "ends",
    "packed",
    "reading",
    "recording",
    "register",
]

ATTENTION = "nbtools_packed"
"""The name under which transformers calls attention here."""

Attend = Callable[..., Tensor]
_attention: ContextVar[Attend] = ContextVar("attention")


@dataclass(frozen=True, eq=False)
class Lane:
    """Patched runs that share the first position that can change.

    Attributes
    ----------
    start
        That position.
    prompts
        The prompt of each run.
    """

    start: int
    prompts: Int[Tensor, " run"]

    def __len__(self) -> int:
        return len(self.prompts)

    def past(self, whole: Float[Tensor, "prompt head position d_head"]) -> Float[Tensor, "run head position d_head"]:
        """Give what the reference has for each run before the start."""
        return whole[self.prompts, :, : self.start]


@dataclass(frozen=True, eq=False)
class Given:
    """Rows whose attention is known beforehand: that of patched heads.

    Attributes
    ----------
    rows
        The input of the layer ``[token, d_model]``.
    at
        Their positions.
    heads
        What attention puts out for them, before ``W_O`` ``[token, head, d_head]``.
    """

    rows: Float[Tensor, "token d_model"]
    at: Int[Tensor, " token"]
    heads: Float[Tensor, "token head d_head"]


@dataclass(frozen=True, eq=False)
class Put:
    """Queries, keys or values that are put into some heads of the runs of a lane, each into this head alone.

    Attributes
    ----------
    which
        0 for queries, 1 for keys, 2 for values.
    heads
        The query heads; of keys and values that a group shares each head sees its own.
    values
        What they get ``[run, head, position, d_head]``, from the lane's start on.
    where
        At which positions they get it.
    """

    which: int
    heads: Int[Tensor, " head"]
    values: Float[Tensor, "run head position d_head"]
    where: Bool[Tensor, "run position"]

    def into(self, own: Sequence[Tensor], groups: Int[Tensor, " head"]) -> list[Tensor]:
        """Give queries, keys and values of these heads, changed; queries may be those of the last positions alone."""
        parts = [own[0][:, self.heads], own[1][:, groups], own[2][:, groups]]
        old = parts[self.which]
        late = slice(-old.shape[2], None)
        parts[self.which] = torch.where(self.where[:, None, late, None], self.values[:, :, late].to(old), old)
        return parts


@dataclass
class Reference:
    """What a full run leaves for packed ones.

    Attributes
    ----------
    streams
        For each layer its input ``[prompt, position, d_model]``, and after them the output of the last.
    keys, values
        For each attention module ``[prompt, head, position, d_head]``, as attention reads them.
    masks
        What is added to its scores ``[1, 1, query, key]``, or None.
    heads
        For each layer what its heads put out ``[prompt, position, head, d_head]``.
    arguments
        What each layer was called with beside its input.
    """

    streams: list[Float[Tensor, "prompt position d_model"]] = field(default_factory=list)
    keys: dict[nn.Module, Tensor] = field(default_factory=dict)
    values: dict[nn.Module, Tensor] = field(default_factory=dict)
    masks: dict[nn.Module, Tensor | None] = field(default_factory=dict)
    heads: list[Float[Tensor, "prompt position head d_head"]] = field(default_factory=list)
    arguments: list[tuple[tuple, dict[str, Any]]] = field(default_factory=list)
    length: int = 0
    """How many positions the prompts have."""
    only: int | None = None
    """The one layer whose input is kept, and no heads; None for everything."""

    @property
    def nbytes(self) -> int:
        """How much memory it holds."""
        return sum(part.nbytes for part in (*self.streams, *self.heads, *self.keys.values(), *self.values.values()))


def register() -> None:
    """Make this attention known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, eager_mask)


@contextmanager
def attending(attend: Attend) -> Iterator[None]:
    """Let attention be this function for a while."""
    token = _attention.set(attend)
    try:
        yield
    finally:
        _attention.reset(token)


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Any:
    """Stand where transformers calls attention; heads come before positions."""
    if options.get("s_aux") is not None or options.get("position_bias") is not None:
        raise LookupError("attention with learned sinks or biases")
    return _attention.get()(module, query, key, value, mask, options), None


def recording(kept: Reference) -> Attend:
    """Attend in full, and keep what packed runs need."""

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, options: dict) -> Tensor:
        kept.keys[module], kept.values[module] = key, value
        kept.masks[module] = None if mask is None else mask[:1]
        heads = _core(query, key, value, mask, options)
        if kept.only is None:
            kept.heads.append(heads)
        return heads

    return attend


def packed(
    kept: Reference, lanes: Sequence[Lane], given: Given | None = None, puts: Sequence[Put] | None = None
) -> Attend:
    """Attend for the rows of all lanes, and after them the rows that are given; `puts` has one for each lane."""

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, options: dict) -> Tensor:
        parts, begin = [], 0
        for lane, put in zip(lanes, puts or [None] * len(lanes), strict=True):
            end = begin + len(lane) * (kept.length - lane.start)
            own = [_split(whole[0, :, begin:end], len(lane)) for whole in (query, key, value)]
            parts.append(_one_lane(kept, module, lane, own, options, put).flatten(0, 1))
            begin = end
        if given is not None:
            parts.append(given.heads)
        return torch.cat(parts)[None]

    return attend


class Enough(Exception):  # noqa: N818, it is no error
    """Raised to leave a layer when all that is wanted of it is known."""


def reading(found: list[Tensor]) -> Attend:
    """Keep queries, keys and values of the rows, and leave the layer by raising; `Enough` is to be caught."""

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, options: dict) -> Tensor:
        found.extend((query, key, value))
        raise Enough

    return attend


def ends(kept: Reference, lanes: Sequence[Lane], found: Sequence[Tensor], puts: Sequence[Put] | None = None) -> Attend:
    """Attend for the last position of each run alone, with keys and values of all its rows."""

    def attend(module: nn.Module, query: Tensor, _: Tensor, __: Tensor, ___: Any, options: dict) -> Tensor:
        parts, begin, first = [], 0, 0
        for lane, put in zip(lanes, puts or [None] * len(lanes), strict=True):
            runs = len(lane)
            end = begin + runs * (kept.length - lane.start)
            own = [_split(query[0, :, first : first + runs], runs)]
            own += [_split(whole[0, :, begin:end], runs) for whole in found]
            parts.append(_one_lane(kept, module, lane, own, options, put).flatten(0, 1))
            begin, first = end, first + runs
        return torch.cat(parts)[None]

    return attend


def _one_lane(
    kept: Reference, module: nn.Module, lane: Lane, own: Sequence[Tensor], options: dict, put: Put | None
) -> Float[Tensor, "run position head d_head"]:
    """Attend from the rows of a lane's runs; heads that something is put into see their own queries, keys, values."""
    mixed = _with_past(kept, module, lane, own, options)
    if put is None:
        return mixed
    groups = put.heads // (own[0].shape[1] // own[1].shape[1])
    changed = _with_past(kept, module, lane, put.into(own, groups), options, groups)
    return mixed.index_copy(2, put.heads, changed)


def _with_past(
    kept: Reference,
    module: nn.Module,
    lane: Lane,
    own: Sequence[Tensor],
    options: dict,
    groups: Int[Tensor, " head"] | slice = slice(None),
) -> Float[Tensor, "run position head d_head"]:
    """Attend from rows to their own keys and those of the reference before them, of these groups of heads."""
    query, *changed = own
    if lane.start:
        whole = (kept.keys[module], kept.values[module])
        changed = [torch.cat([lane.past(old)[:, groups], new], 2) for old, new in zip(whole, changed, strict=True)]
    mask = kept.masks[module]
    return _core(query, *changed, None if mask is None else mask[:, :, -query.shape[2] :], options)


def _split(rows: Tensor, runs: int) -> Float[Tensor, "run head position d_head"]:
    return rows.unflatten(1, (runs, -1)).transpose(0, 1)


def _core(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict
) -> Float[Tensor, "run position head d_head"]:
    """Attend as the eager functions of transformers do: scale, soft cap, mask, softmax."""
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    cap, groups = options.get("softcap"), query.shape[1] // key.shape[1]
    if cap is None:
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=groups > 1)
        return mixed.transpose(1, 2)
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = torch.tanh(query @ key.transpose(-1, -2) * scale / cap) * cap
    scores = scores if mask is None else scores + mask
    return (scores.softmax(-1, dtype=torch.float32).to(value) @ value).transpose(1, 2)


def along(value: Any, positions: Int[Tensor, " token"], length: int) -> Any:
    """Give an argument of a layer for packed tokens: what has a position dimension is read at their positions."""
    if isinstance(value, tuple):
        return tuple(along(part, positions, length) for part in value)
    if not torch.is_tensor(value) or value.ndim == 4:  # a mask: attention has its own
        return value
    if value.ndim in (2, 3) and value.shape[1] == length:
        return value[:1, positions]
    return value[positions] if value.ndim == 1 and len(value) == length else value
