"""One's own prompts as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from nbtools.errors import PromptError
from nbtools.models.tokens import Prompt, Tokens, label, tokens
from nbtools.tasks._one import one_token
from nbtools.tasks._places import Place, named_positions
from nbtools.tasks._show import shown
from nbtools.tasks.task import Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["pair"]

Answer = str | int


def pair(
    model: TransformerBridge,
    clean: Prompt,
    corrupted: Prompt,
    answer: Answer | Sequence[Answer],
    wrong: Answer | Sequence[Answer],
    *,
    positions: Mapping[str, Place | Sequence[Place]] | None = None,
    name: str = "pair",
) -> Task:
    """Make a task of one's own prompts.

    Parameters
    ----------
    clean, corrupted
        Text, a list of texts, or token ids in any form that `nbtools.models.tokens` reads. All have the same
        number of tokens, and each pair differs in at least one.
    answer, wrong
        What follows the clean prompt, and what competes with it: text of exactly one token, taken as it is written
        (most words begin with a space: ``" Paris"``), or a token id; a list of them for several prompts.
        Letters without a space after a letter are refused where a space makes them one token.
    positions
        Names for positions: a fragment of the clean text that occurs once, which means its last token, or a number;
        or a list with one for each prompt. ``END``, the last position, is always added.
    name
        What the task is called in results.

    Raises
    ------
    PromptError
        If prompts differ in length or not at all, an answer is not one token, both answers are the same, or a
        fragment does not occur exactly once; the message names the prompt and shows its tokens.

    Examples
    --------
    >>> task = pair(
    ...     load(), "The capital of France is", "The capital of Italy is", " Paris", " Rome", positions={"S": "France"}
    ... )
    >>> task.positions, task.first_difference
    ({'S': [3], 'END': [4]}, [3])
    """
    texts, ours = _read(model, clean, "clean")
    _, theirs = _read(model, corrupted, "corrupted")
    _check_lengths(ours, theirs)
    first, second = _together(ours), _together(theirs)
    answers = _ids(model, answer, texts, first, "answer")
    wrongs = _ids(model, wrong, texts, first, "wrong answer")
    return Task(
        name=name,
        clean=first,
        corrupted=second,
        answer=torch.tensor(answers, device=first.ids.device),
        wrong=torch.tensor(wrongs, device=first.ids.device),
        positions=named_positions(model, first, positions or {}),
        model_name=str(model.cfg.model_name),
        texts={token: label(model, token) for token in [*answers, *wrongs]},
    )


def _read(model: TransformerBridge, prompts: Prompt, side: str) -> tuple[list[str | None], list[Tokens]]:
    """Read prompts one by one, so that a message can say which does not fit."""
    if isinstance(prompts, Tokens):
        prompts = prompts.ids
    each = prompts.tolist() if hasattr(prompts, "tolist") else prompts
    if isinstance(each, str) or not _nested(each):
        each = [each]
    read = [_one(model, prompt, f"{side} prompt {row}") for row, prompt in enumerate(each)]
    return [_text(model, prompt, ids) for prompt, ids in zip(each, read, strict=True)], read


def _nested(prompts: Prompt) -> bool:
    return isinstance(prompts, Sequence) and bool(prompts) and hasattr(prompts[0], "__len__")


def _one(model: TransformerBridge, prompt: Prompt, what: str) -> Tokens:
    try:
        read = tokens(model, prompt)
    except PromptError as error:
        msg = f"{what} ({prompt!r}): {error}" if isinstance(prompt, str) else f"{what}: {error}"
        raise PromptError(msg) from error
    if len(read.ids) != 1:
        msg = f"{what} is a list of {len(read.ids)} prompts: expected texts, or ids as [position] or [prompt, position]"
        raise PromptError(msg)
    return read


def _text(model: TransformerBridge, prompt: Prompt, read: Tokens) -> str | None:
    if isinstance(prompt, str) or model.tokenizer is None:
        return prompt if isinstance(prompt, str) else None
    return model.tokenizer.decode(read.ids[0], clean_up_tokenization_spaces=False)


def _check_lengths(ours: list[Tokens], theirs: list[Tokens]) -> None:
    if len(ours) != len(theirs):
        msg = f"expected a corrupted prompt for each clean one, got {len(ours)} clean and {len(theirs)} corrupted"
        raise PromptError(msg)
    for row, (clean, corrupted) in enumerate(zip(ours, theirs, strict=True)):
        _same_length(f"clean prompt {row}", clean, f"corrupted prompt {row}", corrupted)
        _same_length("prompt 0", ours[0], f"prompt {row}", clean)


def _same_length(first: str, one: Tokens, second: str, other: Tokens) -> None:
    if len(one) != len(other):
        msg = (
            f"expected the same number of tokens, {first} has {len(one)} ({shown(one.labels[0])}), "
            f"{second} has {len(other)} ({shown(other.labels[0])}): reword one of them"
        )
        raise PromptError(msg)


def _together(prompts: list[Tokens]) -> Tokens:
    labels = [prompt.labels[0] for prompt in prompts]
    return Tokens(torch.cat([prompt.ids for prompt in prompts]), labels, single=len(prompts) == 1)


def _ids(
    model: TransformerBridge, given: Answer | Sequence[Answer], texts: list[str | None], prompts: Tokens, what: str
) -> list[int]:
    each = given.tolist() if hasattr(given, "tolist") else given
    each = list(each) if isinstance(each, Sequence) and not isinstance(each, str) else [each]
    if len(each) != len(texts):
        msg = f"expected {len(texts)} {what}s, one for each prompt, got {len(each)}"
        raise PromptError(msg)
    wheres = [f"the {what} of prompt {row} ({shown(labels)})" for row, labels in enumerate(prompts.labels)]
    return [one_token(model, *found) for found in zip(each, texts, wheres, strict=True)]
