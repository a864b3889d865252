"""Trainings that differ in two settings of their data, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.training import IN_CONTEXT_MEASURES, InContext, Trajectory

__all__ = ["Cell", "Regimes", "read_regimes"]

Cell = tuple[float, float]

_FORCED = ("places", "dimensions", "labels")  # by the data


@dataclass(frozen=True, eq=False)
class Regimes:
    """A training for each pair of values of two settings.

    Attributes
    ----------
    settings
        By name the values of both settings, ascending.
    runs
        The training of each cell.
    measures
        What all of them measured, over both settings, ``step`` and ``seed``; NaN where it was not finite.
    """

    settings: Mapping[str, list[float]]
    runs: Mapping[Cell, Trajectory]
    measures: xr.Dataset

    @property
    def shown(self) -> tuple[str, str]:
        """The settings of the grid's rows and columns: that of more values is written across."""
        first, second = self.settings
        return (first, second) if len(self.settings[second]) > len(self.settings[first]) else (second, first)

    def label(self, cell: Cell) -> str:
        """Name a cell as the grid does, by the value of its row and that of its column."""
        named = dict(zip(self.settings, cell, strict=True))
        return ", ".join(str(named[name]) for name in self.shown)

    def cell(self, given: Any) -> Cell:
        """Read a cell: its two values, or its name on the grid.

        Raises
        ------
        InputError
            If there is none.
        """
        for known in self.runs:
            if given == self.label(known) or (isinstance(given, list | tuple) and tuple(given) == known):
                return known
        values = " and ".join(f"{name} of {', '.join(map(str, known))}" for name, known in self.settings.items())
        msg = f"expected cell as a pair: {values}, got {given!r}"
        raise InputError(msg)

    def check_measure(self, measure: Any) -> str:
        """Give a measure back if all trainings have it, or raise an InputError that says which they have."""
        known = [str(name) for name in self.measures]
        if measure not in known:
            msg = f"expected measure as one of {', '.join(known)}, got {measure!r}"
            raise InputError(msg)
        return measure

    def named(self, cell: Cell) -> str:
        """Write a cell in words.

        Examples
        --------
        >>> Regimes({"classes": [64], "zipf": [0.5]}, {}, xr.Dataset()).named((64, 0.5))
        'classes 64, zipf 0.5'
        """
        return ", ".join(f"{name} {value}" for name, value in zip(self.settings, cell, strict=True))

    def ends(self, measure: str) -> tuple[float, float]:
        """Give the range of the colours, the same for all steps: from 0 to 1 where everything lies there."""
        values = self.measures[measure].values
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        return min(0.0, float(low)), 1.0 if high <= 1 else float(high)


def read_regimes(runs: Any) -> Regimes:
    """Read trainings, or files of them, and put them into one table.

    Raises
    ------
    InputError
        If they do not differ in two settings of their data alone, or a cell has no training, or several.
    DataError
        If a file cannot be read.
    """
    known = _loaded(runs)
    names = _differing(known)
    _check_alike(known)
    cells = [tuple(run.data.describe()[name] for name in names) for run in known]
    settings = {name: sorted(set(values)) for name, values in zip(names, zip(*cells, strict=True), strict=True)}
    _check_cells(settings, cells)
    found = dict(zip(cells, known, strict=True))
    return Regimes(settings, found, _table(settings, found))


def _loaded(runs: Any) -> list[Trajectory]:
    if isinstance(runs, str | Path):
        folder = Path(runs)
        if not folder.is_dir():
            msg = f"expected a folder of trajectories, or a list of them, got {runs}, which is no folder"
            raise InputError(msg)
        runs = sorted(folder.glob("*.safetensors"))
    if not isinstance(runs, Iterable):
        msg = f"expected trajectories that differ in two settings of their data, got one {type(runs).__name__}"
        raise InputError(msg)
    known = [Trajectory.load(run) if isinstance(run, str | Path) else run for run in runs]
    for run in known:
        _check_kind(run)
    return known


def _check_kind(run: Any) -> None:
    if not isinstance(run, Trajectory):
        msg = f"expected each run as a Trajectory, or the path of one, got {type(run).__name__}"
        raise InputError(msg)
    if not isinstance(run.data, InContext):
        msg = f"expected runs of in-context classification, got one of {run.data.kind}"
        raise InputError(msg)
    if not run.kept:
        msg = f"no weights were kept in {run}: they are needed to open a cell, so train again with keep="
        raise InputError(msg)


def _differing(runs: list[Trajectory]) -> list[str]:
    """Name the two settings of the data in which runs differ."""
    described = [run.data.describe() for run in runs]
    names = [name for name in (described[0] if described else ()) if len({each[name] for each in described}) > 1]
    if len(names) != 2:
        which = f": {', '.join(names)}" if names else ""
        msg = (
            f"expected runs that differ in two settings of their data, got {len(runs)} that differ in "
            f"{len(names)}{which}; choose by name, such as sorted(Path(folder).glob('classes_*'))"
        )
        raise InputError(msg)
    return names


def _check_alike(runs: list[Trajectory]) -> None:
    """Refuse networks and trainings of which one setting is another one: nobody could say what a cell is due to."""
    alike = [_made(run) for run in runs]
    for name, value in alike[0].items():
        other = next((each[name] for each in alike if each[name] != value), value)
        if other != value:
            msg = f"expected networks of one kind, trained and measured alike, got {name} {value} and {other}"
            raise InputError(msg)


def _made(run: Trajectory) -> dict[str, Any]:
    """Give all that must be the same in all cells."""
    network = {name: value for name, value in asdict(run.config).items() if name not in _FORCED}
    about = {**run.about, "seed": np.atleast_1d(run.about["seed"]).tolist()}
    return network | about | {"measured steps": run.measures.step.values.tolist()}


def _check_cells(settings: Mapping[str, list[float]], cells: list[Cell]) -> None:
    wanted, names = [*product(*settings.values())], list(settings)
    twice = [cell for cell in wanted if cells.count(cell) > 1]
    missing = [cell for cell in wanted if cell not in cells]
    for wrong, got in ((twice, "several"), (missing, "none")):
        if wrong:
            named = "; ".join(f"{names[0]}={cell[0]}, {names[1]}={cell[1]}" for cell in wrong[:4])
            more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
            msg = f"expected one run for each {names[0]} and {names[1]}, got {got} for {named}{more}"
            raise InputError(msg)


def _table(settings: Mapping[str, list[float]], runs: Mapping[Cell, Trajectory]) -> xr.Dataset:
    """Put what all runs measured side by side."""
    measured = [_over_seeds(runs[cell].measures) for cell in product(*settings.values())]
    first, sizes, variables = measured[0], [*map(len, settings.values())], {}
    for name in _shared(measured):
        each = np.stack([one[name].transpose("step", "seed").values for one in measured])
        values = np.where(np.isfinite(each), each, np.nan).reshape(*sizes, *each.shape[1:])
        variables[name] = ((*settings, "step", "seed"), values, first[name].attrs)
    return xr.Dataset(variables, {**settings, "step": first.step.values, "seed": first.seed.values})


def _shared(measured: list[xr.Dataset]) -> list[str]:
    """Name what all measured for each network as a whole, what tells most first."""
    dims = {"step", "seed"}
    names = [
        str(name) for name in measured[0] if all(name in each and set(each[name].dims) == dims for each in measured)
    ]
    return sorted(names, key=[*IN_CONTEXT_MEASURES, *names].index)


def _over_seeds(measures: xr.Dataset) -> xr.Dataset:
    return measures if "seed" in measures.dims else measures.expand_dims("seed")
