"""One activation as a mediator: what it is in two runs, and what the model says when it is something else."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.naming import HeadLike, parse_head
from nbtools.patching.calls import Call, recorded_calls
from nbtools.patching.exact import usable_site
from nbtools.patching.packed import Lane
from nbtools.patching.proof import prove
from nbtools.patching.sites import Site, count
from nbtools.patching.twin import twin_of
from nbtools.runs.forward import check_model, lock, works_in_place
from nbtools.runs.threads import settle_threads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Interchange

__all__ = ["Mediator"]

_AT_ONCE = 64  # pairs of prompts in one run
_STREAMS = ("resid_pre", "resid_post")  # what a layer begins and ends with
_VECTORS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "neurons")


class Mediator:
    """An activation of one layer at one position, in the base and source runs of some pairs.

    Whatever is put in its place, `logits` says what the model then answers, exactly and with a gradient. Only what can
    change is run: later layers, from the position on.

    Parameters
    ----------
    model
        A hooked model.
    pairs
        From `nbtools.tasks.ioi_orders` or `nbtools.tasks.interchange`.
    site
        As in `patch`, except ``pattern``: its vector is the mediator. Of ``q``, ``k``, ``v`` and ``z`` that of all
        heads, one after the other, unless `head` names one.
    layer, position
        Where; a position by number or by name.
    head
        Only this head, as a number; with shared keys and values the number of the group.

    Attributes
    ----------
    base, source
        The activation in both runs ``[pair, width]``.

    Raises
    ------
    HookError
        If there is no such site, layer or head, or the site does nothing on this architecture.
    InputError
        If there is no such position.

    Examples
    --------
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> mediator = Mediator(model, ioi_orders(model, pairs=4, template=0), "resid_post", layer=20)
    >>> mediator
    Mediator(resid_post, layer=20, position='END', pairs=4, width=576)
    """

    def __init__(
        self,
        model: TransformerBridge,
        pairs: Interchange,
        site: str,
        *,
        layer: int,
        position: int | str = "END",
        head: int | HeadLike | None = None,
    ) -> None:
        self.model, self.pairs, self.layer = model, pairs, _layer(model, layer)
        self._choose(site, position, head)
        settle_threads()
        with lock(model), torch.no_grad():
            check_model(model)
            self._problem = prove(model)
            self._twin = None if self._problem else twin_of(model)
            self._calls = self._run_both()
            self._read_both()

    def beside(self, site: str, *, position: int | str = "END", head: int | HeadLike | None = None) -> Mediator:
        """Give another activation of the same layer in the same runs, without running the layers below again.

        Parameters
        ----------
        site, position, head
            As for the first.

        Examples
        --------
        >>> from nbtools.tasks import ioi_orders
        >>> model = load()
        >>> stream = Mediator(model, ioi_orders(model, pairs=4, template=0), "resid_post", layer=20)
        >>> stream.beside("z", head="20.0")
        Mediator(z, layer=20, position='END', head=0, pairs=4, width=64)
        """
        other = copy.copy(self)
        other._choose(site, position, head)
        with lock(self.model), torch.no_grad():
            other._check()
            other._read_both()
        return other

    def _choose(self, site: str, position: int | str, head: int | HeadLike | None) -> None:
        self.site, self.position = _vector_site(self.model, site), position
        self.head = _head(self.model, self.site, self.layer, head)
        self.at = _positions(self.pairs, position)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        head = "" if self.head is None else f", head={self.head}"
        where = f"{self.site.name}, layer={self.layer}, position={self.position!r}{head}"
        return f"Mediator({where}, pairs={len(self)}, width={self.width})"

    @property
    def width(self) -> int:
        """How many numbers the activation has."""
        return self.base.shape[1]

    def logits(
        self, values: Float[Tensor, "pair width"], pairs: Sequence[int] | None = None
    ) -> Float[Tensor, "pair vocabulary"]:
        """Give the logits at END of the base runs with these values in the mediator's place.

        Parameters
        ----------
        values
            One for each pair; a gradient passes through.
        pairs
            Which pairs; by default all.

        Raises
        ------
        ArrayError
            If there is not one value of the right width for each pair.

        Examples
        --------
        >>> from nbtools.tasks import ioi_orders
        >>> model = load()
        >>> mediator = Mediator(model, ioi_orders(model, pairs=2, template=0), "mlp_out", layer=20)
        >>> mediator.logits(mediator.base).shape
        torch.Size([2, 49152])
        """
        chosen = np.arange(len(self)) if pairs is None else np.asarray(pairs)
        if values.shape != (len(chosen), self.width):
            expected = (len(chosen), self.width)
            msg = f"expected one activation for each pair, of shape {expected}, got {tuple(values.shape)}"
            raise ArrayError(msg)
        parts = [slice(begin, begin + _AT_ONCE) for begin in range(0, len(chosen), _AT_ONCE)]
        with lock(self.model):
            self._check()
            return torch.cat([self._run(values[part], chosen[part]) for part in parts])

    def _check(self) -> None:
        check_model(self.model)
        if self._twin is not None and not self._twin.is_current(self.model):
            msg = f"the weights of the model were replaced after {self!r} was made: make it again"
            raise InputError(msg)

    def _run(self, values: Float[Tensor, "pair width"], chosen: np.ndarray) -> Float[Tensor, "pair vocabulary"]:
        where = torch.as_tensor(chosen, device=values.device)
        at = self.at[where]
        if self._problem:
            return self._run_in_full(values, where, at)
        starts, order = torch.sort(at, stable=True)
        stream = self._after_layer(values[order], where[order], starts)
        lanes = [Lane(start, where[order][starts == start]) for start in starts.unique().tolist()]
        return self._to_the_end(stream, lanes)[torch.argsort(order)]

    def _after_layer(
        self, values: Float[Tensor, "pair width"], where: Int[Tensor, " pair"], at: Int[Tensor, " pair"]
    ) -> Float[Tensor, "pair position d_model"]:
        """Give the stream after the mediator's layer, or into it where that is the mediator."""
        if self.site.name in _STREAMS:
            stream = self._stream[where].clone()
            stream[torch.arange(len(where)), at] = values
            return stream
        return self._calls[0].again(self.model, where, [(self.site.at(self.layer), self._putting(values, at))])

    def _to_the_end(self, stream: Float[Tensor, "pair position d_model"], lanes: list[Lane]) -> Tensor:
        twin, kept = self._twin, self._kept
        ends, begin = [], 0
        for lane in lanes:
            rows = stream[begin : begin + len(lane), lane.start :].flatten(0, 1)
            begin += len(lane)
            first = self.layer + (self.site.name != "resid_pre")
            last = self.model.cfg.n_layers - 1
            for layer in range(first, last):
                rows = twin.advance(layer, rows, [lane], kept)
            if first <= last:
                rows = twin.advance_ends(last, rows, [lane], kept)
            ends.append(rows.unflatten(0, (len(lane), -1))[:, -1])
        return twin.logits(torch.cat(ends))

    def _run_in_full(self, values: Tensor, where: Tensor, at: Tensor) -> Tensor:
        hook = (self.site.at(self.layer), self._putting(values, at))
        return self.model.run_with_hooks(self.pairs.base.ids[where], fwd_hooks=[hook])[:, -1].float()

    def _putting(self, values: Float[Tensor, "pair width"], at: Int[Tensor, " pair"]):
        """Give the hook that puts values in the mediator's place."""
        in_place, index = works_in_place(self.site.hook), self._index(at)

        def put(value: Tensor, hook: object) -> Tensor:
            own = value if in_place else value.clone()
            own[index] = values.reshape(own[index].shape).to(own)
            return own

        return put

    def _run_both(self) -> tuple[Call, Call]:
        """Run both prompts of each pair; give with what the layer is called, and keep what later layers read."""
        source = self._run_up_to(self.pairs.source.ids)
        if self._twin is None:
            return self._run_up_to(self.pairs.base.ids), source
        self._kept = self._twin.reference(self.pairs.base.ids, only=self.layer)
        return replace(source, hidden=self._kept.streams.pop()), source

    def _run_up_to(self, ids: Int[Tensor, "pair position"]) -> Call:
        parts = []
        for some in ids.split(_AT_ONCE):
            with recorded_calls(self.model, [self.layer]) as calls:
                self.model(some, stop_at_layer=self.layer + 1, use_cache=False)
            parts.append(calls[self.layer])
        return replace(parts[0], hidden=torch.cat([part.hidden for part in parts]))

    def _read_both(self) -> None:
        """Read the mediator in both runs, each from one layer of it."""
        every = torch.arange(len(self), device=self.at.device)
        if self.site.name in _STREAMS:
            streams = [self._stream_of(call, every) for call in self._calls]
            self.base, self.source = (stream[every, self.at].clone() for stream in streams)
            self._stream = streams[0]
        else:
            self.base, self.source = (self._value(call, every) for call in self._calls)

    def _stream_of(self, call: Call, every: Int[Tensor, " pair"]) -> Float[Tensor, "pair position d_model"]:
        if self.site.name == "resid_pre":
            return call.hidden
        return torch.cat([call.again(self.model, some, []) for some in every.split(_AT_ONCE)])

    def _value(self, call: Call, every: Int[Tensor, " pair"]) -> Float[Tensor, "pair width"]:
        read: list[Tensor] = []
        for some in every.split(_AT_ONCE):
            call.again(self.model, some, [(self.site.at(self.layer), self._keeping(read, self.at[some]))])
        return torch.cat(read)

    def _keeping(self, read: list[Tensor], at: Int[Tensor, " pair"]):
        """Give the hook that reads the mediator."""

        def keep(value: Tensor, hook: object) -> None:
            read.append(value[self._index(at)].flatten(1).clone())

        return keep

    def _index(self, at: Int[Tensor, " pair"]) -> tuple[Tensor | int, ...]:
        """Say where the mediator is in the activations of some prompts."""
        every = torch.arange(len(at), device=at.device)
        return (every, at) if self.head is None else (every, at, self.head)


