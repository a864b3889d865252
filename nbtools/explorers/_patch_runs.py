"""What the patching explorer runs: two prompts, an estimate of every cell, a sweep, and one patched run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError, NbtoolsError
from nbtools.explorers._answers import shares
from nbtools.models.tokens import label
from nbtools.patching import SITES, Sweep, attribute
from nbtools.patching.exact import sides
from nbtools.patching.running import checked
from nbtools.patching.sites import exchange, site_of
from nbtools.runs.forward import forward
from nbtools.tasks import LogitDifference, LogProbability, Probability, pair

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Metric, Task

__all__ = [
    "METRICS",
    "SHOWN_SITES",
    "PatchingResult",
    "Prepared",
    "Request",
    "check_metric",
    "metric_name",
    "patched",
    "prepare",
]

log = logging.getLogger(__name__)

_PIECE = 128  # tokens of patched runs at once: a few tenths of a second on a laptop, and a click is heard in between
_ENDING = 32  # characters of a prompt that tell it from others

SHOWN_SITES = tuple(name for name in SITES if name != "neurons")
"""A layer of the embedded model has 1536 neurons: no screen shows a row of them, and exact cells would take minutes."""


METRICS: dict[str, Callable[[Task], Metric]] = {
    "logit difference": lambda task: LogitDifference(task.answer, task.wrong),
    "probability": lambda task: Probability(task.answer),
    "log probability": lambda task: LogProbability(task.answer),
}


class Request(NamedTuple):
    """What was asked for; an empty answer is the model's own."""

    clean: str
    corrupted: str
    answer: str
    wrong: str
    site: str
    metric: str | Metric
    direction: str


