"""What a sweep has to run: every patched run, where it begins to differ, and which are known without running."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nbtools.errors import HookError, InputError
from nbtools.models.describe import n_key_value_heads
from nbtools.patching.sites import Site, by_query_head, count, swept

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["Batch", "Plan", "in_batches", "plan_sweep", "read_positions"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some runs of a sweep; index arrays of equal length, the latest start first, then the last layer.

    Attributes
    ----------
    prompt
        The prompt of each run.
    layer
        The place of its layer in the sweep's list.
    start
        The first position that can change.
    places
        For each swept dimension the place in its list of indices.
    """

    prompt: np.ndarray
    layer: np.ndarray
    start: np.ndarray
    places: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.prompt)

    def take(self, chosen: np.ndarray | slice) -> Batch:
        """Give some of the runs."""
        places = {name: where[chosen] for name, where in self.places.items()}
        return Batch(self.prompt[chosen], self.layer[chosen], self.start[chosen], places)

    def cell(self) -> tuple[np.ndarray, ...]:
        """Where the runs lie in the array of results ``[prompt, layer, *dims]``."""
        return (self.prompt, self.layer, *self.places.values())

    def starts(self) -> list[tuple[int, np.ndarray]]:
        """Group the runs by their start: each with the numbers of its runs."""
        parts = np.split(np.arange(len(self)), np.flatnonzero(np.diff(self.start)) + 1)
        return [(int(self.start[part[0]]), part) for part in parts if len(part)]


