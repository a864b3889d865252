"""A number for every head, layers by heads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import ArrayError, HookError
from nbtools.naming import Head, HeadLike, head_label, parse_heads
from nbtools.views.base import View
from nbtools.views.colour import as_floats, check_size, scale_for
from nbtools.views.head_grid.still import grid_drawing
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["HeadGrid", "head_grid"]


class HeadGrid(View, folder="head_grid"):
    """Layers × heads, each cell on the colour of its value; made by `head_grid`."""

    _pins: ClassVar[dict[str, str]] = {"head": "selected"}

    selected = traitlets.List(traitlets.Unicode(), help='picked heads, such as ["18.6"]').tag(sync=True)

    def show(
        self,
        values: xr.DataArray | np.ndarray,
        *,
        label: str | None = None,
        signed: bool = False,
        cmap: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show other values in the same place, keeping the selection; takes what `head_grid` takes."""
        numbers = as_floats(_ordered(values))
        if numbers.ndim != 2 or numbers.size == 0:
            msg = f"expected one value for each head, an array (layer, head), got shape {numbers.shape}"
            raise ArrayError(msg)
        check_size(numbers.nbytes, knob="fewer layers")
        layers, heads = _coordinate(values, "layer", len(numbers)), _coordinate(values, "head", numbers.shape[1])
        scale = scale_for(numbers, cmap=cmap, vmin=vmin, vmax=vmax, label=_label(values, label), signed=signed)
        self._values, self._layers, self._heads, self._scale = numbers, layers, heads, self._fit(scale)
        with self.hold_sync():
            self._frame = {"layers": layers, "heads": heads, "values": numbers.tobytes(), **self._scale.frame()}
            self.selected = [label for label in self.selected if self._has(label)]

    def select(self, *heads: HeadLike) -> None:
        """Pick heads, given as ``"18.6"`` or ``(18, 6)``; none clears the selection.

        Raises
        ------
        HookError
            If a head is not in the grid.
        """
        self.selected = [head_label(*head) for head in parse_heads(heads)]

    @property
    def selected_heads(self) -> list[Head]:
        """The picked heads as (layer, head) numbers."""
        return parse_heads(self.selected)

    @traitlets.validate("selected")
    def _known(self, proposal: dict[str, Any]) -> list[str]:
        for label in proposal["value"]:
            if not self._has(label):
                msg = (
                    f"head {label!r} is not in this grid: expected layers {self._layers[0]} to {self._layers[-1]} "
                    f"and heads {self._heads[0]} to {self._heads[-1]}"
                )
                raise HookError(msg)
        return proposal["value"]

    def _has(self, label: str) -> bool:
        layer, head = parse_heads(label)[0]
        return layer in self._layers and head in self._heads

    def _drawing(self) -> Drawing:
        return grid_drawing(self._values, self._layers, self._heads, self._scale, self.selected_heads)

    def __repr__(self) -> str:
        return f"HeadGrid(layers={len(self._layers)}, heads={len(self._heads)}, selected={self.selected})"


@listed_options
def head_grid(
    values: xr.DataArray | np.ndarray,
    *,
    selected: Iterable[HeadLike] = (),
    label: str | None = None,
    signed: bool = False,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
) -> HeadGrid:
    """All heads of a model at a glance: one row for each layer, one column for each head.

    Hover for the number, click to pick a head, with Shift to pick several, Esc to let go.
    A head without a value (NaN) is hatched.

    Parameters
    ----------
    values
        ``(layer, head)``: a DataArray, whose coordinates name the heads, or any array or tensor.
    selected
        Heads picked from the start, as ``"18.6"`` or ``(18, 6)``.
    label
        What the values are, for the legend; by default the array's name.
    signed
        Whether values have a sign that matters: RdBu, symmetric around 0.
    cmap, vmin, vmax
        As in matplotlib.
    title
        Written above the view.

    Returns
    -------
    HeadGrid
        Its trait ``selected`` lists the picked heads, and can be set.

    Raises
    ------
    ArrayError
        If the array is not two-dimensional.
    HookError
        If a selected head is not in it.

    Examples
    --------
    >>> grid = head_grid([[0.1, 0.9, 0.3], [0.2, 0.4, 0.8]], selected=["0.1"])
    >>> grid
    HeadGrid(layers=2, heads=3, selected=['0.1'])
    """
    view = HeadGrid(title=title)
    view.show(values, label=label, signed=signed, cmap=cmap, vmin=vmin, vmax=vmax)
    view.select(*selected)
    return view


def _ordered(values: Any) -> Any:
    if not hasattr(values, "dims"):
        return values
    if set(values.dims) != {"layer", "head"}:
        msg = f"expected a DataArray with dimensions layer and head, got {', '.join(values.dims)}"
        raise ArrayError(msg)
    return values.transpose("layer", "head")


def _coordinate(values: Any, name: str, length: int) -> list[int]:
    if name in getattr(values, "coords", ()):
        return [int(number) for number in values.coords[name].values]
    return list(range(length))


def _label(values: Any, label: str | None) -> str:
    if label is not None:
        return label
    return str(getattr(values, "name", None) or "").replace("_", " ")
