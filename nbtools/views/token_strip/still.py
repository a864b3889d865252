"""The token strip with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.pictures import ACCENT, FAINT, Drawing, blank_axes, colours_of, ink_on, scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale

__all__ = ["strip_drawing"]

_COLUMNS = 84  # characters in a line
_LETTER, _LINE = 0.085, 0.26  # inches


def strip_drawing(tokens: list[str], values: np.ndarray, scale: Scale, selected: int | None) -> Drawing:
    """Draw tokens in lines, each on the colour of its value."""
    places = _wrapped(tokens)
    lines = places[-1][0] + 1
    columns = max(30, *(column + len(text) + 1 for _, column, text in places))
    width, height = columns * _LETTER, (lines + 1.6) * _LINE

    def draw(figure: FigureBase) -> None:
        axes = blank_axes(figure, (0, 1.6 * _LINE / height, 1, lines * _LINE / height))
        axes.set(xlim=(0, columns), ylim=(lines, 0))
        colours = colours_of(values, scale)
        for position, (line, column, text) in enumerate(places):
            _chip(axes, line, column, text, colours[position], framed=position == selected)
        scale_bar(figure, scale, (0.5 / width, 0.35 * _LINE / height, 1 / width, 0.35 * _LINE / height))

    return Drawing(width, height, draw)


def _wrapped(tokens: list[str]) -> list[tuple[int, int, str]]:
    """Give line, column and visible text of each token; a newline token ends its line."""
    places, line, column = [], 0, 0
    for token in tokens:
        text = visible(token)[: _COLUMNS - 1]
        if column and column + len(text) + 1 > _COLUMNS:
            line, column = line + 1, 0
        places.append((line, column, text))
        column += len(text) + 1
        if "\n" in token:
            line, column = line + 1, 0
    return places


def _chip(axes: Axes, line: int, column: int, text: str, colour: np.ndarray, *, framed: bool) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    undefined = colour[3] == 0
    edge = {"edgecolor": ACCENT, "linewidth": 1.8} if framed else {"edgecolor": FAINT, "linewidth": 0}
    box = Rectangle if undefined else FancyBboxPatch
    extra = {"hatch": "////"} if undefined else {"boxstyle": "round,pad=0,rounding_size=0.18"}
    axes.add_patch(box((column + 0.05, line + 0.12), len(text) + 0.8, 0.76, facecolor=colour, **edge, **extra))
    axes.text(
        column + 0.45 + len(text) / 2, line + 0.52, text, ha="center", va="center", family="monospace",
        fontsize=9, color=ink_on(colour), parse_math=False,
    )  # fmt: skip
