"""Bars with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.bars.axis import ticks_of
from nbtools.views.pictures import ACCENT, FAINT, MUTED, Drawing, blank_axes
from nbtools.views.written import minus, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.bars.rows import Rows
    from nbtools.views.colour import Scale

__all__ = ["bars_drawing"]

_STYLES = (  # as in bars.css; the second can be told from the first without its colour
    {"facecolor": "#3f7fd0", "edgecolor": "#3f7fd0", "linewidth": 0.8},
    {"facecolor": "#b9830066", "edgecolor": "#b98300", "linewidth": 0.8, "hatch": "//////"},
)
_LANE, _PAD = 0.165, 0.035  # inches: one bar, and above and below the bars of a row
_PLOT, _NUMBER, _LETTER, _FOOT = 3.4, 0.62, 0.078, 0.5
_SMALL = 0.066  # inches that a letter of the legend takes
_LONGEST = 28  # letters of a name


def bars_drawing(rows: Rows, names: tuple[str, ...], axis: Scale, pinned: int | None) -> Drawing:
    """Draw the rows from top to bottom; the pinned one is framed."""
    texts = [_short(visible(text)) + mark for text, mark in zip(rows.tokens, rows.marks, strict=True)]
    left = 0.25 + _LETTER * max(map(len, texts)) + (_NUMBER if axis.vmin < 0 else 0)
    row = len(rows.values) * _LANE + 2 * _PAD
    width, tall = left + _PLOT + _NUMBER, len(texts) * row
    height = tall + _FOOT + 0.05

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((left / width, _FOOT / height, _PLOT / width, tall / height))
        axes.set(xlim=(axis.vmin, axis.vmax), ylim=(tall, 0))
        _draw_axis(axes, axis, texts, row)
        for at in range(len(texts)):
            for run, value in enumerate(rows.values[:, at]):
                _draw_bar(axes, axis, at * row + _PAD + (run + 0.5) * _LANE, float(value), run)
        if pinned is not None:
            _frame(axes, pinned, row, (left - 0.05) / _PLOT, (_NUMBER - 0.05) / _PLOT)
        _draw_legend(blank_axes(figure, (0, 0, 1, 0.25 / height)), width, left, axis.label, names)

    return Drawing(width, height, draw)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _draw_axis(axes: Axes, axis: Scale, texts: list[str], row: float) -> None:
    pad = 5 + (_NUMBER * 72 if axis.vmin < 0 else 0)
    axes.set_yticks((np.arange(len(texts)) + 0.5) * row, texts, fontsize=9)
    axes.set_xticks(ticks_of(axis), [minus(f"{tick:g}") for tick in ticks_of(axis)], fontsize=8, color=MUTED)
    axes.tick_params(axis="y", length=0, pad=pad)
    axes.tick_params(axis="x", length=0)
    for tick in axes.yaxis.get_major_ticks():
        tick.label1.set_parse_math(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=3)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _draw_bar(axes: Axes, axis: Scale, y: float, value: float, run: int) -> None:
    """Draw a bar with its number at its end, which stays on the axis; or say that there is none."""
    if np.isnan(value):
        return _note(axes, y, 0, "absent", 1, color=MUTED, fontstyle="italic")
    low, high = np.float32([axis.vmin, axis.vmax])  # as exact as the value is
    end, side = min(max(value, low), high), -1 if value < 0 else 1
    axes.barh(y, end, 0.82 * _LANE, **_STYLES[run])
    return _note(axes, y, end, f"{_arrow(value, end)}{number(value)}", side)


def _note(axes: Axes, y: float, x: float, text: str, side: int, **style: str) -> None:
    axes.annotate(
        text, (x, y), (4 * side, 0), textcoords="offset points", ha="left" if side > 0 else "right",
        va="center_baseline", fontsize=8, parse_math=False, **style,
    )  # fmt: skip


def _arrow(value: float, end: float) -> str:
    return "" if value == end else "» " if value > 0 else "« "


def _frame(axes: Axes, at: int, row: float, left: float, right: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (-left, at * row), 1 + left + right, row, fill=False, edgecolor=ACCENT, linewidth=1.6, clip_on=False,
            transform=axes.get_yaxis_transform(), zorder=4,
        )
    )  # fmt: skip
    axes.yaxis.get_major_ticks()[at].label1.set(color=ACCENT, fontweight="bold")


def _draw_legend(axes: Axes, width: float, left: float, label: str, names: tuple[str, ...]) -> None:
    from matplotlib.patches import Rectangle

    axes.set(xlim=(0, width), ylim=(0, 1))
    small = {"fontsize": 8, "color": MUTED, "va": "center", "parse_math": False}
    axes.text(left, 0.5, label, **small)
    x = left + 0.15 * bool(label) + _SMALL * len(label)
    for run, name in enumerate(_short(" ".join(name.split())) for name in names):
        axes.add_patch(Rectangle((x, 0.3), 0.2, 0.4, **_STYLES[run]))
        axes.text(x + 0.26, 0.5, name, **small)
        x += 0.41 + _SMALL * len(name)
