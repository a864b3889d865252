"""What one cell of the regimes holds: its curves, and what one of its networks does; and which measure is on show."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from nbtools.explorers._emergence_curves import emergence_curves
from nbtools.explorers._emergence_in_context import InContextLooks
from nbtools.explorers._subspace_controls import sentence
from nbtools.explorers.emergence import EmergenceExplorer
from nbtools.views.scrubber import Scrubber

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.explorers._training_curves import Names
    from nbtools.training import Trajectory

__all__ = ["OpenedCell", "RegimesControls"]


class OpenedCell(EmergenceExplorer):
    """A training on show, in whose place another one can be opened.

    Attributes
    ----------
    run
        The training.
    """

    def __init__(self, run: Trajectory, title: str, names: Names) -> None:
        self._names, curves = names, Scrubber()
        looks = InContextLooks(run)
        _show(curves, run, title, self._curves(run, looks))
        curves.step = curves.newest
        super().__init__(run, looks, curves, 0)

    def _curves(self, run: Trajectory, looks: InContextLooks) -> tuple[xr.Dataset, dict[str, str]]:
        return emergence_curves(run, None, self._names, looks.layers)

    def turn_to(self, run: Trajectory, title: str) -> None:
        """Show another training of the same steps, at the same step and on the same sequence.

        Raises
        ------
        InputError
            If it cannot be shown; then the one that is on show stays.
        """
        before, looks = (self.run, self._looks), InContextLooks(run)
        curves = self._curves(run, looks)
        self._take(run, looks)
        try:
            self._answer(*self._asked())
        except Exception:
            self._take(*before)
            raise
        _show(self.curves, run, title, curves)
        self._request({})

    def say(self) -> None:
        """Say again what the network answers, after something else was said."""
        self._request({})

    def _take(self, run: Trajectory, looks: InContextLooks) -> None:
        """Look at another training from now on."""
        self.run, self._looks, self._model = run, looks, lru_cache(maxsize=2)(run.model)
        self._look.cache_clear()


def _show(curves: Scrubber, run: Trajectory, title: str, shown: tuple[xr.Dataset, dict[str, str]]) -> None:
    """Draw the curves of a training, and write what they are."""
    measures, texts = shown
    seeds = np.atleast_1d(run.about["seed"])
    with curves.hold_sync():
        curves.show(measures, names=texts)
        curves.title = title + (f": mean of {len(seeds)} seeds; below it seed {seeds[0]}" if len(seeds) > 1 else "")


class RegimesControls(widgets.HBox):
    """The measure that is on show, and what it is."""

    def __init__(self, meanings: Iterable[str]) -> None:
        options = [(name.replace("_", " "), name) for name in meanings]
        style, wide = {"description_width": "64px"}, widgets.Layout(width="240px", flex="0 0 auto")
        self.measure = widgets.Dropdown(options=options, description="colour", style=style, layout=wide)
        self.about = sentence()
        self.about.layout.flex, self.about.layout.min_width = "1 1 240px", "0"
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 12px", align_items="center")
        super().__init__([self.measure, self.about], layout=layout)
