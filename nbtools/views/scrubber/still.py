"""Curves over training with matplotlib, at one step, with the attention and the norms that belong to it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.pictures import ACCENT, FAINT, MUTED, Drawing, colours_of, scale_bar, stacked, ticks_every
from nbtools.views.written import number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale
    from nbtools.views.scrubber.history import History, Kept, Panel

__all__ = ["scrubber_drawing"]

_COLUMNS, _PLOT, _LEFT, _RIGHT = 3, 2.15, 0.5, 0.2  # panels in a row; inches: what is plotted, and beside it
_TALL, _LINE, _FOOT = 0.95, 0.14, 0.3
_LETTERS = 44  # in a line of what a curve is
_CELL, _LETTER, _SHORT = 0.16, 0.078, 10  # inches of a cell and of a letter; letters of a token
_BAR = 2.3
_SMALL = {"fontsize": 8, "color": MUTED, "parse_math": False}


def scrubber_drawing(history: History, scale: Scale, step: int) -> Drawing:
    """Draw the panels in rows, and what was kept nearest to the step below them."""
    lines = max(len(_wrapped(panel.note)) for panel in history.panels)
    panels = [_panel(history, panel, step, lines) for panel in history.panels]
    below = [
        *([_map(history.maps, scale, step)] if history.maps else []),
        *([_bars(history.bars, step)] if history.bars else []),
    ]
    return stacked([*_in_rows(panels), *([below] if below else [])], gap=0.12)


def _in_rows(panels: list[Drawing]) -> list[list[Drawing]]:
    """Share panels out among rows of equal length."""
    columns = -(-len(panels) // -(-len(panels) // _COLUMNS))
    return [panels[at : at + columns] for at in range(0, len(panels), columns)]


def _wrapped(note: str) -> list[str]:
    return textwrap.wrap(note, _LETTERS, max_lines=2, placeholder="…") if note else []


def _panel(history: History, panel: Panel, step: int, lines: int) -> Drawing:
    head = 0.24 + _LINE * lines
    width, height = _LEFT + _PLOT + _RIGHT, head + _TALL + _FOOT

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((_LEFT / width, _FOOT / height, _PLOT / width, _TALL / height))
        _draw_axes(axes, history, panel)
        place = history.place(step)
        at, value = history.places[place], panel.mean[place]
        axes.axvline(at, color=ACCENT, linewidth=1.3)
        axes.plot([at], [np.clip(value, *panel.ends)], "o", color=ACCENT, markersize=5, clip_on=False, zorder=4)
        _name(axes, panel, float(value), lines)

    return Drawing(width, height, draw)


def _draw_axes(axes: Axes, history: History, panel: Panel) -> None:
    low, high = panel.ends
    margin = 0.05 * (high - low)
    axes.set(xlim=(-0.01, 1.01), ylim=(low - margin, high + margin))
    axes.set_xticks([place for place, _ in history.ticks], [text for _, text in history.ticks])
    axes.set_yticks([mark for mark, _ in panel.marks], [text for _, text in panel.marks])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED, pad=2)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    mean, least, most = (np.clip(values, low, high) for values in (panel.mean, panel.low, panel.high))
    if history.seeds > 1:
        axes.fill_between(history.places, least, most, color="black", alpha=0.2, linewidth=0)
    if np.isfinite(mean).any():
        axes.plot(history.places, mean, color="black", linewidth=1.2, clip_on=False)
    else:
        axes.axvspan(0, 1, fill=False, hatch="/////", edgecolor=FAINT, linewidth=0)


def _name(axes: Axes, panel: Panel, value: float, lines: int) -> None:
    strong = {"fontsize": 9.5, "fontweight": "bold", "parse_math": False, "transform": axes.transAxes}
    top = 1.06 + lines * _LINE / _TALL
    axes.text(0, top, shortened(panel.name, 24), **strong)
    axes.text(1, top, number(value), ha="right", color=ACCENT, **strong)
    for row, text in enumerate(_wrapped(panel.note)):
        axes.text(0, top - (row + 1) * _LINE / _TALL, text, transform=axes.transAxes, **{**_SMALL, "fontsize": 7.5})


def _token(text: str) -> str:
    return shortened(visible(text), _SHORT)


def _label_space(tokens: list[str]) -> float:
    return 0.12 + _LETTER * max(len(_token(token)) for token in tokens)


def _title(figure: FigureBase, kept: Kept, step: int, left: float, height: float) -> None:
    at, _ = kept.at(step)
    text = f"{kept.label} at step {at:,}" + ("" if at == step else ", the nearest that was kept")
    figure.text(left, 1 - 0.02 / height, text, fontsize=9, fontweight="bold", va="top", parse_math=False)


def _map(kept: Kept, scale: Scale, step: int) -> Drawing:
    left, top = _label_space(kept.rows), _label_space(kept.columns) + 0.25
    cell = min(_CELL, 4 / max(len(kept.rows), len(kept.columns)))
    wide, tall = cell * len(kept.columns), cell * len(kept.rows)
    width, height = left + max(wide, 1.8) + 0.3, top + tall + 0.35

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((left / width, 0.35 / height, wide / width, tall / height))
        axes.imshow(colours_of(kept.at(step)[1], scale), aspect="auto", interpolation="nearest")
        _name_cells(axes, kept)
        _title(figure, kept, step, 0.02, height)
        scale_bar(figure, scale, ((left + 0.2) / width, 0.1 / height, 0.7 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _name_cells(axes: Axes, kept: Kept) -> None:
    queries, keys = (list(ticks_every(len(tokens), 32)) for tokens in (kept.rows, kept.columns))
    axes.set_yticks(queries, [_token(kept.rows[at]) for at in queries], fontsize=8)
    axes.set_xticks(keys, [_token(kept.columns[at]) for at in keys], fontsize=8, rotation=90)
    axes.xaxis.tick_top()
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        for tick in axis.get_major_ticks():
            tick.label1.set_parse_math(False)
            tick.label2.set_parse_math(False)


def _bars(kept: Kept, step: int) -> Drawing:
    left, tall = _label_space(kept.rows), min(_CELL, 4 / len(kept.rows)) * len(kept.rows)
    width, height = left + _BAR + 0.55, 0.28 + tall + 0.35
    low, high = kept.ends

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((left / width, 0.35 / height, _BAR / width, tall / height))
        axes.set(xscale="log", xlim=(low, high), ylim=(len(kept.rows) - 0.5, -0.5))
        _, values = kept.at(step)
        drawn = np.where(values > 0, values, low)
        axes.barh(np.arange(len(drawn)), drawn - low, 0.7, left=low, color="#3f7fd0")
        shown = list(ticks_every(len(kept.rows), 32))
        axes.set_xticks(*map(list, zip(*kept.marks, strict=True)), fontsize=8, color=MUTED)
        axes.set_xticks([], minor=True)
        axes.set_yticks(shown, [_token(kept.rows[at]) for at in shown], fontsize=8)
        axes.grid(axis="x", color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        _bare(axes)
        for at in shown:
            axes.annotate(
                number(float(values[at])), (drawn[at], at), (3, 0), textcoords="offset points", va="center_baseline",
                fontsize=7, parse_math=False,
            )  # fmt: skip
        _title(figure, kept, step, 0.02, height)

    return Drawing(width, height, draw)
