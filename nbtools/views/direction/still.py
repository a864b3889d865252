"""Curves and projections along some directions with matplotlib, at one share of the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.views.direction.parts import BINS, round_numbers
from nbtools.views.pictures import ACCENT, FAINT, MUTED, Drawing, blank_axes
from nbtools.views.written import minus, number, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from nbtools.views.colour import Scale
    from nbtools.views.direction.parts import Parts

__all__ = ["direction_drawing"]

_SIDES = (  # as in direction.js; the second can be told from the first without its colour
    {"facecolor": "#3f7fd0bf", "edgecolor": "#3f7fd0", "linewidth": 0.9},
    {"facecolor": "#b9830000", "edgecolor": "#b98300", "linewidth": 0.9, "hatch": "////////"},
)
_PLOT, _LEFT, _RIGHT = 2.2, 0.48, 0.12  # inches: what is plotted, and beside it
_HEAD, _CURVE, _SHARES, _BARS, _FEET, _LEGEND = 0.38, 1.35, 0.52, 1.4, 0.4, 0.26
_UP, _DOWN = 72, 60  # height of natural and of patched bars, as in direction.js
_SMALL = {"fontsize": 8, "color": MUTED, "parse_math": False}
_LETTER = 0.066  # inches that a letter of the legend takes


def direction_drawing(parts: Parts, axis: Scale, share: float) -> Drawing:
    """Draw the panels side by side, and what their signs mean below."""
    signs = _signs(parts)
    panel = _LEFT + _PLOT + _RIGHT
    width = max(panel * len(parts.names), sum(wide for *_, wide in signs) + 0.2)
    height = _HEAD + _CURVE + _SHARES + _BARS + _FEET + _LEGEND

    def add(figure: FigureBase, at: int, bottom: float, tall: float) -> Axes:
        return figure.add_axes(((at * panel + _LEFT) / width, bottom / height, _PLOT / width, tall / height))

    def draw(figure: FigureBase) -> None:
        for at in range(len(parts.names)):
            _draw_curve(add(figure, at, _LEGEND + _FEET + _BARS + _SHARES, _CURVE), parts, at, axis, share)
            _draw_bars(add(figure, at, _LEGEND + _FEET, _BARS), parts, at, share)
        _draw_legend(blank_axes(figure, (0, 0, 1, _LEGEND / height)), signs, width)

    return Drawing(width, height, draw)


def _draw_curve(axes: Axes, parts: Parts, at: int, axis: Scale, share: float) -> None:
    """Draw the answer at every share, with a mark at this one; what lies beyond the axis is at its end."""
    margin = 0.04 * (axis.vmax - axis.vmin)
    axes.set(xlim=parts.ends, ylim=(axis.vmin - margin, axis.vmax + margin))
    _plain(axes, round_numbers(*parts.ends, 4), round_numbers(axis.vmin, axis.vmax, 4))
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.axhline(0, color=MUTED, linewidth=1)
    for mark in (0, 1):
        axes.axvline(mark, color=FAINT, linewidth=0.9)
    mean, *ends = (np.clip(curve[at], axis.vmin, axis.vmax) for curve in parts.curves.values())
    if ends:
        axes.fill_between(parts.shares, *ends, color="black", alpha=0.2, linewidth=0)
    axes.plot(parts.shares, mean, color="black", linewidth=1.4, marker="o", markersize=2.4, clip_on=False)
    _hatch_gaps(axes, parts.shares, mean)
    axes.axvline(share, color=ACCENT, linewidth=1.3)
    value = parts.value(at, share)
    axes.plot([share], [np.clip(value, axis.vmin, axis.vmax)], "o", color=ACCENT, markersize=6, clip_on=False, zorder=4)
    _name_curve(axes, shortened(parts.names[at], 17), axis.label, value)


def _name_curve(axes: Axes, name: str, label: str, value: float) -> None:
    axes.set_xlabel("share of the way", fontsize=8, color=MUTED, labelpad=1)
    axes.text(0, 1.04, label, transform=axes.transAxes, **_SMALL)
    strong = {"fontsize": 9.5, "fontweight": "bold", "parse_math": False, "transform": axes.transAxes}
    axes.text(0, 1.16, name, **strong)
    axes.text(1, 1.16, number(value), ha="right", color=ACCENT, **strong)


def _hatch_gaps(axes: Axes, shares: np.ndarray, values: np.ndarray) -> None:
    """Hatch what lies between two shares of which one has no value."""
    for one, other in zip(range(len(shares)), range(1, len(shares)), strict=False):
        if not np.isfinite(values[one] + values[other]):
            axes.axvspan(shares[one], shares[other], fill=False, hatch="/////", edgecolor=FAINT, linewidth=0)


def _draw_bars(axes: Axes, parts: Parts, at: int, share: float) -> None:
    """Draw natural projections upward, patched ones downward, and the range of the natural ones behind them."""
    (low, high), limits, peak = parts.reach[at], parts.limits[at], parts.peaks[at] * 1.05
    axes.set(xlim=(low, high), ylim=(-peak, peak * _UP / _DOWN))
    _plain(axes, parts.ticks(at), [])
    axes.set_xlabel(
        f"projection on {shortened(parts.names[at], 24)}", fontsize=8, color=MUTED, labelpad=1, parse_math=False
    )
    if limits is None:
        axes.axvspan(low, high, fill=False, hatch="/////", edgecolor=FAINT, linewidth=0)
        return
    axes.axvspan(*limits, color="black", alpha=0.07, linewidth=0)
    axes.vlines(limits, *axes.get_ylim(), color=MUTED, linewidth=0.6)
    edges = np.linspace(low, high, BINS + 1)
    for bars, scale in ((parts.natural_bars(at), _UP / _DOWN), (parts.patched_bars(at, share), -1)):
        for heights, style in zip(bars, _SIDES, strict=True):
            axes.stairs(np.where(heights > 0, scale * heights, np.nan), edges, fill=True, **style)
    axes.axhline(0, color=MUTED, linewidth=1)
    _note(axes, parts.outside(at, share))


def _note(axes: Axes, outside: float) -> None:
    axes.text(0.01, 0.98, "natural", transform=axes.transAxes, va="top", **_SMALL)
    axes.text(0.01, 0.02, "patched", transform=axes.transAxes, va="bottom", **_SMALL)
    if outside > 0:
        text = f"{'under 1' if outside < 0.01 else round(100 * outside)} % outside"
        axes.text(0.99, 0.02, text, transform=axes.transAxes, ha="right", va="bottom", **{**_SMALL, "color": ACCENT})


def _plain(axes: Axes, across: list[float], upward: list[float]) -> None:
    axes.set_xticks(across, [minus(f"{tick:g}") for tick in across])
    axes.set_yticks(upward, [minus(f"{tick:g}") for tick in upward])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED, pad=2)
    axes.set_axisbelow(True)


def _signs(parts: Parts) -> list[tuple[str, dict[str, object], float]]:
    """Give for each text of the legend how its sign is drawn, and how wide both are, in inches."""
    band = [(parts.band, {"facecolor": "#cccccc", "edgecolor": "none"})] if parts.band else []
    sides = [(shortened(side, 24), style) for side, style in zip(parts.sides, _SIDES, strict=True)]
    natural = ("range of natural activations", {"facecolor": "#ededed", "edgecolor": MUTED, "linewidth": 0.6})
    named = [("mean", {"facecolor": "black"}), *band, *sides, natural]
    return [(text, style, 0.42 + _LETTER * len(text)) for text, style in named]


def _draw_legend(axes: Axes, signs: list[tuple[str, dict[str, object], float]], width: float) -> None:
    from matplotlib.patches import Rectangle

    axes.set(xlim=(0, width), ylim=(0, 1))
    x = 0.1
    for text, style, wide in signs:
        low, tall = (0.46, 0.08) if text == "mean" else (0.3, 0.4)
        axes.add_patch(Rectangle((x, low), 0.2, tall, **style))
        axes.text(x + 0.26, 0.5, text, va="center", **_SMALL)
        x += wide
