"""What the still pictures share: figures without pyplot, the colours of the live views, a scale bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

    from nbtools.views.colour import Scale

__all__ = [
    "ACCENT",
    "FAINT",
    "MUTED",
    "Drawing",
    "blank_axes",
    "colours_of",
    "ink_on",
    "mark_undefined",
    "scale_bar",
    "stacked",
    "ticks_every",
    "titled",
]

ACCENT = "#d9480f"
FAINT = "#d1d9e0"
MUTED = "#59636e"
_GAP = 0.2  # inches between pictures


@dataclass(frozen=True)
class Drawing:
    """A picture that is not drawn yet: its size in inches, and what draws it on a figure of that size."""

    width: float
    height: float
    draw: Callable[[FigureBase], None]

    def figure(self) -> Figure:
        """Draw it on a figure of its own, which belongs to no pyplot state."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width, self.height), facecolor="white")
        FigureCanvasAgg(figure)
        self.draw(figure)
        return figure


def titled(drawing: Drawing, title: str) -> Drawing:
    """Write a title above a picture, if there is one."""
    if not title:
        return drawing

    def draw(figure: FigureBase) -> None:
        figure.text(0.01, 1.0, title, fontsize=10, fontweight="bold", va="top", parse_math=False)

    return stacked([[Drawing(drawing.width, 0.22, draw)], [drawing]], gap=0)


def stacked(rows: Sequence[Sequence[Drawing]], gap: float = _GAP) -> Drawing:
    """Put pictures in rows, each at its own size."""
    widths = [sum(drawing.width + gap for drawing in row) for row in rows]
    heights = [max(drawing.height for drawing in row) + gap for row in rows]
    width, height = max(widths), sum(heights)

    def draw(figure: FigureBase) -> None:
        top = height
        for row, tall in zip(rows, heights, strict=True):
            left = 0.0
            for drawing in row:
                drawing.draw(_part(figure, (left, top - drawing.height, drawing.width, drawing.height), width, height))
                left += drawing.width + gap
            top -= tall

    return Drawing(width, height, draw)


def _part(figure: FigureBase, box: tuple[float, float, float, float], width: float, height: float) -> FigureBase:
    """Give the part of a figure that lies in a box, in inches from the lower left corner."""
    left, bottom, wide, tall = box
    columns = figure.add_gridspec(
        3,
        3,
        width_ratios=[left or 1e-9, wide, max(width - left - wide, 1e-9)],
        height_ratios=[max(height - bottom - tall, 1e-9), tall, bottom or 1e-9],
    )
    part = figure.add_subfigure(columns[1, 1])
    part.set_facecolor("none")
    return part


def blank_axes(figure: FigureBase, box: tuple[float, float, float, float]) -> Axes:
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
        return MUTED
    linear = np.where(colour[:3] <= 0.03928, colour[:3] / 12.92, ((colour[:3] + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def scale_bar(figure: FigureBase, scale: Scale, box: tuple[float, float, float, float]) -> None:
    """Add the legend: name, least value, colours, greatest value."""
    axes = figure.add_axes(box)
    table = np.frombuffer(scale.table(), np.uint8).reshape(1, 256, 3)
    axes.imshow(table, aspect="auto")
    axes.set_axis_off()
    texts = ((0, f"{scale.vmin:.3g} ", "right"), (1, f" {scale.vmax:.3g}  {scale.label}", "left"))
    for x, text, side in texts:
        axes.text(
            x, 0.5, text, transform=axes.transAxes, ha=side, va="center", fontsize=8, color=MUTED, parse_math=False
        )


def mark_undefined(axes: Axes, values: np.ndarray) -> None:
    """Hatch the cells of a matrix that hold no number."""
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(~np.isfinite(values)):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="/////", linewidth=0, ec=FAINT))


def ticks_every(count: int, most: int) -> range:
    """Choose evenly spaced positions, at most so many, beginning with 0."""
    return range(0, count, max(1, -(-count // most)))
