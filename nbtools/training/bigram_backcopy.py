"""Bigram-Backcopy: characters follow each other by chance, but after a trigger the one before it comes again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.training.sink_progress import SinkProgress

__all__ = ["BOS", "BigramBackcopy", "bigram_backcopy"]

BOS = "<bos>"
_CHARACTERS = 63
_SPREAD = 2.0  # of the log probabilities of a synthetic chain: rows then differ about as those of text do

Ids = Int[Tensor, "prompt position"]


@dataclass(frozen=True, eq=False, repr=False)
class BigramBackcopy:
    """A source of token sequences for which the best possible prediction is known exactly.

    A sequence begins with ``<bos>`` and a token that is no trigger. After a trigger the token *before* it comes
    again, also where that is a trigger itself; after any other token the next is drawn from its row of `transitions`.

    Attributes
    ----------
    labels
        The text of each token; token 0 is ``<bos>``.
    transitions
        Row by row the probabilities of the next token. The row of ``<bos>`` is how sequences begin; those of triggers
        are the statistics of the chain, which sequences do not follow.
    triggers
        The tokens that call for a copy.
    chain
        Where the transitions come from.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024.
    """

    labels: tuple[str, ...]
    transitions: Float[Tensor, "token next"]
    triggers: tuple[int, ...]
    chain: str = "text"

    kind = "bigram_backcopy"

    def __repr__(self) -> str:
        triggers = ", ".join(repr(self.labels[token]) for token in self.triggers)
        return f"BigramBackcopy({self.chain}, {len(self.labels)} tokens, triggers {triggers})"

    @cached_property
    def entropy(self) -> Float[Tensor, " token"]:
        """The uncertainty about the next token after each token, in nats: the loss that no model can go below."""
        return torch.special.entr(self.transitions).sum(1).masked_fill(self._triggers, 0.0)

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Ids:
        """Draw sequences of this many tokens, ``<bos>`` among them.

        Examples
        --------
        >>> data = bigram_backcopy()
        >>> ids = data.sample(1, 20, torch.Generator().manual_seed(0))
        >>> text = "".join(data.labels[token] for token in ids[0])
        >>> text.startswith("<bos>"), len(ids[0])
        (True, 20)
        """
        if batch < 1 or length < 1:
            msg = f"expected at least one sequence of at least one token, got batch={batch} and length={length}"
            raise InputError(msg)
        draws = torch.rand((length, batch), generator=generator, dtype=torch.float64).numpy()
        rungs, triggers = self._rungs.numpy(), self._triggers.numpy()
        ids = np.zeros((length, batch), np.int64)
        for at in range(1, length):  # one token after another, which NumPy does in a third of the time
            now = ids[at - 1]
            drawn = rungs.searchsorted(now + draws[at], side="right") - now * len(self.labels)
            ids[at] = np.where(triggers[now], ids[max(at - 2, 0)], drawn)
        return torch.from_numpy(ids.T.copy())

    def is_trigger(self, ids: Int[Tensor, "*any"]) -> Bool[Tensor, "*any"]:
        """Mark the tokens after which the token before them comes again."""
        return self._triggers[ids]

    def domains(self, ids: Ids) -> dict[str, Bool[Tensor, "prompt position"]]:
        """Mark the positions whose next token is a copy, and those whose next token is drawn."""
        copies = self.is_trigger(ids)
        return {"backcopy": copies, "bigram": ~copies}

    def oracle(self, ids: Ids) -> Float[Tensor, "prompt position next"]:
        """Give the true probabilities of the token after each position.

        Examples
        --------
        >>> data = bigram_backcopy()
        >>> a, e = data.labels.index("a"), data.labels.index("e")
        >>> true = data.oracle(torch.tensor([[0, a, e]]))
        >>> data.labels[true[0, 2].argmax()], true[0, 2].max().item()
        ('a', 1.0)
        """
        copies = self._copies(ids)
        copied = torch.nn.functional.one_hot(ids.roll(1, 1), len(self.labels)).to(self.transitions)
        return torch.where(copies[..., None], copied, self.transitions[ids])

    def risk(self, ids: Ids) -> float:
        """Give the least possible mean loss in nats over the positions of these sequences that are no triggers."""
        return self.entropy[ids[~self._copies(ids)]].mean().item()

    def expected_risk(self, length: int) -> float:
        """Give the least possible mean loss over the non-triggers of all sequences of a length: exact, not sampled.

        Examples
        --------
        >>> 1.8 < bigram_backcopy().expected_risk(64) < 2.2
        True
        """
        visits = self.visits(length).sum(0)[~self._triggers]
        return (visits * self.entropy[~self._triggers] / visits.sum()).sum().item()

    def visits(self, length: int) -> Float[Tensor, "position token"]:
        """Give the exact probability of each token at each position."""
        pairs = torch.zeros_like(self.transitions)  # of a token and the next one
        pairs[0] = self.transitions[0]
        seen = [torch.eye(len(self.labels), dtype=pairs.dtype)[0]]
        while len(seen) < length:
            seen.append(pairs.sum(0))
            pairs = torch.where(self._triggers[:, None], pairs.T, seen[-1][:, None] * self.transitions)
        return torch.stack(seen)

    def describe(self) -> dict[str, Any]:
        """Give what is needed beside `transitions` to build the same source again."""
        return {"kind": self.kind, "labels": list(self.labels), "triggers": list(self.triggers), "chain": self.chain}

    @property
    def summary(self) -> str:
        """The data in a few words."""
        return f"{self.kind} {self.chain}"

    def progress(self, length: int) -> SinkProgress:
        """Give what measures a model of such data."""
        return SinkProgress(self, length)

    @classmethod
    def restore(cls, about: dict[str, Any], tensors: dict[str, Tensor]) -> BigramBackcopy:
        """Build the source that was described."""
        return cls(tuple(about["labels"]), tensors["transitions"], tuple(about["triggers"]), about["chain"])

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors of a description."""
        return {"transitions": self.transitions}

    @cached_property
    def _triggers(self) -> Bool[Tensor, " token"]:
        marks = torch.zeros(len(self.labels), dtype=torch.bool)
        marks[list(self.triggers)] = True
        return marks

    @cached_property
    def _rungs(self) -> Float[Tensor, " rung"]:
        """Lay the cumulative probabilities of all rows end to end: those of row r lie between r and r + 1."""
        total = self.transitions.cumsum(1)
        rows = torch.arange(len(self.labels))[:, None]
        return (total / total[:, -1:] + rows).flatten()

    def _copies(self, ids: Ids) -> Bool[Tensor, "prompt position"]:
        if ids.ndim != 2 or (ids[:, 0] != 0).any():
            msg = f"expected sequences [prompt, position] that begin with token 0, {BOS}, got shape {tuple(ids.shape)}"
            raise ArrayError(msg)
        return self.is_trigger(ids)