@dataclass(frozen=True, eq=False)
class Plan:
    """All runs of a sweep.

    Attributes
    ----------
    site
        What is patched.
    layers
        In which layers.
    axes
        For each swept dimension its indices; for named positions one row ``[prompt, place]``.
    positions
        How many tokens a prompt has.
    first_difference
        For each prompt the first position at which the two prompts differ.
    """

    site: Site
    layers: list[int]
    axes: dict[str, np.ndarray]
    positions: int
    first_difference: np.ndarray
    names: list[str] = field(default_factory=list)
    """What positions were called when they were asked for by name."""
    heads_per_group: int = 1
    """Where keys or values are swept by query head: how many of those share them."""

    def of(self, prompts: slice) -> Plan:
        """Give the plan of some of the prompts."""
        axes = {name: axis[prompts] if axis.ndim == 2 else axis for name, axis in self.axes.items()}
        return replace(self, axes=axes, first_difference=self.first_difference[prompts])

    @property
    def by_query_head(self) -> bool:
        """Whether a patch reaches one query head of a group only."""
        return self.heads_per_group > 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of results: prompts, layers, and the swept dimensions."""
        return (len(self.first_difference), len(self.layers), *(axis.shape[-1] for axis in self.axes.values()))

    def index(self, name: str, batch: Batch) -> np.ndarray:
        """What each run of a batch has chosen in a dimension: the index itself, not its place in the list."""
        axis, place = self.axes[name], batch.places[name]
        return axis[batch.prompt, place] if axis.ndim == 2 else axis[place]

    @cached_property
    def everything(self) -> Batch:
        """Every run; those that cost least come first: late starts, then late layers."""
        prompt, layer, *rest = (where.ravel() for where in np.indices(self.shape))
        places = dict(zip(self.axes, rest, strict=True))
        batch = Batch(prompt, layer, np.zeros_like(prompt), places)
        start = np.maximum(self._first_touched(batch), 0)
        order = np.lexsort((prompt, -layer, -start))
        return Batch(prompt, layer, start, places).take(order)

    def _first_touched(self, batch: Batch) -> np.ndarray:
        """The first position whose activations can change; before the first difference nothing does."""
        for name in ("position", "query", "key"):
            if name in self.axes:
                return self.index(name, batch)
        return self.first_difference[batch.prompt]

    @cached_property
    def known(self) -> Batch:
        """The runs that patch what is the same in both prompts: their result is that of the unpatched run."""
        return self.everything.take(self._is_known())

    @cached_property
    def open(self) -> Batch:
        """The runs that have to be run."""
        return self.everything.take(~self._is_known())

    def _is_known(self) -> np.ndarray:
        batch, first = self.everything, self.first_difference[self.everything.prompt]
        for name in ("position", "query"):
            if name in self.axes:
                return self.index(name, batch) < first
        return np.full(len(batch), False)

    def batches(self, most_tokens: int, most_runs: int) -> Iterator[Batch]:
        """Cut the open runs into batches."""
        return in_batches(self.open, self.positions, most_tokens, most_runs)


def in_batches(runs: Batch, positions: int, most_tokens: int, most_runs: int) -> Iterator[Batch]:
    """Cut runs into batches of at most so many changed tokens and runs, at least one run each."""
    tokens, begin = positions - runs.start, 0
    while begin < len(runs):
        room = np.searchsorted(np.cumsum(tokens[begin:]), most_tokens, side="right")
        end = begin + max(1, min(int(room), most_runs))
        yield runs.take(slice(begin, end))
        begin = end


def plan_sweep(
    model: TransformerBridge,
    task: Task,
    site: Site,
    over: Sequence[str] | str | None,
    layers: Iterable[int] | None,
    chosen: dict[str, Iterable[Any] | None],
) -> Plan:
    """Lay out a sweep: which layers, which places in each dimension.

    Raises
    ------
    HookError
        If a layer, head or neuron does not exist.
    InputError
        If a dimension or a named position does not.
    """
    length = len(task.clean)
    dims, by_query = swept(site, over), by_query_head(site, over)
    if chosen["position"] is not None and not {"position", "query"} & set(dims):
        msg = f"positions= needs a sweep over them: over={(*dims, 'position')!r}"
        raise InputError(msg)
    names: list[str] = []
    axes: dict[str, np.ndarray] = {}
    for name in dims:
        most = count(model, site, name, length)
        if name in ("position", "query"):
            axes[name], names = read_positions(task, chosen[name], most)
        else:
            axes[name] = _indices(name, chosen.get(name), model.cfg.n_heads if name == "head" and by_query else most)
    shared = model.cfg.n_heads // n_key_value_heads(model) if by_query else 1
    return Plan(site, _layers(model, layers), axes, length, np.array(task.first_difference), names, shared)


def _layers(model: TransformerBridge, layers: Iterable[int] | None) -> list[int]:
    return _indices("layer", layers, model.cfg.n_layers).tolist()


def _indices(name: str, asked: Iterable[int] | int | None, most: int) -> np.ndarray:
    if asked is None:
        return np.arange(most)
    wanted = [asked] if isinstance(asked, (int, np.integer)) else list(asked)
    wrong = [index for index in wanted if not -most <= index < most]
    if wrong or not wanted:
        msg = f"expected {name}s between 0 and {most - 1}, got {wanted}"
        raise HookError(msg)
    return np.array([int(index) % most for index in wanted])


def read_positions(
    task: Task, asked: Iterable[int | str] | int | str | None, most: int
) -> tuple[np.ndarray, list[str]]:
    """Read positions: numbers ``[place]`` are the same in all prompts, names are looked up in each ``[prompt, place]``.

    Raises
    ------
    HookError
        If a number lies outside the prompts.
    InputError
        If the task has no position of that name.
    """
    if asked is None:
        return np.arange(most), []
    wanted = [asked] if isinstance(asked, (str, int)) else list(asked)
    if not any(isinstance(name, str) for name in wanted):
        return _indices("position", wanted, most), []
    unknown = [name for name in wanted if isinstance(name, str) and name not in task.positions]
    if unknown:
        msg = f"no position {unknown[0]!r} in this task: it names {', '.join(task.positions)}"
        raise InputError(msg)
    numbers = [name for name in wanted if not isinstance(name, str)]
    places = iter(_indices("position", numbers, most) if numbers else ())
    rows = [task.positions[name] if isinstance(name, str) else [next(places)] * len(task) for name in wanted]
    return np.array(rows).T, [str(name) for name in wanted]
