"""What the explorer of three nested logits runs: a training, the steps of it that are drawn, and its landscape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.training.three_logits import ThreeLogits, three_logits

__all__ = ["PLANES", "SCALES", "Course", "Setting", "burstinesses", "check_setting"]

PLANES: dict[str, tuple[str, str, str]] = {  # across, up, and the parameter that is held
    "xi, alpha": ("xi", "alpha", "beta"),
    "alpha, beta": ("alpha", "beta", "xi"),
    "xi, beta": ("xi", "beta", "alpha"),
}
SCALES = ("linear", "log")
_CURVES = ("probability", "loss", "q1", "q2", "xi", "alpha", "beta")
_ENDS = {"probability": {"vmin": 0, "vmax": 1}, "q1": {"vmin": 0, "vmax": 1}, "q2": {"vmin": 0, "vmax": 1}}
_DRAWN = 400  # steps, at most
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

    def drawn(self, keep: int) -> xr.Dataset:
        """Give the curves at some steps: close together where they bend, and with the step to keep among them."""
        values = np.stack([self.result[name].values for name in _CURVES])
        steps = np.arange(values.shape[1])
        ways = np.abs(np.diff(np.stack([*values, steps, np.log1p(steps)]), axis=1))
        ways /= np.maximum(ways.sum(1, keepdims=True), np.finfo(float).tiny)
        gone = np.concatenate([[0], ways.sum(0).cumsum()])
        chosen = np.interp(np.linspace(0, gone[-1], _DRAWN - 2), gone, steps).round().astype(int)
        places = np.unique([*chosen, min(keep, steps[-1]), self.half or 0])
        attrs = {name: {**self.result[name].attrs, **_ENDS.get(name, {})} for name in _CURVES}
        curves = {name: ("step", row[places], attrs[name]) for name, row in zip(_CURVES, values, strict=True)}
        return xr.Dataset(curves, {"step": places})

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


def _reach(values: np.ndarray) -> np.ndarray:
    """Give numbers in even steps that reach a little beyond all values, to ends that are round."""
    low, high = float(values.min()), float(values.max())
    wide = max((high - low) * (1 + 2 * _BEYOND), _LEAST)
    middle, unit = (low + high) / 2, 10 ** np.floor(np.log10(wide)) / 10
    ends = np.floor((middle - wide / 2) / unit), np.ceil((middle + wide / 2) / unit)
    return np.linspace(*ends, _GRID) * unit
