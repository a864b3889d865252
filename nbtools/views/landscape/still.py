"""A number over two parameters with matplotlib, its contour lines, and the path of a training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nbtools.views.pictures import ACCENT, MUTED, Drawing, colours_of, scale_bar
from nbtools.views.written import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale
    from nbtools.views.landscape.surface import Surface

__all__ = ["landscape_drawing"]

_PLOT, _TALL, _LEFT, _RIGHT, _TOP, _FOOT, _LEGEND = 3.9, 3.1, 0.55, 0.35, 0.28, 0.45, 0.34  # inches
_BOLD = {"fontsize": 9, "fontweight": "bold", "parse_math": False}
_PLATE = {"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
_WAY = (("white", 3.4), ("black", 1.3))  # the path is seen on every colour
_LETTERS = 40


def landscape_drawing(surface: Surface, scale: Scale, step: int) -> Drawing:
    """Draw the surface with the path on it, marked at a step, and the legend below."""
    width, height = _LEFT + _PLOT + _RIGHT, _TOP + _TALL + _FOOT + _LEGEND
    bottom = (_FOOT + _LEGEND) / height

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((_LEFT / width, bottom, _PLOT / width, _TALL / height))
        _draw_surface(axes, surface, scale)
        _name_axes(axes, surface)
        if surface.track is not None:
            _draw_path(axes, surface, step)
        scale_bar(figure, scale, ((_LEFT + 0.3) / width, 0.1 / height, 1 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _draw_surface(axes: Axes, surface: Surface, scale: Scale) -> None:
    rows, columns = surface.values.shape
    x, y = 0.5 / (columns - 1), 0.5 / (rows - 1)  # half a cell: each value is the colour of its own place
    known = bool(np.isfinite(surface.values).all())
    if not known:
        axes.patch.set(hatch="/////", edgecolor="#d1d9e0", facecolor="none")
    axes.imshow(
        colours_of(surface.values, scale), origin="lower", extent=(-x, 1 + x, -y, 1 + y), aspect="auto",
        interpolation="bilinear" if known else "nearest",
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.spines[:].set_visible(False)
    for contour in surface.contours(scale):
        for line in contour.lines:
            axes.plot(*line.T, color="white", linewidth=0.7, alpha=0.75)
        if contour.at is not None:
            axes.text(*contour.at, contour.text, ha="center", va="center", fontsize=7, bbox=_PLATE, parse_math=False)


def _name_axes(axes: Axes, surface: Surface) -> None:
    for axis, one in ((axes.xaxis, surface.x), (axes.yaxis, surface.y)):
        axis.set_ticks([place for place, _ in one.ticks], [text for _, text in one.ticks])
    axes.tick_params(length=2, labelsize=8, labelcolor=MUTED, color=MUTED, pad=2)
    axes.text(0, 1.03, shortened(surface.y.name, _LETTERS), transform=axes.transAxes, va="bottom", **_BOLD)
    axes.text(1, -0.08, shortened(surface.x.name, _LETTERS), transform=axes.transAxes, va="top", ha="right", **_BOLD)


def _draw_path(axes: Axes, surface: Surface, step: int) -> None:
    """Draw the path, with a ring where it begins and a dot at the step; what lies outside is at the edge."""
    track, at = surface.track, surface.track.place(step)
    x, y = surface.x.along(track.places[0]), surface.y.along(track.places[1])
    for colour, wide in _WAY:
        axes.plot(x, y, color=colour, linewidth=wide, solid_joinstyle="round", zorder=3)
    _disc(axes, x[0], y[0], markersize=6, color="white", markeredgecolor="black")
    _disc(axes, x[at], y[at], markersize=8, color=ACCENT, markeredgecolor="white")
    said = f"step {track.steps[at]:,}"
    axes.text(1, 1.03, said, transform=axes.transAxes, ha="right", va="bottom", **{**_BOLD, "color": ACCENT})


def _disc(axes: Axes, x: float, y: float, **look: Any) -> None:
    axes.plot(*np.clip([x, y], 0, 1), "o", zorder=4, clip_on=False, **look)
