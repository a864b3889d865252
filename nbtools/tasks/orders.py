"""The order of two names as a feature: pairs of prompts about the same people, introduced in one order or the other."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Literal

import torch

from nbtools.models.tokens import label, tokens
from nbtools.tasks._draws import check_choice, check_prompts, known_words
from nbtools.tasks._one import need_tokenizer
from nbtools.tasks.interchange import Interchange
from nbtools.tasks.ioi import CLEAN, IO, S, Scene, check_template, places, templates

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["ioi_orders"]

_ORDERS = ("ABBA", "BABA")
_SEED = 0  # of the division of words into halves, which no seed of a draw may move


def ioi_orders(
    model: TransformerBridge,
    *,
    pairs: int = 200,
    template: int | None = None,
    crossing: bool = True,
    half: Literal["first", "second"] | None = None,
    seed: int = 0,
) -> Interchange:
    """Draw pairs of `ioi` prompts about the same two people, to carry over where each was introduced.

    The model answers with a name by the place where it was introduced. With the place taken from a source in the
    other order, it should give the wrong name. The two sentences of a pair share names and template; place and object
    are drawn for each.

    Parameters
    ----------
    pairs
        How many.
    template
        A sentence by number, see `ioi`; by default all of the most frequent length.
    crossing
        Whether base and source are always in different orders. Otherwise all four combinations take turns, half of
        which should change nothing: what a direction is learned from.
    half
        Only names, places and objects of one half of the lists, so that what is learned on one can be tested on the
        other.
    seed
        Seed of the draw.

    Returns
    -------
    Interchange
        With the positions of `ioi` in the base.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023 (the protocol, with other words).

    Examples
    --------
    >>> found = ioi_orders(load(), pairs=2, template=0)
    >>> for side in (found.base, found.source):
    ...     print("".join(side.labels[0]))
    Today Lucy and Martha met at the market, and Martha handed the violin to
    Today Martha and Lucy met at the hotel, and Martha handed the lamp to
    """
    check_prompts(pairs)
    check_template(template)
    check_choice("half", half, ["first", "second", None])
    need_tokenizer(model, "ioi")
    names = known_words(model, "ioi", "names", least=10)
    known = [_half(list(known_words(model, "ioi", kind)), half) for kind in ("names", "places", "objects")]
    scenes = _draw(templates(model, template), *known, pairs, _combinations(crossing), random.Random(seed))
    base, source = (tokens(model, [scene.write(CLEAN) for scene in side]) for side in zip(*scenes, strict=True))
    people = [(names[scene.people[IO]], names[scene.people[S]]) for scene, _ in scenes]
    found = [
        places(row, labels, pair, scene)
        for row, labels, pair, (scene, _) in zip(base.ids.tolist(), base.labels, people, scenes, strict=True)
    ]
    own, other = torch.tensor(people, device=base.ids.device).T.contiguous()
    crosses = torch.tensor([ours.order != theirs.order for ours, theirs in scenes], device=own.device)
    return Interchange(
        name="order of names",
        base=base,
        source=source,
        own=own,
        other=other,
        expected=torch.where(crosses, other, own),
        positions={name: [place[name] for place in found] for name in found[0]},
        model_name=str(model.cfg.model_name),
        texts={token: label(model, token) for pair in people for token in pair},
        classes=torch.tensor([_ORDERS.index(ours.order) for ours, _ in scenes], device=own.device),
    )


def _combinations(crossing: bool) -> list[tuple[str, str]]:
    every = list(itertools.product(_ORDERS, repeat=2))
    return [(ours, theirs) for ours, theirs in every if ours != theirs] if crossing else every


def _half(known: list[str], half: str | None) -> list[str]:
    if half is None:
        return known
    mixed = random.Random(_SEED).sample(sorted(known), len(known))
    middle = len(mixed) // 2
    return mixed[:middle] if half == "first" else mixed[middle:]


def _draw(
    sentences: list[str],
    names: list[str],
    spots: list[str],
    things: list[str],
    pairs: int,
    combinations: list[tuple[str, str]],
    draw: random.Random,
) -> list[tuple[Scene, Scene]]:
    scenes = []
    for row in range(pairs):
        people, sentence = tuple(draw.sample(names, 5)), draw.choice(sentences)
        orders = combinations[row % len(combinations)]
        ours, theirs = (Scene(sentence, order, people, draw.choice(spots), draw.choice(things)) for order in orders)
        scenes.append((ours, theirs))
    return scenes
