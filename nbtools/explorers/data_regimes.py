"""What a small network learns, over the data that it learns from: in context, or in its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets
import xarray as xr

from nbtools.errors import InputError
from nbtools.explorers._pattern_traits import Given, Quiet
from nbtools.explorers._prompt import Explorer
from nbtools.explorers._regimes_opened import OpenedCell, RegimesControls
from nbtools.explorers._regimes_runs import Cell, Regimes, read_regimes
from nbtools.training import Trajectory
from nbtools.views.head_grid.settings import SettingsGrid

__all__ = ["DataRegimesExplorer", "data_regimes"]

_MEASURE = "in_context"
_CHOSEN = ("measure", "step", "cell", "kind", "example")


class DataRegimesExplorer(Explorer):
    """Trainings that differ in two settings of their data, step by step; made by `data_regimes`.

    Attributes
    ----------
    measure
        What the colours show, one of ``measures``.
    step
        The measured step on show.
    cell
        The values of both settings in the training that is opened, such as ``(512, 2)``; their names are those of the
        first two dimensions of ``result``. Its name on the grid can be set as well.
    kind, example
        Which sequence the opened network is looked at on: one of the kinds of `emergence`, and its number from 0.
    result
        What is on show: the measure at the step, over both settings and ``seed``.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. What does not fit changes nothing.
    """

    measure, kind = traitlets.Unicode(), traitlets.Unicode()
    step, example = traitlets.Int(), traitlets.Int()
    cell = Given()
    result = traitlets.Instance(xr.DataArray, allow_none=True)

    def __init__(self, regimes: Regimes, opened: OpenedCell, measure: str, cell: Cell) -> None:
        self.regimes, self.opened, self._on_show = regimes, opened, cell
        self.measures = [str(name) for name in regimes.measures]
        self.grid, self.curves, self.status = SettingsGrid(), opened.curves, opened.status
        self.controls = RegimesControls(self.measures)
        self._quiet, self._good = Quiet(), {}
        super().__init__(opened.model, [[self.grid], *opened.rows], controls=[self.controls])
        self._lay_out()
        with self._quiet:
            self.measure, self.step, self.cell = measure, opened.step, cell
            self.kind, self.example = opened.kind, opened.example
        self._keep()
        self._publish(self._answer(*self._asked()), *self._asked())
        self._connect()

    def _lay_out(self) -> None:
        """Put grid and curves side by side, or below each other where a page is narrow."""
        words, curves, below = self.opened.children
        self.grid.layout.flex, curves.layout = "0 0 auto", widgets.Layout(flex="1 1 420px", width="auto", min_width="0")
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="8px 32px", align_items="flex-start")
        layout.margin = "8px 0 12px"
        self.children = [self.controls, widgets.HBox([self.grid, curves], layout=layout), words, below]

    def _connect(self) -> None:
        self.observe(self._changed, _CHOSEN)
        for name in ("kind", "example"):
            traitlets.link((self.opened, name), (self, name))
        traitlets.link((self.curves, "step"), (self, "step"))
        self.grid.observe(self._clicked, "selected")
        self.controls.measure.observe(self._entered, "value")

    @property
    def run(self) -> Trajectory:
        """The training that is opened."""
        return self.regimes.runs[self.cell]

    @traitlets.validate(*_CHOSEN)
    def _fits(self, proposal: dict[str, Any]) -> Any:
        """Say what does not fit, and keep what was there."""
        name, value = proposal["trait"].name, proposal["value"]
        if name == "step":
            return self.curves.nearest(value)
        try:
            return self._checked(name, value)
        except InputError as error:
            self._complain(str(error))
            return self._good[name]

    def _checked(self, name: str, value: Any) -> Any:
        if name == "cell":
            return self.regimes.cell(value)
        if name == "measure":
            return self.regimes.check_measure(value)
        self.opened._check(name, value)
        return value

    def _clicked(self, change: dict[str, Any]) -> None:
        """Open the cell that was clicked last; one is always open."""
        if not self._quiet:
            self.cell = change["new"][-1] if change["new"] else self.cell
            with self._quiet:
                self.grid.selected = [self.regimes.label(self.cell)]

    def _entered(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self.measure = change["new"]

    def _changed(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self._keep()
            self._request(change)

    def _keep(self) -> None:
        self._good = {name: getattr(self, name) for name in _CHOSEN}

    def _asked(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _CHOSEN)

    def _answer(self, measure: str, step: int, cell: Cell, *others: Any) -> xr.DataArray:
        """Give what is on show, and open another cell if that is asked for."""
        if cell != self._on_show:
            self.opened.turn_to(self.regimes.runs[cell], self.regimes.named(cell))
            self._on_show = cell
        return self.regimes.measures[measure].sel(step=step)

    def _explain(self, error: Exception, request: tuple[Any, ...]) -> None:
        """Say why a cell cannot be opened, and go back to the one that is."""
        with self._quiet:
            self.cell = self._on_show
            self.grid.selected = [self.regimes.label(self.cell)]
        self._keep()
        super()._explain(error, request)

    def _publish(self, found: xr.DataArray, measure: str, step: int, cell: Cell, *others: Any) -> None:
        self.model = self.opened.model
        if self.error:
            self.opened.say()
        with self._quiet:
            self._draw(found, measure, step)
            self.grid.selected = [self.regimes.label(cell)]
            self.controls.measure.value = measure
        self.controls.about.value = str(found.attrs.get("long_name", ""))
        self.error, self.result = self.opened.error, found

    def _draw(self, found: xr.DataArray, measure: str, step: int) -> None:
        """Show the mean over seeds in each cell, the greatest value of the rows' setting on top."""
        rows, columns = self.regimes.shown
        ordered = found.transpose(rows, columns, "seed").isel({rows: slice(None, None, -1)})
        mean, (low, high) = ordered.mean("seed"), self.regimes.ends(measure)
        seeds = found.sizes["seed"]
        with self.grid.hold_sync():
            self.grid.show(mean, notes=_ranges(ordered.values), label=measure.replace("_", " "), vmin=low, vmax=high)
            self.grid.title = f"step {step:,}" + (f", mean of {seeds} seeds" if seeds > 1 else "")

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={len(values)}" for name, values in self.regimes.settings.items())
        measure = "" if self.measure == _MEASURE else f", measure={self.measure!r}"
        return f"DataRegimesExplorer({sizes}{measure}, step={self.step}, cell={self.cell})"


