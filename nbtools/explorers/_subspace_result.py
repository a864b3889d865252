"""What the subspace explorer found out: curves of a direction and its parts, a verdict, one pair; and that in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from nbtools.patching import Diagnosis, Subspace

__all__ = ["PatchedPair", "SubspaceResult", "filled", "known", "learning_words", "verdict_words"]


@dataclass(frozen=True, eq=False)
class SubspaceResult:
    """What is known of a direction.

    Attributes
    ----------
    layer, direction
        Where, and how it was found.
    subspace
        The direction; where it is learned, the best so far.
    curves
        The mean logit difference with its bootstrap interval, ``mean low high`` over ``(part, share)``, in nats; NaN
        where nothing was run yet.
    projections
        Where activations lie along each part, ``base source patched`` over ``(part, pair)``: those of both runs, and
        where the patch along v puts the base. The coordinate ``length`` says how long each part of v is.
    effects
        As `nbtools.patching.compare_patches` gives it for the full patches; None until they were run.
    diagnosis
        As `nbtools.patching.diagnose` gives it; None until then, and where nothing is known to read the activation.
    """

    layer: int
    direction: str
    subspace: Subspace
    curves: xr.Dataset
    projections: xr.Dataset
    effects: xr.Dataset | None = None
    diagnosis: Diagnosis | None = None

    def __repr__(self) -> str:
        verdict = "" if self.diagnosis is None else f", {self.diagnosis.verdict!r}"
        return f"SubspaceResult(layer={self.layer}, direction={self.direction!r}{verdict})"


@dataclass(frozen=True, eq=False)
class PatchedPair:
    """What follows one base prompt, as it is and patched along v.

    Attributes
    ----------
    pair, share
        Which pair, and how far its activation has gone.
    before, after
        Probabilities of the next token ``(token)``, as it is and patched: the same tokens in both.
    differences
        The logit difference of both, in nats.
    """

    pair: int
    share: float
    before: xr.DataArray
    after: xr.DataArray
    differences: tuple[float, float]


def filled(result: SubspaceResult, parts: list[str], share: float, known: xr.Dataset) -> SubspaceResult:
    """Write the answers of some parts at one share into the curves."""
    curves, where = result.curves.copy(deep=True), {"part": parts, "share": share}
    for name in ("mean", "low", "high"):
        curves[name].loc[where] = known[name].values
    return replace(result, curves=curves)


def known(curves: xr.Dataset) -> xr.Dataset:
    """Give the curves at the shares at which all of them are known, and at both ends: lines between them are drawn."""
    there = curves["mean"].notnull().all("part").values
    there[[0, -1]] = True
    return curves.isel(share=there)


def learning_words(losses: list[float], epochs: int) -> str:
    """Say how far learning is."""
    if not losses:
        return f"learning: epoch 1 of {epochs} …"
    best = f", best {min(losses):.2f}" if losses[-1] > min(losses) else ""
    return f"learning: epoch {len(losses)} of {epochs}, loss {losses[-1]:.2f} nats{best}"


def verdict_words(result: SubspaceResult) -> str:
    """Say what a direction does, and how it was learned if it was."""
    losses = result.subspace.losses
    learned = f"learned in {len(losses)} epochs, loss {losses[0]:.2f} → {min(losses):.2f} nats · " if losses else ""
    if result.diagnosis is not None:
        return f"{learned}{result.diagnosis.verdict}"
    v, full = (result.effects.fldd.sel(patch=name).item() for name in ("v", "full"))
    return f"{learned}no verdict: patching v takes {v:.0f} % of the logit difference, the whole activation {full:.0f} %"
