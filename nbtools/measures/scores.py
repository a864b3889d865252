"""How well a model does a task, as it is or under an edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.predictions import accuracy
from nbtools.runs.forward import Edit, forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["EditsOf", "score", "scoring"]

EditsOf: TypeAlias = "Mapping[str, Edit] | Callable[[Task], Mapping[str, Edit]]"


def score(
    model: TransformerBridge,
    task: Task,
    *,
    edit: EditsOf | None = None,
    among: Int[Tensor, "prompt candidate"] | None = None,
    batch: int = 16,
) -> xr.Dataset:
    """Give for each clean prompt of a task whether the model answers it, and how clearly.

    Parameters
    ----------
    task
        Prompts with an answer and a wrong token.
    edit
        Changes made during the runs, as in `nbtools.runs.forward`. Edits that differ from prompt to prompt are given
        as a function: it gets the part of the task that is run, and gives the edits for its prompts.
    among
        For each prompt the ids that the answer competes with, itself one of them, such as ``candidates(task)``.
    batch
        How many prompts are run at once.

    Returns
    -------
    xarray.Dataset
        Over ``prompt``: ``logit_difference`` (nats), ``probability`` of the answer, ``correct`` (1 where it comes first
        in the whole vocabulary); with `among` also ``correct_among`` and ``chosen``, the number of the candidate that
        comes first.

    Raises
    ------
    HookError, ArrayError, ModelError
        If an edit does not fit the model.
    InputError
        If `batch` is no number of prompts, or candidates do not fit.

    Examples
    --------
    >>> import nbtools as nb
    >>> model = load()
    >>> task = nb.tasks.ioi(model, prompts=8)
    >>> found = score(model, task)
    >>> bool((found.logit_difference > 0).all()), bool(found.logit_difference.mean() > 3)
    (True, True)
    >>> def look_at_the_subject(part):
    ...     return nb.patching.force_attention(model, part, ["23.0", "23.1"], "S1")
    >>> bool(score(model, task, edit=look_at_the_subject).logit_difference.mean() < 3)
    True
    """
    parts = list(scoring(model, task, edit=edit, among=among, batch=batch))
    return parts[-1]


def scoring(
    model: TransformerBridge,
    task: Task,
    *,
    edit: EditsOf | None = None,
    among: Int[Tensor, "prompt candidate"] | None = None,
    batch: int = 16,
) -> Iterator[xr.Dataset]:
    """Run a task batch by batch; after each give the scores of all prompts so far. Takes what `score` takes.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> [found.sizes["prompt"] for found in scoring(model, ioi(model, prompts=6), batch=4)]
    [4, 6]
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        msg = f"expected a batch of one prompt or more, got {batch!r}"
        raise InputError(msg)
    if among is not None and (among.ndim != 2 or len(among) != len(task)):
        msg = f"expected candidates [prompt, candidate] for {len(task)} prompts, got shape {tuple(among.shape)}"
        raise InputError(msg)
    found: list[dict[str, np.ndarray]] = []
    for start in range(0, len(task), batch):
        rows = slice(start, start + batch)
        part = task[rows]
        edits = edit(part) if callable(edit) else edit
        logits = forward(model, part.clean, edit=edits, last=True).logits[:, -1].float()
        found.append(_read(part, logits, None if among is None else among[rows].to(logits.device)))
        yield _labelled(model, task, found)


def _read(
    part: Task, logits: Float[Tensor, "prompt vocabulary"], among: Int[Tensor, "prompt candidate"] | None
) -> dict[str, np.ndarray]:
    answer = part.answer.to(logits.device)
    values = {
        "logit_difference": part.metric(logits).cpu().numpy(),
        "probability": logits.softmax(-1).gather(1, answer[:, None])[:, 0].cpu().numpy(),
        "correct": accuracy(logits, answer).values,
    }
    if among is not None:
        values["correct_among"] = accuracy(logits, answer, among=among).values
        values["chosen"] = logits.gather(1, among).argmax(1).cpu().numpy()
    return values


def _labelled(model: TransformerBridge, task: Task, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    joined: dict[str, Any] = {name: ("prompt", np.concatenate([part[name] for part in found])) for name in found[0]}
    return xr.Dataset(joined, attrs={"model": str(model.cfg.model_name), "task": task.name, "prompts": len(task)})
