"""Is a direction what the model uses? Its parts are patched on their own, beside the whole activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.patching.readers import split
from nbtools.patching.subspace import Subspace, patch_subspace

if TYPE_CHECKING:
    from nbtools.patching.mediator import Mediator

__all__ = ["Diagnosis", "compare_patches", "diagnose"]

_KEPT = 0.5  # of v's effect, which its row part keeps if the direction is one the model uses
_SMALL = 10.0  # percent of the logit difference: less is no effect
_ROUNDING = 1e-5  # of the length of a direction: less is none


def compare_patches(
    mediator: Mediator,
    patches: dict[str, Float[Tensor, "pair width"]],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Put several sets of activations in the mediator's place, and compare what the model then says.

    Parameters
    ----------
    patches
        For each name one activation for each pair.
    level, draws, seed
        Of the bootstrap intervals over pairs.

    Returns
    -------
    xarray.Dataset
        Over ``patch``, beginning with ``"none"``: ``logit_difference`` (own less other token, nats), ``fldd`` (how
        much of it is lost, in percent: 0 none, 100 all, 200 turned around) and ``accuracy`` (how often the expected
        token comes first in the whole vocabulary), each also as ``_low`` and ``_high``.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023.

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> mediator = Mediator(model, ioi_orders(model, pairs=8, template=0), "resid_post", layer=20)
    >>> table = compare_patches(mediator, {"full": mediator.source})
    >>> table.fldd.sel(patch="none").item(), table.fldd.sel(patch="full").item() > 100
    (0.0, True)
    """
    every = {"none": mediator.base, **patches}
    read = [_read(mediator, values) for values in every.values()]
    gaps, hits = (np.stack(part) for part in zip(*read, strict=True))
    rows = np.random.default_rng(seed).integers(len(mediator), size=(draws, len(mediator)))
    table = _summary(gaps.mean(1), hits.mean(1))
    drawn = _summary(gaps[:, rows].mean(2), hits[:, rows].mean(2))
    variables = {}
    for name, values in table.items():
        low, high = np.quantile(drawn[name], [(1 - level) / 2, (1 + level) / 2], axis=1)
        for suffix, part in (("", values), ("_low", low), ("_high", high)):
            variables[f"{name}{suffix}"] = ("patch", part)
    attrs = {"mediator": repr(mediator), "pairs": len(mediator), "level": level}
    return xr.Dataset(variables, coords={"patch": list(every)}, attrs=attrs)


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What can be said of a direction; made by `diagnose`.

    Attributes
    ----------
    effects
        As `compare_patches` gives it, for ``none``, ``full`` (the whole activation), ``v`` (the direction), ``row``
        (the part that is read) and ``null`` (the part that is not).
    row_norm, null_norm
        How long the two parts of the direction are; their squares add up to one.
    off_range
        How far the patched activations lie from the mean of natural ones along the read part, on average, in standard
        deviations of natural ones; natural ones themselves lie about 0.8 away.
    off_nearest
        How far they are from the nearest natural activation, relative to how far natural ones are from theirs.
    verdict
        In words.
    """

    effects: xr.Dataset
    row_norm: float
    null_norm: float
    off_range: float
    off_nearest: float
    verdict: str

    def __repr__(self) -> str:
        return f"Diagnosis({self.verdict!r})"


def diagnose(mediator: Mediator, subspace: Subspace, reading: Float[Tensor, "width reading"]) -> Diagnosis:
    """Tell whether patching a direction works through what the model itself uses.

    A direction can carry the difference between two runs in a part that nothing reads, and change the answer by a part
    that is read but is the same in all natural runs. Patching it looks like a success and says nothing about the
    model. So both parts are patched alone, as directions of their own, beside the whole activation.

    Parameters
    ----------
    mediator
        With pairs that the direction was not learned on.
    subspace
        One direction.
    reading
        The weights that read the activation, from `reader_weights`.

    Raises
    ------
    InputError
        If there is more than one direction.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023.
    .. [2] Wu et al., "A Reply to Makelov et al. (2023)'s 'Interpretability Illusion' Arguments", 2024.

    Examples
    --------
    >>> from nbtools.patching import Mediator, mean_direction, reader_weights
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> mediator = Mediator(model, ioi_orders(model, pairs=8, template=0), "neurons", layer=20)
    >>> found = diagnose(mediator, mean_direction(mediator), reader_weights(mediator))
    >>> found.effects.patch.values.tolist()
    ['none', 'full', 'v', 'row', 'null']
    """
    if subspace.k != 1:
        msg = f"expected one direction, got {subspace.k}: diagnose them one at a time"
        raise InputError(msg)
    row, null = split(subspace.basis, reading.to(subspace.basis))
    patched = patch_subspace(mediator.base, mediator.source, subspace.basis)
    patches = {"full": mediator.source, "v": patched}
    for name, part in (("row", row), ("null", null)):
        length = part.norm()
        basis = part / length if length > _ROUNDING else torch.zeros_like(part)
        patches[name] = patch_subspace(mediator.base, mediator.source, basis)
    effects = compare_patches(mediator, patches)
    natural = torch.cat([mediator.base, mediator.source])
    return Diagnosis(
        effects, row.norm().item(), null.norm().item(), _off_range(patched, natural, row),
        _off_nearest(patched, natural), _verdict(effects),
    )  # fmt: skip


def _read(mediator: Mediator, values: Float[Tensor, "pair width"]) -> tuple[np.ndarray, np.ndarray]:
    """Give the logit difference of each pair, and whether the expected token comes first."""
    pairs = mediator.pairs
    with torch.no_grad():
        logits = mediator.logits(values)
        gaps = pairs.metric(logits, torch.arange(len(pairs), device=logits.device))
        hits = logits.argmax(-1) == pairs.expected
    return gaps.double().cpu().numpy(), hits.double().cpu().numpy()


def _summary(gaps: np.ndarray, hits: np.ndarray) -> dict[str, np.ndarray]:
    """Give the figures of patches along the first axis, of which the first is no patch."""
    return {"logit_difference": gaps, "fldd": 100 * (1 - gaps / gaps[:1]), "accuracy": hits}


def _off_range(patched: Tensor, natural: Tensor, row: Float[Tensor, "width one"]) -> float:
    along = (natural @ row)[:, 0]
    return float(((patched @ row)[:, 0] - along.mean()).abs().mean() / along.std().clamp_min(1e-12))


def _off_nearest(patched: Tensor, natural: Tensor) -> float:
    among = torch.cdist(natural, natural).fill_diagonal_(float("inf")).amin(1).median()
    return float(torch.cdist(patched, natural).amin(1).median() / among.clamp_min(1e-12))


def _verdict(effects: xr.Dataset) -> str:
    whole, v, row, null = (effects.fldd.sel(patch=name).item() for name in ("full", "v", "row", "null"))
    if abs(v) < _SMALL:
        return f"no effect: patching the direction takes {v:.0f} % of the logit difference"
    if row / v < _KEPT:
        return (
            f"illusory: the direction takes {v:.0f} % of the logit difference, the part of it that is read {row:.0f}"
            f" %, the part that is not {null:.0f} %, the whole activation {whole:.0f} %"
        )
    if whole / v < _KEPT:
        return (
            f"doubtful: the part that is read does it alone ({row:.0f} of {v:.0f} %), but the whole activation, which "
            f"holds the direction, takes {whole:.0f} %"
        )
    return f"believable: the part that is read takes {row:.0f} of {v:.0f} %, the whole activation {whole:.0f} %"
