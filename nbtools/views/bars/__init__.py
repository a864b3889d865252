"""What one run gives to each of some tokens, or two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.views.bars.axis import axis_for, check_ends, ticks_of
from nbtools.views.bars.rows import Rows, read_run, side_by_side
from nbtools.views.bars.still import bars_drawing
from nbtools.views.base import View
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Bars", "bars"]

_NAMES = ("first", "second")


class Bars(View, folder="bars"):
    """One row for each token, with a bar for each run; made by `bars`."""

    _pins: ClassVar[dict[str, str]] = {"token": "selected"}

    selected = traitlets.Unicode(
        None, allow_none=True, help="text of the pinned token, followed by #id if other tokens have that text"
    ).tag(sync=True)

    _rows = Rows([], [], np.empty((1, 0), np.float32))
    _names: tuple[str, ...] = ()

    def show(
        self,
        values: xr.DataArray | Mapping[str, float],
        other: xr.DataArray | Mapping[str, float] | None = None,
        *,
        names: Sequence[str] | None = None,
        top: int | None = None,
        label: str | None = None,
        signed: bool | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show other tokens in the same place, keeping the pin if they hold it; takes what `bars` takes."""
        given = {"values": values} if other is None else {"values": values, "other": other}
        runs = [read_run(array, what=what) for what, array in given.items()]
        rows = side_by_side(runs, top=top, by_size=bool(signed))
        called = _checked_names(names, len(runs))
        scale = axis_for(rows.values, signed=signed, vmin=vmin, vmax=vmax, label=_label(values, label))
        pinned = None if self.selected is None else rows.key_of(self._rows, self._rows.find(self.selected))
        self._rows, self._names, self._scale = rows, called, self._fit(scale)
        with self.hold_sync():
            self._frame = self._drawn()
            self.selected = pinned

    def _drawn(self) -> dict[str, Any]:
        rows = self._rows
        table = {"tokens": rows.tokens, "marks": rows.marks, "ids": rows.ids, "values": rows.values.tobytes()}
        scale = self._scale
        axis = {"vmin": scale.vmin, "vmax": scale.vmax, "label": scale.label, "ticks": ticks_of(scale)}
        return {**table, "names": list(self._names), **axis}

    def rescale(self, vmin: float | None = None, vmax: float | None = None) -> None:
        """Put the bars on another axis, now and for what is shown later; without values, on the data's own.

        Raises
        ------
        InputError
            If the axis is empty, or does not hold 0, at which every bar begins.

        Examples
        --------
        >>> view = bars({" Paris": 0.66, " London": 0.02})
        >>> view.rescale(vmax=1)
        """
        check_ends(vmin, vmax)
        super().rescale(vmin, vmax)

    def _recolour(self) -> None:
        self._frame = self._drawn()

    @traitlets.validate("selected")
    def _known(self, proposal: dict[str, Any]) -> str | None:
        name, rows = proposal["value"], self._rows
        row = None if name is None else rows.find(name)
        if name is not None and row is None:
            alike = [key for key, text in zip(rows.keys, rows.tokens, strict=True) if text == name]
            msg = f"{name!r} is not a token here: expected None or one of {_some(alike or rows.keys)}"
            raise InputError(msg)
        return None if row is None else rows.keys[row]

    def _drawing(self) -> Drawing:
        pinned = None if self.selected is None else self._rows.find(self.selected)
        return bars_drawing(self._rows, self._names, self._scale, pinned)

    def __repr__(self) -> str:
        runs, tokens = self._rows.values.shape
        return f"Bars(tokens={tokens}, runs={runs}, selected={self.selected!r})"


@listed_options
def bars(
    values: xr.DataArray | Mapping[str, float],
    other: xr.DataArray | Mapping[str, float] | None = None,
    *,
    names: Sequence[str] | None = None,
    top: int | None = None,
    label: str | None = None,
    signed: bool | None = None,
    selected: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
) -> Bars:
    """A bar for each token, from one run or from two side by side.

    Hover for the numbers and their difference, click to pin a token, Esc to let go; the arrow keys move.
    The tokens are those of the first run, in its order, then those that only the second has. A run that has no
    number for a token is marked as absent there: outside its top tokens, a probability is unknown, not 0.
    Give both runs whole (``next_token(..., top=None)``) with ``top=10`` here, and nothing is absent.

    Parameters
    ----------
    values
        A DataArray ``(token)`` such as `nbtools.measures.next_token` gives, or texts with their numbers as a
        dict. The coordinate ``token`` holds the texts; ``token_id`` tells apart tokens that have the same text.
    other
        The same of a second run. Tokens are matched by ``token_id`` where both have it, otherwise by text.
    names
        What to call the runs; "first" and "second" by default, and nothing where there is one.
    top
        How many tokens of each run to keep: the greatest, greatest first; with ``signed=True`` the largest in size.
        By default all, in the order given.
    label
        What the values are; by default the array's name.
    signed
        Whether the axis is symmetric around 0; by default, if there are values on both sides.
    selected
        Token pinned from the start.
    vmin, vmax
        Ends of the axis, which holds 0.
    title
        Written above the view.

    Returns
    -------
    Bars
        Its trait ``selected`` is the text of the pinned token, or None; it can be set. Where several tokens have
        one text, it is the text followed by the id, such as ``"Paris#3681"``.

    Raises
    ------
    ArrayError
        If the values are not one finite number (or NaN) for each token, tokens cannot be told apart, or there
        are more than 200 rows.
    InputError
        If the token pinned is not there, the names do not fit, or the axis does not hold 0.

    Examples
    --------
    >>> view = bars({" Paris": 0.66, " London": 0.02}, {" Rome": 0.71, " Paris": 0.02}, names=["Eiffel", "Colosseum"])
    >>> view.selected = " Rome"
    >>> view
    Bars(tokens=3, runs=2, selected=' Rome')
    """
    view = Bars(title=title)
    view.show(values, other, names=names, top=top, label=label, signed=signed, vmin=vmin, vmax=vmax)
    view.selected = selected
    return view


def _checked_names(names: Sequence[str] | None, runs: int) -> tuple[str, ...]:
    if names is None:
        return _NAMES if runs == 2 else ()
    if isinstance(names, str) or len(names) != runs:
        got = "one text" if isinstance(names, str) else len(names)
        msg = f"expected {runs} name{'s' if runs > 1 else ''}, one for each run, got {got}"
        raise InputError(msg)
    return tuple(map(str, names))


def _label(values: Any, label: str | None) -> str:
    if label is not None:
        return label
    return str(getattr(values, "name", None) or "").replace("_", " ")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys[:5])) + (", …" if len(keys) > 5 else "")
