"""What a network for in-context classification does with one sequence: items as letters, labels as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from nbtools.training import EPISODES

if TYPE_CHECKING:
    from torch import nn

    from nbtools.training import Episodes, Trajectory

__all__ = ["InContextLooks", "about_target", "named_tokens", "pairs_of"]

MARK = "▸"  # before the items of the target's class, and their labels
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class InContextLooks:
    """The sequences on which such a network is measured, and what it does with one of them.

    Attributes
    ----------
    kinds
        What there is of each kind of sequences.
    count
        How many sequences there are of each.
    layers
        Whose attention is looked at: the first and the last, or the only one.
    """

    heads: tuple[list[str], ...] = ([], [])

    def __init__(self, run: Trajectory) -> None:
        self._data = run.data
        self._episodes = run.data.progress(0).episodes
        self.kinds = {kind: EPISODES[kind] for kind in self._episodes}
        self.count = len(next(iter(self._episodes.values())))
        self.layers = [0, 1] if run.config.layers == 0 else sorted({0, run.config.layers - 1})

    def length(self, kind: str) -> int:
        """Give how many positions there are to ask about: none, for it is always the target."""
        return 0

    def look(self, model: nn.Module, kind: str, example: int) -> xr.Dataset:
        """Give the attention of a model on one sequence, and the probability of each label."""
        episodes = self._episodes[kind]
        one = episodes.tokens[example : example + 1]
        with torch.no_grad():
            first, last = model.attention(one)
            probability = model(one)[0].softmax(-1)
        texts = named_tokens(episodes, example, self._classes(kind, example))
        found = {"last": ("key", last[0].numpy()), "probability": ("label", probability.numpy())}
        if len(self.layers) > 1:
            found["first"] = (("query", "key"), first[0].numpy())
        coords = {"key_token": ("key", texts), "label": np.arange(len(probability))}
        coords |= {"query_token": ("query", texts)} if len(self.layers) > 1 else {}
        return xr.Dataset(found, coords, {"answer": int(episodes.answer[example])})

    def _classes(self, kind: str, example: int) -> list[int]:
        """Tell the classes of items apart: new ones by their labels, of which all differ; known ones by what is near.

        That of the target is given by those that match it.
        """
        episodes, centers = self._episodes[kind], self._data.class_vectors
        if kind == "novel":
            return episodes.context[example].tolist()
        items = episodes.tokens[example, :-1:2, -centers.shape[1] :]
        return torch.cdist(items, centers).argmin(1).tolist()


def named_tokens(episodes: Episodes, example: int, classes: Sequence[Hashable]) -> list[str]:
    """Write a sequence: a letter for each class, the number of each label, and a prime after the target.

    Examples
    --------
    >>> from nbtools.training import in_context
    >>> data = in_context(classes=8, labels=4, pairs=4)
    >>> drawn = data.sample(1, torch.Generator().manual_seed(1), kind="novel")
    >>> " ".join(named_tokens(drawn, 0, drawn.context[0].tolist()))
    'A 2 ▸B ▸3 ▸B ▸3 A 2 B′'
    """
    context, matching = episodes.context[example].tolist(), episodes.matching[example].tolist()
    known = ["target" if same else key for same, key in zip(matching, classes, strict=True)]
    letters = {key: _letter(place) for place, key in enumerate(dict.fromkeys([*known, "target"]))}
    texts = []
    for key, label, same in zip(known, context, matching, strict=True):
        texts += [MARK * same + letters[key], MARK * same + str(label)]
    return [*texts, f"{letters['target']}′"]


def _letter(place: int) -> str:
    turn, letter = divmod(place, len(_LETTERS))
    return _LETTERS[letter] + "’" * turn


def pairs_of(found: xr.Dataset) -> tuple[dict[str, float], dict[str, float]]:
    """Give how much of the target's attention goes to each item, and how much to its label, by the text of the pair."""
    texts, shares = found.key_token.values.tolist(), found["last"].values.tolist()
    items, seen = {}, Counter()
    labels: dict[str, float] = {}
    for place in range(0, len(texts) - 1, 2):
        item, label = texts[place], texts[place + 1].removeprefix(MARK)
        seen[item] += 1
        again = str(seen[item]).translate(_BELOW) if seen[item] > 1 else ""
        name = f"{item}{again}→{label}"
        items[name], labels[name] = shares[place], shares[place + 1]
    target = f"{texts[-1]}→?"
    return items | {target: shares[-1]}, labels | {target: float("nan")}


def about_target(found: xr.Dataset) -> str:
    """Say what the network answers for the target, and whether that is right."""
    probability, right = found.probability.values, found.attrs["answer"]
    texts = found.key_token.values.tolist()
    said = int(probability.argmax())
    there = {text.removeprefix(MARK) for text in texts[1::2]}
    asked = f"for {texts[-1]} it answers {said} with probability {probability[said]:.2f}"
    if said == right:
        return f"{asked}: right"
    where = "another label of the context" if str(said) in there else "no label of the context"
    return f"{asked}, {where}: wrong, {right} is right ({probability[right]:.2f})"
