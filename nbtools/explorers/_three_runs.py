"""What the explorer of three nested logits depends on and trains, and its still picture.

The page trains and draws by itself, in views/three_logits: what is here is for Python, and for where no script runs.
Two languages hold one formula, and tests/unit/test_three_logits_page.py holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.training.three_logits import ThreeLogits, three_logits
from nbtools.views.colour import Scale, scale_for
from nbtools.views.landscape.reading import read_surface
from nbtools.views.landscape.still import landscape_drawing
from nbtools.views.pictures import Drawing, stacked, titled
from nbtools.views.scrubber.reading import read_history
from nbtools.views.scrubber.still import scrubber_drawing

__all__ = ["PLANES", "SCALES", "SHADES", "Course", "Setting", "burstinesses", "check_setting", "top_of"]

PLANES: dict[str, tuple[str, str, str]] = {  # across, up, and the parameter that is held
    "xi, alpha": ("xi", "alpha", "beta"),
    "alpha, beta": ("alpha", "beta", "xi"),
    "xi, beta": ("xi", "beta", "alpha"),
}
SCALES = ("linear", "log")
SHADES = Scale("viridis", 0.0, 1.0, "")
_CURVES = {"probability": "P"} | {name: name for name in ("loss", "q1", "q2", "xi", "alpha", "beta")}
_ENDS = {name: {"vmin": 0, "vmax": 1} for name in ("probability", "q1", "q2")}
_EVEN, _GROWING = 1200, 600  # steps that are drawn, at most
_MOST_STEPS = 100_000  # half a second
_GRID, _LEAST, _BEYOND = 48, 4.0, 0.08  # points of a landscape each way; how wide it is at least; how far it goes on
_SLICE = {"long_name": "loss in nats"}


@dataclass(frozen=True)
class Setting:
    """What one training depends on."""

    pairs: int
    labels: int
    burstiness: int
    beta: float
    alpha: float
    xi: float
    lr: float
    steps: int

    @property
    def model(self) -> ThreeLogits:
        """The model that is trained."""
        return ThreeLogits(self.pairs, self.labels, self.burstiness)

    @property
    def start(self) -> tuple[float, float, float]:
        """Where training begins."""
        return self.beta, self.alpha, self.xi


def burstinesses(pairs: int, labels: int) -> list[int]:
    """Give how often each class can be among so many pairs: two classes or more, and no more than there are labels.

    Examples
    --------
    >>> burstinesses(8, 32), burstinesses(12, 5), burstinesses(7, 5)
    ([1, 2, 4], [3, 4, 6], [])
    """
    return [times for times in range(1, pairs // 2 + 1) if pairs % times == 0 and pairs // times <= labels]


def check_setting(setting: Setting) -> Setting:
    """Give it back, or raise an InputError that says which of its numbers does not fit."""
    pairs, labels, times = setting.pairs, setting.labels, setting.burstiness
    fits = burstinesses(pairs, labels)
    if pairs < 2:
        msg = f"expected 2 pairs or more, got {pairs}"
    elif times >= 1 and pairs % times == 0 and pairs // times > labels:
        msg = f"expected as many labels as classes or more, got {pairs // times} classes and {labels} labels"
    elif times not in fits:
        msg = f"expected burstiness as one of {', '.join(map(str, fits))} for {pairs} pairs, got {times}"
    elif not np.isfinite(setting.start).all():
        msg = f"expected beta, alpha and xi as finite numbers, got {setting.beta}, {setting.alpha} and {setting.xi}"
    elif not (np.isfinite(setting.lr) and setting.lr > 0):
        msg = f"expected lr above 0, got {setting.lr}"
    elif not 1 <= setting.steps <= _MOST_STEPS:
        msg = f"expected 1 to {_MOST_STEPS:,} steps, got {setting.steps:,}"
    else:
        return setting
    raise InputError(msg)


class Course:
    """One training from its first step to its last.

    Attributes
    ----------
    setting
        What it depends on.
    result
        What `nbtools.training.three_logits` gives, at every step.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, size = setting, (setting.pairs, setting.labels)
        about = {"burstiness": setting.burstiness, "lr": setting.lr, "steps": setting.steps}
        self.result: xr.Dataset = three_logits(*size, start=setting.start, **about)

    @cached_property
    def half(self) -> int | None:
        """The first step at which the right label is more probable than all others together; None if there is none."""
        above = self.result.probability.values > 0.5
        return int(above.argmax()) if above.any() else None

    @property
    def moves(self) -> bool:
        """Whether training changes anything."""
        return bool(self.setting.model.gradient(self.setting.start).any())

    @property
    def notes(self) -> dict[str, str]:
        """What each curve is, at length."""
        return {name: self.result[name].attrs["long_name"] for name in _CURVES}

    def drawing(self, plane: str, scale: str, step: int, title: str) -> Drawing:
        """Give the still picture: the landscape, titled, and below it the curves, both at a step."""
        values, last = self.surface(plane, step), self.setting.steps
        places = {0, step, *np.linspace(0, last, _EVEN).astype(int), *np.geomspace(1, last, _GROWING).astype(int)}
        some = self.result.isel(step=sorted(places))
        some = some.assign({name: some[name].assign_attrs(ends) for name, ends in _ENDS.items()})
        surface = read_surface(values, some, None)
        shades = scale_for(surface.values, cmap=None, vmin=0, vmax=top_of(values), label=surface.label)
        curves = scrubber_drawing(read_history(some, None, None, _CURVES, scale, None), SHADES, step)
        return stacked([[titled(landscape_drawing(surface, shades, step), title)], [curves]])

    def surface(self, plane: str, step: int) -> xr.DataArray:
        """Give the loss around the whole path, the third parameter as it is at a step."""
        across, up, held = PLANES[plane]
        grid = {name: _reach(self.result[name].values) for name in (up, across)}
        grid[held] = np.array(self.held(plane, step))
        points = np.meshgrid(grid[up], grid[across], indexing="ij")
        at = dict(zip((up, across), points, strict=True)) | {held: np.full_like(points[0], grid[held])}
        loss = self.setting.model.loss(np.stack([at[name] for name in ("beta", "alpha", "xi")], -1))
        return xr.DataArray(loss, {up: grid[up], across: grid[across]}, (up, across), attrs=_SLICE)

    def held(self, plane: str, step: int) -> float:
        """Give what the third parameter is at a step."""
        return float(self.result[PLANES[plane][2]].values[step])


def top_of(surface: xr.DataArray) -> float:
    """Give a round number above a landscape."""
    return float(np.ceil(2 * float(surface.max())) / 2)


def _reach(values: np.ndarray) -> np.ndarray:
    """Give numbers in even steps that reach a little beyond all values, to ends that are round."""
    low, high = float(values.min()), float(values.max())
    wide = max((high - low) * (1 + 2 * _BEYOND), _LEAST)
    middle, unit = (low + high) / 2, 10 ** np.floor(np.log10(wide)) / 10
    ends = np.floor((middle - wide / 2) / unit), np.ceil((middle + wide / 2) / unit)
    return np.linspace(*ends, _GRID) * unit
