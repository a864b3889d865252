"""How much an effect varies from prompt to prompt."""

from __future__ import annotations

import numpy as np
import xarray as xr

from nbtools.errors import InputError

__all__ = ["pooled", "spread"]


def pooled(effect: xr.DataArray) -> xr.DataArray:
    """Give the effect over all prompts together: the sum of what changed over the sum of what could change.

    The mean over prompts gives each the same weight, also one whose clean and corrupted runs hardly differ, of which
    the effect is a number over next to nothing. Where a model is not good at a task, take this.

    Parameters
    ----------
    effect
        Effects with the dimension ``prompt`` and the coordinates ``base`` and ``source``, from `patch`, `path_patch` or
        `path_attribute`.

    Raises
    ------
    InputError
        If the effects say nothing of their base and source.

    Examples
    --------
    >>> ends = {"base": ("prompt", [4.0, 0.0]), "source": ("prompt", [0.0, 0.1])}
    >>> effect = xr.DataArray([0.5, -20.0], ends, ["prompt"])
    >>> round(pooled(effect).item(), 3), effect.mean().item()
    (1.026, -9.75)
    """
    gap = _gap(effect)
    return ((effect * gap).sum("prompt", min_count=1) / gap.sum("prompt")).assign_attrs(effect.attrs)


def _gap(effect: xr.DataArray) -> xr.DataArray:
    if not {"base", "source"} <= set(effect.coords) or "prompt" not in effect.dims:
        msg = f"expected effects over prompts with the coordinates base and source, got {list(effect.coords)}"
        raise InputError(msg)
    return (effect["source"] - effect["base"]).drop_vars(["base", "source"])


def spread(
    effect: xr.DataArray, *, level: float = 0.95, draws: int = 1000, seed: int = 0, pool: bool = False
) -> xr.Dataset:
    """Summarise effects over prompts: mean, standard error, and a bootstrap interval of the mean.

    Parameters
    ----------
    effect
        Effects with the dimension ``prompt``, from `patch` or `attribute`.
    level
        Share of bootstrap means that the interval holds.
    draws
        How often the prompts are drawn anew, with replacement.
    seed
        Seed of the draws.
    pool
        Whether the mean is that of `pooled`, in which prompts count by how much could change in them.

    Returns
    -------
    xarray.Dataset
        ``mean``, ``stderr``, ``low`` and ``high``, without the dimension ``prompt``; NaN for cells that were not run.

    Raises
    ------
    InputError
        If there are fewer than two prompts, from which no spread can be read.

    References
    ----------
    .. [1] Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979 (percentile intervals).

    Examples
    --------
    >>> effects = xr.DataArray([[0.0], [1.0], [2.0], [1.0]], dims=("prompt", "layer"))
    >>> found = spread(effects)
    >>> found["mean"].item(), round(found["stderr"].item(), 2)
    (1.0, 0.41)
    """
    count = effect.sizes.get("prompt", 0)
    if count < 2:
        msg = f"expected effects of two or more prompts, got {count}: one prompt tells nothing about others"
        raise InputError(msg)
    if not 0 < level < 1:
        msg = f"expected a level between 0 and 1, got {level}"
        raise InputError(msg)
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    weights = xr.DataArray(
        np.stack([np.bincount(row, minlength=count) / count for row in drawn]), dims=("draw", "prompt")
    )
    if pool:
        gap = _gap(effect)
        means = xr.dot(weights, effect * gap, dim="prompt") / xr.dot(weights, gap, dim="prompt")
        center, varies = pooled(effect), (effect - pooled(effect)) * gap / gap.mean()
    else:
        means, center, varies = xr.dot(weights, effect, dim="prompt"), effect.mean("prompt", skipna=False), effect
    ends = means.quantile([(1 - level) / 2, (1 + level) / 2], dim="draw").drop_vars("quantile")
    return xr.Dataset(
        {
            "mean": center,
            "stderr": varies.std("prompt", ddof=1, skipna=False) / count**0.5,
            "low": ends.isel(quantile=0),
            "high": ends.isel(quantile=1),
        },
        attrs={**effect.attrs, "level": level},
    )
