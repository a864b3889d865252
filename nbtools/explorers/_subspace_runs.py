"""What the subspace explorer runs: a direction of an activation and its two parts, patched some share of the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.explorers._answers import leading
from nbtools.explorers._answers import shares as probabilities
from nbtools.explorers._subspace_result import PatchedPair, SubspaceResult, filled, learning_words, verdict_words
from nbtools.measures.predictions import label_tokens
from nbtools.naming import HeadLike
from nbtools.patching import (
    Mediator,
    Subspace,
    compare_patches,
    diagnose,
    gradient_direction,
    learning,
    mean_direction,
    patch_subspace,
    reader_weights,
    row_space,
    spread,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Interchange

__all__ = ["LEARNED", "METHODS", "Place", "Prepared", "Setting", "prepare"]

METHODS = {"difference of means": mean_direction, "gradient": gradient_direction}
LEARNED = "learned"

_BATCH = 8  # pairs in a step of learning: a few tenths of a second, and a click is heard in between
_TOP = 4  # most probable tokens of each run
_NOTHING = 1e-5  # length of a part that is rounding error


@dataclass(frozen=True, eq=False)
class Setting:
    """What is the same in every layer: the arguments of `subspace`, and the layer that given directions belong to."""

    pairs: Interchange
    training: Interchange
    site: str
    home: int
    position: int | str
    head: int | HeadLike | None
    directions: Mapping[str, Subspace]
    heads: tuple[HeadLike, ...]
    through: str
    mlps: tuple[int, ...]
    sides: tuple[str, str]
    shares: tuple[float, ...]
    epochs: int

    @property
    def lacking(self) -> str:
        """Why a direction cannot be split into what is read and what is not; nothing if it can."""
        if self.site in ("q", "k", "v"):
            return f"attention reads {self.site!r} by products of activations, not by weights"
        if self.site in ("neurons", "z") or self.heads or self.mlps:
            return ""
        return "name the heads= or mlps= that read it, and both parts of v are patched too"


class Place:
    """One layer: the activation in all runs, and what reads it."""

    def __init__(self, model: TransformerBridge, setting: Setting, layer: int) -> None:
        self.setting, self.layer = setting, layer
        self.mediator = self._mediator(model, setting.pairs)
        self._plain: dict[int, Float[Tensor, "one vocabulary"]] = {}
        self.reading: Float[Tensor, "width reading"] | None = None
        if not setting.lacking:
            self.reading = reader_weights(
                self.mediator, heads=setting.heads, through=setting.through, mlps=setting.mlps
            ).to(self.mediator.base)

    def _mediator(self, model: TransformerBridge, pairs: Interchange) -> Mediator:
        setting = self.setting
        return Mediator(model, pairs, setting.site, layer=self.layer, position=setting.position, head=setting.head)

    @cached_property
    def finder(self) -> Mediator:
        """The activation in the pairs that directions are found on."""
        same = self.setting.training is self.setting.pairs
        return self.mediator if same else self._mediator(self.mediator.model, self.setting.training)

    @cached_property
    def rows(self) -> Float[Tensor, "width rank"]:
        """Orthonormal directions that are read; to find them takes longer than a step of learning."""
        return row_space(self.reading.double()).to(self.reading)

    @cached_property
    def plain(self) -> xr.Dataset:
        """The answers of the base as it is."""
        return self._spread(self.mediator.base)

    def find(self, direction: str) -> Iterator[Subspace]:
        """Find a direction: one, or better and better ones where it is learned."""
        setting = self.setting
        if direction == LEARNED:
            return learning(self.finder, epochs=setting.epochs, batch=_BATCH)
        if direction in METHODS:
            return iter([METHODS[direction](self.finder)])
        if self.layer != setting.home:
            msg = f"{direction!r} is a direction of layer {setting.home}: go back there, or choose another direction"
            raise InputError(msg)
        return iter([setting.directions[direction]])

    def parts(self, v: Float[Tensor, "width one"]) -> dict[str, Float[Tensor, "width one"]]:
        """Give a direction, and what of it is read and what is not, not made longer."""
        if self.reading is None:
            return {"v": v}
        row = self.rows @ (self.rows.T @ v)
        return {"v": v, "row": row, "null": v - row}

    def opened(self, direction: str, subspace: Subspace) -> SubspaceResult:
        """Give what is known of a direction before it is patched."""
        parts = self.parts(subspace.basis)
        dims, shape = ("part", "share"), (len(parts), len(self.setting.shares))
        empty = {name: (dims, np.full(shape, np.nan)) for name in ("mean", "low", "high")}
        said = {"long_name": "logit difference", "units": "nats", "level": 0.95, "pairs": len(self.mediator)}
        curves = xr.Dataset(empty, coords={"part": list(parts), "share": list(self.setting.shares)}, attrs=said)
        return SubspaceResult(self.layer, direction, subspace, curves, self._project(parts))

    def _project(self, parts: dict[str, Float[Tensor, "width one"]]) -> xr.Dataset:
        mediator, along = self.mediator, torch.cat([_unit(part) for part in parts.values()], 1)
        moved = patch_subspace(mediator.base, mediator.source, parts["v"])
        runs = {"base": mediator.base, "source": mediator.source, "patched": moved}
        base, source, sides = _classes(self.setting.pairs, self.setting.sides)
        coords = {
            "part": list(parts),
            "length": ("part", [part.norm().item() for part in parts.values()]),
            "side": ("pair", base),
            "source_side": ("pair", source),
        }
        found = {name: (("part", "pair"), (values @ along).T.cpu().numpy()) for name, values in runs.items()}
        return xr.Dataset(found, coords=coords, attrs={"sides": sides})

    def run(self, result: SubspaceResult, part: str, share: float) -> SubspaceResult:
        """Patch one part some share of the way, in all pairs."""
        basis = _unit(self.parts(result.subspace.basis)[part])
        values = _moved(self.mediator.base, self.mediator.source, basis, share)
        return filled(result, [part], share, self._spread(values) if share else self.plain)

    def judge(self, result: SubspaceResult) -> SubspaceResult:
        """Patch all parts in full, and the whole activation; say what that means."""
        mediator, v = self.mediator, result.subspace
        if self.reading is None:
            patches = {"full": mediator.source, "v": patch_subspace(mediator.base, mediator.source, v.basis)}
            diagnosis, effects = None, compare_patches(mediator, patches)
        else:
            diagnosis = diagnose(mediator, v, self.reading)
            effects = diagnosis.effects
        names = {"mean": "logit_difference", "low": "logit_difference_low", "high": "logit_difference_high"}
        known = xr.Dataset({name: effects[other] for name, other in names.items()})
        parts = result.curves.part.values.tolist()
        result = replace(result, effects=effects, diagnosis=diagnosis)
        result = filled(result, parts, 0.0, known.sel(patch="none", drop=True))
        return filled(result, parts, 1.0, known.sel(patch=parts).rename(patch="part"))

    def patch_pair(self, subspace: Subspace, pair: int, share: float) -> PatchedPair:
        """Run one base prompt as it is, and patched some share of the way along v."""
        mediator, pairs, rows = self.mediator, self.setting.pairs, [pair]
        with torch.no_grad():
            moved = _moved(mediator.base[rows], mediator.source[rows], subspace.basis, share)
            if pair not in self._plain:
                self._plain = {pair: mediator.logits(mediator.base[rows], rows)}  # the slider moves one pair often
            logits = torch.cat([self._plain[pair], mediator.logits(moved, rows)])
            gaps = pairs.metric(logits, torch.tensor([pair, pair], device=logits.device)).tolist()
        before, after = map(probabilities, logits)
        ids = list(dict.fromkeys([int(pairs.own[pair]), int(pairs.other[pair]), *leading([before], _TOP)]))
        ids += [token for token in leading([after], _TOP) if token not in ids]
        shown = [label_tokens(mediator.model, run, ids) for run in (before, after)]
        return PatchedPair(pair, share, *shown, differences=(gaps[0], gaps[1]))

    def _spread(self, values: Float[Tensor, "pair width"]) -> xr.Dataset:
        """Give the mean logit difference with these activations in place, and its interval."""
        pairs = self.setting.pairs
        with torch.no_grad():
            logits = self.mediator.logits(values)
            gaps = pairs.metric(logits, torch.arange(len(pairs), device=logits.device))
        return spread(xr.DataArray(gaps.double().cpu().numpy(), dims="prompt"))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A direction that can be patched.

    Attributes
    ----------
    place
        The layer.
    blank
        What is known of the direction before it is patched.
    better
        Directions that are still to be learned.
    """

    place: Place
    blank: SubspaceResult
    better: Iterator[Subspace]

    def pieces(self) -> Iterator[tuple[str, SubspaceResult]]:
        """Learn the direction if it is learned, judge it, and fill in its curves; say after each piece what is done."""
        found = self.blank
        for words, found in self._learned():
            yield words, found
        result = self.place.judge(found)
        words = verdict_words(result)
        yield words, result
        shares = [share for share in _coarse_first(self.place.setting.shares) if share not in (0, 1)]
        for at, share in enumerate(shares, start=3):
            for part in result.curves.part.values.tolist():
                result = self.place.run(result, part, share)
                yield f"{words} · share {at} of {len(shares) + 2}", result
        yield words, result

    def _learned(self) -> Iterator[tuple[str, SubspaceResult]]:
        """Learn step by step; show what an epoch made better once it is patched in full."""
        result, epochs = self.blank, self.place.setting.epochs
        for found in self.better:
            words = learning_words(found.losses, epochs)
            if found.basis is not result.subspace.basis:
                better = self.place.opened(result.direction, found)
                for part in better.curves.part.values.tolist():
                    better = self.place.run(self.place.run(better, part, 0.0), part, 1.0)
                    yield words, result
                result = better
            elif len(found.losses) > len(result.subspace.losses):
                result = replace(result, subspace=found)
            yield words, result


