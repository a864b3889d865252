"""Colored objects: three things with a color each, and a question about one of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import InputError, PromptError
from nbtools.models.tokens import tokens
from nbtools.tasks._draws import check_choice, check_prompts, drawn_task, known_words, one_prompt, table
from nbtools.tasks._one import need_tokenizer
from nbtools.tasks._show import shown
from nbtools.tasks.task import Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["candidates", "colored_objects"]

_THREE = ("ANSWER", "WRONG", "OTHER")
_LEAST = {"colors": 6, "objects": 6, "surfaces": 2}  # of one token: both questions of a prompt have their own


@dataclass(frozen=True)
class _Puzzle:
    """One prompt before it is written: of six colors and objects the first three are asked about, the rest solved."""

    template: str
    colors: tuple[str, ...]
    objects: tuple[str, ...]
    surfaces: tuple[str, ...]
    solved: int
    roles: tuple[int, int, int]  # which of the three things is the answer, the wrong one, the other one

    def write(self, asked: int) -> str:
        """Write the solved question, then the one about this thing."""
        example = self._question(slice(3, 6), self.surfaces[1], self.objects[self.solved])
        question = self._question(slice(0, 3), self.surfaces[0], self.objects[asked])
        return f"{example} {self.colors[self.solved]}\n\n{question}"

    def _question(self, three: slice, surface: str, asked: str) -> str:
        return self.template.format(
            colors=self.colors[three], objects=self.objects[three], surface=surface, asked=asked
        )


def colored_objects(model: TransformerBridge, *, prompts: int = 8, template: int = 0, seed: int = 0) -> Task:
    """Draw questions about the color of one of three things, each after a solved question of the same shape.

    The corrupted prompt asks about another of the three things, and the wrong token is that thing's color. Sentences,
    colors, things and surfaces are the project's own, in the form of [1]_; words that are not one token of this
    model's tokenizer are left out. The answer is written as in the question, in lower case: the original has it
    capitalised, which the embedded model answers less often with a color that is there.

    Parameters
    ----------
    prompts
        How many pairs to draw.
    template
        A sentence by number. All prompts share it, so each word stands at the same place in all of them.
    seed
        Seed of the draw.

    Returns
    -------
    Task
        With the positions of the three colors, ``ANSWER``, ``WRONG`` and ``OTHER``, of the thing that is asked about
        where it is introduced, ``OBJECT``, and in the question, ``ASKED``, and ``END``. Which of the three colors comes
        first is drawn for each prompt; together they are at the same three places in all.

    Raises
    ------
    InputError
        If there is no such sentence, or `prompts` is no number of prompts.
    PromptError
        If the model has no tokenizer, or one with too few words of one token; the message says which are not.

    References
    ----------
    .. [1] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2024.

    Examples
    --------
    >>> task = colored_objects(load(), prompts=2)
    >>> for side in (task.clean, task.corrupted):
    ...     print("".join(side.labels[0]).split("Question: ")[-1])
    There is a brown hat, a silver drum and a red kite on the carpet. Which color is the hat?
    Answer:
    There is a brown hat, a silver drum and a red kite on the carpet. Which color is the drum?
    Answer:
    >>> [task.texts[int(token)] for token in (task.answer[0], task.wrong[0])]
    [' brown', ' silver']
    """
    check_prompts(prompts)
    check_choice("template", template, range(len(table("colored_objects")["templates"])))
    need_tokenizer(model, "colored_objects")
    words = {kind: known_words(model, "colored_objects", kind, least=least) for kind, least in _LEAST.items()}
    puzzles = _draw(words, prompts, table("colored_objects")["templates"][template], random.Random(seed))
    clean, corrupted = (
        one_prompt(tokens(model, [puzzle.write(puzzle.roles[side]) for puzzle in puzzles])) for side in (0, 1)
    )
    found = [_places(*row, words) for row in zip(clean.ids.tolist(), clean.labels, puzzles, strict=True)]
    pairs = [[words["colors"][puzzle.colors[role]] for role in puzzle.roles[:2]] for puzzle in puzzles]
    return drawn_task(model, "colored objects", clean, corrupted, pairs, found)


def candidates(task: Task) -> Int[Tensor, "prompt three"]:
    """Give the three colors of each prompt of `colored_objects` as token ids: the answer, the wrong one, the other one.

    Raises
    ------
    InputError
        If the task does not name where the three colors are.

    Examples
    --------
    >>> model = load()
    >>> task = colored_objects(model, prompts=2)
    >>> [model.tokenizer.decode([token]) for token in candidates(task)[0].tolist()]
    [' brown', ' silver', ' red']
    """
    if not set(_THREE) <= set(task.positions):
        msg = f"expected a task with the positions {', '.join(_THREE)}, got {', '.join(task.positions)}"
        raise InputError(msg)
    places = torch.tensor([task.positions[name] for name in _THREE], device=task.clean.ids.device).T
    return task.clean.ids.gather(1, places)


def _draw(words: dict[str, dict[str, int]], prompts: int, template: str, draw: random.Random) -> list[_Puzzle]:
    return [
        _Puzzle(
            template,
            *(tuple(draw.sample(list(words[kind]), least)) for kind, least in _LEAST.items()),
            solved=draw.randrange(3, 6),
            roles=tuple(draw.sample(range(3), 3)),
        )
        for _ in range(prompts)
    ]


def _places(row: list[int], labels: list[str], puzzle: _Puzzle, words: dict[str, dict[str, int]]) -> dict[str, int]:
    """Find the named positions of a prompt."""
    colors = [words["colors"][puzzle.colors[role]] for role in puzzle.roles]
    name = puzzle.objects[puzzle.roles[0]]
    thing = words["objects"][name]
    if [row.count(token) for token in (*colors, thing)] != [1, 1, 1, 2]:
        msg = f"expected three colors once and {name!r} twice ({shown(labels)}): this tokenizer joins words"
        raise PromptError(msg)
    first = row.index(thing)
    asked = row.index(thing, first + 1)
    return dict(zip(_THREE, map(row.index, colors), strict=True)) | {
        "OBJECT": first, "ASKED": asked, "END": len(row) - 1,
    }  # fmt: skip
