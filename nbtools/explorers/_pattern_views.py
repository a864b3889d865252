"""The views of the pattern editor: a row of attention as it is and forced, and what the model then expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbtools.explorers._answers import axis_end
from nbtools.explorers._pattern_traits import Quiet
from nbtools.explorers._pattern_words import marked, row_titles
from nbtools.naming import parse_head
from nbtools.views.bars import Bars
from nbtools.views.token_strip import TokenStrip

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.explorers._pattern_runs import Request

__all__ = ["PatternViews"]


class PatternViews:
    """Two rows of one prompt's tokens, on one scale, and bars of the next ones.

    Parameters
    ----------
    start
        Called with the token of the upper row that was clicked, from which to look.
    look
        Called with the token of the lower row that was clicked, at which to look.
    """

    def __init__(self, start: Callable[[int], None], look: Callable[[int], None]) -> None:
        self.before, self.after, self.bars = TokenStrip(), TokenStrip(), Bars()
        self._start, self._look, self._place, self._quiet = start, look, 0, Quiet()
        self.before.observe(self._from_here, "selected")
        self.after.observe(self._to_here, "selected")

    def show(self, request: Request, found: xr.Dataset, names: Sequence[str], place: int) -> None:
        """Show the first head's row from a place, with the task's names of tokens, and the next tokens."""
        layer, head = parse_head(request.heads[0])
        rows, texts = found.attention.sel(layer=layer, head=head), found.prompt_token.values.tolist()
        with self._quiet:
            for strip, run, title in zip((self.before, self.after), rows.run.values, row_titles(request), strict=True):
                strip.show(texts, rows.sel(run=run), details=names, label="attention", vmin=0, vmax=1)
                strip.title = title
        runs = [marked(found.probability.sel(run=run)) for run in rows.run.values[: 2 if request.to else 1]]
        self.bars.show(*runs, names=["as it is", "forced"][: len(runs)], vmin=0, vmax=axis_end(*runs))
        self.point(place)

    def point(self, place: int) -> None:
        """Pin the token from which heads look."""
        self._place = place
        with self._quiet:
            self.before.selected = place

    def _from_here(self, change: dict[str, Any]) -> None:
        """Look from the token that was clicked; a click on that from which heads look leaves it so."""
        if self._quiet:
            return
        if change["new"] is None:
            self.point(self._place)
        else:
            self._start(change["new"])

    def _to_here(self, change: dict[str, Any]) -> None:
        """Nothing stays pinned here: what is looked at is seen by its color."""
        if not self._quiet and change["new"] is not None:
            self._look(change["new"])
            self.after.selected = None
