"""The logit lens: what the model would say after each layer, at each position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from nbtools.errors import HookError, InputError
from nbtools.views.base import View
from nbtools.views.colour import check_size, scale_for
from nbtools.views.lens_grid.readings import Readings, read_lens
from nbtools.views.lens_grid.still import lens_drawing
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["LensGrid", "lens_grid"]

_LABEL = "probability"


class LensGrid(View, folder="lens_grid"):
    """Layers × positions, each cell the token that comes first there; made by `lens_grid`."""

    _pins: ClassVar[dict[str, str]] = {"layer": "layer", "position": "position"}

    layer = traitlets.Int(None, allow_none=True, help="the pinned layer; -1 is the embedding").tag(sync=True)
    position = traitlets.Int(None, allow_none=True, help="the pinned position").tag(sync=True)

    _readings: Readings | None = None

    def show(
        self, lens: xr.Dataset, *, cmap: str | None = None, vmin: float | None = 0.0, vmax: float | None = 1.0
    ) -> None:
        """Show another lens in the same place, keeping the pins that still exist; takes what `lens_grid` takes."""
        readings = read_lens(lens)
        frame = readings.frame()
        size = sum(len(value) for value in frame.values() if isinstance(value, bytes))
        check_size(size, knob="logit_lens(…, layers=, top=, follow=), or positions with lens.isel(position=slice(512))")
        scale = scale_for(readings.probability, cmap=cmap, vmin=vmin, vmax=vmax, label=_LABEL)
        self._readings, self._scale = readings, self._fit(scale)
        with self.hold_sync():
            self._frame = {**frame, **self._scale.frame()}
            self.layer = self.layer if self.layer in readings.layers else None
            self.position = self.position if self.position in readings.positions else None

    def select(self, layer: int | None = None, position: int | None = None) -> None:
        """Pin a cell by its layer and position, or with one of them a row or a column; None releases.

        Raises
        ------
        HookError, InputError
            If there is no such layer, or no such position; nothing is pinned then.
        """
        self.check_layer(layer)
        self.check_position(position)
        with self.hold_sync():
            self.layer, self.position = (None if number is None else int(number) for number in (layer, position))

    def check_layer(self, layer: int | None) -> int | None:
        """Give the layer back if it can be pinned, or raise a HookError that says which can."""
        known = self._readings.layers if self._readings else []
        if layer is not None and layer not in known:
            msg = f"layer {layer} is not in this view: expected {_span(known)} (-1 is the embedding), or None"
            raise HookError(msg)
        return layer

    def check_position(self, position: int | None) -> int | None:
        """Give the position back if it can be pinned, or raise an InputError that says which can."""
        known = self._readings.positions if self._readings else []
        if position is not None and position not in known:
            msg = f"position {position} is not in this view: expected {_span(known)}, or None"
            raise InputError(msg)
        return position

    @traitlets.validate("layer")
    def _known_layer(self, proposal: dict[str, Any]) -> int | None:
        return self.check_layer(proposal["value"])

    @traitlets.validate("position")
    def _known_position(self, proposal: dict[str, Any]) -> int | None:
        return self.check_position(proposal["value"])

    def _drawing(self) -> Drawing:
        return lens_drawing(self._readings, self._scale, self.layer, self.position)

    def __repr__(self) -> str:
        layers, positions = (len(self._readings.layers), len(self._readings.positions)) if self._readings else (0, 0)
        return f"LensGrid(layers={layers}, positions={positions}, layer={self.layer}, position={self.position})"


@listed_options
def lens_grid(
    lens: xr.Dataset,
    *,
    selected: tuple[int | None, int | None] | None = None,
    cmap: str | None = None,
    vmin: float | None = 0.0,
    vmax: float | None = 1.0,
    title: str = "",
) -> LensGrid:
    """What the model would say after each layer: one row for each, the last on top; one column for each position.

    A cell holds the token that comes first there, on the colour of its probability; the prompt is read along the
    bottom, the model's own answers along the top. Beside the grid, row by row, stand the probability and the rank
    that the token of one cell has in all layers. Hover a cell, click to pin it, Esc to let go; the arrow keys
    move, Home and End lead to the first and last position. Of a long prompt a window is drawn, under a slim picture
    of the whole in which it can be moved. A cell without a probability (NaN) is hatched.

    Parameters
    ----------
    lens
        The Dataset that `nbtools.measures.logit_lens` gives, or a part of it chosen with lists and slices. It must
        hold ``token``, ``token_id``, ``probability`` ``(layer, position, rank)``; ``followed``, ``followed_id``
        ``(position, follow)``; ``followed_probability``, ``followed_rank`` ``(layer, position, follow)``. The
        coordinates ``layer``, ``position`` and ``position_token`` name rows, columns and the prompt's tokens.
    selected
        Layer and position pinned from the start, as coordinates; layer -1 is the embedding.
    cmap, vmin, vmax
        As in matplotlib; None for a limit is that of the data.
    title
        Written above the view.

    Returns
    -------
    LensGrid
        Its traits ``layer`` and ``position`` follow the hand, and can be set.

    Raises
    ------
    ArrayError
        If it is not such a Dataset, or larger than a page should hold.
    HookError, InputError
        If there is no such layer, or no such position.

    Examples
    --------
    >>> from nbtools.measures import logit_lens
    >>> view = lens_grid(logit_lens(load(), "The capital of France is"), selected=(29, 4))
    >>> view
    LensGrid(layers=31, positions=5, layer=29, position=4)
    """
    view = LensGrid(title=title)
    view.show(lens, cmap=cmap, vmin=vmin, vmax=vmax)
    if selected is not None:
        view.select(*_pair(selected))
    return view


def _pair(selected: Any) -> tuple[int | None, int | None]:
    try:
        layer, position = selected
    except (TypeError, ValueError) as error:
        msg = f"expected a layer and a position, such as selected=(23, 4), got {selected!r}"
        raise InputError(msg) from error
    return layer, position


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "nothing before show() was called"
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:8])) + ("…" if len(numbers) > 8 else "")
