"""Attribution patching: an estimate of a whole sweep of patches from a few gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from nbtools.errors import InputError
from nbtools.patching.exact import Direction, labelled, sides, usable_site
from nbtools.patching.plan import Plan, plan_sweep
from nbtools.patching.running import Metric, checked
from nbtools.runs.forward import check_model, forward, lock
from nbtools.runs.threads import settle_threads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["attribute"]

_EMBEDDING = "embed.hook_out"


def attribute(
    model: TransformerBridge,
    task: Task,
    site: str,
    *,
    over: Sequence[str] | str | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int | str] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    direction: Direction = "denoising",
    metric: Metric | None = None,
    steps: int = 1,
) -> xr.DataArray:
    """Estimate what `patch` would measure, for all cells at once, from the gradient of the metric.

    To first order, putting activation *a′* in the place of *a* changes the metric by the gradient at *a* times
    *a′ − a*. One run of the source, one of the base with its gradient: the whole grid. It is an estimate: it
    misses what saturates, and what two changes do only together. Check cells that matter with `patch`.

    Parameters
    ----------
    model, task, site, over, layers, positions, heads, neurons, direction, metric
        As in `patch`; the metric must be differentiable.
    steps
        With 1, the gradient at the base run. With more, the mean gradient over so many runs whose embeddings lie
        between those of the base and the source (integrated gradients): slower, and closer where the metric bends.

    Returns
    -------
    xarray.DataArray
        Estimated effects with the dimensions, coordinates and scale of `patch`; ``attrs["engine"]`` is
        ``"attribution"``.

    Raises
    ------
    HookError, InputError
        As `patch` does.

    References
    ----------
    .. [1] Nanda, "Attribution Patching: Activation Patching At Industrial Scale", 2023.
    .. [2] Syed, Rager and Conmy, "Attribution Patching Outperforms Automated Circuit Discovery", 2023.
    .. [3] Hanna, Pezzelle and Belinkov, "Have Faith in Faithfulness", 2024 (integrated gradients of inputs).

    Examples
    --------
    >>> from nbtools.tasks import pair
    >>> model = load()
    >>> task = pair(model, "The Eiffel Tower is in", "The Colosseum is in", " Paris", " Rome")
    >>> estimate = attribute(model, task, "resid_pre")
    >>> estimate.dims
    ('layer', 'position')
    """
    if steps < 1:
        msg = f"expected one step or more, got {steps}"
        raise InputError(msg)
    found = usable_site(model, site)
    chosen = {"position": positions, "query": positions, "head": heads, "neuron": neurons}
    plan = plan_sweep(model, task, found, over, layers, chosen)
    if plan.by_query_head:
        msg = f"{site!r} has one gradient for a group of heads: expected over='head'; patch(…) can do it by query head"
        raise InputError(msg)
    base, source = sides(task, direction)
    measured = task.metric if metric is None else metric
    settle_threads()
    with lock(model):
        check_model(model)
        values, ends = _estimate(model, plan, base.ids, source.ids, checked(measured), steps)
    return labelled(values, plan, task, ends, model=model, metric=measured, direction=direction, engine="attribution")


def _estimate(
    model: TransformerBridge, plan: Plan, base: Tensor, source: Tensor, metric: Metric, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give estimated changes of the metric ``[prompt, layer, …]``, and the metric of both runs."""
    hooks = [plan.site.at(layer) for layer in plan.layers]
    slopes = [plan.site.gradient_at(layer) for layer in plan.layers]
    there = forward(model, source, capture=[*hooks, _EMBEDDING])
    prompts = torch.arange(len(base), device=base.device)
    ends = np.zeros((2, len(base)))
    ends[1] = metric(there.logits[:, -1].float(), prompts).cpu()
    totals: list[Tensor] = []
    for step in range(steps):
        here, gradients, value = _gradients(model, hooks, slopes, base, metric, there[_EMBEDDING], step / steps)
        if step == 0:
            first, ends[0] = here, value.cpu()
        totals = gradients if not totals else [total + more for total, more in zip(totals, gradients, strict=True)]
    changes = [
        (there[hook] - activation) * total / steps for hook, activation, total in zip(hooks, first, totals, strict=True)
    ]
    return np.stack([_summed(plan, change) for change in changes], axis=1), ends


def _gradients(
    model: TransformerBridge,
    hooks: list[str],
    slopes: list[str],
    base: Tensor,
    metric: Metric,
    target: Tensor,
    share: float,
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Run with gradients; give the activations, their gradients, and the metric of each prompt."""
    kept: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(value: Tensor, hook: object) -> Tensor:
            kept[name] = value.clone()  # what goes on through the model is what the gradient is taken of
            return kept[name]

        return hook

    def start(value: Tensor, hook: object) -> Tensor:
        moved = value.detach() + share * (target - value.detach())
        return moved.requires_grad_(True)

    with torch.enable_grad():
        watching = [(_EMBEDDING, start), *((name, keep(name)) for name in dict.fromkeys([*hooks, *slopes]))]
        logits = model.run_with_hooks(base, fwd_hooks=watching)
        values = metric(logits[:, -1].float(), torch.arange(len(base), device=base.device))
        gradients = torch.autograd.grad(values.sum(), [kept[name] for name in slopes])
    return [kept[name].detach() for name in hooks], list(gradients), values.detach()


def _summed(plan: Plan, change: Tensor) -> np.ndarray:
    """Sum what each cell patches together: all dimensions that are not swept."""
    axes = plan.site.axes
    rest = [dim + 1 for dim, name in enumerate(axes) if name not in plan.axes]
    summed = change.float().sum(rest) if rest else change.float()
    for dim, places in enumerate(plan.axes.values(), start=1):
        where = torch.as_tensor(places, device=summed.device)
        if where.ndim == 1:
            summed = summed.index_select(dim, where)
        else:
            shape = [1] * summed.ndim
            shape[0], shape[dim] = where.shape
            index = where.reshape(shape).expand(*summed.shape[:dim], where.shape[1], *summed.shape[dim + 1 :])
            summed = summed.gather(dim, index)
    return summed.double().cpu().numpy()
