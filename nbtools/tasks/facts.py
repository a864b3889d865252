"""Facts: a relation, a subject, and the one token that completes the sentence."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbtools.errors import InputError, PromptError
from nbtools.models.tokens import tokens
from nbtools.tasks._draws import check_choice, check_prompts, drawn_task, one_prompt, table, usual
from nbtools.tasks._one import need_tokenizer, single_tokens
from nbtools.tasks._places import last_token_of
from nbtools.tasks.task import Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["facts"]


@dataclass(frozen=True)
class _Fact:
    """A sentence with its answer; facts of one kind can stand for one another, token for token."""

    text: str
    answer: int
    subject: int
    length: int
    relation: str

    @property
    def kind(self) -> tuple[str, int, int]:
        return self.relation, self.length, self.subject


def facts(model: TransformerBridge, *, relation: str | None = None, prompts: int = 8, seed: int = 0) -> Task:
    """Draw facts in pairs: the same sentence about another subject, with another answer.

    Both subjects have the same number of tokens, so the pair differs in the subject alone; the wrong token is what is
    true of the corrupted one. Facts whose answer is not one token of this model's tokenizer are left out.
    Sentences and tables, in ``facts.json`` beside this module, were written for this project: well-known facts, as
    any encyclopedia, dictionary or periodic table has them, of which a small model knows most in each relation.

    Parameters
    ----------
    relation
        ``"capital"``, ``"country"`` (of a city), ``"continent"``, ``"language"``, ``"landmark"`` (its city),
        ``"month"`` (the next), ``"symbol"`` (of a chemical element), ``"opposite"``, ``"comparative"`` or
        ``"plural"``; by default all of them. Prompts have one length: of a choice the most frequent in tokens.
    prompts
        How many pairs to draw; every fact is used once before any is used again.
    seed
        Seed of the draw.

    Returns
    -------
    Task
        With the positions ``SUBJECT``, the last token of the subject, and ``END``.

    Raises
    ------
    InputError
        If there is no such relation, or it has fewer pairs.
    PromptError
        If the model has no tokenizer, or none of the answers is one token of it.

    Examples
    --------
    >>> task = facts(load(), relation="capital", prompts=2)
    >>> for labels in (*task[0].clean.labels, *task[0].corrupted.labels):
    ...     print("".join(labels))
    The capital city of Belgium is the famous city of
    The capital city of Ireland is the famous city of
    >>> [task.texts[int(token)] for token in (task.answer[0], task.wrong[0])]
    [' Brussels', ' Dublin']
    """
    _check(relation, prompts)
    need_tokenizer(model, "a fact")
    known = [fact for name in ([relation] if relation else table("facts")) for fact in _of(model, name)]
    length = usual([fact.length for fact in known])
    pairs = _draw([fact for fact in known if fact.length == length], prompts, random.Random(seed))
    clean, corrupted = (one_prompt(tokens(model, [fact.text for fact in side])) for side in zip(*pairs, strict=True))
    answers = [(ours.answer, theirs.answer) for ours, theirs in pairs]
    places = [{"SUBJECT": ours.subject, "END": len(clean) - 1} for ours, _ in pairs]
    return drawn_task(model, "facts", clean, corrupted, answers, places)


def _check(relation: str | None, prompts: int) -> None:
    check_prompts(prompts)
    if relation is not None:
        check_choice("relation", relation, list(table("facts")), ", or None for all")


def _of(model: TransformerBridge, relation: str) -> list[_Fact]:
    """Read the facts of a relation whose answer is one token."""
    sentence, answers = table("facts")[relation]["prompt"], table("facts")[relation]["facts"]
    single = single_tokens(model, set(answers.values()))
    return [
        _fact(model, sentence.format(subject=subject), subject, single[answer], relation)
        for subject, answer in answers.items()
        if answer in single
    ]


def _fact(model: TransformerBridge, text: str, subject: str, answer: int, relation: str) -> _Fact:
    ids = tokens(model, text).ids[0].tolist()
    return _Fact(text, answer, last_token_of(model, ids, subject)[0], len(ids), relation)


def _draw(known: list[_Fact], prompts: int, generator: random.Random) -> list[tuple[_Fact, _Fact]]:
    """Pair each fact with others of its kind: all facts once, in random order, then all again with a new partner."""
    deck = generator.sample(known, len(known))
    partners = {fact.text: generator.sample(others, len(others)) for fact in deck for others in [_others(fact, known)]}
    laps = max(map(len, partners.values()), default=0)
    pairs = [(fact, partners[fact.text][lap]) for lap in range(laps) for fact in deck if lap < len(partners[fact.text])]
    if not pairs:
        msg = "no two facts have answers of one token in this model's tokenizer: build the task with nbtools.tasks.pair"
        raise PromptError(msg)
    if len(pairs) < prompts:
        msg = f"expected at most {len(pairs)} prompts, as many as there are pairs of one length, got {prompts}"
        raise InputError(msg)
    return pairs[:prompts]


def _others(fact: _Fact, known: list[_Fact]) -> list[_Fact]:
    return [other for other in known if other.kind == fact.kind and other.answer != fact.answer]
