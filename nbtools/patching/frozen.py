"""Path patching without a forward pass for each sender: with attention frozen, rows of one token go their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nbtools.patching.engine import Engine, Scorer
from nbtools.patching.inside import Inside, Packing
from nbtools.patching.packed import Given, Put
from nbtools.patching.path_plan import PathPlan
from nbtools.patching.plan import Batch
from nbtools.patching.twin import twin_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["FrozenEngine", "Tokens"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens that frozen runs change, in the order of their senders' layers.

    Attributes
    ----------
    run
        The number of the run in its batch.
    prompt, at
        Which prompt, and at which position.
    layer, column
        The sender.
    """

    run: Int[Tensor, " token"]
    prompt: Int[Tensor, " token"]
    at: Int[Tensor, " token"]
    layer: Int[Tensor, " token"]
    column: Int[Tensor, " token"]

    def __len__(self) -> int:
        return len(self.run)

    def __getitem__(self, chosen: slice) -> Tokens:
        return Tokens(*(part[chosen] for part in (self.run, self.prompt, self.at, self.layer, self.column)))

    def below(self, layer: int) -> Tokens:
        """Give those whose sender is in a layer below."""
        return self[: int((self.layer < layer).sum())]


class FrozenEngine(Packing, Engine):
    """Rows of frozen runs and of runs whose receivers are changed, packed, on the model's twin.

    With every head held at the base nothing moves from one position to another. So a sender changes only the tokens
    at which it is replaced, and each of them goes through the layers alone: through the MLPs, if these are recomputed;
    else past them, as the base's stream and the change that the sender made in its own layer. What the receivers
    then read is put into runs that begin at their layer, as in `nbtools.patching.resumed`.
    """

    plan: PathPlan
    pasts = 2

    def __init__(self, model: TransformerBridge, plan: PathPlan, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        super().__init__(model, plan, base, source, scorer)
        self.passes_by = plan.mlps_frozen  # what senders change is added to later streams, which nothing else changes
        found: dict[nn.Module, Tensor] = {}
        ends = _mlp_ends(model) if plan.asks_for_mlps else []
        with _after(ends, found.__setitem__):
            self.run_both()
        shape = self.kept.streams[0].shape
        self.mlps = [(module, found[module].reshape(shape)) for module in ends]
        self.reads = {layer: self._base_reads(layer) for layer in plan.receivers}

    @property
    def nbytes(self) -> int:
        """How much memory is held from one batch to the next."""
        return super().nbytes + sum(part.nbytes for part in (*(out for _, out in self.mlps), *self.reads.values()))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        tokens = self.tokens(batch)
        streams = self.arriving(tokens)
        if self.plan.receivers:
            return self.scores(self.received(batch, tokens, self.readings(tokens, streams)))
        values = np.empty(len(batch))
        rows, prompt = streams[len(self.plan.layers)], tokens.prompt.cpu().numpy()
        values[tokens.run.cpu().numpy()] = self.scorer.of_rows(self.twin, rows[:, None], prompt)
        return values

    def tokens(self, batch: Batch) -> Tokens:
        """Give the tokens that the senders of a batch change."""
        run, at = np.nonzero(self.plan.active[batch.prompt])
        order = np.argsort(batch.layer[run], kind="stable")
        run, at = run[order], at[order]
        parts = (run, batch.prompt[run], at, batch.layer[run], batch.places["head"][run])
        return Tokens(*map(self.tensor, parts))

    def arriving(self, tokens: Tokens) -> dict[int, Float[Tensor, "token d_model"]]:
        """Give what arrives at each layer that has receivers, for the tokens whose senders are below it."""
        advance = self._past_mlps if self.passes_by else self._through_mlps
        wanted, found = self.plan.arrivals, {}
        rows = self.kept.streams[0][0, :0]
        for layer in range(max(0, int(tokens.layer[0])), wanted[-1] + 1):
            if layer in wanted:
                found[layer] = rows + self._base(layer, tokens[: len(rows)]) if self.passes_by else rows
            if layer < wanted[-1]:
                rows = advance(layer, rows, tokens.below(layer + 1))
        return found

    def _through_mlps(
        self, layer: int, rows: Float[Tensor, "token d_model"], tokens: Tokens
    ) -> Float[Tensor, "token d_model"]:
        """Run the streams of all senders up to a layer through it."""
        return self._step(layer, torch.cat([rows, self._base(layer, tokens[len(rows) :])]), tokens)

    def _past_mlps(
        self, layer: int, changes: Float[Tensor, "token d_model"], tokens: Tokens
    ) -> Float[Tensor, "token d_model"]:
        """Add to the changes of earlier senders those of a layer's own; no later layer makes others of them."""
        new = tokens[len(changes) :]
        if not len(new):
            return changes
        out = self._step(layer, self._base(layer, new), new)
        return torch.cat([changes, out - self._base(layer + 1, new)])

    def _base(self, layer: int, tokens: Tokens) -> Float[Tensor, "token d_model"]:
        return self.kept.streams[layer][tokens.prompt, tokens.at]

    def _step(self, layer: int, rows: Float[Tensor, "token d_model"], tokens: Tokens) -> Tensor:
        """Run rows through a layer whose heads are the base's, and its senders the source's."""
        with _after([module for module, _ in self.mlps[layer : layer + 1]], self.mlp(layer, tokens)):
            return self.twin.with_heads(layer, Given(rows, tokens.at, self.heads(layer, tokens)), self.kept)

    def heads(self, layer: int, tokens: Tokens) -> Float[Tensor, "token head d_head"]:
        """Give what attention puts out for tokens, in the base run but for senders in this layer."""
        whole = self.kept.heads[layer]
        own = whole[tokens.prompt, tokens.at]
        sent = torch.nonzero((tokens.layer == layer) & (tokens.column < self.plan.heads))[:, 0]
        prompt, at, column = tokens.prompt[sent] + len(self.base), tokens.at[sent], tokens.column[sent]
        own[sent, column] = whole[prompt, at, column]
        return own

    def mlp(self, layer: int, tokens: Tokens) -> Callable[[nn.Module, Tensor], Tensor]:
        """Give what an MLP's output becomes: the source's for senders in this layer, the base's if MLPs are frozen."""
        sent = (tokens.layer == layer) & (tokens.column == self.plan.heads)

        def change(_: nn.Module, out: Tensor) -> Tensor:
            whole = self.mlps[layer][1]
            own = whole[tokens.prompt, tokens.at] if self.plan.mlps_frozen else out.reshape(len(tokens), -1)
            theirs = whole[tokens.prompt + len(self.base), tokens.at]
            return torch.where(sent[:, None], theirs, own).view_as(out)

        return change

    def readings(self, tokens: Tokens, streams: dict[int, Tensor]) -> dict[int, Float[Tensor, "token head d_head"]]:
        """Give what the receivers of each layer read off the streams that arrive."""
        return {
            layer: self._read_heads(layer, rows, tokens[: len(rows)].at).transpose(0, 1)
            for layer, rows in streams.items()
            if len(rows)
        }

    def _read_heads(
        self, layer: int, rows: Float[Tensor, "token d_model"], at: Int[Tensor, " token"]
    ) -> Float[Tensor, "head token d_head"]:
        """Give queries, keys or values of a layer's receivers."""
        parts = self.twin.reads(layer, rows, at, self.kept)
        heads = self._receivers(layer)
        if self.plan.through == "q":
            return parts[0][0, heads]
        return parts["qkv".index(self.plan.through)][0, heads // self.plan.shared]

    def _receivers(self, layer: int) -> Int[Tensor, " head"]:
        return self.tensor(np.array(self.plan.receivers[layer]))

    def _base_reads(self, layer: int) -> Float[Tensor, "prompt head position d_head"]:
        rows = self.kept.streams[layer][: len(self.base)]
        at = torch.arange(self.plan.positions, device=rows.device).repeat(len(rows))
        return self._read_heads(layer, rows.flatten(0, 1), at).unflatten(1, rows.shape[:2]).transpose(0, 1)

    def received(self, batch: Batch, tokens: Tokens, readings: dict[int, Tensor]) -> Inside:
        """Run base runs to the end, from the first receivers on, with what these have read."""
        entering = replace(batch, layer=self.plan.entries(batch))
        inside = Inside(entering, self.plan.layers, self.plan.positions, self.base.device)
        for layer in self.plan.layers:
            for number, runs in inside.waiting[layer]:
                lane = inside.lane(number, runs)
                inside.join(number, runs, self.kept.streams[layer][lane.prompts, lane.start :])
            lanes, last = inside.lanes(), layer == self.plan.layers[-1]
            if lanes:
                puts = self._puts(layer, inside, tokens, readings[layer]) if layer in self.plan.receivers else None
                advance = self.twin.advance_ends if last else self.twin.advance
                inside.advanced(advance(layer, inside.packed(self.kept), lanes, self.kept, puts=puts), ended=last)
        return inside

    def _puts(self, layer: int, inside: Inside, tokens: Tokens, read: Float[Tensor, "token head d_head"]) -> list[Put]:
        """Give what is put into a layer's receivers: what was read at tokens that changed, elsewhere the base's."""
        puts, number = [], "qkv".index(self.plan.through)
        for lane, runs in zip(inside.lanes(), inside.runs(), strict=True):
            place = torch.full((len(inside.batch),), -1, device=self.base.device)
            place[self.tensor(runs)] = torch.arange(len(runs), device=self.base.device)
            own = place[tokens.run[: len(read)]]
            mine = torch.nonzero(own >= 0)[:, 0]
            values = self.reads[layer][lane.prompts, :, lane.start :].clone()
            values[own[mine], :, tokens.at[mine] - lane.start] = read[mine]
            where = self.tensor(self.plan.put)[lane.prompts, lane.start :]
            puts.append(Put(number, self._receivers(layer), values, where))
        return puts


def _mlp_ends(model: TransformerBridge) -> list[nn.Module]:
    """Find in the twin the last module of each MLP: the one with the weights of the hooked model's."""
    pairs = zip(twin_of(model).layers, model.blocks, strict=True)
    return [_holding(layer, block.mlp.out.original_component.weight) for layer, block in pairs]


def _holding(layer: nn.Module, weight: Tensor) -> nn.Module:
    for module in layer.modules():
        own = getattr(module, "weight", None)
        if torch.is_tensor(own) and own.data_ptr() == weight.data_ptr():
            return module
    raise LookupError("the MLP does not end in one module with a weight")


@contextmanager
def _after(modules: Sequence[nn.Module], change: Callable[[nn.Module, Tensor], Tensor | None]) -> Iterator[None]:
    """Let a function see, and change, what modules of the twin put out while this lasts."""
    handles = [module.register_forward_hook(lambda own, _, out: change(own, out)) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
