"""Where the patching explorer's views stand: answers beside the grid, or below it and that of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets

from nbtools.explorers._answers import AnswerPanels
from nbtools.views.group import Link, link
from nbtools.views.patch_grid import PatchGrid

if TYPE_CHECKING:
    from nbtools.explorers._patch_runs import PatchingResult
    from nbtools.views.base import View

__all__ = ["PatchLayout", "keep"]

_KEPT = 20


def keep(runs: Sequence[PatchingResult], new: PatchingResult) -> list[PatchingResult]:
    """Add a run to those that are kept; more of the same run takes its place, and the oldest goes."""
    return [*(run for run in runs if run.task is not new.task), new][-_KEPT:]


class PatchLayout(widgets.VBox):
    """The grid with the answers beside it; with a kept run, the two grids, and the answers below.

    Attributes
    ----------
    grid, other
        The grid of the current run, and that of a kept one. Effects have one fixed scale, so in both the same colour
        is the same effect; what is pinned in one is pinned in the other, if both have positions, or both heads.
    """

    def __init__(self, grid: PatchGrid, answers: AnswerPanels) -> None:
        self.grid, self.other, self._answers = grid, PatchGrid(), [answers.into, answers.source]
        self._link: Link | None = None
        self._upper, self._side, self._lower = _beside(), widgets.VBox(layout=_share(1)), _beside()
        for view, share in ((grid, 2), (self.other, 2), *((panel, 1) for panel in self._answers)):
            view.layout = _share(share)
        self._side.children, self._upper.children = self._answers, [grid, self._side]
        super().__init__([self._upper, self._lower])

    def fill(self, current: PatchingResult, run: PatchingResult | None) -> None:
        """Show more of the current run, or another one, beside a kept one if there is one."""
        self._part(current, run)
        self.grid.show(current.effect, estimate=current.estimate)
        self._join(current, run)

    def compare(self, current: PatchingResult, run: PatchingResult | None) -> list[list[View]]:
        """Put a kept run beside the current one, or take it away; give the views as rows."""
        self._part(current, None)
        if run is None:
            self._join(current, None)
            self._lower.children, self._side.children = [], self._answers
            self._upper.children = [self.grid, self._side]
            return [[self.grid], self._answers]
        self.other.show(run.effect, estimate=run.estimate)
        self._join(current, run)
        self._side.children, self._lower.children = [], self._answers
        self._upper.children = [self.grid, self.other]
        return [[self.grid, self.other], self._answers]

    def _part(self, current: PatchingResult, run: PatchingResult | None) -> None:
        """Undo the link if the grids will not have the same columns."""
        if self._link is not None and (run is None or run.effect.dims != current.effect.dims):
            self._link.unlink()
            self._link = None

    def _join(self, current: PatchingResult, run: PatchingResult | None) -> None:
        """Write above the grids what they are, and link them if both have positions, or both heads."""
        if run is None:
            self.grid.title = current.label(prompts=False)
            return
        prompts = (run.clean, run.corrupted) != (current.clean, current.corrupted)
        self.grid.title, self.other.title = (each.label(prompts=prompts) for each in (current, run))
        if self._link is None and run.effect.dims == current.effect.dims:
            self._link = link(self.grid, self.other)


def _beside() -> widgets.HBox:
    box = widgets.HBox(layout=widgets.Layout(grid_gap="24px", align_items="flex-start"))
    return box.add_class("nb-beside")  # the style sheet of views says who gets how much of its width


def _share(part: int) -> widgets.Layout:
    return widgets.Layout(flex=f"{part} 1 0", min_width="0")
