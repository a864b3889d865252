"""What moving activations along some directions gives: the answer on the way, and where the activations lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nbtools.views.colour import Scale

__all__ = ["BINS", "Parts", "round_numbers"]

BINS = 60  # over all that the slider reaches
_TRIED = 41  # shares at which bars are measured, beside those that are known: the slider stops anywhere


@dataclass(frozen=True, eq=False)
class Parts:
    """Some directions, with the answer at some shares of the way and the projections of pairs of activations.

    Attributes
    ----------
    names
        What each direction is called.
    shares
        Shares of the way at which the answer is known, ascending; 0 lies in their range.
    curves
        ``mean [part, share]``, and ``low`` and ``high`` if its spread is known; NaN where nothing is known.
    projections
        ``base``, ``source`` and ``patched [part, pair]``: where the activations of both runs lie, and the patched ones
        at share 1.
    classes
        ``base`` and ``source [pair]``: the class of each activation, 0 or 1.
    sides
        What the two classes are called.
    label
        What the curves are, with its unit.
    band
        What lies between ``low`` and ``high``, in words; nothing if there is no spread.
    """

    names: list[str]
    shares: np.ndarray
    curves: dict[str, np.ndarray]
    projections: dict[str, np.ndarray]
    classes: dict[str, np.ndarray]
    sides: list[str]
    label: str
    band: str

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest share."""
        return float(self.shares[0]), float(self.shares[-1])

    @property
    def pairs(self) -> int:
        """How many pairs of activations there are."""
        return len(self.classes["base"])

    def axis(self) -> Scale:
        """Give the axis that holds all curves and 0."""
        low, high = _range([*self.curves.values(), np.zeros(1)]) or (0.0, 0.0)
        return Scale("viridis", low, high if low < high else low + 1.0, self.label)

    def value(self, part: int, share: float) -> float:
        """Give the answer at a share, on the line between the two nearest that are known; NaN if one of them is not."""
        mean = self.curves["mean"][part]
        after = min(int(np.searchsorted(self.shares, share - 1e-6)), len(self.shares) - 1)
        if after == 0 or self.shares[after] < share + 1e-6:
            return float(mean[after])
        return float(np.interp(share, self.shares[after - 1 : after + 1], mean[after - 1 : after + 1]))

    def moved(self, part: int, share: float) -> np.ndarray:
        """Give where the base activations lie when they have gone a share of the way."""
        base, patched = self.projections["base"][part], self.projections["patched"][part]
        return base + np.float32(share) * (patched - base)

    def outside(self, part: int, share: float) -> float:
        """Give which share of the patched activations lies beyond all natural ones; NaN if there are none."""
        moved, limits = self.moved(part, share), self.limits[part]
        moved = moved[np.isfinite(moved)]
        if limits is None or not moved.size:
            return float("nan")
        return float(np.mean((moved < limits[0]) | (moved > limits[1])))

    @cached_property
    def limits(self) -> list[tuple[float, float] | None]:
        """The range of the natural activations along each part, of both runs; None if there are none."""
        runs = [self.projections[run] for run in ("base", "source")]
        return [_range([run[part] for run in runs]) for part in range(len(self.names))]

    @cached_property
    def reach(self) -> list[tuple[float, float]]:
        """The range of natural activations and of all that the slider makes of them, along each part."""
        made = [[self.moved(part, share) for share in self.ends] for part in range(len(self.names))]
        ranges = [_range([*moved, np.array(limits or ())]) for moved, limits in zip(made, self.limits, strict=True)]
        return [_widened(*(found or (0.0, 1.0))) for found in ranges]

    def ticks(self, part: int) -> list[float]:
        """Give round numbers within reach; none where there are no natural activations."""
        return [] if self.limits[part] is None else round_numbers(*self.reach[part], 5)

    def natural_bars(self, part: int) -> list[np.ndarray]:
        """Give for each class which share of its natural activations lies in each of `BINS` bins."""
        values = np.concatenate([self.projections[run][part] for run in ("base", "source")])
        classes = np.concatenate([self.classes[run] for run in ("base", "source")])
        return _bars(values, classes, self.reach[part])

    def patched_bars(self, part: int, share: float) -> list[np.ndarray]:
        """Give the same of the patched activations, by the class of their base."""
        return _bars(self.moved(part, share), self.classes["base"], self.reach[part])

    @cached_property
    def peaks(self) -> list[float]:
        """How high the highest bar of each part is, wherever the slider is."""
        shares = [*self.shares, *np.linspace(*self.ends, _TRIED)]
        every = [
            [*self.natural_bars(part), *(bar for share in shares for bar in self.patched_bars(part, share))]
            for part in range(len(self.names))
        ]
        return [float(np.max(bars)) or 1.0 for bars in every]

    def _plot(self, part: int) -> dict[str, Any]:
        limits, reach = self.limits[part], self.reach[part]
        return {"limits": limits, "reach": reach, "peak": self.peaks[part], "ticks": self.ticks(part)}

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws."""
        numbers = {name: self.curves.get(name, np.empty(0)) for name in ("mean", "low", "high")}
        numbers |= {"shares": self.shares, **self.projections}
        return {
            "parts": self.names,
            "ends": list(self.ends),
            "sides": self.sides,
            "band": self.band,
            "plots": [self._plot(part) for part in range(len(self.names))],
            "share_ticks": round_numbers(*self.ends, 4),
            **{name: values.astype(np.float32).tobytes() for name, values in numbers.items()},
            **{f"{run}_class": classes.astype(np.uint8).tobytes() for run, classes in self.classes.items()},
        }


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Give round numbers on an axis, about so many at most.

    Examples
    --------
    >>> round_numbers(-1.0, 2.0, 4)
    [-1.0, 0.0, 1.0, 2.0]
    """
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high)
    slack = 1e-6 * (high - low)
    return [float(f"{tick:.6g}") + 0.0 for tick in found if low - slack <= tick <= high + slack]


def _range(arrays: list[np.ndarray]) -> tuple[float, float] | None:
    """Give the least and the greatest number; None if there is none."""
    numbers = np.concatenate([array.ravel() for array in arrays])
    finite = numbers[np.isfinite(numbers)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _widened(low: float, high: float) -> tuple[float, float]:
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _bars(values: np.ndarray, classes: np.ndarray, reach: tuple[float, float]) -> list[np.ndarray]:
    """Give for each class which share of its values lies in each bin; undefined ones are left out."""
    own = [values[(classes == side) & np.isfinite(values)] for side in (0, 1)]
    counts = [np.histogram(np.clip(found, *reach), BINS, reach)[0] for found in own]
    return [count / max(1, count.sum()) for count in counts]
