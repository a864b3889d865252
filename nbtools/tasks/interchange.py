"""Pairs of prompts for interchange: what the first should say when something in it is taken from the second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.models.tokens import Tokens
from nbtools.tasks.metric import LogitDifference
from nbtools.tasks.task import Task

__all__ = ["Interchange", "interchange"]


@dataclass(frozen=True, eq=False, repr=False)
class Interchange:
    """Base and source prompts, what the base says by itself, and what it should say with the source's feature in it.

    Attributes
    ----------
    name
        What the pairs are called in results.
    base, source
        Token ids ``[pair, position]`` and their texts, of the same shape.
    own, other
        The token that follows the base, and the one that competes with it.
    expected
        The token that should follow the base once the feature is the source's: `other` if that makes a difference,
        `own` if both have the same.
    positions
        Named positions in the base, one for each pair; the same in the source.
    model_name
        The model whose tokenizer made the ids.
    texts
        The text of those tokens, by id; for display.
    classes
        Where the feature has two values, that of each base: 0 or 1.
    """

    name: str
    base: Tokens
    source: Tokens
    own: Int[Tensor, " pair"]
    other: Int[Tensor, " pair"]
    expected: Int[Tensor, " pair"]
    positions: dict[str, list[int]]
    model_name: str
    texts: dict[int, str] = field(default_factory=dict)
    classes: Int[Tensor, " pair"] | None = None

    def __post_init__(self) -> None:
        shapes = [tuple(side.ids.shape) for side in (self.base, self.source)]
        if shapes[0] != shapes[1]:
            msg = f"expected base and source prompts of the same shape, got {shapes[0]} and {shapes[1]}"
            raise ArrayError(msg)
        if not ((self.expected == self.own) | (self.expected == self.other)).all():
            msg = "expected each pair's expected token to be its own or its other one"
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.base.ids)

    def __repr__(self) -> str:
        size = f"pairs={len(self)}, positions={len(self.base)}: {' '.join(self.positions)}"
        return f"Interchange({self.name!r}, {size}, model={self.model_name!r})"

    @property
    def metric(self) -> LogitDifference:
        """The logit of the base's own token less that of the other, at END, in nats."""
        return LogitDifference(self.own, self.other)

    def take(self, pairs: slice | Sequence[int]) -> Interchange:
        """Give some of the pairs.

        Examples
        --------
        >>> from nbtools.tasks import facts, interchange
        >>> pairs = interchange(facts(load(), relation="capital", prompts=4))
        >>> len(pairs.take(slice(2)))
        2
        """
        rows = list(range(len(self)))[pairs] if isinstance(pairs, slice) else [int(row) for row in pairs]
        if not rows:
            msg = f"expected at least one of {len(self)} pairs, got none"
            raise InputError(msg)
        base, source = (Tokens(side.ids[rows], [side.labels[row] for row in rows]) for side in (self.base, self.source))
        own, other, expected = (part[rows] for part in (self.own, self.other, self.expected))
        places = {name: [where[row] for row in rows] for name, where in self.positions.items()}
        classes = None if self.classes is None else self.classes[rows]
        return Interchange(self.name, base, source, own, other, expected, places, self.model_name, self.texts, classes)


def interchange(task: Task, *, direction: Literal["denoising", "noising"] = "denoising") -> Interchange:
    """Read the pairs of a task as an interchange in which the answer is what is carried over.

    Parameters
    ----------
    task
        A task whose wrong token is what follows the corrupted prompt, such as `facts`.
    direction
        ``"denoising"``: the corrupted prompts are the base; ``"noising"``: the clean ones.

    Examples
    --------
    >>> from nbtools.tasks import facts
    >>> interchange(facts(load(), relation="capital", prompts=4))
    Interchange('facts', pairs=4, positions=10: SUBJECT END, model='SmolLM2-135M')
    """
    if direction not in ("denoising", "noising"):
        msg = f"expected the direction 'denoising' or 'noising', got {direction!r}"
        raise InputError(msg)
    chosen = task if direction == "noising" else task.swap()
    return Interchange(
        chosen.name, chosen.clean, chosen.corrupted, chosen.answer, chosen.wrong, chosen.wrong, chosen.positions,
        chosen.model_name, chosen.texts,
    )  # fmt: skip