def data_regimes(
    runs: Iterable[Trajectory | str | Path] | str | Path,
    *,
    measure: str = _MEASURE,
    step: int | None = None,
    names: Sequence[str] | Mapping[str, str] | None = None,
) -> DataRegimesExplorer:
    """What a small network learns, over the data that it learns from.

    Each cell of the grid is a training, on data of its own: its colour is what was measured at the step, the mean of
    all seeds. Move the step, and see where in-context learning sets in and where the weights learn the classes instead.
    Click a cell to open it: beside the grid are its curves, the mean in the band of all seeds; below them stands where
    the network of the first seed looks on one sequence, at the nearest step whose weights were kept, as `emergence`
    shows it.

    Parameters
    ----------
    runs
        Trainings of in-context classification, or files of them, or the folder in which these are. Their data differ in
        two settings, such as the numbers of classes and burstiness, and there is one for each pair of values. Networks
        and how they were trained are the same. Several seeds each are best, side by side as
        ``train(…, seed=[0, 1, 2])`` gives them, with the last weights kept.
    measure
        What the colours show first: one of `nbtools.training.IN_CONTEXT_MEASURES`, or whatever else was measured.
    step
        On show first; by default the last.
    names
        The curves to show, at most eight; or a mapping from them to what is written above each. By default those that
        tell most.

    Returns
    -------
    DataRegimesExplorer
        Its traits ``measure``, ``step``, ``cell``, ``kind`` and ``example`` follow the hand, and can be set; ``result``
        is what is on show, and ``run`` the training that is opened.

    Raises
    ------
    InputError
        If runs do not differ in two settings of their data alone, a cell has no run or several, no weights were kept,
        or measure or names do not fit. What comes later is explained in ``error``.
    DataError
        If a file cannot be read.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024.

    Examples
    --------
    >>> from nbtools.training import ClassifierConfig, in_context, train
    >>> sizes = {"labels": 4, "pairs": 2, "dimensions": 6, "most_pairs": 3}
    >>> config = ClassifierConfig(places=7, dimensions=6, labels=4, d_mlp=8)
    >>> runs = [
    ...     train(
    ...         config,
    ...         in_context(classes=classes, burstiness=times, **sizes),
    ...         steps=20,
    ...         measure_every=10,
    ...         seed=[0, 1],
    ...         keep=(20,),
    ...     )
    ...     for classes in (8, 32)
    ...     for times in (1, 2)
    ... ]
    >>> explorer = data_regimes(runs)
    >>> explorer
    DataRegimesExplorer(classes=2, burstiness=2, step=20, cell=(32, 2))
    >>> explorer.cell, explorer.step = (8, 1), 9
    >>> explorer.run
    Trajectory(in_context 8 classes, burstiness 1, zipf 0, 2 layers, adamw, seeds 0, 1: 20 steps, 3 measured, 1 kept)
    >>> dict(explorer.result.sizes), int(explorer.result.step)
    ({'classes': 2, 'burstiness': 2, 'seed': 2}, 10)
    """
    regimes = read_regimes(runs)
    regimes.check_measure(measure)
    cell = max(regimes.runs)
    opened = OpenedCell(regimes.runs[cell], regimes.named(cell), names)
    if step is not None:
        opened.curves.step = step
    return DataRegimesExplorer(regimes, opened, measure, cell)


def _ranges(values: np.ndarray) -> list[str]:
    """Say for each cell, in which range the values of its seeds are; nothing where there is one seed.

    Examples
    --------
    >>> _ranges(np.array([[[0.25, 0.5], [0.25, np.nan]]]))
    ['0.25 to 0.5 in 2 seeds', '0.25 to 0.25 in 1 of 2 seeds']
    """
    texts = []
    for each in values.reshape(-1, values.shape[-1]) if values.shape[-1] > 1 else np.full((values.size, 1), np.nan):
        known = each[np.isfinite(each)]
        count = f"{known.size} of {each.size}" if known.size < each.size else f"{each.size}"
        texts.append(f"{known.min():.3g} to {known.max():.3g} in {count} seeds" if known.size else "")
    return texts
