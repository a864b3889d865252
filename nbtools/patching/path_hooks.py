"""Path patching with hooks: what every architecture can do, and what the fast engine is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nbtools.patching.engine import TOKENS_AT_ONCE, Engine
from nbtools.patching.path_plan import PathPlan
from nbtools.patching.plan import Batch
from nbtools.patching.sites import SITES
from nbtools.runs.forward import Run, forward

__all__ = ["HookedPaths"]

Hooks = list[tuple[str, Any]]


class HookedPaths(Engine):
    """Full runs of the hooked model: one that is frozen, and one that gets what was read in it; many paths a batch."""

    plan: PathPlan

    @cached_property
    def runs(self) -> tuple[Run, Run]:
        """The base and the source, with what is frozen and what is sent."""
        sites = ["z", "mlp_out"] if self.plan.asks_for_mlps else ["z"]
        names = [SITES[site].at(layer) for site in sites for layer in self.plan.layers]
        return forward(self.model, self.base, capture=names), forward(self.model, self._source, capture=names)

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        return [self.scorer.of_logits(run.logits, everyone) for run in self.runs]

    def batches(self, budget: float, piece: int | None) -> Iterator[Batch]:
        """Cut the paths into batches within the budget, of at most `piece` tokens."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (16 * cfg.d_model + 6 * (cfg.d_mlp or 0) + 2 * cfg.d_vocab + 3 * cfg.n_heads * length)
        most = max(1, min(int(budget / per_token), piece or TOKENS_AT_ONCE) // length)
        for begin in range(0, len(self.plan.open), most):
            yield self.plan.open.take(slice(begin, begin + most))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        frozen = [hook for layer in self.plan.layers for hook in self._frozen(batch, layer)]
        if not self.plan.receivers:
            return self.scorer.of_logits(self._run(batch, frozen), batch.prompt)
        read: dict[int, Tensor] = {}
        site = SITES[self.plan.through]
        self._run(batch, [*frozen, *((site.at(layer), _keeping(read, layer)) for layer in self.plan.receivers)])
        return self.scorer.of_logits(self._run(batch, self._putting(batch, read)), batch.prompt)

    def _run(self, batch: Batch, hooks: Hooks) -> Float[Tensor, "run position vocabulary"]:
        return self.model.run_with_hooks(self.base[self.tensor(batch.prompt)], fwd_hooks=hooks)

    def _frozen(self, batch: Batch, layer: int) -> Hooks:
        """Hold the heads of a layer, and its MLP if asked for, at the base; its senders at the source."""
        column = self.tensor(batch.places["head"])
        here = self.tensor(batch.layer) == layer
        heads, mlps = here & (column < self.plan.heads), here & (column == self.plan.heads)
        replaced = self.tensor(self.plan.replaced[batch.prompt])
        z, mlp = SITES["z"].at(layer), SITES["mlp_out"].at(layer)

        def hold_heads(value: Tensor, hook: object) -> Tensor:
            base, source = (run[z][self.tensor(batch.prompt)] for run in self.runs)
            sent = torch.nn.functional.one_hot(column, self.plan.heads + 1)[:, :-1].bool() & heads[:, None]
            return torch.where((replaced[:, :, None] & sent[:, None])[..., None], source, base)

        def hold_mlp(value: Tensor, hook: object) -> Tensor:
            base, source = (run[mlp][self.tensor(batch.prompt)] for run in self.runs)
            sent = replaced & mlps[:, None]
            return torch.where(sent[..., None], source, base if self.plan.mlps_frozen else value)

        return [(z, hold_heads), (mlp, hold_mlp)] if self.plan.mlps_frozen or mlps.any() else [(z, hold_heads)]

    def _putting(self, batch: Batch, read: dict[int, Tensor]) -> Hooks:
        """Give the hooks that put into the receivers what was read.

        Where a group shares keys and values, a receiver gets what it puts out when its whole group has them.
        """
        site, hooks = SITES[self.plan.through], []
        where = self.tensor(self.plan.put[batch.prompt])
        for layer, heads in self.plan.receivers.items():
            if self.plan.through == "q" or self.plan.shared == 1:
                hooks.append((site.at(layer), _put(read[layer], heads, where)))
                continue
            groups = sorted({head // self.plan.shared for head in heads})
            found: dict[int, Tensor] = {}
            z = SITES["z"].at(layer)
            self._run(batch, [*hooks, (site.at(layer), _put(read[layer], groups, where)), (z, _keeping(found, layer))])
            hooks.append((z, _put(found[layer], heads, torch.ones_like(where))))
        return hooks


def _keeping(found: dict[int, Tensor], layer: int) -> Any:
    def keep(value: Tensor, hook: object) -> None:
        found[layer] = value.clone()

    return keep


def _put(given: Tensor, heads: list[int], where: Bool[Tensor, "run position"]) -> Any:
    def put(value: Float[Tensor, "run position head d_head"], hook: object) -> Tensor:
        own = value.clone()
        own[:, :, heads] = torch.where(where[:, :, None, None], given[:, :, heads], own[:, :, heads])
        return own

    return put
