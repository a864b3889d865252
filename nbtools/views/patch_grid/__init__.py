"""What activation patching gave: an effect for every layer and position, head, neuron, query or key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from nbtools.errors import HookError, InputError
from nbtools.naming import parse_head
from nbtools.views.base import View
from nbtools.views.colour import scale_for
from nbtools.views.options import listed_options
from nbtools.views.patch_grid.cells import KINDS, Cells, read_cells
from nbtools.views.patch_grid.still import patch_drawing

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["PatchGrid", "patch_grid"]


class PatchGrid(View, folder="patch_grid"):
    """Layers × what else was swept, each cell on the colour of its effect; made by `patch_grid`.

    Attributes
    ----------
    layer, column
        The pinned cell, each None if it is not pinned. A column is its number (position 9, head 6), or its place if
        it has a name.
    head
        The pinned cell as ``"18.6"`` where columns are heads.
    """

    layer = traitlets.Int(None, allow_none=True, help="the pinned layer").tag(sync=True)
    column = traitlets.Int(None, allow_none=True, help="the pinned column's number, or place").tag(sync=True)
    head = traitlets.Unicode(None, allow_none=True, help='the pinned head, such as "18.6"')

    # what links hold of the pin, each None while columns are something else. A head is held as a whole, and under
    # another name than `head`: without a kernel links release no trait of that name, as a map always shows some head
    _layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    _position = traitlets.Int(None, allow_none=True).tag(sync=True)
    _head = traitlets.Unicode(None, allow_none=True).tag(sync=True)

    _cells: Cells | None = None

    def show(
        self,
        effect: xr.DataArray | np.ndarray,
        *,
        estimate: xr.DataArray | np.ndarray | None = None,
        label: str | None = None,
        cmap: str | None = None,
        vmin: float | None = -1.0,
        vmax: float | None = 1.0,
    ) -> None:
        """Show another sweep, or more of one, keeping the pins that still exist; takes what `patch_grid` takes."""
        cells = read_cells(effect, estimate)
        numbers = cells.effect if cells.estimate is None else np.stack([cells.effect, cells.estimate])
        named = _name(effect) if label is None else label
        scale = scale_for(numbers, cmap=cmap, vmin=vmin, vmax=vmax, label=named, signed=True)
        pins = self._kept(cells)
        self._cells, self._scale = cells, self._fit(scale)
        self._pins = {**self._pins, **_linked(cells)}  # a link made before stays, and rests until it is of use again
        with self.hold_sync():
            self._frame = {**cells.frame(), **self._scale.frame()}
            self._pin(*pins)

    def _kept(self, cells: Cells) -> tuple[int | None, int | None]:
        """Give the pins that other cells have too."""
        old, layer = self._cells, self.layer if self.layer in cells.layers else None
        place = old.place(self.column) if old and old.kind == cells.kind else None
        known = place is not None and old.columns[place] in cells.columns
        return layer, cells.pins[cells.columns.index(old.columns[place])] if known else None

    def select(self, layer: int | None = None, column: int | str | None = None) -> None:
        """Pin a cell by its layer and its column's number or name, or with one a row or column; None releases.

        Raises
        ------
        HookError, InputError
            If there is no such layer, or no such column; nothing is pinned then.
        """
        self._pin(self.check_layer(layer), self.check_column(column))

    def check_layer(self, layer: int | None) -> int | None:
        """Give the layer back if it can be pinned, or raise a HookError that says which can."""
        known = self._cells.layers if self._cells else []
        if layer is not None and layer not in known:
            msg = f"layer {layer} is not in this view: expected {_span(known)}, or None"
            raise HookError(msg)
        return None if layer is None else int(layer)

    def check_column(self, column: int | str | None) -> int | None:
        """Give what pins a column, or raise an InputError that says which columns there are."""
        kind, known, pins = ("column", [], [])
        if self._cells:
            kind, known, pins = self._cells.kind, self._cells.columns, self._cells.pins
        if column is None or column in pins:
            return None if column is None else int(column)
        if column in known:
            return pins[known.index(column)]
        msg = f"{kind} {column} is not in this view: expected {_span(known)}, or None"
        raise (HookError if kind in ("head", "neuron") else InputError)(msg)

    def _pin(self, layer: int | None, column: int | None) -> None:
        """Pin under every name at once, before anyone hears of it."""
        with self.hold_sync(), self.hold_trait_notifications():
            held = self._cells.held(layer, column)
            self.layer, self.column, self.head = layer, column, held["_head"]
            for name, value in held.items():
                setattr(self, name, value)

    @traitlets.observe("layer", "column", "head", "_layer", "_position", "_head")
    def _agree(self, change: dict[str, Any]) -> None:
        """Whichever name a pin was set by, let the others follow."""
        if self._cells is None:
            return
        layer, column, name, new = self.layer, self.column, change["name"], change["new"]
        if name in ("head", "_head") and new != self._cells.held(layer, column)["_head"]:
            layer, column = (None, None) if new is None else parse_head(new)
        elif name == "_layer" and not self._cells.heads:
            layer = new
        elif name == "_position" and self._cells.causal:
            column = new
        # the page may have pinned what was there a moment ago
        self._pin(layer if layer in self._cells.layers else None, column if column in self._cells.pins else None)

    @traitlets.validate("layer", "_layer")
    def _known_layer(self, proposal: dict[str, Any]) -> int | None:
        return self.check_layer(proposal["value"])

    @traitlets.validate("column")
    def _known_column(self, proposal: dict[str, Any]) -> int | None:
        return self.check_column(proposal["value"])

    @traitlets.validate("_position")
    def _known_position(self, proposal: dict[str, Any]) -> int | None:
        return self._of("position", proposal["value"])

    @traitlets.validate("head", "_head")
    def _known_head(self, proposal: dict[str, Any]) -> str | None:
        label = proposal["value"]
        if label is not None:
            layer, head = parse_head(label)
            self._of("head", head)
            self.check_layer(layer)
        return label

    def _of(self, kind: str, column: int | None) -> int | None:
        """Give a column back if it can be pinned as a position or as a head."""
        fits = self._cells and (self._cells.heads if kind == "head" else self._cells.causal)
        if column is not None and not fits:
            there = f"its columns are {KINDS[self._cells.kind]}" if self._cells else "nothing before show() was called"
            msg = f"no {kind} can be pinned in this view: {there}"
            raise InputError(msg)
        return self.check_column(column)

    def _drawing(self) -> Drawing:
        return patch_drawing(self._cells, self._scale, self._cells.row(self.layer), self._cells.place(self.column))

    def __repr__(self) -> str:
        cells = self._cells
        kind = cells.kind if cells else "position"
        counts = f"layers={len(cells.layers) if cells else 0}, {KINDS[kind]}={len(cells.columns) if cells else 0}"
        place = cells.place(self.column) if cells else None
        pinned = f"layer={self.layer}, {kind}={None if place is None else cells.columns[place]!r}"
        site = f"site={cells.facts['site']!r}, " if cells and cells.facts["site"] else ""
        return f"PatchGrid({site}{counts}, {pinned})"


@listed_options
def patch_grid(
    effect: xr.DataArray | np.ndarray,
    *,
    estimate: xr.DataArray | np.ndarray | None = None,
    selected: tuple[int | None, int | str | None] | None = None,
    label: str | None = None,
    cmap: str | None = None,
    vmin: float | None = -1.0,
    vmax: float | None = 1.0,
    title: str = "",
) -> PatchGrid:
    """What activation patching gave: one row for each layer, the last on top; one column for each position or head.

    A cell has the colour of its effect: 0 is the run that is patched into, 1 the run that is patched from. Where only
    an estimate is known a small square has its colour; where nothing is known (NaN) the cell is hatched. Below a
    column stands its token, and below that the token of the other run where it is another one. Hover a cell, click to
    pin it, Esc to let go; the arrow keys move, Home and End lead to the first and last column. What a patch in that
    cell can change stays bright: the layers above, and of positions those from there on. Of a long prompt a window is
    drawn, under a slim picture of the whole in which it can be moved.

    Parameters
    ----------
    effect
        Effects with the dimensions ``layer`` and one of ``position``, ``head``, ``neuron``, ``query``, ``key``, as
        `nbtools.patching.patch` gives them; or any array or tensor ``(layer, position)``. The coordinates ``token``
        (``query_token``, ``key_token``) and ``source_token`` are the texts of a column in the two runs; ``base`` and
        ``source`` the metric in them.
    estimate
        Of the same cells, as `nbtools.patching.attribute` gives it.
    selected
        Layer and column pinned from the start, as coordinates.
    label
        What the values are, for the legend; by default the array's name.
    cmap, vmin, vmax
        As in matplotlib; None for a limit is that of the data. Effects beyond the limits have the last colour.
    title
        Written above the view.

    Returns
    -------
    PatchGrid
        Its traits ``layer``, ``column`` and ``head`` follow the hand, and can be set; ``show`` shows more of a sweep.

    Raises
    ------
    ArrayError
        If an array is not layers by one other dimension, or the estimate is not of the same cells.
    HookError, InputError
        If there is no such layer, or no such column.

    Examples
    --------
    >>> from nbtools.patching import patch
    >>> from nbtools.tasks import pair
    >>> model = load()
    >>> task = pair(model, "The Eiffel Tower is in", "The Colosseum is in", " Paris", " Rome")
    >>> patch_grid(patch(model, task, "resid_pre", positions=["END"]), selected=(29, "END"))
    PatchGrid(site='resid_pre', layers=30, positions=1, layer=29, position='END')
    """
    view = PatchGrid(title=title)
    view.show(effect, estimate=estimate, label=label, cmap=cmap, vmin=vmin, vmax=vmax)
    if selected is not None:
        view.select(*_pair(selected))
    return view


def _linked(cells: Cells) -> dict[str, str]:
    """Give for each dimension that others may pin too the trait that holds it; names are a dimension of their own."""
    if cells.heads:
        return {"head": "_head"}
    if cells.causal:
        return {"layer": "_layer", "position": "_position"}
    return {"layer": "_layer", f"{cells.kind} {', '.join(cells.columns)}" if cells.named else cells.kind: "column"}


def _pair(selected: Any) -> tuple[int | None, int | str | None]:
    try:
        layer, column = selected
    except (TypeError, ValueError) as error:
        msg = f"expected a layer and a column, such as selected=(18, 6), got {selected!r}"
        raise InputError(msg) from error
    return layer, column


def _name(values: Any) -> str:
    return str(getattr(values, "name", None) or "effect").replace("_", " ")


def _span(labels: list[Any]) -> str:
    if not labels:
        return "nothing before show() was called"
    if len(labels) > 1 and labels == list(range(len(labels))):
        return f"0 to {labels[-1]}"
    return ", ".join(map(str, labels[:8])) + ("…" if len(labels) > 8 else "")
