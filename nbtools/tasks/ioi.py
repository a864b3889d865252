"""Indirect object identification: two people are introduced, one of them acts, and the other is meant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbtools.errors import InputError, PromptError
from nbtools.models.tokens import tokens
from nbtools.tasks._draws import check_choice, check_prompts, drawn_task, known_words, one_prompt, table, usual
from nbtools.tasks._one import need_tokenizer
from nbtools.tasks._show import shown
from nbtools.tasks.task import Task

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["CLEAN", "IO", "S", "Scene", "check_template", "ioi", "places", "templates"]

_ORDERS = {"ABBA": ("ABBA",), "BABA": ("BABA",), "both": ("ABBA", "BABA")}
IO, S, _C, _D, _E = range(5)  # of the five names drawn for a prompt
CLEAN = (IO, S, S)
_CORRUPTIONS = {  # who then stands where IO, S1 and S2 stood
    "s2_io": (IO, S, IO),
    "s2_new": (IO, S, _C),
    "io_new": (_C, S, S),
    "s1_new": (IO, _C, S),
    "order": (S, IO, S),
    "names": (S, IO, IO),
    "abc": (_C, _D, _E),
}


@dataclass(frozen=True)
class Scene:
    """One prompt before it is written."""

    template: str
    order: str
    people: tuple[str, ...]
    place: str
    thing: str

    def write(self, who: tuple[int, int, int]) -> str:
        """Write the sentence with these people where IO, S1 and S2 stand."""
        io, s1, s2 = (self.people[person] for person in who)
        first, second = (io, s1) if self.order == "ABBA" else (s1, io)
        return self.template.format(first=first, second=second, again=s2, place=self.place, object=self.thing)


def ioi(
    model: TransformerBridge,
    *,
    prompts: int = 8,
    template: int | None = None,
    order: str = "both",
    corruption: str = "s2_io",
    seed: int = 0,
) -> Task:
    """Draw prompts of indirect object identification, such as "When Ruth and Adam arrived, Adam gave the book to".

    Two people are introduced; S, the subject, is named again and acts; the answer is the other one, IO, the indirect
    object, and the wrong token is S. Sentences, names, places and objects are the project's own, in the form of [1]_;
    words that are not one token of this model's tokenizer are left out.

    Parameters
    ----------
    prompts
        How many pairs to draw.
    template
        A sentence by number, so that all prompts share it: with one `order` each named position is the same in all
        prompts, which grids over positions need. By default all sentences whose token length is the most frequent
        one, each used once before any is used again.
    order
        ``"ABBA"`` introduces IO first, ``"BABA"`` S first, ``"both"`` alternates: then a sentence comes in both.
    corruption
        What the corrupted prompt changes. The clean prompts of a seed are the same for all of them.

        - ``"s2_io"``: S2 becomes IO, so the answer becomes S. Isolates which name is repeated.
        - ``"s2_new"``: S2 becomes a third name: nobody is repeated. Isolates the repetition.
        - ``"io_new"``: IO becomes a third name: the answer is not in the prompt. Isolates the name to be copied.
        - ``"s1_new"``: S1 becomes a third name: S2 repeats nothing. Isolates the first mention of S.
        - ``"order"``: IO and S1 change places, ABBA to BABA; the answer stays. Isolates the position of the names.
          Both runs prefer the answer, so an effect between them is not well normalised.
        - ``"names"``: IO and S are exchanged throughout, so the answer becomes S and the order stays. Isolates who
          the people are; differs from the first name on.
        - ``"abc"``: three other people, nobody repeated: the reference distribution of [1]_. Takes away the names
          and their repetition, keeps the sentence; differs from the first name on.
    seed
        Seed of the draw.

    Returns
    -------
    Task
        With the positions ``IO``, ``S1``, ``S1+1`` (the token after S1), ``S2`` and ``END``.

    Raises
    ------
    InputError
        If an argument is not one of those above.
    PromptError
        If the model has no tokenizer, or one with too few names of one token.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
       2022.

    Examples
    --------
    >>> task = ioi(load(), prompts=4, template=1, order="ABBA")
    >>> task.positions["S2"], [task.texts[int(token)] for token in task.answer]
    ([9, 9, 9, 9], [' Lucy', ' Juan', ' Joe', ' Stephen'])
    """
    _check(prompts, template, order, corruption)
    need_tokenizer(model, "ioi")
    names = known_words(model, "ioi", "names", least=5)
    scenes = _draw(model, list(names), prompts, templates(model, template), _ORDERS[order], seed)
    clean = one_prompt(tokens(model, [scene.write(CLEAN) for scene in scenes]))
    corrupted = one_prompt(tokens(model, [scene.write(_CORRUPTIONS[corruption]) for scene in scenes]))
    pairs = [(names[scene.people[IO]], names[scene.people[S]]) for scene in scenes]
    found = [places(*row) for row in zip(clean.ids.tolist(), clean.labels, pairs, scenes, strict=True)]
    return drawn_task(model, "ioi", clean, corrupted, pairs, found)


def _check(prompts: int, template: int | None, order: str, corruption: str) -> None:
    check_prompts(prompts)
    check_choice("order", order, list(_ORDERS))
    check_choice("corruption", corruption, list(_CORRUPTIONS))
    check_template(template)


def check_template(template: int | None) -> None:
    """Raise an InputError if there is no sentence of that number."""
    last = len(table("ioi")["templates"]) - 1
    if template is not None and template not in range(last + 1):
        msg = f"expected a template from 0 to {last}, or None for all of one length, got {template!r}"
        raise InputError(msg)


def templates(model: TransformerBridge, template: int | None) -> list[str]:
    """Give the one that was asked for, or all of the most frequent length in tokens."""
    known = table("ioi")["templates"]
    if template is not None:
        return [known[template]]
    example = {"first": "John", "second": "John", "again": "John", "place": "market", "object": "book"}
    lengths = [len(tokens(model, sentence.format(**example))) for sentence in known]
    return [sentence for sentence, length in zip(known, lengths, strict=True) if length == usual(lengths)]


def _draw(
    model: TransformerBridge, names: list[str], prompts: int, templates: list[str], orders: Sequence[str], seed: int
) -> list[Scene]:
    spots, things = (list(known_words(model, "ioi", kind)) for kind in ("places", "objects"))
    deck = random.Random(seed).sample(templates, len(templates))
    draw = random.Random(seed)
    scenes = []
    for row in range(prompts):
        lap, card = divmod(row, len(deck))
        people = tuple(draw.sample(names, 5))
        order = orders[(lap + card) % len(orders)]
        scenes.append(Scene(deck[card], order, people, draw.choice(spots), draw.choice(things)))
    return scenes


def places(row: list[int], labels: list[str], pair: tuple[int, int], scene: Scene) -> dict[str, int]:
    """Find the named positions of a prompt."""
    found = [place for place, token in enumerate(row) if token in pair]
    if len(found) != 3:
        msg = f"expected three names in the prompt ({shown(labels)}), found {len(found)}: this tokenizer joins words"
        raise PromptError(msg)
    first, second, again = found
    io, s1 = (first, second) if scene.order == "ABBA" else (second, first)
    return {"IO": io, "S1": s1, "S1+1": s1 + 1, "S2": again, "END": len(row) - 1}
