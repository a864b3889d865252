"""Patched runs with hooks: what reads a metric off runs, what puts a patch in, and the engine that always works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.patching.plan import Batch, Plan
from nbtools.patching.sites import SITES, exchange
from nbtools.runs.forward import forward, works_in_place

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching.twin import Twin
    from nbtools.runs.forward import Run

__all__ = ["TOKENS_AT_ONCE", "Engine", "HookedEngine", "Patched", "Reads", "Scorer"]

Reads = Literal["END", "all"]

TOKENS_AT_ONCE = 4096


class Scorer:
    """Reads a metric off patched runs, and unembeds only what it needs.

    Parameters
    ----------
    metric
        A function of logits and the prompt of each run.
    reads
        Whether it is given the logits of the last position ``[run, vocabulary]``, or of all ``[run, position,
        vocabulary]``.
    first
        The number of the first prompt that is run, which the metric counts from.
    """

    def __init__(self, metric: Any, reads: Reads = "END", first: int = 0) -> None:
        self.metric, self.reads_all, self.first = metric, reads == "all", first
        self._direction: Tensor | None = None

    def of_logits(self, logits: Float[Tensor, "run position vocabulary"], prompt: np.ndarray) -> np.ndarray:
        """Give the metric of runs from their logits."""
        read = logits if self.reads_all else logits[:, -1]
        values = self.metric(read.float(), torch.as_tensor(prompt + self.first, device=logits.device))
        return values.detach().double().cpu().numpy()

    def learn_direction(self, twin: Twin) -> None:
        """If the metric is a difference of two logits, take the difference of their unembeddings instead."""
        weight, bias = getattr(twin.head, "weight", None), getattr(twin.head, "bias", None)
        if self.reads_all or not hasattr(self.metric, "wrong") or weight is None or not twin.logits_are_plain:
            return
        answer, wrong = self.metric.answer.to(weight.device), self.metric.wrong.to(weight.device)
        self._direction = (weight[answer] - weight[wrong]).float()
        self._offset = torch.zeros(len(answer)).to(weight) if bias is None else (bias[answer] - bias[wrong]).float()

    def of_rows(self, twin: Twin, rows: Float[Tensor, "run position d_model"], prompt: np.ndarray) -> np.ndarray:
        """Give the metric of runs from what the last layer put out, at the last position or at all."""
        if self._direction is None:
            return self.of_logits(twin.logits(rows), prompt)
        which = torch.as_tensor(prompt + self.first, device=rows.device)
        normed = twin.norm(rows[:, -1]).float()
        return ((normed * self._direction[which]).sum(-1) + self._offset[which]).double().cpu().numpy()

    @property
    def vocabulary_is_read(self) -> bool:
        """Whether whole rows of logits are needed."""
        return self._direction is None


class Engine:
    """What an engine is made for: the prompts patched into and from, which runs, and what is read off them."""

    def __init__(self, model: TransformerBridge, plan: Any, base: Tensor, source: Tensor, scorer: Scorer) -> None:
        self.model, self.plan, self.base, self._source, self.scorer = model, plan, base, source, scorer

    def tensor(self, numbers: np.ndarray) -> Tensor:
        """Put numbers where the model is."""
        return torch.as_tensor(numbers, device=self.base.device)


class Patched(Engine):
    """The source's activations, and the hooks that put them in."""

    plan: Plan

    @cached_property
    def source(self) -> Run:
        """A run of the source that holds the activations of the site in all layers of the sweep."""
        return forward(self.model, self._source, capture=[self.plan.site.at(layer) for layer in self.plan.layers])

    def hooks(self, batch: Batch, layer: int, run: Callable[[list], object]) -> list[tuple[str, Any]]:
        """Give the hooks that patch every run of a batch, all in one layer.

        `run` runs that layer with hooks: keys and values of one query head are patched by way of what the head puts
        out when those of its whole group are.
        """
        axes = {axis: self.tensor(self.plan.index(axis, batch)) for axis in self.plan.axes}
        if not self.plan.by_query_head:
            return [self._edit(batch.prompt, layer, axes)]
        head, found, name = axes["head"], {}, SITES["z"].at(layer)
        group = torch.div(head, self.plan.heads_per_group, rounding_mode="floor")
        keep = (name, lambda z, hook: found.update(z=z.clone()))
        run([self._edit(batch.prompt, layer, {**axes, "head": group}), keep])
        runs = torch.arange(len(head), device=head.device)

        def put(z: Tensor, hook: object) -> Tensor:
            z = z.clone()
            z[runs, :, head] = found["z"][runs, :, head]
            return z

        return [(name, put)]

    def _edit(self, prompt: np.ndarray, layer: int, axes: dict[str, Tensor]) -> tuple[str, Any]:
        name = self.plan.site.at(layer)
        dims = {self.plan.site.axes.index(axis): places for axis, places in axes.items()}
        given = self.source[name]

        def change(value: Tensor, hook: object) -> Tensor:
            own = value if works_in_place(name) else value.clone()
            return exchange(own, given, self.tensor(prompt), dims)

        return name, change


class HookedEngine(Patched):
    """Full runs of the hooked model, many patches in one batch: what every architecture can do."""

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        return [self.scorer.of_logits(logits, everyone) for logits in (self.model(self.base), self.source.logits)]

    def batches(self, budget: float, piece: int | None) -> Iterator[Batch]:
        """Cut the sweep into batches within the budget, of at most `piece` tokens, each in one layer."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (16 * cfg.d_model + 6 * (cfg.d_mlp or 0) + 2 * cfg.d_vocab + 3 * cfg.n_heads * length)
        most = max(1, min(int(budget / per_token), piece or TOKENS_AT_ONCE) // length)
        batch = self.plan.open
        for layer in reversed(range(len(self.plan.layers))):
            here = batch.take(batch.layer == layer)
            for begin in range(0, len(here), most):
                yield here.take(slice(begin, begin + most))

    def run(self, batch: Batch) -> np.ndarray:
        """Give the metric of every run of a batch."""
        layer, ids = self.plan.layers[int(batch.layer[0])], self.base[self.tensor(batch.prompt)]

        def run(hooks: list) -> Tensor:
            return self.model.run_with_hooks(ids, fwd_hooks=hooks)

        return self.scorer.of_logits(run(self.hooks(batch, layer, run)), batch.prompt)
