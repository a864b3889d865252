"""Edge attribution patching: an estimate of path patching for all senders at once, from one gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from nbtools.errors import InputError
from nbtools.patching.engine import Scorer
from nbtools.patching.frozen import FrozenEngine, Tokens
from nbtools.patching.labels import Direction
from nbtools.patching.path_plan import Heads, Mlps, PathPlan, Positions, Senders, Through
from nbtools.patching.paths import PathSweep, labelled_paths
from nbtools.patching.plan import Batch
from nbtools.patching.running import Metric, checked
from nbtools.patching.twin import twin_of
from nbtools.runs.forward import check_model, lock
from nbtools.runs.threads import settle_threads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["path_attribute"]


def path_attribute(
    model: TransformerBridge,
    task: Task,
    *,
    senders: Senders = "heads",
    receivers: Heads | None = None,
    through: Through = "q",
    positions: Positions | None = None,
    receiver_positions: Positions | None = None,
    mlps: Mlps = "recomputed",
    direction: Direction = "denoising",
    metric: Metric | None = None,
    steps: int = 1,
) -> xr.DataArray:
    """Estimate what `path_patch` would measure, for all senders at once, from the gradient of the metric.

    To first order, what a sender does by way of its receivers is the change of its output times the gradient of the
    metric that comes back through these receivers alone, with attention frozen in between. It misses what saturates:
    a head that already looks elsewhere has no gradient. Check senders that matter with `path_patch`.

    Parameters
    ----------
    model, task, senders, receivers, through, positions, receiver_positions, mlps, direction, metric
        As in `path_patch`; the metric must be differentiable.
    steps
        With 1, the gradient at the base run. With more, the mean gradient over so many runs whose embeddings lie
        between those of the base and the source (integrated gradients): slower. It tends to rank senders better where
        attention saturates at the base; effects that are near linear it can also estimate worse.

    Returns
    -------
    xarray.DataArray
        Estimated effects with the dimensions, coordinates and scale of `path_patch`; ``attrs["engine"]`` is
        ``"attribution"``.

    Raises
    ------
    HookError, InputError
        As `path_patch` does; or if the model's layers cannot be run on their own, which this needs.

    References
    ----------
    .. [1] Syed, Rager and Conmy, "Attribution Patching Outperforms Automated Circuit Discovery", 2023.
    .. [2] Hanna, Pezzelle and Belinkov, "Have Faith in Faithfulness", 2024 (integrated gradients of inputs).

    Examples
    --------
    >>> from nbtools.patching import path_patch
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=2, template=0, order="ABBA")
    >>> estimate = path_attribute(model, task, positions="END")
    >>> exact = path_patch(model, task, positions="END")
    >>> bool(xr.corr(estimate.mean("prompt"), exact.mean("prompt")) > 0.9)
    True
    """
    if steps < 1:
        msg = f"expected one step or more, got {steps}"
        raise InputError(msg)
    sweep = PathSweep(
        model, task, senders=senders, receivers=receivers, through=through, positions=positions,
        receiver_positions=receiver_positions, mlps=mlps, direction=direction, metric=metric,
    )  # fmt: skip
    if sweep.engine != "resumed":
        msg = f"{model.cfg.architecture} has no estimate of paths: {sweep.why}; path_patch(…) works without"
        raise InputError(msg)
    settle_threads()
    with lock(model):
        check_model(model)
        changes, ends = _estimate(sweep, steps)
    return labelled_paths(changes, sweep, ends, engine="attribution")


class EdgeEngine(FrozenEngine):
    """Frozen runs in which no sender is replaced, and all have a gradient.

    `share` says how far the embeddings have gone from those of the base to those of the source.
    """

    def __init__(
        self, model: TransformerBridge, plan: PathPlan, base: Tensor, source: Tensor, scorer: Scorer, share: float
    ) -> None:
        self.share = share
        with torch.no_grad():
            super().__init__(model, plan, base, source, scorer)
        self.passes_by = False
        self.heads_sent: dict[int, Tensor] = {}
        self.mlps_sent: dict[int, Tensor] = {}

    def run_both(self) -> None:
        """Run what lies between base and source, and the source, and keep what packed runs need."""
        self.twin = twin_of(self.model)
        ids = torch.cat([self.base, self._source])
        base, source = self.twin.module.get_input_embeddings()(ids).split(len(self.base))
        self.kept = self.twin.reference(ids, embeddings=torch.cat([base + self.share * (source - base), source]))

    def heads(self, layer: int, tokens: Tokens) -> Float[Tensor, "token head d_head"]:
        """Give what attention puts out for tokens, and let it have a gradient."""
        self.heads_sent[layer] = super().heads(layer, tokens).requires_grad_(True)
        return self.heads_sent[layer]

    def mlp(self, layer: int, tokens: Tokens) -> Callable[[nn.Module, Tensor], Tensor]:
        """Give what an MLP's output becomes: what it is, but with a gradient."""
        change = super().mlp(layer, tokens)

        def nudge(module: nn.Module, out: Tensor) -> Tensor:
            self.mlps_sent[layer] = out.new_zeros(len(tokens), out.shape[-1], requires_grad=True)
            return change(module, out) + self.mlps_sent[layer].view_as(out)

        return nudge

    def slopes(self) -> tuple[Tokens, list[Float[Tensor, "token head d_head"]], list[Float[Tensor, "token d_model"]]]:
        """Give the tokens that senders change, and the gradients of heads and MLPs there, layer by layer."""
        prompts = np.flatnonzero(self.plan.active.any(1))
        start, none = self.plan.active.argmax(1)[prompts], np.full(len(prompts), -1)
        batch = Batch(prompts, none, start, {"head": none}).take(np.argsort(-start, kind="stable"))
        tokens = self.tokens(batch)
        with torch.enable_grad():
            total = self._metric(batch, tokens).sum()
            wanted = [*self.heads_sent.values(), *self.mlps_sent.values()]
            found = torch.autograd.grad(total, wanted)
        return tokens, list(found[: len(self.heads_sent)]), list(found[len(self.heads_sent) :])

    def _metric(self, batch: Batch, tokens: Tokens) -> Float[Tensor, " run"]:
        streams = self.arriving(tokens)
        if not self.plan.receivers:
            return self.scorer.metric(self.twin.logits(streams[len(self.plan.layers)]).float(), tokens.prompt)
        order, parts = self.received(batch, tokens, self.readings(tokens, streams)).results()
        rows = torch.cat([part[:, -1] for _, part in parts])
        return self.scorer.metric(self.twin.logits(rows).float(), self.tensor(batch.prompt[order]))


