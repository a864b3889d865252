"""Patched runs that begin at the patched layer and position: only what can change is computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.patching.calls import Call, recorded_calls
from nbtools.patching.engine import Patched, Scorer
from nbtools.patching.packed import Given, Lane
from nbtools.patching.plan import Batch, Plan
from nbtools.patching.twin import twin_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["ResumedEngine"]

_TOKENS_AT_ONCE = 1024  # beyond this a batch leaves the processor's cache without multiplying any faster


class ResumedEngine(Patched):
    """Rows of many patched runs, packed, on the model's twin.

    A patch of what is added to the residual stream, position by position, is one of the stream itself after that
    layer, so one run of each layer patches all positions at once. A patch of heads' outputs is put in where attention
    would give them. For all else the patched layer runs with its hooks, once for each run.
    """

    def __init__(self, model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        super().__init__(model, plan, base, source, scorer)
        self.twin = twin_of(model)
        self.kept = self.twin.reference(torch.cat([base, source]))
        self.whole_rows = plan.site.axes == ("position", "")
        if self.whole_rows:
            self.streams = {layer: self._all_positions(layer) for layer in plan.layers}
        scorer.learn_direction(self.twin)

    @cached_property
    def calls(self) -> dict[int, Call]:
        """With what the hooked layers are called in the base run; a sweep that runs none of them does not ask."""
        with recorded_calls(self.model, self.plan.layers) as calls:
            self.model(self.base, use_cache=False)
        return calls

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        both = self.kept.streams[-1].split(len(self.base))
        return [self.scorer.of_rows(self.twin, rows, everyone) for rows in both]

    def batches(self, budget: float, piece: int | None) -> Iterator[Batch]:
        """Cut the sweep into batches within the budget, of at most `piece` tokens."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (20 * cfg.d_model + 6 * (cfg.d_mlp or 4 * cfg.d_model)) + 8 * cfg.n_heads * length
        per_run = 8 * length * cfg.d_model  # keys and values of the prefix
        per_run += 12 * cfg.d_vocab * (length if self.scorer.reads_all else self.scorer.vocabulary_is_read)
        left = budget - self.kept.nbytes
        most_tokens = min(int(left / per_token), piece or _TOKENS_AT_ONCE)
        yield from self.plan.batches(max(1, most_tokens), max(1, int(left / per_run)))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        inside = _Inside(batch, self.plan, self.base.device)
        for layer in range(self.model.cfg.n_layers):
            self._enter(inside, layer)
            self._step(inside, layer)
        self._enter(inside, self.model.cfg.n_layers)
        return self._scores(inside)

    def _enter(self, inside: _Inside, layer: int) -> None:
        """Let the runs come in whose first changed input is that of this layer."""
        patched = layer - (self.plan.site.name != "resid_pre")
        if self.plan.site.name == "z" or not inside.waiting[patched]:
            return
        for number, runs in inside.waiting[patched]:
            lane = inside.lane(number, runs)
            if self.whole_rows:
                rows = self._continued(lane, layer, self.streams[patched][lane.prompts, lane.start :])
            else:
                rows = self._through(inside.batch.take(runs), patched)[:, lane.start :]
            inside.join(number, runs, rows)

    def _continued(
        self, lane: Lane, layer: int, changed: Float[Tensor, "run position d_model"]
    ) -> Float[Tensor, "run position d_model"]:
        """Give the stream into a layer: changed everywhere, or if positions are swept only at the first."""
        if "position" not in self.plan.axes:
            return changed
        return torch.cat([changed[:, :1], self.kept.streams[layer][lane.prompts, lane.start + 1 :]], 1)

    def _step(self, inside: _Inside, layer: int) -> None:
        """Run everyone who is in through one layer, and those whose heads are patched in it."""
        last = layer == self.model.cfg.n_layers - 1 and not self.scorer.reads_all
        new = inside.waiting[layer] if self.plan.site.name == "z" else []
        given = [self._patched_heads(inside.lane(number, runs), inside.batch.take(runs), layer) for number, runs in new]
        rows, lanes = self._packed(inside)
        if last:
            out = self.twin.advance_ends(layer, rows, lanes, self.kept) if lanes else rows
            extra = self.twin.advance(layer, rows[:0], [], self.kept, _joined(given)) if new else rows[:0]
        elif lanes or new:
            both = self.twin.advance(layer, rows, lanes, self.kept, _joined(given) if new else None)
            out, extra = both[: len(rows)], both[len(rows) :]
        else:
            return
        inside.advanced(out, ended=last)
        for (number, runs), rows in zip(new, extra.split([len(part.rows) for part in given]), strict=True):
            changed = rows.unflatten(0, (len(runs), -1))
            inside.join(number, runs, self._continued(inside.lane(number, runs), layer + 1, changed))

    def _packed(self, inside: _Inside) -> tuple[Float[Tensor, "token d_model"], list[Lane]]:
        rows = [part.flatten(0, 1) for part in inside.rows()]
        return torch.cat(rows) if rows else self.kept.streams[0][0, :0], inside.lanes()

    def _patched_heads(self, lane: Lane, batch: Batch, layer: int) -> Given:
        """Give the rows that a patch of heads changes: one where positions are swept, all from the start otherwise."""
        end = lane.start + 1 if "position" in self.plan.axes else self.plan.positions
        where, every = slice(lane.start, end), torch.arange(len(lane), device=self.base.device)
        own, given = (self.kept.heads[layer][at, where] for at in (lane.prompts, lane.prompts + len(self.base)))
        if "head" in self.plan.axes:
            head = self._tensor(self.plan.index("head", batch))
            own[every, :, head] = given[every, :, head]
        else:
            own = given
        rows = self.kept.streams[layer][lane.prompts, where].flatten(0, 1)
        at = torch.arange(lane.start, end, device=rows.device).repeat(len(lane))
        return Given(rows, at, own.flatten(0, 1))

    def _scores(self, inside: _Inside) -> np.ndarray:
        order, parts = inside.results()
        rows = torch.cat([self._read(lane, part) for lane, part in parts])
        values = np.empty(len(inside.batch))
        values[order] = self.scorer.of_rows(self.twin, rows, inside.batch.prompt[order])
        return values

    def _read(self, lane: Lane, rows: Float[Tensor, "run position d_model"]) -> Tensor:
        """Give the output of the last layer at the last position, or at all, also where it did not change."""
        if not self.scorer.reads_all:
            return rows[:, -1:]
        return torch.cat([self.kept.streams[-1][lane.prompts, : lane.start], rows], 1)

    def _all_positions(self, layer: int) -> Float[Tensor, "prompt position d_model"]:
        """Give the stream that a patch leaves behind when all positions are patched."""
        if self.plan.site.name in ("resid_pre", "resid_post"):
            return self.kept.streams[layer + (self.plan.site.name == "resid_post")][len(self.base) :]
        everyone = np.arange(len(self.base))
        return self._layer(everyone, layer)([self._edit(everyone, layer, {})])

    def _through(self, batch: Batch, layer: int) -> Float[Tensor, "run position d_model"]:
        """Run the patched layer itself, with its hooks."""
        most = max(1, _TOKENS_AT_ONCE // self.plan.positions)
        parts = [batch.take(slice(begin, begin + most)) for begin in range(0, len(batch), most)]
        layers = [self._layer(part.prompt, layer) for part in parts]
        return torch.cat([run(self.hooks(part, layer, run)) for part, run in zip(parts, layers, strict=True)])

    def _layer(self, prompt: np.ndarray, layer: int) -> Callable[[list], Float[Tensor, "run position d_model"]]:
        """Give a hooked layer alone as a function of hooks, for unpatched runs of these prompts."""
        which = self._tensor(prompt)
        return lambda hooks: self.calls[layer].again(self.model, which, hooks)


class _Inside:
    """The runs of a batch: who waits for which layer, and by their start the rows of those who are under way."""

    def __init__(self, batch: Batch, plan: Plan, device: torch.device) -> None:
        self.batch, self.length = batch, plan.positions
        self.waiting: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        self._prompt, self._starts = torch.as_tensor(batch.prompt, device=device), []
        for number, (start, runs) in enumerate(batch.starts()):
            self._starts.append(start)
            for place in np.unique(batch.layer[runs]):
                self.waiting[plan.layers[place]].append((number, runs[batch.layer[runs] == place]))
        self._rows: list[list[Float[Tensor, "run position d_model"]]] = [[] for _ in self._starts]
        self._runs: list[list[np.ndarray]] = [[] for _ in self._starts]
        self._ended = False

    def lane(self, number: int, runs: np.ndarray) -> Lane:
        """Give runs of one start as a lane."""
        return Lane(self._starts[number], self._prompt[runs])

    def join(self, number: int, runs: np.ndarray, rows: Float[Tensor, "run position d_model"]) -> None:
        """Let runs of a lane in."""
        self._rows[number].append(rows[:, -1:] if self._ended else rows)
        self._runs[number].append(runs)

    def rows(self) -> list[Float[Tensor, "run position d_model"]]:
        """Give the rows of all who are under way."""
        return [part for rows in self._rows for part in rows]

    def lanes(self) -> list[Lane]:
        """Give the lanes these belong to."""
        return [self.lane(number, np.concatenate(runs)) for number, runs in enumerate(self._runs) if runs]

    def advanced(self, rows: Float[Tensor, "token d_model"], *, ended: bool) -> None:
        """Take what has become of all rows, in the same order; at the end only the last of each run."""
        self._ended, lanes = ended, self.lanes()
        lengths = [1 if ended else self.length - lane.start for lane in lanes]
        parts = rows.split([length * len(lane) for length, lane in zip(lengths, lanes, strict=True)])
        under_way = [number for number, runs in enumerate(self._runs) if runs]
        for number, part, length in zip(under_way, parts, lengths, strict=True):
            self._rows[number] = [part.unflatten(0, (-1, length))]

    def results(self) -> tuple[np.ndarray, list[tuple[Lane, Float[Tensor, "run position d_model"]]]]:
        """Give the numbers of all runs, and their rows lane by lane, in the same order."""
        order = np.concatenate([part for runs in self._runs for part in runs])
        rows = [torch.cat(parts) for parts in self._rows if parts]
        return order, list(zip(self.lanes(), rows, strict=True))


def _joined(parts: list[Given]) -> Given:
    return Given(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rows", "at", "heads")))
