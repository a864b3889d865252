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

from nbtools.patching.engine import HookedEngine, Reads, Scorer
from nbtools.patching.plan import Batch, Plan
from nbtools.patching.resumed import ResumedEngine
from nbtools.runs.forward import check_model, lock
from nbtools.runs.threads import settle_threads

__all__ = ["Metric", "Pieces", "Running", "checked"]

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
        self.budget, self.piece, self.scorer = budget, piece, Scorer(checked(metric), reads)
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
        with lock(self.model), torch.no_grad():
            engine = self._prepared()
        self._fill(self.plan.known, self.ends[0][self.plan.known.prompt])
        if self.done:
            yield self.done
        for batch in engine.batches(self.budget, self.piece):
            with lock(self.model), torch.no_grad():
                self._fill(batch, engine.run(batch))
            yield self.done

    def _prepared(self) -> Any:
        check_model(self.model)
        engine = self.engines[self.engine](self.model, self.plan, *self.pair, self.scorer)
        self.ends[:] = engine.ends()
        return engine

    def _fill(self, batch: Batch, values: np.ndarray) -> None:
        self.values[batch.cell()] = values
        self.done += len(batch)


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
