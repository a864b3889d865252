"""Classification that can be learned in two ways: from the weights, or from the examples in the context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.training._in_context_draw import Draw, rows_where, vectors_of
from nbtools.training.in_context_progress import InContextProgress

__all__ = ["EPISODES", "Episodes", "InContext", "in_context"]

EPISODES: dict[str, str] = {
    "train": "as the model is trained",
    "novel": "classes that were never seen, bursty: only the context says which label the target has",
    "swapped": "the labels of known classes moved on by one, bursty: the context says another label than the weights",
    "weights": "items drawn one by one, so that the target's class is hardly ever in the context: only weights know it",
}
_NOVEL = 4  # classes of each label that are drawn anew for a batch


@dataclass(frozen=True, eq=False)
class Episodes:
    """Sequences of items and their labels, and one item more, of which the label is asked for.

    Attributes
    ----------
    tokens
        What the model reads: a one-hot position, then the vector of an item or of a label. Items stand at even
        positions, each followed by its label; the target is the last.
    answer
        The label that is right for the target.
    context
        The labels in the context.
    matching
        Which items of the context are of the target's class.
    """

    tokens: Float[Tensor, "prompt position d_model"]
    answer: Int[Tensor, " prompt"]
    context: Int[Tensor, "prompt pair"]
    matching: Tensor

    def __len__(self) -> int:
        return len(self.answer)

    def __repr__(self) -> str:
        return f"Episodes(prompts={len(self)}, positions={self.tokens.shape[1]})"


@dataclass(frozen=True, eq=False)
class InContext:
    """Items of many classes, each with one of few labels; made by `in_context`.

    Attributes
    ----------
    class_vectors, label_vectors
        The center of each class, and what stands for each label; class k has label k modulo the number of labels.
    pairs
        Items with labels in a context.
    burstiness
        How often each class of a bursty context occurs in it.
    zipf
        Exponent of the probabilities of classes, ``(k + 1) ** -zipf``.
    noise
        How far items lie from the center of their class, beside the size of the center.
    bursty, novel
        Shares of training sequences that are bursty, and that are of classes drawn anew.
    most_pairs
        Positions are one-hot over ``2 * most_pairs + 1`` places, and begin at a random one.
    seed
        Seed of the vectors.
    """

    class_vectors: Float[Tensor, "class dimension"]
    label_vectors: Float[Tensor, "label dimension"]
    pairs: int
    burstiness: int
    zipf: float
    noise: float
    bursty: float
    novel: float
    most_pairs: int
    seed: int

    kind = "in_context"

    def __repr__(self) -> str:
        classes, labels = len(self.class_vectors), len(self.label_vectors)
        return (
            f"InContext(classes={classes}, labels={labels}, pairs={self.pairs}, burstiness={self.burstiness}, "
            f"zipf={self.zipf})"
        )

    @property
    def d_model(self) -> int:
        """Numbers in a token."""
        return self.places + self.class_vectors.shape[1]

    @property
    def places(self) -> int:
        """Numbers of a token that say where it stands."""
        return 2 * self.most_pairs + 1

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return 2 * self.pairs + 1

    @property
    def probabilities(self) -> Float[Tensor, " class"]:
        """How often each class is drawn."""
        weights = torch.arange(1, len(self.class_vectors) + 1, dtype=torch.float64) ** -self.zipf
        return weights / weights.sum()

    def sample(self, batch: int, generator: torch.Generator, *, kind: str = "train") -> Episodes:
        """Draw sequences of one of `EPISODES`.

        Raises
        ------
        InputError
            If there is no such kind, or no sequence is asked for.

        Examples
        --------
        >>> data = in_context(classes=64, labels=8, pairs=4)
        >>> drawn = data.sample(3, torch.Generator().manual_seed(0), kind="novel")
        >>> tuple(drawn.tokens.shape), drawn.matching.sum(1).tolist()
        ((3, 9, 64), [2, 2, 2])
        """
        if kind not in EPISODES or batch < 1:
            msg = f"expected a kind of sequences, one of {', '.join(EPISODES)}, and at least one, got {kind!r}, {batch}"
            raise InputError(msg)
        novel = {"train": self.novel, "novel": 1.0}.get(kind, 0.0)
        bursty = {"train": self.bursty, "weights": 0.0}.get(kind, 1.0) if self.burstiness else 0.0
        draw = Draw(self, generator, batch)
        classes, target = draw.known(torch.rand(batch, generator=generator) < bursty)
        vectors, item_vectors = self.class_vectors[classes], self.class_vectors[target]
        fresh = torch.rand(batch, generator=generator) < novel
        if fresh.any():
            center = vectors_of(_NOVEL * len(self.label_vectors), vectors.shape[-1], generator)
            others, other_target = draw.novel(len(center))
            classes, target = rows_where(fresh, others, classes), torch.where(fresh, other_target, target)
            vectors = rows_where(fresh, center[others], vectors)
            item_vectors = rows_where(fresh, center[other_target], item_vectors)
        shift = int(kind == "swapped")
        labels = len(self.label_vectors)
        context, answer = (classes + shift) % labels, (target + shift) % labels
        items = draw.noisy(torch.cat([vectors, item_vectors[:, None]], 1))
        return Episodes(draw.tokens(items, context), answer, context, classes == target[:, None])

    def describe(self) -> dict[str, Any]:
        """Give what is written into a file, from which `restore` makes it again."""
        names = ("pairs", "burstiness", "zipf", "noise", "bursty", "novel", "most_pairs", "seed")
        sizes = {
            "classes": len(self.class_vectors),
            "labels": len(self.label_vectors),
            "dimensions": self.class_vectors.shape[1],
        }
        return {"kind": self.kind} | sizes | {name: getattr(self, name) for name in names}

    @property
    def summary(self) -> str:
        """The data in a few words."""
        return f"in_context {len(self.class_vectors)} classes, burstiness {self.burstiness}, zipf {self.zipf:g}"

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors of a description: none, the seed makes them again."""
        return {}

    def progress(self, length: int) -> InContextProgress:
        """Give what measures a network on such data."""
        return InContextProgress(self)

    @classmethod
    def restore(cls, words: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> InContext:
        """Make again what `describe` described; no tensors are needed."""
        return in_context(**{name: value for name, value in words.items() if name != "kind"})


def in_context(
    *,
    classes: int = 512,
    labels: int = 32,
    pairs: int = 8,
    dimensions: int = 31,
    burstiness: int = 2,
    zipf: float = 0.0,
    noise: float = 0.1,
    bursty: float = 1.0,
    novel: float = 0.0,
    most_pairs: int = 16,
    seed: int = 0,
) -> InContext:
    """Make the in-context classification task of [1]_.

    A sequence is items and their labels in turn, and a target item. Where the target's class is in the context its
    label can be copied from there (in-context learning); where classes are few their labels can be remembered
    (in-weights learning). Which of the two a network learns depends on the data.

    Parameters
    ----------
    classes, labels
        Numbers of classes and of labels; classes share the labels evenly, so their number is a multiple.
    pairs
        Items with labels in a context.
    dimensions
        Of the vectors of items and labels; each coordinate has variance 1 / dimensions.
    burstiness
        A bursty context holds ``pairs / burstiness`` classes, all of different labels, each so many times, and the
        target's class is one of them. With 0 no context is bursty.
    zipf
        Exponent of the classes' probabilities; 0 makes them equal. It counts in bursty contexts as well, so classes
        are drawn one after another by their probabilities, passing over those whose label is there already.
    noise
        An item is its class's center and noise, ``(center + noise * normal) / sqrt(1 + noise ** 2)``.
    bursty
        Share of training sequences that are bursty; in the others all items are drawn one by one.
    novel
        Share of training sequences that are of classes drawn anew for each batch, with the same labels.
    most_pairs
        The longest context for which there are positions.
    seed
        Seed of the vectors.

    Raises
    ------
    InputError
        If numbers do not fit each other.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024.

    Examples
    --------
    >>> in_context(classes=64, burstiness=1)
    InContext(classes=64, labels=32, pairs=8, burstiness=1, zipf=0.0)
    """
    _check(classes, labels, pairs, dimensions, burstiness, most_pairs)
    for name, share in (("bursty", bursty), ("novel", novel)):
        if not 0 <= share <= 1:
            msg = f"expected {name} to be a share from 0 to 1, got {share}"
            raise InputError(msg)
    if zipf < 0 or noise < 0:
        msg = f"expected zipf and noise of 0 or more, got {zipf} and {noise}"
        raise InputError(msg)
    generator = torch.Generator().manual_seed(seed)
    made = (vectors_of(number, dimensions, generator) for number in (classes, labels))
    return InContext(*made, pairs, burstiness, float(zipf), noise, bursty, novel, most_pairs, seed)


def _check(classes: int, labels: int, pairs: int, dimensions: int, burstiness: int, most_pairs: int) -> None:
    if labels < 2 or classes < labels or classes % labels or dimensions < 1:
        msg = f"expected two labels or more and a multiple of them as classes, got labels={labels}, classes={classes}"
        raise InputError(msg)
    if not 1 <= pairs <= most_pairs:
        msg = f"expected 1 to most_pairs={most_pairs} pairs, got {pairs}"
        raise InputError(msg)
    if burstiness < 0 or (burstiness and (pairs % burstiness or pairs // burstiness > labels)):
        msg = f"expected a burstiness that divides {pairs} pairs into at most {labels} classes, or 0, got {burstiness}"
        raise InputError(msg)