def _estimate(sweep: PathSweep, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Give estimated changes of the metric ``[prompt, layer, column]``, and the metric of both runs."""
    plan, pair = sweep.plan, (sweep.base.ids, sweep.source.ids)
    changes = np.full(plan.shape, np.nan)
    everything = plan.everything
    changes[everything.cell()] = 0
    for step in range(steps):
        engine = EdgeEngine(sweep.model, plan, *pair, Scorer(checked(sweep.metric)), step / steps)
        if step == 0:
            first = engine
            with torch.no_grad():
                ends = np.stack(engine.ends())
        if len(plan.open):
            changes += _summed(first, *engine.slopes()) / steps
    return changes, ends


def _summed(engine: EdgeEngine, tokens: Tokens, heads: list[Tensor], mlps: list[Tensor]) -> np.ndarray:
    """Give for each sender the change of its output times its slope, over all its tokens."""
    plan, here, there = engine.plan, (tokens.prompt, tokens.at), (tokens.prompt + len(engine.base), tokens.at)
    found = torch.zeros(plan.shape, dtype=torch.float64, device=engine.base.device)
    for layer, slope in enumerate(heads):
        whole = engine.kept.heads[layer]
        found[:, layer, :-1].index_add_(0, tokens.prompt, ((whole[there] - whole[here]) * slope).sum(-1).double())
    for layer, slope in enumerate(mlps):
        whole = engine.mlps[layer][1]
        found[:, layer, -1].index_add_(0, tokens.prompt, ((whole[there] - whole[here]) * slope).sum(-1).double())
    return found.cpu().numpy()
