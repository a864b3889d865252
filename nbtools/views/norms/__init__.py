"""Norms by layer and token on a logarithmic scale: which token stands out, and from which layer on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import HookError, InputError
from nbtools.views.base import View
from nbtools.views.norms.still import norms_drawing
from nbtools.views.norms.table import Table, check_ends, log_scale, marks_of, read_table
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Norms", "norms"]


class Norms(View, folder="norms"):
    """Layers × tokens, each cell on the colour of its norm, beside one token's norms by layer; made by `norms`.

    Attributes
    ----------
    layer, position
        The pinned cell, each None if it is not pinned.
    """

    _pins: ClassVar[dict[str, str]] = {"layer": "layer", "position": "position"}

    layer = traitlets.Int(None, allow_none=True, help="the pinned layer").tag(sync=True)
    position = traitlets.Int(None, allow_none=True, help="the pinned token's position").tag(sync=True)

    _table: Table | None = None

    def show(
        self,
        values: xr.DataArray | np.ndarray,
        tokens: Sequence[str] | None = None,
        *,
        label: str | None = None,
        cmap: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show other norms, keeping the pins that still exist; takes what `norms` takes."""
        table = read_table(values, tokens, label)
        self._scale = self._fit(log_scale(table, cmap=cmap, vmin=vmin, vmax=vmax))
        self._table = table
        with self.hold_sync():
            self._recolour()
            self.layer = self.layer if self.layer in table.layers else None
            self.position = self.position if self.position in table.positions else None

    def rescale(self, vmin: float | None = None, vmax: float | None = None) -> None:
        """Put the colours on another range, now and for what is shown later; without values, on the data's own.

        Raises
        ------
        InputError
            If the range is empty, or does not begin above 0.

        Examples
        --------
        >>> from nbtools import views
        >>> view = views.norms([[1.0, 10.0], [2.0, 300.0]])
        >>> view.rescale(1, 1000)
        """
        check_ends(vmin, vmax)
        super().rescale(vmin, vmax)

    def _recolour(self) -> None:
        self._frame = {**self._table.frame(), **self._scale.frame(), "marks": marks_of(self._scale)}

    def select(self, layer: int | None = None, position: int | None = None) -> None:
        """Pin a cell, or with one of both a row or a column; None releases.

        Raises
        ------
        HookError, InputError
            If there is no such layer, or no such position; nothing is pinned then.
        """
        self._check("layer", layer)
        self._check("position", position)
        with self.hold_sync():
            self.layer, self.position = layer, position

    @traitlets.validate("layer", "position")
    def _known(self, proposal: dict[str, Any]) -> int | None:
        self._check(proposal["trait"].name, proposal["value"])
        return proposal["value"]

    def _check(self, name: str, value: int | None) -> None:
        known = getattr(self._table, f"{name}s", [])
        if value is None or value in known:
            return
        there = f"{known[0]} to {known[-1]}, or None" if known else "nothing before show() was called"
        msg = f"{name} {value} is not in this view: expected {there}"
        raise (HookError if name == "layer" else InputError)(msg)

    def _drawing(self) -> Drawing:
        table = self._table
        row = None if self.layer is None else table.layers.index(self.layer)
        column = None if self.position is None else table.positions.index(self.position)
        return norms_drawing(table, self._scale, row, column)

    def __repr__(self) -> str:
        counts = self._table.values.shape if self._table else (0, 0)
        return f"Norms(layers={counts[0]}, tokens={counts[1]}, layer={self.layer}, position={self.position})"


@listed_options
def norms(
    values: xr.DataArray | np.ndarray,
    tokens: Sequence[str] | None = None,
    *,
    layer: int | None = None,
    position: int | None = None,
    label: str | None = None,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
) -> Norms:
    """Norms by layer and token on a logarithmic colour scale, and beside them one token against all others.

    One row for each layer, the last on top; one column for each token. The lines beside the cells run through the same
    rows: the norms of one token, the pinned one or else that with the largest norm, and the median of the other tokens
    in the band from the least to the greatest of them. Hover a cell, click to pin it, Esc to let go; the arrow keys
    move, Home and End lead to the first and last token.

    Parameters
    ----------
    values
        Norms, 0 or more, with the dimensions ``layer`` and ``position``, as `nbtools.measures.residual_norms` gives
        them, or one head of `nbtools.measures.value_norms`; or any array or tensor ``(layer, position)``. At most 128
        of each. NaN where nothing is known.
    tokens
        Text of each position; by default the array's ``token``, or else the position.
    layer, position
        The cell that is pinned from the start.
    label
        What the values are; by default the array's ``long_name`` or name.
    cmap, vmin, vmax
        As in matplotlib; by default the range ends at round numbers, 1, 2 or 5 times a power of ten.
    title
        Written above the view.

    Returns
    -------
    Norms
        Its traits ``layer`` and ``position`` follow the hand, and can be set.

    Raises
    ------
    ArrayError
        If the array is not layers by positions, holds negative numbers, or is too large.
    HookError, InputError
        If there is no such layer or position, or a range that no logarithmic scale has.

    Examples
    --------
    >>> from nbtools.measures import residual_norms
    >>> norms(residual_norms(load(), "The old harbour town woke slowly."), layer=12, position=0)
    Norms(layers=30, tokens=7, layer=12, position=0)
    """
    view = Norms(title=title)
    view.show(values, tokens, label=label, cmap=cmap, vmin=vmin, vmax=vmax)
    view.select(layer, position)
    return view
