"""The attention view with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.pictures import ACCENT, Drawing, colours_of, scale_bar, ticks_every

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale

__all__ = ["attention_drawing"]

_FAINT, _FAINT_ALL = 0.04, 0.1  # shares of vmax below which a line is not drawn: of one query, of all
_BLOT = 64  # more tokens than this have no lines unless one is pinned
_LABELS = 40  # more tokens than this are not all named


def attention_drawing(pattern: np.ndarray, tokens: list[str], scale: Scale, head: str, query: int | None) -> Drawing:
    """Draw one head: keys and queries joined by lines, and the matrix."""
    side = min(4.2, max(1.6, 0.22 * len(tokens)))
    texts = [visible(token)[:14] for token in tokens]
    label = 0.15 + 0.08 * max(map(len, texts))  # inches that the longest token takes
    width, height = 2 * label + 0.95 + side, side + 0.87 * label + 0.7
    bottom = 0.4 / height

    def draw(figure: FigureBase) -> None:
        lines = figure.add_axes((label / width, bottom, 0.8 / width, side / height))
        matrix = figure.add_axes(((2 * label + 0.85) / width, bottom, side / width, side / height))
        _draw_lines(lines, pattern / scale.vmax, texts, query)
        _draw_matrix(matrix, pattern, texts, scale, query)
        figure.text(0.1 / width, (0.62 + side) / height, f"head {head}", fontsize=10, fontweight="bold", va="bottom")
        scale_bar(figure, scale, (0.35 / width, 0.12 / height, 0.9 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _draw_lines(axes: Axes, pattern: np.ndarray, texts: list[str], query: int | None) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    faintest = _FAINT_ALL if query is None else _FAINT
    drawn = pattern if query is None else np.where(np.arange(len(texts))[:, None] == query, pattern, 0)
    rows, keys = np.nonzero(drawn >= faintest)
    if query is None and len(texts) > _BLOT:
        rows, keys = rows[:0], keys[:0]  # all lines of a long prompt would be a blot
    weights = np.minimum(1.0, drawn[rows, keys])
    colours = np.tile(to_rgba(ACCENT), (len(rows), 1))
    colours[:, 3] = weights * (0.55 if query is None else 1)
    lines = np.stack([np.stack([np.zeros(len(keys)), keys], 1), np.stack([np.ones(len(rows)), rows], 1)], 1)
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.5 + 2 * weights))
    axes.set(xlim=(0, 1), ylim=(len(texts) - 0.5, -0.5), xticks=[])
    axes.spines[:].set_visible(False)
    _name(axes, texts, query)
    axes.tick_params(length=0, labelright=True)


def _name(axes: Axes, texts: list[str], query: int | None) -> None:
    shown = list(ticks_every(len(texts), _LABELS))
    axes.set_yticks(shown, [texts[row] for row in shown], fontsize=8)
    for tick, row in zip(axes.yaxis.get_major_ticks(), shown, strict=True):
        for label in (tick.label1, tick.label2):
            label.set_parse_math(False)
        if row == query:
            tick.label2.set(color=ACCENT, fontweight="bold")


def _draw_matrix(axes: Axes, pattern: np.ndarray, texts: list[str], scale: Scale, query: int | None) -> None:
    axes.imshow(colours_of(pattern, scale), aspect="auto", interpolation="nearest")
    shown = list(ticks_every(len(texts), _LABELS))
    axes.set_xticks(shown, [texts[key] for key in shown], fontsize=8, rotation=60, ha="left", rotation_mode="anchor")
    for tick in axes.xaxis.get_major_ticks():
        tick.label2.set_parse_math(False)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if query is not None:
        axes.axhspan(query - 0.5, query + 0.5, fill=False, edgecolor=ACCENT, linewidth=1.8)
