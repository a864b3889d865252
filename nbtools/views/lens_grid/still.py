"""The logit lens with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.pictures import (
    ACCENT,
    FAINT,
    MUTED,
    Drawing,
    colours_of,
    ink_on,
    mark_undefined,
    scale_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale
    from nbtools.views.lens_grid.readings import Readings

__all__ = ["lens_drawing"]

_MOST = 14  # positions; of more a window is drawn
_CELL, _ROW, _PLOT = 0.62, 0.18, 0.95  # inches
_LETTERS = 10  # of a token in a cell
_LEFT, _FOOT, _TOP, _GAP = 0.45, 0.75, 0.25, 0.2
_EMBEDDING = -1

Box = tuple[float, float, float, float]


def lens_drawing(readings: Readings, scale: Scale, layer: int | None, position: int | None) -> Drawing:
    """Draw layers × positions, the last layer on top; what is pinned is framed, and its token followed beside it."""
    place = None if position is None else readings.positions.index(position)
    row = None if layer is None else readings.layers.index(layer)
    window = _window(len(readings.positions), place)
    wide, tall = len(window) * _CELL, len(readings.layers) * _ROW
    plots = 0 if place is None else 2 * (_PLOT + _GAP) + _GAP
    width, height = _LEFT + wide + plots + 0.1, _FOOT + tall + _TOP

    def box(left: float, across: float) -> Box:
        return left / width, _FOOT / height, across / width, tall / height

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes(box(_LEFT, wide))
        _draw_cells(axes, readings, scale, window)
        _name_axes(axes, readings, window, row, place)
        _frame(axes, len(readings.layers), window, row, place)
        scale_bar(figure, scale, ((_LEFT + 0.2) / width, 0.1 / height, 0.9 / width, 0.1 / height))
        if place is not None:
            left = _LEFT + wide + _GAP
            boxes = box(left, _PLOT), box(left + _PLOT + _GAP, _PLOT)
            _draw_path(figure, boxes, readings, len(readings.layers) - 1 if row is None else row, place)

    return Drawing(width, height, draw)


def _window(count: int, place: int | None) -> range:
    """Choose the positions that are drawn: the last ones, or those around what is pinned."""
    middle = count if place is None else place + _MOST // 2
    stop = max(min(_MOST, count), min(count, middle))
    return range(max(0, stop - _MOST), stop)


def _draw_cells(axes: Axes, readings: Readings, scale: Scale, window: range) -> None:
    numbers = readings.probability[:, window.start : window.stop]
    colours = colours_of(numbers, scale)
    axes.imshow(colours, aspect="auto", interpolation="nearest", origin="lower")
    mark_undefined(axes, numbers)
    axes.hlines(np.arange(len(numbers) - 1) + 0.5, -0.5, len(window) - 0.5, color="white", linewidth=0.6)
    axes.vlines(np.arange(len(window) - 1) + 0.5, -0.5, len(numbers) - 0.5, color="white", linewidth=0.6)
    for row, column in np.argwhere(np.isfinite(numbers)):
        text, ink = _short(readings.top[row, window[column]], _LETTERS), ink_on(colours[row, column])
        size = 7 if len(text) <= 8 else 5.8
        place = {"ha": "center", "va": "center_baseline"}
        axes.text(column, row, text, fontsize=size, color=ink, parse_math=False, **place)


def _name_axes(axes: Axes, readings: Readings, window: range, row: int | None, place: int | None) -> None:
    axes.set_yticks(range(len(readings.layers)), ["emb" if n == _EMBEDDING else n for n in readings.layers], fontsize=7)
    axes.set_xticks(range(len(window)), [_under(readings, at) for at in window], fontsize=7)
    axes.set_ylabel("layer", fontsize=8, color=MUTED)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    for tick, at in zip(axes.xaxis.get_major_ticks(), window, strict=True):
        tick.label1.set(parse_math=False, **(_strong() if at == place else {}))
    if row is not None:
        axes.yaxis.get_major_ticks()[row].label1.set(**_strong())


def _under(readings: Readings, at: int) -> str:
    return f"{_short(readings.tokens[at], _LETTERS)}\n{readings.positions[at]}"


def _short(text: str, most: int) -> str:
    shown = visible(str(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _strong() -> dict[str, str]:
    return {"color": ACCENT, "fontweight": "bold"}


def _frame(axes: Axes, rows: int, window: range, row: int | None, place: int | None) -> None:
    """Frame the cell that is pinned; or a whole column or row where only that is."""
    from matplotlib.patches import Rectangle

    if row is None and place is None:
        return
    left, wide = (-0.5, len(window)) if place is None else (window.index(place) - 0.5, 1)
    low, tall = (-0.5, rows) if row is None else (row - 0.5, 1)
    axes.add_patch(Rectangle((left, low), wide, tall, fill=False, edgecolor=ACCENT, linewidth=1.8, clip_on=False))


def _draw_path(figure: FigureBase, boxes: tuple[Box, Box], readings: Readings, row: int, place: int) -> None:
    """Draw the probability and the rank of a cell's token in all layers, beside their rows."""
    text, probability, rank = readings.path(row, place)
    most = max(10.0, float(np.nan_to_num(readings.numbers["followed_rank"]).max()))
    first = _draw_line(figure, boxes[0], probability, row, xlim=(-0.04, 1.04), xlabel="probability", xticks=(0, 1))
    _draw_line(figure, boxes[1], rank, row, xscale="log", xlim=(most * 1.2, 0.8), xlabel="rank", xticks=_decades(most))
    label = f"“{_short(text, 24)}”"
    first.text(0, 1.01, label, transform=first.transAxes, fontsize=8, va="bottom", parse_math=False, **_strong())


def _draw_line(figure: FigureBase, box: Box, numbers: np.ndarray, row: int, **settings: object) -> Axes:
    axes = figure.add_axes(box)
    rows = np.arange(len(numbers))
    axes.plot(numbers, rows, color=ACCENT, linewidth=1.2, marker=".", markersize=2.5)
    axes.plot(numbers[row], row, color=ACCENT, marker="o", markersize=5, clip_on=False)
    axes.axhline(row, color=FAINT, linewidth=0.8, zorder=0)
    axes.set(ylim=(-0.5, len(numbers) - 0.5), yticks=[], **settings)
    axes.set_xticks(settings["xticks"], [_count(number) for number in settings["xticks"]], fontsize=7)
    axes.set_xticks([], minor=True)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.tick_params(length=0)
    axes.set_xlabel(settings["xlabel"], fontsize=8, color=MUTED)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    return axes


def _decades(most: float) -> list[int]:
    return [10**power for power in range(int(np.log10(most)) + 1)]


def _count(number: int) -> str:
    return f"{number // 1000}k" if number >= 1000 else str(number)
