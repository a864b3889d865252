"""What the still pictures share: a figure without pyplot, the colours of the live views, a scale bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nbtools.views.colour import Scale

__all__ = [
    "ACCENT",
    "FAINT",
    "blank_axes",
    "colours_of",
    "ink_on",
    "mark_undefined",
    "new_figure",
    "scale_bar",
    "ticks_every",
]

ACCENT = "#e8590c"
FAINT = "#d1d9e0"
_MUTED = "#59636e"


def new_figure(width: float, height: float) -> Figure:
    """Make a figure, in inches, that belongs to no pyplot state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def blank_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes without ticks or frame."""
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def colours_of(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Give each value the colour the live view gives it; undefined values are transparent."""
    table = np.frombuffer(scale.table(), np.uint8).reshape(256, 3) / 255
    place = np.floor((values.astype(float) - scale.vmin) / (scale.vmax - scale.vmin) * 256)
    defined = np.isfinite(values)
    rgba = np.zeros((*values.shape, 4))
    rgba[defined, :3] = table[np.clip(place[defined], 0, 255).astype(int)]
    rgba[defined, 3] = 1
    return rgba


def ink_on(colour: np.ndarray) -> str:
    """Black or white, whichever stands out more."""
    if colour[3] == 0:
        return _MUTED
    linear = np.where(colour[:3] <= 0.03928, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def scale_bar(figure: Figure, scale: Scale, box: tuple[float, float, float, float]) -> None:
    """Add the legend: name, least value, colours, greatest value."""
    axes = figure.add_axes(box)
    table = np.frombuffer(scale.table(), np.uint8).reshape(1, 256, 3)
    axes.imshow(table, aspect="auto")
    axes.set_axis_off()
    texts = ((0, f"{scale.vmin:.3g} ", "right"), (1, f" {scale.vmax:.3g}  {scale.label}", "left"))
    for x, text, side in texts:
        axes.text(
            x, 0.5, text, transform=axes.transAxes, ha=side, va="center", fontsize=8, color=_MUTED, parse_math=False
        )


def mark_undefined(axes: Axes, values: np.ndarray) -> None:
    """Hatch the cells of a matrix that hold no number."""
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(~np.isfinite(values)):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="/////", linewidth=0, ec=FAINT))


def ticks_every(count: int, most: int) -> range:
    """Choose evenly spaced positions, at most so many, beginning with 0."""
    return range(0, count, max(1, -(-count // most)))
