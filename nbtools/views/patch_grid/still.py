"""The patch grid with matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nbtools.naming import visible
from nbtools.views.pictures import ACCENT, MUTED, Drawing, colours_of, mark_undefined, scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale
    from nbtools.views.patch_grid.cells import Cells

__all__ = ["patch_drawing"]

_MOST = 160  # columns; of more a window is drawn
_WIDE = 9.6  # inches for all columns
_CELL, _NUMBERED, _FLAT = 0.62, 0.28, 0.5  # width of a column at most, without tokens, and where tokens lie flat
_ROW, _LINE, _LETTER = 0.18, 0.14, 0.068
_LEFT, _FOOT, _TOP = 0.45, 0.38, 0.06
_LETTERS = 16  # of a token that is written upward
_FAINT = 0.8  # how much is left of what a patch cannot change


def patch_drawing(cells: Cells, scale: Scale, row: int | None, place: int | None) -> Drawing:
    """Draw layers × columns, the last layer on top; what is pinned is framed, with what a patch there can change."""
    window = _window(len(cells.columns), place)
    cell = min(_CELL if cells.texts else _NUMBERED, _WIDE / len(window))
    wide, tall = cell * len(window), len(cells.layers) * min(_ROW, 6 / len(cells.layers))
    below = _below(cells, cell)
    width, height = max(_LEFT + wide + 0.1, 2.4), _FOOT + below + tall + _TOP

    def draw(figure: FigureBase) -> None:
        axes = figure.add_axes((_LEFT / width, (_FOOT + below) / height, wide / width, tall / height))
        _draw_cells(axes, cells, scale, window, _bright(cells, row, place))
        _name_rows(axes, cells, row)
        _name_columns(axes, cells, window, place, cell, tall)
        _frame(axes, cells, window, row, place)
        scale_bar(figure, scale, ((_LEFT + 0.2) / width, 0.1 / height, 0.9 / width, 0.1 / height))

    return Drawing(width, height, draw)


def _window(count: int, place: int | None) -> range:
    """Choose the columns that are drawn: the last ones, or those around what is pinned."""
    middle = count if place is None else place + _MOST // 2
    stop = max(min(_MOST, count), min(count, middle))
    return range(max(0, stop - _MOST), stop)


def _below(cells: Cells, cell: float) -> float:
    """Give the height of what is written below the cells, in inches."""
    numbers = 0 if cells.named else _LINE
    if cell >= _FLAT or not cells.texts:
        return numbers + _LINE * (2 if any(cells.others) else 1)
    return numbers + 0.1 + _LETTER * max(len(_upward(cells, at)) for at in range(len(cells.texts)))


def _upward(cells: Cells, at: int) -> str:
    """Write a token for reading upward; where the other run has another one, that points to it."""
    tokens = [*(other for other in cells.others[at : at + 1] if other), cells.texts[at]]
    return " → ".join(_short(token, _LETTERS) for token in tokens)


def _short(text: str, most: int) -> str:
    shown = visible(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _bright(cells: Cells, row: int | None, place: int | None) -> np.ndarray:
    """Mark the cells that a patch in the pinned one can change, and that one itself."""
    layer, column = np.indices(cells.effect.shape)
    if row is None:
        return np.ones(cells.effect.shape, dtype=bool)
    later = column >= place if cells.causal and place is not None else True
    return ((layer > row) & later) | ((layer == row) & (True if place is None else column == place))


def _draw_cells(axes: Axes, cells: Cells, scale: Scale, window: range, bright: np.ndarray) -> None:
    within = slice(window.start, window.stop)
    effect, share = cells.effect[:, within], np.where(bright, 1, _FAINT)[:, within]
    guess = np.full_like(effect, np.nan) if cells.estimate is None else cells.estimate[:, within]
    guess = np.where(np.isfinite(effect), np.nan, guess)
    colours, guesses = colours_of(effect, scale), colours_of(guess, scale)
    colours[..., 3] *= share
    guesses[..., 3] *= share
    axes.imshow(colours, aspect="auto", interpolation="nearest", origin="lower")
    _draw_small(axes, guesses)
    mark_undefined(axes, np.where(np.isfinite(effect), effect, guess))
    rows, columns = effect.shape
    axes.hlines(np.arange(rows - 1) + 0.5, -0.5, columns - 0.5, color="white", linewidth=0.6)
    axes.vlines(np.arange(columns - 1) + 0.5, -0.5, rows - 0.5, color="white", linewidth=0.6)


def _draw_small(axes: Axes, colours: np.ndarray) -> None:
    """Draw an estimate half as wide and high as its cell, in the middle."""
    from matplotlib.collections import PolyCollection

    row, column = np.nonzero(colours[..., 3])
    corners = np.array([(-0.25, -0.25), (0.25, -0.25), (0.25, 0.25), (-0.25, 0.25)])
    shapes = np.stack([column, row], -1)[:, None] + corners
    axes.add_collection(PolyCollection(shapes, facecolors=colours[row, column], edgecolors="none"), autolim=False)


def _name_rows(axes: Axes, cells: Cells, row: int | None) -> None:
    rows = _ticks(range(len(cells.layers)), len(cells.layers) / 40, row)
    axes.set_yticks(rows, [cells.layers[at] for at in rows], fontsize=7)
    axes.set_ylabel("layer", fontsize=8, color=MUTED)
    axes.set_xticks([])
    axes.tick_params(length=0, axis="y", labelcolor=MUTED)
    axes.spines[:].set_visible(False)
    if row is not None:
        axes.yaxis.get_major_ticks()[rows.index(row)].label1.set(color=ACCENT, fontweight="bold")


def _name_columns(axes: Axes, cells: Cells, window: range, place: int | None, cell: float, tall: float) -> None:
    """Write numbers, tokens and what the other run has in their place, each line so many inches below the cells."""

    def write(at: float, text: str, inches: float, colour: str, **how: object) -> None:
        strong = {"color": ACCENT, "fontweight": "bold"} if at == place else {"color": colour}
        options = {"ha": "center", "va": "top", "fontsize": 7, "parse_math": False, **strong, **how}
        axes.text(at - window.start, -inches / tall, text, transform=axes.get_xaxis_transform(), **options)

    low = 0.05 if cells.named else 0.05 + _LINE
    if not cells.named:
        digits = 0.06 * max(len(str(number)) for number in cells.columns) + 0.06
        for at in _ticks(window, digits / cell, place):
            write(at, str(cells.columns[at]), 0.05, MUTED)
    if cells.texts:
        _write_tokens(write, cells, window, place, cell, low)
    else:
        middle = window.start + (len(window) - 1) / 2
        write(middle, cells.kind, low, MUTED, fontsize=8, fontweight="normal", color=MUTED)


def _write_tokens(
    write: Callable[..., None], cells: Cells, window: range, place: int | None, cell: float, low: float
) -> None:
    flat = cell >= _FLAT
    differing = [at for at, other in enumerate(cells.others) if other]
    for at in window if flat else _ticks(window, 0.12 / cell, place, *differing):
        other = any(cells.others[at : at + 1])
        if not flat:
            write(at, _upward(cells, at), low, ACCENT if other else "black", rotation=90)
            continue
        write(at, _short(cells.texts[at], 10), low, "black")
        if other:
            write(at, f"↑{_short(cells.others[at], 9)}", low + _LINE, ACCENT)


def _ticks(window: range, size: float, *wanted: int | None) -> list[int]:
    """Choose rows or columns whose labels do not touch, when one takes so many; those that are wanted first."""
    step, kept = max(1, int(np.ceil(size))), []
    for at in [*wanted, *(at for at in window if at % step == 0)]:
        if at in window and all(abs(at - other) >= step for other in kept):
            kept.append(at)
    return sorted(kept)


def _frame(axes: Axes, cells: Cells, window: range, row: int | None, place: int | None) -> None:
    """Frame the cell that is pinned, or a whole column or row; a line runs along what a patch there can change."""
    from matplotlib.patches import Rectangle

    if row is None and place is None:
        return
    rows, columns = len(cells.layers), len(window)
    left, wide = (-0.5, columns) if place is None else (place - window.start - 0.5, 1)
    low, tall = (-0.5, rows) if row is None else (row - 0.5, 1)
    style = {"fill": False, "edgecolor": ACCENT, "linewidth": 1.8, "clip_on": False, "zorder": 3}
    axes.add_patch(Rectangle((left, low), wide, tall, **style))
    if row is not None and row < rows - 1:
        edge = left if cells.causal else -0.5
        line = [(edge, rows - 0.5)] * (edge > -0.5) + [(edge, row + 0.5), (columns - 0.5, row + 0.5)]
        axes.plot(*zip(*line, strict=True), color=ACCENT, linewidth=1)