def bigram_backcopy(chain: str = "text", *, triggers: int = 3, seed: int = 0) -> BigramBackcopy:
    """Make the data of Bigram-Backcopy, the smallest task on which attention sinks form.

    Parameters
    ----------
    chain
        ``"text"``: which character follows which in the help texts that come with Python, for the 63 most frequent
        ones. They change a little from one Python to the next. ``"synthetic"``: 63 tokens with random transitions.
    triggers
        How many of the most frequent tokens are triggers; in text the space, ``e`` and ``t``.
    seed
        Seed of the synthetic transitions.

    Raises
    ------
    InputError
        If there is no such chain, or the number of triggers does not fit.

    Examples
    --------
    >>> bigram_backcopy()
    BigramBackcopy(text, 64 tokens, triggers ' ', 'e', 't')
    """
    if chain not in ("text", "synthetic"):
        msg = f"expected chain='text' or 'synthetic', got {chain!r}"
        raise InputError(msg)
    if not 1 <= triggers < _CHARACTERS:
        msg = f"expected 1 to {_CHARACTERS - 1} triggers, got {triggers}"
        raise InputError(msg)
    labels, following = _of_text() if chain == "text" else _synthetic(seed)
    order = _stationary(following).argsort(descending=True, stable=True)
    following = following[order][:, order]
    transitions = torch.zeros((_CHARACTERS + 1,) * 2, dtype=torch.float64)
    transitions[1:, 1:] = following
    transitions[0, triggers + 1 :] = _stationary(following)[triggers:]
    transitions[0] /= transitions[0].sum()
    named = (BOS, *(labels[token] for token in order.tolist()))
    return BigramBackcopy(named, transitions, tuple(range(1, triggers + 1)), chain)


@cache
def _of_text() -> tuple[list[str], Float[Tensor, "token next"]]:
    """Count which character follows which; the last is followed by the first."""
    from pydoc_data.topics import topics

    text = " ".join(topics[name] for name in sorted(topics))
    text = re.sub(r"([^\w\s])\1{2,}", r"\1", text)  # rulers and frames
    text = re.sub(r"\s+", " ", text)
    often = sorted(set(text), key=lambda character: (-text.count(character), character))[:_CHARACTERS]
    number = {character: place for place, character in enumerate(often)}
    ids = torch.tensor([number[character] for character in text if character in number])
    counts = torch.bincount(ids * _CHARACTERS + ids.roll(-1), minlength=_CHARACTERS**2)
    following = counts.reshape(_CHARACTERS, _CHARACTERS).double()
    return often, following / following.sum(1, keepdim=True)


def _synthetic(seed: int) -> tuple[list[str], Float[Tensor, "token next"]]:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((_CHARACTERS, _CHARACTERS), generator=generator, dtype=torch.float64)
    favour = -torch.arange(1, _CHARACTERS + 1, dtype=torch.float64).log()  # Zipf's law
    letters = [chr(ord("0") + place) for place in range(_CHARACTERS)]
    return letters, (_SPREAD * noise + favour).softmax(1)


def _stationary(following: Float[Tensor, "token next"]) -> Float[Tensor, " token"]:
    """Give how often each token occurs in the long run."""
    balance = following.T - torch.eye(len(following), dtype=following.dtype)
    balance[-1] = 1
    ends = torch.zeros(len(following), dtype=following.dtype)
    ends[-1] = 1
    return torch.linalg.solve(balance, ends)
