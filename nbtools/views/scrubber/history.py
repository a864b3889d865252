"""What happened in a training: curves over its steps, and what was kept at some of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nbtools.views.direction.parts import round_numbers
from nbtools.views.log_axis import log_ends, log_numbers
from nbtools.views.written import minus

__all__ = ["History", "Kept", "Panel", "nearest"]

_TICKS, _MARKS = 4, 6
_ZERO = 0.08  # of a logarithmic axis lies between step 0 and the one after it


@dataclass(frozen=True, eq=False)
class Panel:
    """One curve: what it is, and its values at every step; NaN where there is none.

    Attributes
    ----------
    name
        What is written above it.
    note
        What it is at length, with its unit; may be empty.
    mean, low, high
        The mean over seeds and their range, all the same where there is one.
    ends
        The least and the greatest value of its axis.
    fewest
        How many seeds are known at the step at which the fewest are, if any is.
    """

    name: str
    note: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ends: tuple[float, float]
    fewest: int

    def plot(self) -> dict[str, Any]:
        """Give the axis as the page draws it."""
        return {"vmin": self.ends[0], "vmax": self.ends[1], "ticks": self.marks}

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Round numbers on its axis, and how they are written."""
        return [(mark, minus(f"{mark:g}")) for mark in round_numbers(*self.ends, 3)]


@dataclass(frozen=True, eq=False)
class Kept:
    """What was kept at some steps: numbers ``(step, row[, column])``, the tokens of both, and what they are."""

    steps: np.ndarray
    values: np.ndarray
    rows: list[str]
    columns: list[str]
    label: str

    def at(self, step: int) -> tuple[int, np.ndarray]:
        """Give the kept step nearest to this one, and its numbers."""
        place = nearest(self.steps, step)
        return int(self.steps[place]), self.values[place]

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Round numbers between which all amounts of all steps lie."""
        return log_ends(self.values)

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Round numbers on that axis, and how they are written."""
        return [(mark, f"{mark:,g}") for mark in log_numbers(*self.ends, _MARKS)]


@dataclass(frozen=True, eq=False)
class History:
    """Curves over the steps of a training, with attention and norms at some of them.

    Attributes
    ----------
    steps
        Ascending.
    scale
        How steps lie on their axis, ``"linear"`` or ``"log"``.
    last
        The step at which that axis ends.
    panels
        The curves.
    seeds
        How many runs they sum up.
    maps, bars
        Attention ``(step, query, key)`` and norms ``(step, position)``, or None.
    """

    steps: np.ndarray
    scale: str
    last: int
    panels: list[Panel]
    seeds: int
    maps: Kept | None
    bars: Kept | None

    def place(self, step: int) -> int:
        """Give the place of the known step that is nearest."""
        return nearest(self.steps, step)

    @cached_property
    def places(self) -> np.ndarray:
        """Where each step lies on the axis, from 0 to 1."""
        return self._along(self.steps)

    def _along(self, steps: np.ndarray) -> np.ndarray:
        if self.scale == "linear":
            return (steps - self.steps[0]) / (self.last - self.steps[0])
        first, last = np.log([self._least, self.last])
        start = first if self.steps[0] > 0 else first - (_ZERO * (last - first) / (1 - _ZERO) or 1)
        logs = np.log(np.maximum(steps, 1e-9))
        return np.where(steps > 0, (logs - start) / (last - start), 0.0)

    @property
    def _least(self) -> int:
        """The least step that a logarithmic axis can hold."""
        return int(self.steps[self.steps > 0].min(initial=self.last))

    @cached_property
    def ticks(self) -> list[tuple[float, str]]:
        """Round steps: where each lies, and how it is written."""
        first, last = int(self.steps[0]), self.last
        if self.scale == "linear":
            marks = round_numbers(first, last, _TICKS)
        else:
            low = self._least
            marks = [0.0] * (first == 0) + (log_numbers(low, last, _TICKS) if low < last else [float(last)])
        whole = np.array([mark for mark in marks if mark == int(mark)])
        return [(float(place), f"{int(mark):,}") for place, mark in zip(self._along(whole), whole, strict=True)]

    def _band(self) -> str:
        """Say what is drawn where there are several seeds, of which some may not reach as far as others."""
        fewest = min(panel.fewest for panel in self.panels)
        count = f"{self.seeds}" if fewest == self.seeds else f"{fewest} to {self.seeds}"
        return f"mean and range of {count} seeds" if self.seeds > 1 else ""

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws."""
        numbers = {name: np.stack([getattr(panel, name) for panel in self.panels]) for name in ("mean", "low", "high")}
        numbers["places"] = self.places
        return {
            "names": [panel.name for panel in self.panels],
            "notes": [panel.note for panel in self.panels],
            "plots": [panel.plot() for panel in self.panels],
            "ticks": self.ticks,
            "band": self._band(),
            "steps": self.steps.astype(np.int32).tobytes(),
            **{name: values.astype(np.float32).tobytes() for name, values in numbers.items()},
            **_packed_maps(self.maps),
            **_packed_bars(self.bars),
        }


def nearest(steps: np.ndarray, step: int) -> int:
    """Give the place of the nearest step, the earlier of two."""
    return int(np.abs(steps - step).argmin())


def _packed_maps(maps: Kept | None) -> dict[str, Any]:
    if maps is None:
        return {"queries": [], "keys": [], "map_steps": b"", "levels": b""}
    levels = np.round(maps.values * np.float32(255)).astype(np.uint8)
    packed = {"map_steps": maps.steps.astype(np.int32).tobytes(), "levels": levels.tobytes()}
    return {"queries": maps.rows, "keys": maps.columns, **packed}


def _packed_bars(bars: Kept | None) -> dict[str, Any]:
    if bars is None:
        return {"tokens": [], "bar_label": "", "bar_axis": None, "bar_steps": b"", "bars": b""}
    low, high = bars.ends
    packed = {"bar_steps": bars.steps.astype(np.int32).tobytes(), "bars": bars.values.astype(np.float32).tobytes()}
    axis = {"vmin": low, "vmax": high, "ticks": bars.marks}
    return {"tokens": bars.rows, "bar_label": bars.label, "bar_axis": axis, **packed}
