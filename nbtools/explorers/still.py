"""Still pictures of several views together."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from nbtools.views.base import still
from nbtools.views.pictures import blank_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["side_by_side"]

_DPI = 80


def side_by_side(above: Figure, left: Figure, right: Figure) -> Figure:
    """Put one picture above two others, each at its own size."""
    pictures = [_pixels(figure) for figure in (above, left, right)]
    width = max(pictures[0].shape[1], pictures[1].shape[1] + pictures[2].shape[1] + 16)
    height = pictures[0].shape[0] + 8 + max(pictures[1].shape[0], pictures[2].shape[0])
    figure = new_figure(width / _DPI, height / _DPI)
    corners = ((0, 0), (0, pictures[0].shape[0] + 8), (pictures[1].shape[1] + 16, pictures[0].shape[0] + 8))
    for picture, (x, y) in zip(pictures, corners, strict=True):
        rows, columns = picture.shape[:2]
        box = (x / width, 1 - (y + rows) / height, columns / width, rows / height)
        blank_axes(figure, box).imshow(picture, interpolation="nearest")
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(still(figure)))
