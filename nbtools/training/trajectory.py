"""A training as data: what was measured at each step, and the model as it was then."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nbtools.errors import DataError, InputError
from nbtools.training.bigram_backcopy import BigramBackcopy
from nbtools.training.classifier_config import ClassifierConfig
from nbtools.training.config import TinyConfig
from nbtools.training.course import network
from nbtools.training.in_context import InContext
from nbtools.training.in_context_progress import IN_CONTEXT_MEASURES
from nbtools.training.induction_progress import INDUCTION_MEASURES
from nbtools.training.markov_repeats import MarkovRepeats
from nbtools.training.sink_progress import SINK_MEASURES

if TYPE_CHECKING:
    from torch import nn

    from nbtools.training.course import Config
    from nbtools.training.progress import Data, Values

__all__ = ["Trajectory", "log_spaced"]

_FORMAT = "nbtools trajectory 1"
_HEADER = "nbtools"  # of the file
_KINDS = {
    BigramBackcopy.kind: (BigramBackcopy, TinyConfig),
    MarkovRepeats.kind: (MarkovRepeats, TinyConfig),
    InContext.kind: (InContext, ClassifierConfig),
}
_MEANINGS = SINK_MEASURES | INDUCTION_MEASURES | IN_CONTEXT_MEASURES


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """A small model as it was at many steps of its training, and what was measured on the way.

    Attributes
    ----------
    config
        What the model is made of.
    data
        What it was trained on.
    about
        How it was trained: optimizer, lr, batch, seed, steps, …
    measures
        One variable for each measure, over ``step``, some over ``layer`` as well. The coordinate ``seed`` tells runs
        apart in ``xr.concat([run.measures for run in runs], "seed")``; where several networks learned side by side all
        measures are over ``seed``.
    kept
        The steps at which the weights were kept.
    checkpoints
        For each parameter its values at all kept steps, in one tensor whose first dimension is ``step``; the next is
        ``seed`` where several networks learned side by side.
    """

    config: Config
    data: Data
    about: dict[str, Any]
    measures: xr.Dataset
    kept: tuple[int, ...]
    checkpoints: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        config: Config,
        data: Data,
        about: dict[str, Any],
        rows: Mapping[int, Mapping[str, Values]],
        weights: Mapping[int, Mapping[str, Tensor]],
    ) -> Trajectory:
        """Put together what was measured, and what was kept, at each step."""
        kept = tuple(sorted(weights))
        names = weights[kept[0]] if kept else ()
        checkpoints = {name: torch.stack([weights[step][name] for step in kept]) for name in names}
        columns = {
            name: np.array([row[name] for row in rows.values()], float) for name in next(iter(rows.values()), ())
        }
        return cls(config, data, about, _labelled(about, list(rows), columns), kept, checkpoints)

    def __repr__(self) -> str:
        about, seed = self.about, self.about["seed"]
        seeds = f"seed {seed}" if isinstance(seed, int) else f"seeds {', '.join(map(str, seed))}"
        return (
            f"Trajectory({self.data.summary}, {self.config.summary}, {about['optimizer']}, {seeds}: "
            f"{about['steps']} steps, {self.measures.sizes['step']} measured, {len(self.kept)} kept)"
        )

    def model(self, step: int | None = None, *, seed: int | None = None) -> nn.Module:
        """Give the model as it was at the kept step nearest to this one; by default the last.

        Where several networks learned side by side, `seed` says which one; by default the first.

        Raises
        ------
        InputError
            If no weights were kept, or there is no such seed.

        Examples
        --------
        >>> from nbtools.training import bigram_backcopy, train
        >>> config = TinyConfig(d_model=8, d_head=8, d_mlp=0, length=8)
        >>> found = train(config, bigram_backcopy(), steps=20, batch=4, keep=10)
        >>> found.model(8).cfg.model_name
        'bigram_backcopy, step 10'
        """
        if not self.kept:
            msg = "no weights were kept in this trajectory, only measures: train again with keep="
            raise InputError(msg)
        nearest = self.kept[-1] if step is None else min(self.kept, key=lambda known: abs(known - step))
        place = self.kept.index(nearest)
        weights = {key: values[place].float() for key, values in self.checkpoints.items()}
        if (column := self._column(seed)) is not None:
            weights = {key: values[column] for key, values in weights.items()}
        model = network(self.config, self.data, name=f"{self.data.kind}, step {nearest}")
        model.load_state_dict(weights)
        return model

    def _column(self, seed: int | None) -> int | None:
        """Say which of several networks has this seed; None where there is only one."""
        known = self.about["seed"]
        if seed is not None and seed not in np.atleast_1d(known):
            msg = f"no network of seed {seed} in this trajectory, only of {known}"
            raise InputError(msg)
        return None if isinstance(known, int) else known.index(known[0] if seed is None else seed)

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write everything into one safetensors file.

        Parameters
        ----------
        path
            Where to.
        half
            Whether to write weights as float16, in half the space; measures hardly notice.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        weights = {f"weights.{name}": tensor.half() if half else tensor for name, tensor in self.checkpoints.items()}
        measured = {f"measures.{name}": torch.tensor(array.values) for name, array in self.measures.items()}
        source = {f"data.{name}": tensor for name, tensor in self.data.tensors().items()}
        steps = {
            "steps": torch.tensor(self.measures.step.values),
            "kept": torch.tensor(self.kept, dtype=torch.long),
        }
        words = {"format": _FORMAT, "config": asdict(self.config), "data": self.data.describe(), "about": self.about}
        tensors = {name: tensor.contiguous() for name, tensor in (steps | source | measured | weights).items()}
        _write(tensors, words, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        """Read what `save` wrote.

        Raises
        ------
        DataError
            If there is no such file, or it is not a whole trajectory.

        Examples
        --------
        >>> from nbtools.training import bigram_backcopy, train
        >>> config = TinyConfig(d_model=8, d_head=8, d_mlp=0, length=8)
        >>> found = train(config, bigram_backcopy(), steps=20, batch=4, keep=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(Path(folder) / "run.safetensors")
        ...     again = Trajectory.load(Path(folder) / "run.safetensors")
        >>> again.kept, bool((again.model(10).embed.W_E == found.model(10).embed.W_E).all())
        ((0, 10, 20), True)
        """
        words, tensors = _read(Path(path))
        try:
            return cls._from(words, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            msg = f"{path} is damaged: expected a whole trajectory ({type(error).__name__}: {error}); make it again"
            raise DataError(msg) from error

    @classmethod
    def _from(cls, words: dict[str, Any], tensors: dict[str, Tensor]) -> Trajectory:
        source, config = _KINDS[words["data"]["kind"]]
        data = source.restore(words["data"], _under("data.", tensors))
        measured = {name: values.numpy() for name, values in _under("measures.", tensors).items()}
        measures = _labelled(words["about"], tensors["steps"].tolist(), measured)
        kept = tuple(tensors["kept"].tolist())
        found = cls(config(**words["config"]), data, words["about"], measures, kept, _under("weights.", tensors))
        if kept:
            found.model()  # all weights are there, and fit
        return found


def log_spaced(steps: int, count: int) -> list[int]:
    """Give about this many steps from 0 to the last one, close together at first.

    Examples
    --------
    >>> log_spaced(1000, 8)
    [0, 1, 3, 10, 32, 100, 316, 1000]
    """
    if steps < 1 or count < 2:
        msg = f"expected at least 1 step and 2 of them kept, got steps={steps} and count={count}"
        raise InputError(msg)
    return [0, *np.unique(np.geomspace(1, steps, count - 1).round().astype(int)).tolist()]


def _labelled(about: dict[str, Any], steps: list[int], columns: Mapping[str, np.ndarray]) -> xr.Dataset:
    dims = ("step", "layer" if isinstance(about["seed"], int) else "seed")
    variables = {
        name: xr.Variable(dims[: values.ndim], values, attrs={"long_name": _MEANINGS.get(name) or _of_loss(name)})
        for name, values in columns.items()
    }
    layers = [values.shape[1] for values in columns.values() if values.ndim == 2 and dims[1] == "layer"]
    coords = {"step": steps, "seed": about["seed"]} | ({"layer": np.arange(layers[0])} if layers else {})
    return xr.Dataset(variables, coords=coords, attrs={"optimizer": about["optimizer"], "lr": about["lr"]})


def _of_loss(name: str) -> str:
    """Say what the mean loss on a part of the data is; what someone else measured has its name only."""
    part = name.removeprefix("loss_")
    return name if part == name else f"mean loss ({part}) since the step measured before, in nats"


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write(tensors: dict[str, Tensor], words: dict[str, Any], path: Path) -> None:
    """Write beside the file first, so that a file is never half written."""
    header = {_HEADER: json.dumps(words)}  # one entry: the order of several differs from one process to the next
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            written = Path(folder) / path.name
            written.write_bytes(save(tensors, metadata=header))
            written.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error}"
        raise DataError(msg) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as opened:
            words = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        msg = f"cannot read {path}: expected a trajectory written by Trajectory.save ({error})"
        raise DataError(msg) from error
    if words.get("format") != _FORMAT:
        msg = f"{path} is not a trajectory: expected format {_FORMAT!r}, got {words.get('format')!r}"
        raise DataError(msg)
    return words, tensors
