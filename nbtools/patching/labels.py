"""Effects with their labels: what 0 and 1 are, and how they came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.patching.plan import Plan
from nbtools.patching.running import Metric

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.models.tokens import Tokens
    from nbtools.tasks import Task

__all__ = ["Direction", "described", "labelled", "on_scale", "sides"]

Direction = Literal["denoising", "noising"]


def sides(task: Task, direction: Direction) -> tuple[Tokens, Tokens]:
    """Give the prompts that are patched into, and those that are patched from.

    Raises
    ------
    InputError
        If there is no such direction.
    """
    if direction not in ("denoising", "noising"):
        msg = f"expected the direction 'denoising' or 'noising', got {direction!r}"
        raise InputError(msg)
    return (task.corrupted, task.clean) if direction == "denoising" else (task.clean, task.corrupted)


def labelled(
    changes: np.ndarray,
    plan: Plan,
    task: Task,
    ends: np.ndarray,
    *,
    model: TransformerBridge,
    metric: Metric,
    direction: Direction,
    engine: str,
    complete: bool = True,
) -> xr.DataArray:
    """Put changes of the metric ``[prompt, layer, …]`` on the scale of effects, with labels.

    Where both runs have the same metric, an effect is undefined: NaN. One prompt alone has no dimension.
    """
    values = on_scale(changes, ends)
    coords: dict[str, Any] = {"layer": plan.layers, "base": ("prompt", ends[0]), "source": ("prompt", ends[1])}
    for name, axis in plan.axes.items():
        coords[name] = axis if axis.ndim == 1 else plan.names
        if name in ("position", "query", "key") and axis.ndim == 1 and len(task) == 1:
            prefix = "" if name == "position" else f"{name}_"
            for kind, side in zip(("token", "source_token"), sides(task, direction), strict=True):
                coords[f"{prefix}{kind}"] = (name, np.array(side.labels[0], dtype=object)[axis])
    attrs = described(
        model, task, plan.site.name, direction=direction, metric=metric, engine=engine, complete=complete
    )  # fmt: skip
    if plan.by_query_head:
        attrs["heads"] = "query heads"
    dims = ("prompt", "layer", *plan.axes)
    array = xr.DataArray(values.astype(np.float32), dims=dims, coords=coords, name="effect", attrs=attrs)
    return array.isel(prompt=0) if task.single else array


def on_scale(changes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Put changes of the metric ``[prompt, …]`` on the scale of effects; NaN where both runs have the same metric."""
    gap = np.where(np.abs(ends[1] - ends[0]) > 1e-6, ends[1] - ends[0], np.nan)
    return changes / gap[(slice(None), *[None] * (changes.ndim - 1))]


def described(
    model: TransformerBridge,
    task: Task,
    site: str,
    *,
    direction: Direction,
    metric: Metric,
    engine: str,
    complete: bool,
) -> dict[str, Any]:
    """Say how effects came about, for their ``attrs``."""
    return {
        "model": str(model.cfg.model_name),
        "task": task.name,
        "site": site,
        "direction": direction,
        "metric": getattr(metric, "name", getattr(metric, "__name__", "metric")),
        "prompts": len(task),
        "engine": engine,
        "zero": "the run that is patched into",
        "one": "the run that is patched from",
        "complete": int(complete),
    }