def prepare(
    model: TransformerBridge, setting: Setting, layer: int, direction: str, known: Place | None = None
) -> Prepared:
    """Find the activation in a layer, unless that is known, and a direction of it.

    Raises
    ------
    HookError, InputError
        If site, layer, readers or direction do not fit.
    """
    place = known if known is not None and known.layer == layer else Place(model, setting, layer)
    found = place.find(direction)
    return Prepared(place, place.opened(direction, next(found)), found)


def _unit(part: Float[Tensor, "width one"]) -> Float[Tensor, "width one"]:
    """Make a part one long; nothing stays nothing."""
    length = part.norm()
    return part / length if length > _NOTHING else torch.zeros_like(part)


def _moved(
    base: Tensor, source: Tensor, basis: Float[Tensor, "width one"], share: float
) -> Float[Tensor, "pair width"]:
    return base + share * (patch_subspace(base, source, basis) - base)


def _classes(pairs: Interchange, sides: tuple[str, str]) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Give the class of each base and of each source, and what classes are called; without any, runs are classes."""
    if pairs.classes is None:
        return np.zeros(len(pairs), int), np.ones(len(pairs), int), ("base", "source")
    own, differs = pairs.classes.cpu().numpy(), (pairs.expected != pairs.own).cpu().numpy()
    return own, np.where(differs, 1 - own, own), sides


def _coarse_first(shares: tuple[float, ...]) -> list[float]:
    """Order shares so that the first few of them lie far apart.

    Examples
    --------
    >>> _coarse_first((0.0, 1.0, 2.0, 3.0, 4.0))
    [0.0, 4.0, 2.0, 1.0, 3.0]
    """
    return [shares[at] for at in sorted(range(len(shares)), key=lambda at: -(at & -at) if at else -len(shares))]
