"""What the drawn tasks share: their tables and words, small checks, and how a task is made of what was drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import torch

from nbtools.errors import InputError, PromptError
from nbtools.models.tokens import Tokens, label
from nbtools.tasks._one import single_tokens
from nbtools.tasks.task import Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["check_choice", "check_prompts", "drawn_task", "known_words", "one_prompt", "table", "usual"]

_SHOWN = 8  # words in a message


@cache
def table(name: str) -> dict[str, Any]:
    """Read one of the tables beside this module, all of them written for this project."""
    return json.loads(files("nbtools.tasks").joinpath(f"{name}.json").read_text(encoding="utf-8"))


def check_prompts(prompts: int) -> None:
    """Raise an InputError if this is no number of prompts."""
    if isinstance(prompts, bool) or not hasattr(prompts, "__index__") or prompts < 1:
        msg = f"expected prompts to be a whole number from 1, got {prompts!r}"
        raise InputError(msg)


def check_choice(what: str, given: object, known: Sequence[str], also: str = "") -> None:
    """Raise an InputError that lists the choices if this is none of them."""
    if given not in known:
        msg = f"expected {what} to be one of {', '.join(map(repr, known))}{also}, got {given!r}"
        raise InputError(msg)


def usual(lengths: Sequence[int]) -> int | None:
    """Give the most frequent length, of two such the shorter; None if there is none."""
    counts = Counter(lengths)
    return min(counts, key=lambda length: (-counts[length], length), default=None)


def one_prompt(prompts: Tokens) -> Tokens:
    """Say that a list of one prompt is one prompt, as a task does."""
    return Tokens(prompts.ids, prompts.labels, single=len(prompts.ids) == 1)


def known_words(model: TransformerBridge, task: str, kind: str, *, least: int = 1) -> dict[str, int]:
    """Give the words of a task's list that are one token, with their ids, or raise a PromptError if they are few."""
    known = table(task)[kind]
    words = single_tokens(model, known)
    if len(words) < least:
        split = [word for word in known if word not in words]
        shown = ", ".join(split[:_SHOWN]) + (" …" if len(split) > _SHOWN else "")
        msg = (
            f"{task} needs {least} {kind} of one token, this model's tokenizer has {len(words)}: it splits {shown}; "
            "write the prompts with nbtools.tasks.pair"
        )
        raise PromptError(msg)
    return words


def drawn_task(
    model: TransformerBridge,
    name: str,
    clean: Tokens,
    corrupted: Tokens,
    pairs: Sequence[tuple[int, int]],
    places: Sequence[dict[str, int]],
) -> Task:
    """Make a task of prompts, with the ids of the answer and the wrong token and the named positions of each."""
    answer, wrong = torch.tensor(pairs, device=clean.ids.device).T.contiguous()
    return Task(
        name=name,
        clean=clean,
        corrupted=corrupted,
        answer=answer,
        wrong=wrong,
        positions={place: [found[place] for found in places] for place in places[0]},
        model_name=str(model.cfg.model_name),
        texts={token: label(model, token) for pair in pairs for token in pair},
    )
