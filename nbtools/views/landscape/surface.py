"""A number over two parameters, its contour lines, and the path of a training on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.views.colour import Scale
from nbtools.views.direction.parts import round_numbers
from nbtools.views.scrubber.history import nearest
from nbtools.views.written import minus

__all__ = ["Axis", "Contour", "Surface", "Track"]

_TICKS, _LEVELS = 6, 12
_EDGE, _APART = 0.05, 0.09  # of the plot: between a number on a line and the frame, and other numbers
_TRIED = 24  # places for a number, of all along its line
_FINE = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class Axis:
    """A parameter: what it is called, and its values, evenly spaced and ascending."""

    name: str
    values: np.ndarray

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self.values[0]), float(self.values[-1])

    def along(self, values: np.ndarray) -> np.ndarray:
        """Give where values lie, 0 and 1 being the ends."""
        low, high = self.ends
        return (np.asarray(values) - low) / (high - low)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers: where each lies, and how it is written."""
        marks = round_numbers(*self.ends, _TICKS)
        return [(float(place), minus(f"{mark:g}")) for place, mark in zip(self.along(marks), marks, strict=True)]


@dataclass(frozen=True, eq=False)
class Track:
    """The path of a training: its steps, ascending, and both parameters ``[2, step]``, the horizontal one first."""

    steps: np.ndarray
    places: np.ndarray

    def place(self, step: int) -> int:
        """Give the place of the known step that is nearest."""
        return nearest(self.steps, step)


@dataclass(frozen=True, eq=False)
class Contour:
    """Where a surface has one value: lines of points ``[point, 2]`` in parts of the plot, and where it is written."""

    level: float
    lines: list[np.ndarray]
    at: tuple[float, float] | None

    @property
    def text(self) -> str:
        """The value as it is written."""
        return minus(f"{self.level:g}")


@dataclass(frozen=True, eq=False)
class Surface:
    """Values ``[row, column]`` over a vertical and a horizontal parameter; NaN where nothing is known.

    Attributes
    ----------
    x, y
        The parameters, the horizontal one and the vertical one.
    label
        What the values are.
    track
        The path on it, or None.
    """

    values: np.ndarray
    x: Axis
    y: Axis
    label: str
    track: Track | None

    def contours(self, scale: Scale) -> list[Contour]:
        """Give the lines at round numbers of a scale, each with its number where there is room for it."""
        from contourpy import contour_generator

        known = self.values.astype(float)
        generator = contour_generator(z=known if np.isfinite(known).all() else np.ma.masked_invalid(known))
        size, found = np.array(self.values.shape[::-1]) - 1, []
        free = _Room([] if self.track is None else self._way())
        for level in round_numbers(scale.vmin, scale.vmax, _LEVELS):
            lines = [line / size for line in generator.lines(level)]
            if lines and level > np.nanmin(self.values):  # at the least one a line is a point
                found.append(Contour(level, lines, free.spot(np.concatenate(lines))))
        return found

    def _way(self) -> list[np.ndarray]:
        """Give some points of the path, in parts of the plot."""
        some = self.track.places[:, :: max(1, len(self.track.steps) // _TRIED)]
        return [*np.stack([self.x.along(some[0]), self.y.along(some[1])], -1)]

    def frame(self, scale: Scale) -> dict[str, Any]:
        """Pack what the page draws."""
        contours, track = self.contours(scale), self.track
        lines = [line for contour in contours for line in contour.lines]
        points = np.concatenate(lines) if lines else np.empty((0, 2))
        return {
            "names": [self.x.name, self.y.name],
            "ends": [self.x.ends, self.y.ends],
            "ticks": [self.x.ticks, self.y.ticks],
            "columns": len(self.x.values),
            "values": self.values.astype(np.float32).tobytes(),
            "lines": np.round(points * _FINE).astype(np.uint16).tobytes(),
            "counts": np.array([len(line) for line in lines], np.int32).tobytes(),
            "levels": [(*contour.at, contour.text) for contour in contours if contour.at is not None],
            "steps": b"" if track is None else track.steps.astype(np.int32).tobytes(),
            "path": b"" if track is None else track.places.astype(np.float32).tobytes(),
        }


class _Room:
    """Finds where numbers can stand: apart from each other and from a path."""

    def __init__(self, taken: list[np.ndarray]) -> None:
        self._taken = taken

    def spot(self, points: np.ndarray) -> tuple[float, float] | None:
        """Take the point of some that is farthest from all that is taken; None if there is no room."""
        inner = points[((points > _EDGE) & (points < 1 - _EDGE)).all(-1)]
        inner = inner[:: 1 + len(inner) // _TRIED]
        if not len(inner):
            return None
        if not self._taken:
            best = len(inner) // 2
        else:
            away = np.linalg.norm(inner[:, None] - np.array(self._taken), axis=-1).min(1)
            best = int(away.argmax())
            if away[best] < _APART:
                return None
        self._taken.append(inner[best])
        return float(inner[best, 0]), float(inner[best, 1])