def _vector_site(model: TransformerBridge, name: str) -> Site:
    site = usable_site(model, name)
    if name not in _VECTORS:
        msg = f"{name!r} is no vector at one position: expected any of {', '.join(_VECTORS)}"
        raise HookError(msg)
    return site


def _layer(model: TransformerBridge, layer: int) -> int:
    count = model.cfg.n_layers
    if not -count <= layer < count:
        msg = f"expected a layer between 0 and {count - 1}, got {layer}"
        raise HookError(msg)
    return layer % count


def _head(model: TransformerBridge, site: Site, layer: int, head: int | HeadLike | None) -> int | None:
    if head is None:
        return None
    if "head" not in site.axes:
        msg = f"{site.name!r} has no heads: leave head= away, or choose z, q, k or v"
        raise HookError(msg)
    own, index = (layer, head) if isinstance(head, int) else parse_head(head)
    most = count(model, site, "head", 1)
    if own != layer:
        msg = f"head {head!r} is not in layer {layer}"
        raise HookError(msg)
    if not 0 <= index < most:
        msg = f"expected a head between 0 and {most - 1}, got {index}"
        raise HookError(msg)
    return index


def _positions(pairs: Interchange, position: int | str) -> Int[Tensor, " pair"]:
    length = len(pairs.base)
    if isinstance(position, str):
        if position not in pairs.positions:
            msg = f"no position {position!r} in these pairs: they name {', '.join(pairs.positions)}"
            raise InputError(msg)
        return torch.tensor(pairs.positions[position], device=pairs.base.ids.device)
    if not -length <= position < length:
        msg = f"expected a position between 0 and {length - 1}, got {position}"
        raise InputError(msg)
    return torch.full((len(pairs),), position % length, device=pairs.base.ids.device)
