"""A number for each pair of two settings, on the grid that shows heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import ArrayError, InputError
from nbtools.views.colour import as_floats, check_size, scale_for
from nbtools.views.head_grid import HeadGrid
from nbtools.views.head_grid.still import settings_drawing

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["SettingsGrid"]

_APART = ", "  # between the two values in the name of a cell


class SettingsGrid(HeadGrid):
    """The values of one setting × those of another, each cell with its number on the colour of that.

    Hover for the number, click to pick a cell, Esc to let go. A cell without a number (NaN) is hatched.

    Attributes
    ----------
    selected
        The picked cells, such as ``["4, 512"]``: the value of the rows' setting, then that of the columns'.

    Examples
    --------
    >>> import xarray as xr
    >>> accuracy = xr.DataArray([[0.1, 0.9]], {"burstiness": [1], "classes": [64, 512]}, ("burstiness", "classes"))
    >>> grid = SettingsGrid()
    >>> grid.show(accuracy, vmin=0, vmax=1)
    >>> grid.selected = ["1, 512"]
    >>> grid
    SettingsGrid(burstiness=1, classes=2, selected=['1, 512'])
    """

    _pins: ClassVar[dict[str, str]] = {}

    _names: tuple[str, str] = ("rows", "columns")
    _layers: Sequence[str] = ()
    _heads: Sequence[str] = ()

    def show(
        self,
        values: xr.DataArray,
        *,
        notes: Sequence[str] | None = None,
        label: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show other numbers in the same place, keeping the selection.

        Parameters
        ----------
        values
            A DataArray over two settings: that of the rows, from top to bottom, and that of the columns.
        notes
            What is read out behind the number of each cell, row by row.
        label, vmin, vmax
            As `nbtools.views.head_grid` takes them.

        Raises
        ------
        ArrayError
            If the array is not over two settings that have coordinates, or there is not a note for each cell.
        """
        numbers = _read(values)
        notes = _checked(notes, numbers.size)
        named = str(values.name or "").replace("_", " ") if label is None else label
        scale = scale_for(numbers, cmap=None, vmin=vmin, vmax=vmax, label=named)
        self._values, self._scale, self._names = numbers, self._fit(scale), tuple(map(str, values.dims))
        self._layers, self._heads = ([f"{value}" for value in values[dim].values.tolist()] for dim in values.dims)
        texts = {"layers": self._layers, "heads": self._heads, "names": list(self._names), "notes": notes}
        with self.hold_sync():
            self._frame = {**texts, "values": numbers.tobytes(), **self._scale.frame()}
            self.selected = [cell for cell in self.selected if self._has(cell)]

    def select(self, *cells: str | Sequence[Any]) -> None:
        """Pick cells, given as ``"4, 512"`` or ``(4, 512)``; none clears the selection.

        Raises
        ------
        InputError
            If a cell is not in the grid.
        """
        self.selected = [cell if isinstance(cell, str) else _APART.join(map(str, cell)) for cell in cells]

    @traitlets.validate("selected")
    def _known(self, proposal: dict[str, Any]) -> list[str]:
        for cell in proposal["value"]:
            if not self._has(cell):
                known = " and ".join(
                    f"{name} as one of {', '.join(texts)}"
                    for name, texts in zip(self._names, (self._layers, self._heads), strict=True)
                )
                msg = f"no cell {cell!r} in this grid: expected {known}"
                raise InputError(msg)
        return proposal["value"]

    def place(self, cell: str) -> tuple[int, int]:
        """Give the row and the column of a cell that is in the grid."""
        row, column = cell.split(_APART)
        return self._layers.index(row), self._heads.index(column)

    def _has(self, cell: str) -> bool:
        return cell in (f"{row}{_APART}{column}" for row in self._layers for column in self._heads)

    def _drawing(self) -> Drawing:
        places = [self.place(cell) for cell in self.selected]
        return settings_drawing(self._values, self._names, (self._layers, self._heads), self._scale, places)

    def __repr__(self) -> str:
        sizes = f"{self._names[0]}={len(self._layers)}, {self._names[1]}={len(self._heads)}"
        return f"SettingsGrid({sizes}, selected={self.selected})"


def _read(values: Any) -> np.ndarray:
    """Give the numbers of a DataArray over two settings."""
    dims = getattr(values, "dims", ())
    if len(dims) != 2 or not set(dims) <= set(values.coords) or not values.size:
        got = f"({', '.join(map(str, dims))})" if hasattr(values, "dims") else type(values).__name__
        msg = f"expected a DataArray over two settings, with the values of both as coordinates, got {got}"
        raise ArrayError(msg)
    numbers = as_floats(values)
    check_size(numbers.nbytes, knob="fewer values of a setting")
    return numbers


def _checked(notes: Sequence[str] | None, count: int) -> list[str]:
    """Give a note for each cell: what was given, or nothing to be read out."""
    told = [""] * count if notes is None else [str(note) for note in notes]
    if len(told) != count:
        msg = f"expected a note for each of {count} cells, got {len(told)}"
        raise ArrayError(msg)
    return told
