"""How much an effect varies from prompt to prompt."""

from __future__ import annotations

import numpy as np
import xarray as xr

from nbtools.errors import InputError

__all__ = ["spread"]


def spread(effect: xr.DataArray, *, level: float = 0.95, draws: int = 1000, seed: int = 0) -> xr.Dataset:
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
    means = xr.dot(weights, effect, dim="prompt")
    ends = means.quantile([(1 - level) / 2, (1 + level) / 2], dim="draw").drop_vars("quantile")
    return xr.Dataset(
        {
            "mean": effect.mean("prompt", skipna=False),
            "stderr": effect.std("prompt", ddof=1, skipna=False) / count**0.5,
            "low": ends.isel(quantile=0),
            "high": ends.isel(quantile=1),
        },
        attrs={**effect.attrs, "level": level},
    )
