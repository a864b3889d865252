"""Norms by layer and token with matplotlib, and one token's beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.colour import Scale
from nbtools.views.norms.table import marks_of
from nbtools.views.pictures import ACCENT, FAINT, MUTED, Drawing, colours_of, mark_undefined, ticks_every
from nbtools.views.written import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.norms.table import Table

__all__ = ["norms_drawing"]

_LEFT, _TOP, _APART, _CHART, _RIGHT, _LEGEND = 0.42, 0.28, 0.3, 2.3, 0.3, 0.62  # inches
_LETTER, _LETTERS = 0.078, 12


def norms_drawing(table: Table, scale: Scale, row: int | None, column: int | None) -> Drawing:
    """Draw the cells with the pinned ones framed, the lines of one token beside them, and the legend below."""
    texts = [shortened(visible(token), _LETTERS) for token in table.tokens]
    rows, columns = table.values.shape
    wide, tall = columns * np.clip(4.6 / columns, 0.05, 0.4), max(rows * np.clip(4.2 / rows, 0.03, 0.2), 0.5)
    names = 0.12 + _LETTER * max(map(len, texts))
    width, height = _LEFT + wide + _APART + _CHART + _RIGHT, _TOP + tall + max(names, 0.35) + _LEGEND
    bottom = (height - _TOP - tall) / height

    def draw(figure: FigureBase) -> None:
        cells = figure.add_axes((_LEFT / width, bottom, wide / width, tall / height))
        _draw_cells(cells, table, scale, row, column)
        _name_cells(cells, table, texts)
        left = (_LEFT + wide + _APART) / width
        chart = figure.add_axes((left, bottom, _CHART / width, tall / height))
        _draw_lines(chart, table, scale, row, table.strongest if column is None else column)
        _draw_legend(figure.add_axes((_LEFT / width, 0.34 / height, 2.2 / width, 0.1 / height)), scale)

    return Drawing(width, height, draw)


def _draw_cells(axes: Axes, table: Table, scale: Scale, row: int | None, column: int | None) -> None:
    upward = table.values[::-1]
    logs = np.log(upward, out=np.full(upward.shape, np.nan, np.float32), where=upward > 0)
    logs_of = Scale(scale.cmap, np.log(scale.vmin), np.log(scale.vmax), scale.label)
    axes.imshow(colours_of(logs, logs_of), aspect="auto", interpolation="nearest")
    mark_undefined(axes, logs)
    if row is not None or column is not None:
        _frame(axes, upward.shape, row, column)


def _frame(axes: Axes, shape: tuple[int, int], row: int | None, column: int | None) -> None:
    """Frame a cell, or a whole row or column."""
    from matplotlib.patches import Rectangle

    x, wide = (-0.5, shape[1]) if column is None else (column - 0.5, 1)
    y, tall = (-0.5, shape[0]) if row is None else (shape[0] - 1.5 - row, 1)
    style = {"fill": False, "edgecolor": ACCENT, "linewidth": 1.6, "clip_on": False, "zorder": 4}
    axes.add_patch(Rectangle((x, y), wide, tall, **style))


def _name_cells(axes: Axes, table: Table, texts: list[str]) -> None:
    rows, columns = (list(ticks_every(len(names), 34)) for names in (table.layers, texts))
    axes.set_yticks([len(table.layers) - 1 - at for at in rows], [str(table.layers[at]) for at in rows], fontsize=7.5)
    axes.set_xticks(columns, [texts[at] for at in columns], fontsize=8, rotation=90)
    axes.tick_params(length=0, pad=2)
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    axes.text(-0.01, 1.02, "layer", transform=axes.transAxes, ha="right", fontsize=7.5, color=MUTED)
    for tick in axes.xaxis.get_major_ticks():
        tick.label1.set_parse_math(False)


def _draw_lines(axes: Axes, table: Table, scale: Scale, row: int | None, column: int) -> None:
    """Draw the norms of one token by layer, and the median and range of the others."""
    layers, (low, median, high) = np.arange(len(table.layers)), table.others(column)
    marks = marks_of(scale)
    axes.set(xscale="log", xlim=(scale.vmin, scale.vmax), ylim=(-0.5, len(layers) - 0.5))
    axes.set_xticks([mark for mark, _ in marks], [text for _, text in marks], fontsize=8, color=MUTED)
    axes.set_xticks([], minor=True)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    ends = [np.clip(values, scale.vmin, scale.vmax) for values in (low, high)]
    axes.fill_betweenx(layers, *ends, color="black", alpha=0.15, linewidth=0)
    styles = ({"color": MUTED, "linestyle": (0, (4, 3))}, {"color": ACCENT})
    for values, style in zip((median, table.values[:, column]), styles, strict=True):
        drawn = np.where(values > 0, np.clip(values, scale.vmin, scale.vmax), np.nan)
        axes.plot(drawn, layers, linewidth=1.5, marker="o" if len(layers) == 1 else None, markersize=3, **style)
    if row is not None:
        axes.axhline(row, color=ACCENT, linewidth=0.8, alpha=0.6)
    _name_lines(axes, table, column)


def _name_lines(axes: Axes, table: Table, column: int) -> None:
    text = f"{table.positions[column]} “{shortened(visible(table.tokens[column]), _LETTERS)}”"
    say = {"fontsize": 8.5, "parse_math": False, "transform": axes.transAxes, "va": "bottom"}
    axes.text(0, 1.02, text, color=ACCENT, fontweight="bold", **say)
    axes.text(1, 1.02, "others: median, range", color=MUTED, ha="right", **say)


def _draw_legend(axes: Axes, scale: Scale) -> None:
    axes.imshow(np.frombuffer(scale.table(), np.uint8).reshape(1, 256, 3), aspect="auto")
    span = np.log(scale.vmax / scale.vmin)
    marks = [(255 * np.log(mark / scale.vmin) / span, text) for mark, text in marks_of(scale)]
    axes.set_xticks([place for place, _ in marks], [text for _, text in marks], fontsize=8, color=MUTED)
    axes.set_yticks([])
    axes.tick_params(length=2, pad=1, color=MUTED)
    axes.spines[:].set_visible(False)
    axes.text(1.04, 0.5, scale.label, transform=axes.transAxes, va="center", fontsize=8, color=MUTED, parse_math=False)
