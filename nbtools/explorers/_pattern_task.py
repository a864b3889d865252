"""An edit run over a whole task, batch by batch, and what came of earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets

from nbtools.errors import InputError
from nbtools.explorers._background import Background, Ending
from nbtools.explorers._pattern_controls import TaskPanel
from nbtools.explorers._pattern_runs import PatternRuns, Request
from nbtools.explorers._pattern_traits import Found
from nbtools.explorers._pattern_words import task_words, words
from nbtools.explorers._prompt import Explorer
from nbtools.runs.latest import Latest

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["TaskExplorer"]

_KEPT = 20


class TaskExplorer(Explorer):
    """An edit of one prompt that can be made in all prompts of the task.

    A subclass says which edit is on show (`_shown`), and calls `_edited` once that is another one.
    """

    result = Found()
    whole_task = traitlets.Bool()
    task_result = Found()
    busy = traitlets.Bool()
    progress, total = traitlets.Int(), traitlets.Int()
    state = traitlets.Unicode()

    _shown: Request

    def __init__(self, work: PatternRuns, rows: list[list[Any]], **options: Any) -> None:
        self._work, self.task, self._given = work, work.task, rows
        self._kept: dict[tuple[Any, ...], tuple[Request, xr.Dataset]] = {}
        self.panel = TaskPanel(len(work.task))
        self._background: Background[xr.Dataset | None] = Background()
        self._switches: Latest[bool] = Latest(self._switch)
        super().__init__(work.model, rows, **options)
        self.total = len(work.task)
        traitlets.link((self, "whole_task"), (self.panel.switch, "value"))
        self.panel.cancel.on_click(lambda button: self.cancel())
        self.panel.on_run(self._picked)
        self.observe(lambda change: self._switches.submit(change["new"]), "whole_task")

    @property
    def runs(self) -> list[xr.Dataset]:
        """What was run on the whole task so far, oldest first."""
        return [run for _, run in self._kept.values()]

    @property
    def _refused(self) -> bool:
        """Whether what is on show is not what was asked for last, because that could not be done."""
        return bool(self.error) and self._asked() != self._shown

    def finish(self) -> xr.Dataset:
        """Run what is left of the whole task now, and give its result.

        Raises
        ------
        InputError
            If what was asked for has an error.
        """
        if not self.busy and not self._refused and self.progress < self.total:
            self._run()
        self._background.finish()
        if self.error:
            raise InputError(self.error)
        return self.task_result

    def cancel(self) -> None:
        """Stop running the task after the piece in progress; what is done stays on show."""
        self.whole_task = False
        self._background.stop()

    def close(self) -> None:
        """Stop what runs, and take the explorer off the page."""
        self._background.stop()
        super().close()

    def _picked(self, label: str) -> None:
        """Bring an edit back that was run before."""
        kept = {request.row: request for request, _ in self._kept.values()}
        self._bring_back(kept.get(label, self._shown._replace(to=())))

    def _edited(self) -> None:
        """Take up what is known of this edit on the whole task; run it if that is switched on."""
        _, known = self._kept.get(self._shown.key, (None, None))
        self.task_result, self.progress = known, 0 if known is None else self.total
        if self.whole_task and known is None:
            self._run()
        else:
            self._tell()

    def _switch(self, on: bool) -> None:
        if not on:
            self._background.stop()
        elif not self.busy and self.progress < self.total:
            self._run()

    def _run(self) -> None:
        if self.error and not self._refused:  # the last try failed
            self.error, self.status.value = "", words(self._shown, self.result)
        self.busy, self.task_result, self.progress = True, None, 0
        self._tell()
        self._background.start(self._work.whole(self._shown), show=self._fill, end=self._ended)

    def _fill(self, found: xr.Dataset | None) -> None:
        if found is not None:
            self.task_result, self.progress = found, found.sizes["prompt"]
            self._tell()
        if self._latest.waiting and not self._background.yields:
            self._background.stop()  # no loop would serve the new request before the end

    def _ended(self, ending: Ending) -> None:
        self.busy = False
        if ending.error is not None:
            self._explain(ending.error, self._shown)
        elif ending.whole:
            self._kept.pop(self._shown.key, None)
            self._kept[self._shown.key] = self._shown, self.task_result
            self._kept = dict([*self._kept.items()][-_KEPT:])
        self._tell()

    def _tell(self) -> None:
        """Say how far the task is, and show what came of it beside what came of other edits."""
        self.state = self.panel.says.value = task_words(self._shown, self.task_result, total=self.total, busy=self.busy)
        self.panel.show_progress(self.progress, busy=self.busy)
        if self._kept and not self.busy:
            self._show_runs()

    def _show_runs(self) -> None:
        known = {request.row: run for request, run in self._kept.values()}
        own, _ = self._kept.get(self._shown.key, (None if self._shown.to else self._shown, None))
        self.panel.show_runs(known, None if own is None else own.row)
        self.rows = [*self._given, [self.panel.bars]]
