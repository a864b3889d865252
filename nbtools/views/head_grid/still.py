"""The head grid with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import Head, head_label
from nbtools.views.pictures import ACCENT, Drawing, colours_of, ink_on, mark_undefined, scale_bar, ticks_every

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale

__all__ = ["grid_drawing", "settings_drawing"]

_CELL, _SETTING = 0.17, 0.42  # inches
_LETTER = 0.065  # inches, of a value beside its row


def grid_drawing(
    values: np.ndarray, layers: list[int], heads: list[int], scale: Scale, selected: list[Head]
) -> Drawing:
    """Draw layers × heads; picked heads are framed and named."""
    width, height = len(heads) * _CELL + 1.2, len(layers) * _CELL + 0.9

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((0.55 / width, 0.35 / height, len(heads) * _CELL / width, len(layers) * _CELL / height))
        axes.imshow(colours_of(values, scale), aspect="auto", interpolation="nearest")
        mark_undefined(axes, values)
        _label(axes, layers, heads)
        for layer, head in selected:
            _frame(axes, layers.index(layer), heads.index(head), head_label(layer, head))
        scale_bar(figure, scale, (0.55 / width, 0.1 / height, 0.9 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _label(axes: Axes, layers: list[int], heads: list[int]) -> None:
    rows, columns = ticks_every(len(layers), 16), ticks_every(len(heads), 16)
    axes.set_yticks(rows, [layers[row] for row in rows], fontsize=7)
    axes.set_xticks(columns, [heads[column] for column in columns], fontsize=7)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("head", fontsize=8)
    axes.set_ylabel("layer", fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _frame(axes: Axes, row: int, column: int, name: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ACCENT, linewidth=1.8, clip_on=False)
    )
    side = axes.get_xlim()[1] + 0.2
    axes.text(side, row, name, fontsize=8, color=ACCENT, va="center", ha="left", fontweight="bold")


def settings_drawing(
    values: np.ndarray,
    names: tuple[str, str],
    texts: tuple[Sequence[str], Sequence[str]],
    scale: Scale,
    selected: list[tuple[int, int]],
) -> Drawing:
    """Draw the values of one setting × those of another, with the numbers; picked cells, by place, are framed."""
    rows, columns = values.shape
    left = 0.15 + _LETTER * max(map(len, [names[0], *texts[0]]))
    width, height = left + max(columns * _SETTING, 2.0) + 0.1, rows * _SETTING + 0.85

    def draw(figure: FigureBase) -> None:
        box = (left / width, 0.35 / height, columns * _SETTING / width, rows * _SETTING / height)
        axes = figure.add_axes(box)
        _draw_numbers(axes, values, scale)
        _label(axes, list(texts[0]), list(texts[1]))
        axes.set_xlabel(names[1], fontsize=8)
        axes.set_ylabel("")
        axes.annotate(
            names[0], (0, 1), (-4, 4), xycoords="axes fraction", textcoords="offset points", ha="right", fontsize=8
        )
        for row, column in selected:
            _frame(axes, row, column, "")
        scale_bar(figure, scale, (0.55 / width, 0.1 / height, 0.9 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _draw_numbers(axes: Axes, values: np.ndarray, scale: Scale) -> None:
    """Draw each cell on its colour, and its number in it."""
    colours = colours_of(values, scale)
    axes.imshow(colours, aspect="auto", interpolation="nearest")
    mark_undefined(axes, values)
    for row, column in np.argwhere(np.isfinite(values)):
        ink = ink_on(colours[row, column])
        axes.text(column, row, f"{values[row, column]:.2f}", fontsize=7, color=ink, ha="center", va="center")
