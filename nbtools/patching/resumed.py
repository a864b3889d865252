"""Patched runs that begin at the patched layer and position: only what can change is computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.patching.calls import Call, recorded_calls
from nbtools.patching.engine import Patched, Scorer
from nbtools.patching.inside import Inside, Packing, tokens_at_once
from nbtools.patching.packed import Given, Lane
from nbtools.patching.plan import Batch, Plan

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["ResumedEngine"]


class ResumedEngine(Patched, Packing):
    """Rows of many patched runs, packed, on the model's twin.

    A patch of what is added to the residual stream, position by position, is one of the stream itself after that
    layer, so one run of each layer patches all positions at once. A patch of heads' outputs is put in where attention
    would give them. For all else the patched layer runs with its hooks, once for each run.
    """

    def __init__(self, model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        super().__init__(model, plan, base, source, scorer)
        self.run_both()
        self.whole_rows = plan.site.axes == ("position", "")
        if self.whole_rows:
            self.streams = {layer: self._all_positions(layer) for layer in plan.layers}

    @cached_property
    def calls(self) -> dict[int, Call]:
        """With what the hooked layers are called in the base run; a sweep that runs none of them does not ask."""
        with recorded_calls(self.model, self.plan.layers) as calls:
            self.model(self.base, use_cache=False)
        return calls

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        inside = Inside(batch, self.plan.layers, self.plan.positions, self.base.device)
        for layer in range(self.model.cfg.n_layers):
            self._enter(inside, layer)
            self._step(inside, layer)
        self._enter(inside, self.model.cfg.n_layers)
        return self.scores(inside)

    def _enter(self, inside: Inside, layer: int) -> None:
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

    def _step(self, inside: Inside, layer: int) -> None:
        """Run everyone who is in through one layer, and those whose heads are patched in it."""
        last = layer == self.model.cfg.n_layers - 1 and not self.scorer.reads_all
        new = inside.waiting[layer] if self.plan.site.name == "z" else []
        given = [self._patched_heads(inside.lane(number, runs), inside.batch.take(runs), layer) for number, runs in new]
        rows, lanes = inside.packed(self.kept), inside.lanes()
        if last:
            out = self.twin.advance_ends(layer, rows, lanes, self.kept) if lanes else rows
            extra = self.twin.with_heads(layer, _joined(given), self.kept) if new else rows[:0]
        elif lanes or new:
            both = self.twin.advance(layer, rows, lanes, self.kept, _joined(given) if new else None)
            out, extra = both[: len(rows)], both[len(rows) :]
        else:
            return
        inside.advanced(out, ended=last)
        for (number, runs), rows in zip(new, extra.split([len(part.rows) for part in given]), strict=True):
            changed = rows.unflatten(0, (len(runs), -1))
            inside.join(number, runs, self._continued(inside.lane(number, runs), layer + 1, changed))

    def _patched_heads(self, lane: Lane, batch: Batch, layer: int) -> Given:
        """Give the rows that a patch of heads changes: one where positions are swept, all from the start otherwise."""
        end = lane.start + 1 if "position" in self.plan.axes else self.plan.positions
        where, every = slice(lane.start, end), torch.arange(len(lane), device=self.base.device)
        own, given = (self.kept.heads[layer][at, where] for at in (lane.prompts, lane.prompts + len(self.base)))
        if "head" in self.plan.axes:
            head = self.tensor(self.plan.index("head", batch))
            own[every, :, head] = given[every, :, head]
        else:
            own = given
        rows = self.kept.streams[layer][lane.prompts, where].flatten(0, 1)
        at = torch.arange(lane.start, end, device=rows.device).repeat(len(lane))
        return Given(rows, at, own.flatten(0, 1))

    def _all_positions(self, layer: int) -> Float[Tensor, "prompt position d_model"]:
        """Give the stream that a patch leaves behind when all positions are patched."""
        if self.plan.site.name in ("resid_pre", "resid_post"):
            return self.kept.streams[layer + (self.plan.site.name == "resid_post")][len(self.base) :]
        everyone = np.arange(len(self.base))
        return self._layer(everyone, layer)([self._edit(everyone, layer, {})])

    def _through(self, batch: Batch, layer: int) -> Float[Tensor, "run position d_model"]:
        """Run the patched layer itself, with its hooks."""
        most = max(1, tokens_at_once(self.base.device) // self.plan.positions)
        parts = [batch.take(slice(begin, begin + most)) for begin in range(0, len(batch), most)]
        layers = [self._layer(part.prompt, layer) for part in parts]
        return torch.cat([run(self.hooks(part, layer, run)) for part, run in zip(parts, layers, strict=True)])

    def _layer(self, prompt: np.ndarray, layer: int) -> Callable[[list], Float[Tensor, "run position d_model"]]:
        """Give a hooked layer alone as a function of hooks, for unpatched runs of these prompts."""
        which = self.tensor(prompt)
        return lambda hooks: self.calls[layer].again(self.model, which, hooks)


def _joined(parts: list[Given]) -> Given:
    return Given(*(torch.cat([getattr(part, name) for part in parts]) for name in ("rows", "at", "heads")))