@dataclass(frozen=True, eq=False)
class PatchingResult:
    """What one sweep gave.

    Attributes
    ----------
    clean, corrupted
        The prompts.
    site, metric, direction
        What was patched, what was measured, and which run was patched into.
    effect
        As `nbtools.patching.patch` gives it; NaN where no exact run was made.
    estimate
        As `nbtools.patching.attribute` gives it; None where the metric has no gradient.
    task
        The prompts with the answers that were used.
    """

    clean: str
    corrupted: str
    site: str
    metric: str
    direction: str
    effect: xr.DataArray
    estimate: xr.DataArray | None
    task: Task

    def label(self, *, prompts: bool) -> str:
        """Say in a line what was run, with the end of the prompt if asked for."""
        ending = self.clean if len(self.clean) <= _ENDING else f"… {self.clean[-_ENDING:].split(' ', 1)[-1]}"
        return " · ".join([self.site, self.direction, self.metric, *([ending] if prompts else [])])

    def __repr__(self) -> str:
        what = f"site={self.site!r}, metric={self.metric!r}, direction={self.direction!r}"
        return f"PatchingResult(clean={self.clean!r}, corrupted={self.corrupted!r}, {what})"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that can be run.

    Attributes
    ----------
    request, task, metric
        What was asked for, as prompts with answers, and the number that is read off a run.
    base, source
        Probabilities of the next token ``[vocabulary]`` in the run patched into, and in the one patched from.
    estimate
        Of every cell, or None if the metric has no gradient.
    blank
        The effects before any of them is known.
    """

    request: Request
    task: Task
    metric: Metric
    base: Float[Tensor, " vocabulary"]
    source: Float[Tensor, " vocabulary"]
    estimate: xr.DataArray | None
    blank: xr.DataArray

    def result(self, effect: xr.DataArray) -> PatchingResult:
        """Give the result as far as it is known."""
        asked = self.request
        name = metric_name(asked.metric)
        return PatchingResult(
            asked.clean, asked.corrupted, asked.site, name, asked.direction, effect, self.estimate, self.task
        )

    def pieces(self, model: TransformerBridge) -> Iterator[tuple[int, xr.DataArray]]:
        """Run the sweep; after each piece give how many cells are done, and what there is."""
        asked = self.request
        sweep = Sweep(model, self.task, asked.site, direction=asked.direction, metric=self.metric, piece_tokens=_PIECE)
        for done in sweep:
            yield done, sweep.effect


def prepare(model: TransformerBridge, request: Request) -> Prepared:
    """Read the prompts, find the answers, and estimate every cell.

    Raises
    ------
    PromptError, HookError, InputError
        If prompts, answers, site, direction or metric do not fit.
    """
    _check_names(request)
    task, logits = _task(model, request)
    metric = METRICS[request.metric](task) if isinstance(request.metric, str) else request.metric
    order = [1, 0] if request.direction == "denoising" else [0, 1]
    ends = _ends(metric, metric_name(request.metric), logits)[order]
    base, source = map(shares, logits[order])
    estimate = _estimate(model, task, request, metric)
    empty = Sweep(model, task, request.site, direction=request.direction, metric=metric, engine="hooks")
    blank = empty.effect.assign_coords(base=ends[0], source=ends[1]).assign_attrs(engine="")
    return Prepared(request, task, metric, base, source, estimate, blank)


def check_metric(metric: str | Metric) -> str | Metric:
    """Give a metric back if it is a known name or a function.

    Raises
    ------
    InputError
        If it is neither.
    """
    if isinstance(metric, str) and metric not in METRICS:
        msg = f"no metric {metric!r}: expected {', '.join(map(repr, METRICS))}, or a function of the logits"
        raise InputError(msg)
    if not isinstance(metric, str) and not callable(metric):
        msg = f"expected a metric by name or as a function of the logits, got {type(metric).__name__}"
        raise InputError(msg)
    return metric


def metric_name(metric: str | Metric) -> str:
    """Give the name of a metric."""
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)


def patched(
    model: TransformerBridge, task: Task, site: str, direction: str, layer: int, column: int
) -> Float[Tensor, " vocabulary"]:
    """Run once with one activation from the other run; give the probabilities of the next token."""
    base, source = sides(task, direction)
    found = site_of(site)
    hook, axis = found.at(layer), found.axes.index(found.default[0])
    given = forward(model, source, capture=[hook])[hook]
    first, chosen = (torch.tensor([number], device=given.device) for number in (0, column))
    run = forward(model, base, edit={hook: lambda value: exchange(value, given, first, {axis: chosen})})
    return shares(run.logits[0, -1])


def _check_names(request: Request) -> None:
    if request.site == "neurons":
        msg = "neurons are too many to show whole: call nb.patching.patch with neurons=, or choose another site"
        raise InputError(msg)
    site_of(request.site)
    check_metric(request.metric)
    if request.direction not in ("denoising", "noising"):
        msg = f"expected the direction 'denoising' or 'noising', got {request.direction!r}"
        raise InputError(msg)


def _task(model: TransformerBridge, request: Request) -> tuple[Task, Float[Tensor, "run vocabulary"]]:
    """Make the task; give what both prompts, clean first, are followed by."""
    prompts = pair(model, request.clean, request.corrupted, 0, 1)  # answers come once the prompts are known to be good
    logits = forward(model, torch.cat([prompts.clean.ids, prompts.corrupted.ids])).logits[:, -1].float()
    given = [_typed(request.answer), _typed(request.wrong)]
    own = logits.argmax(-1).tolist()
    answers = [text or token for text, token in zip(given, own, strict=True)]
    if not any(given) and own[0] == own[1]:
        text = label(model, own[0])
        msg = f"the model goes on with {text!r} after both prompts: write an answer, a wrong answer, or other prompts"
        raise InputError(msg)
    return pair(model, request.clean, request.corrupted, *answers), logits


def _typed(answer: str) -> str:
    """Read an answer as it is typed: a space in front may be written as it is shown."""
    return f" {answer[1:]}" if len(answer) > 1 and answer[0] == "·" else answer


def _ends(metric: Metric, name: str, logits: Float[Tensor, "run vocabulary"]) -> np.ndarray:
    """Give the metric of both runs, which must work on them, and differ."""
    try:
        with torch.no_grad():
            ends = checked(metric)(logits, torch.zeros(2, dtype=torch.long, device=logits.device)).double().cpu()
    except Exception as error:
        msg = f"the metric {name!r} could not be taken: {type(error).__name__}: {error}"
        raise InputError(msg) from error
    if not abs(ends[0] - ends[1]) > 1e-6:
        msg = (
            f"the {name} is {ends[0]:.3g} after the clean prompt and {ends[1]:.3g} after the corrupted one, "
            "so there is no gap to close: choose other prompts, answers or another metric"
        )
        raise InputError(msg)
    return ends.numpy()


def _estimate(model: TransformerBridge, task: Task, request: Request, metric: Metric) -> xr.DataArray | None:
    try:
        return attribute(model, task, request.site, direction=request.direction, metric=metric)
    except NbtoolsError:
        raise
    except Exception as error:  # the metric works, so it is the gradient that cannot be taken
        log.info("no estimate: %s: %s", type(error).__name__, error)
        return None
