"""One sweep as it runs: piece by piece, with what is done so far."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from nbtools.models.describe import n_key_value_heads
from nbtools.patching.engine import HookedEngine, Reads, Scorer
from nbtools.patching.plan import Batch, Plan
from nbtools.patching.resumed import ResumedEngine
from nbtools.runs.forward import check_model, lock
from nbtools.runs.threads import settle_threads

__all__ = ["Metric", "Pieces", "Running", "checked"]

_FOR_REFERENCES = 0.5  # of the budget; the rest is for patched runs

Metric = Callable[..., Tensor]


class Running:
    """The cells of a plan, filled piece by piece.

    Attributes
    ----------
    values
        The metric of each cell ``[prompt, layer, ...]``; NaN where it was not run yet.
    ends
        The metric of the run that is patched into, and of the one patched from, ``[2, prompt]``.
    done
        How many cells are done.
    """

    engines: ClassVar[dict[str, type]] = {"resumed": ResumedEngine, "hooks": HookedEngine}

    def __init__(
        self,
        model: TransformerBridge,
        plan: Plan,
        base: Int[Tensor, "prompt position"],
        source: Int[Tensor, "prompt position"],
        metric: Metric,
        *,
        engine: str,
        budget: float,
        reads: Reads = "END",
        piece: int | None = None,
    ) -> None:
        self.model, self.plan, self.pair, self.engine = model, plan, (base, source), engine
        self.budget, self.piece, self.metric, self.reads = budget, piece, checked(metric), reads
        self.values = np.full(plan.shape, np.nan)
        self.ends = np.full((2, len(base)), np.nan)
        self.done = 0

    @property
    def total(self) -> int:
        """How many cells there are."""
        return len(self.plan.known) + len(self.plan.open)

    def __iter__(self) -> Iterator[int]:
        """Run; after each piece give the number of cells that are done. The model is free between pieces."""
        settle_threads()
        together = max(1, int(_FOR_REFERENCES * self.budget / self._bytes_per_prompt()))
        for begin in range(0, len(self.pair[0]), together):
            yield from self._some(slice(begin, begin + together))

    def _some(self, prompts: slice) -> Iterator[int]:
        """Run some of the prompts, of which both unpatched runs are held in memory."""
        with lock(self.model), torch.no_grad():
            engine = self._prepared(prompts)
        known = engine.plan.known
        self._fill(prompts, known, self.ends[0][prompts][known.prompt])
        if len(known):
            yield self.done
        for batch in engine.batches(self.budget, self.piece):
            with lock(self.model), torch.no_grad():
                self._fill(prompts, batch, engine.run(batch))
            yield self.done

    def _prepared(self, prompts: slice) -> Any:
        check_model(self.model)
        scorer = Scorer(self.metric, self.reads, first=prompts.start)
        pair = [side[prompts] for side in self.pair]
        engine = self.engines[self.engine](self.model, self.plan.of(prompts), *pair, scorer)
        self.ends[:, prompts] = engine.ends()
        return engine

    def _fill(self, prompts: slice, batch: Batch, values: np.ndarray) -> None:
        self.values[prompts][batch.cell()] = values
        self.done += len(batch)

    def _bytes_per_prompt(self) -> float:
        """Say how much memory the two unpatched runs of a prompt take, more or less."""
        cfg, length = self.model.cfg, self.pair[0].shape[1]
        site = getattr(self.plan, "site", None)
        of_site = {"neurons": cfg.d_mlp or 0, "pattern": cfg.n_heads * length}.get(site.name if site else "", 0)
        keys_and_values = 2 * n_key_value_heads(self.model) * cfg.d_head
        per_token = 2 * cfg.d_model + cfg.n_heads * cfg.d_head + keys_and_values + of_site
        return 2 * length * (cfg.n_layers + 1) * per_token * 4


class Pieces:
    """What runs piece by piece, as `Running` does for it."""

    running: Running

    @property
    def done(self) -> int:
        """How many cells are done, over all prompts."""
        return self.running.done

    @property
    def total(self) -> int:
        """How many cells there are, over all prompts."""
        return self.running.total

    def __iter__(self) -> Iterator[int]:
        return iter(self.running)


def checked(metric: Metric) -> Metric:
    """Let a metric be a function of logits alone, and see to it that it gives a number for each run."""
    parameters = inspect.signature(metric).parameters.values()
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_prompt = len([p for p in placed if p.default is p.empty]) > 1 or "prompt" in [p.name for p in placed]

    def measure(logits: Tensor, prompt: Tensor) -> Tensor:
        values = metric(logits, prompt) if takes_prompt else metric(logits)
        if not torch.is_tensor(values) or values.shape != prompt.shape:
            got = tuple(values.shape) if torch.is_tensor(values) else type(values).__name__
            msg = f"the metric must give one number for each run, a tensor of shape {tuple(prompt.shape)}, got {got}"
            raise TypeError(msg)
        return values

    for name in ("answer", "wrong"):
        if hasattr(metric, name):
            setattr(measure, name, getattr(metric, name))
    return measure
