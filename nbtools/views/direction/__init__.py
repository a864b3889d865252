"""How an answer changes as activations are moved along a direction, and whether they stay where natural ones lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.views.base import View
from nbtools.views.direction.parts import Parts, round_numbers
from nbtools.views.direction.reading import read_parts
from nbtools.views.direction.still import direction_drawing
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Direction", "direction"]


class Direction(View, folder="direction"):
    """A panel for each direction, with one slider for how far activations go along all of them; made by `direction`.

    Attributes
    ----------
    share
        How far activations have gone: 0 is the base as it is, 1 the full patch. It stays in the curves' range.
    """

    _pins: ClassVar[dict[str, str]] = {"share": "share"}

    share = traitlets.Float(1.0, help="how far activations have gone: 0 is the base, 1 the full patch").tag(sync=True)

    _parts: Parts | None = None

    def show(self, curves: xr.DataArray | xr.Dataset, projections: xr.Dataset) -> None:
        """Show other curves and projections, keeping the share if they hold it; takes what `direction` takes."""
        parts = read_parts(curves, projections)
        self._parts, self._scale = parts, self._fit(parts.axis())
        with self.hold_sync():
            self._recolour()
            self.share = self.share  # which the new range may not hold

    def _recolour(self) -> None:
        scale = self._scale
        axis = {"vmin": scale.vmin, "vmax": scale.vmax, "label": scale.label}
        self._frame = {**self._parts.frame(), **axis, "value_ticks": round_numbers(scale.vmin, scale.vmax, 4)}

    @traitlets.validate("share")
    def _within(self, proposal: dict[str, Any]) -> float:
        share = float(proposal["value"])
        if np.isnan(share):
            msg = "expected a share of the way, such as 0 for the base or 1 for the full patch, got nan"
            raise InputError(msg)
        return share if self._parts is None else float(np.clip(share, *self._parts.ends))

    def _drawing(self) -> Drawing:
        return direction_drawing(self._parts, self._scale, self.share)

    def __repr__(self) -> str:
        names, pairs = (self._parts.names, self._parts.pairs) if self._parts else ([], 0)
        return f"Direction(parts={names}, pairs={pairs}, share={round(self.share, 6)})"


@listed_options
def direction(
    curves: xr.DataArray | xr.Dataset, projections: xr.Dataset, *, share: float = 1.0, title: str = ""
) -> Direction:
    """How an answer changes as activations are moved along some directions, and where that takes them.

    The activation x of each pair becomes ``base + s · ((source − base) · part) · part``: at a share s of 0 it is the
    base as it is, at 1 the patch in full. One panel for each part shows on top the answer at every share, and below it
    where activations lie along that part: natural ones of both classes upward, in the shade of the range that they
    span, and the patched ones downward, in the colour of what they were. One slider moves them all. Hover a curve to
    look at a share, click to set it; double click, Home or Esc lead back to 0.

    Parameters
    ----------
    curves
        The answer, such as a logit difference: a DataArray ``(part, share)``, or a Dataset with ``mean``, ``low`` and
        ``high`` of these dimensions, as `nbtools.patching.spread` gives it. One to four parts, and two or more shares
        with 0 in their range; NaN where nothing is known. The name, or ``attrs["long_name"]``, and ``attrs["units"]``
        say what it is.
    projections
        A Dataset ``(part, pair)`` with ``base`` and ``source``, where the natural activations of both runs lie along
        each part. The coordinate ``side`` (pair) is the class of each base, 0 or 1; sources have the other class if no
        ``source_side`` says which. ``attrs["sides"]`` names the classes. A variable ``patched`` says where the full
        patch puts each base, if not where its source is: a patch of another direction, seen along this one.
    share
        How far activations have gone from the start, at most as far as the curves.
    title
        Written above the view.

    Returns
    -------
    Direction
        Its trait ``share`` follows the slider, and can be set; ``show`` shows other curves at the same share.

    Raises
    ------
    ArrayError
        If dimensions, variables or parts are not those that are expected, or there are too many of them.
    InputError
        If the share is not a number.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023 (parts of a direction).

    Examples
    --------
    >>> import xarray as xr
    >>> from nbtools import views
    >>> shares = {"part": ["v", "row"], "share": [0.0, 1.0]}
    >>> curves = xr.DataArray([[3.0, -1.0], [3.0, 2.8]], dims=("part", "share"), coords=shares, name="logit_difference")
    >>> runs = {"base": (("part", "pair"), [[0, 1], [2, 2]]), "source": (("part", "pair"), [[1, 0], [2, 2]])}
    >>> projections = xr.Dataset(runs, coords={"part": ["v", "row"], "side": ("pair", [0, 1])})
    >>> view = views.direction(curves, projections)
    >>> view.share = 0.5
    >>> view
    Direction(parts=['v', 'row'], pairs=2, share=0.5)
    """
    view = Direction(title=title)
    view.show(curves, projections)
    view.share = share
    return view
