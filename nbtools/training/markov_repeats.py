"""Sequences that follow a chain, most of which begin again: what induction heads form on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.training.bigram_backcopy import BOS
from nbtools.training.induction_progress import InductionProgress

__all__ = ["MarkovRepeats", "markov_repeats"]

Ids = Int[Tensor, "prompt position"]


@dataclass(frozen=True, eq=False, repr=False)
class MarkovRepeats:
    """A source of sequences that follow a Markov chain and, most of them, repeat; made by `markov_repeats`.

    A sequence of T tokens begins with ``<bos>``. The next is drawn evenly, and each other one from the row of
    `transitions` of the one before it. In a share of sequences, `repeats`, tokens are written again after a period
    between T / 4 and T / 2, from the first one on, to the end.

    Attributes
    ----------
    labels
        The text of each token; token 0 is ``<bos>``.
    transitions
        Row by row the probabilities of the next token, without ``<bos>``.
    repeats
        Share of sequences that repeat.
    """

    labels: tuple[str, ...]
    transitions: Float[Tensor, "token next"]
    repeats: float

    kind = "markov_repeats"

    def __repr__(self) -> str:
        return f"MarkovRepeats({len(self.labels)} tokens, {self.entropy:.2f} nats each, repeats={self.repeats:g})"

    @property
    def summary(self) -> str:
        """The data in a few words."""
        return f"{self.kind} {self.entropy:.2f} nats"

    @cached_property
    def entropy(self) -> float:
        """The least possible loss where nothing repeats, in nats, in the long run."""
        balance = torch.linalg.matrix_power(self.transitions, 1000)[0]
        return (balance * torch.special.entr(self.transitions).sum(1)).sum().item()

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Ids:
        """Draw sequences of this many tokens, ``<bos>`` among them.

        Examples
        --------
        >>> ids = markov_repeats(repeats=1.0).sample(1, 17, torch.Generator().manual_seed(0))
        >>> (ids[0, 1:9] == ids[0, 9:]).all().item()
        True
        """
        if batch < 1 or length < 1:
            msg = f"expected at least one sequence of at least one token, got batch={batch} and length={length}"
            raise InputError(msg)
        draws = torch.rand((length, batch), generator=generator, dtype=torch.float64).numpy()
        tokens = len(self.transitions)
        ids = np.empty((length, batch), np.int64)
        ids[0] = -1  # <bos>, which comes before all
        ids[1:2] = (draws[1:2] * tokens).astype(np.int64)
        for at in range(2, length):
            now = ids[at - 1]
            ids[at] = (self._rungs.searchsorted(now + draws[at], side="right") - now * tokens).clip(0, tokens - 1)
        again = torch.rand(batch, generator=generator).numpy() < self.repeats
        least, most = _periods(length)
        period = torch.randint(least, most + 1, (batch,), generator=generator).numpy()
        source = (np.arange(length)[:, None] - 1) % np.where(again, period, length) + 1
        source[0] = 0
        return torch.from_numpy(np.take_along_axis(ids, source, 0).T + 1)

    def domains(self, ids: Ids) -> dict[str, Bool[Tensor, "prompt position"]]:
        """Mark the positions whose next token is known from what came before, as far as it is in these ids."""
        known = torch.zeros_like(ids, dtype=torch.bool)
        least, most = _periods(ids.shape[1] + 1)
        for period in range(least, most + 1):
            if ids.shape[1] > period + 2:
                repeats = (ids[:, period + 1 :] == ids[:, 1:-period]).all(1)
                known[repeats, period:] = True
        return {"repeated": known, "novel": ~known}

    def progress(self, length: int) -> InductionProgress:
        """Give what measures a model of such data."""
        return InductionProgress(self, length)

    def describe(self) -> dict[str, Any]:
        """Give what is needed beside `transitions` to build the same source again."""
        return {"kind": self.kind, "labels": list(self.labels), "repeats": self.repeats}

    @classmethod
    def restore(cls, about: dict[str, Any], tensors: dict[str, Tensor]) -> MarkovRepeats:
        """Build the source that was described."""
        return cls(tuple(about["labels"]), tensors["transitions"], about["repeats"])

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors of a description."""
        return {"transitions": self.transitions}

    @cached_property
    def _rungs(self) -> np.ndarray:
        """Lay the cumulative probabilities of all rows end to end: those of row r lie between r and r + 1."""
        total = self.transitions.cumsum(1)
        return (total / total[:, -1:] + torch.arange(len(total))[:, None]).flatten().numpy()


def _periods(length: int) -> tuple[int, int]:
    """Give the shortest and the longest period in sequences of this length."""
    return max(length // 4, 1), max(length // 2, 1)


def markov_repeats(*, tokens: int = 63, spread: float = 2.0, repeats: float = 0.75, seed: int = 0) -> MarkovRepeats:
    """Make sequences on which induction heads form: drawn from a chain, and most of them repeated.

    Parameters
    ----------
    tokens
        How many, beside ``<bos>``.
    spread
        Standard deviation of the log probabilities in each row of the chain; with 0 any token follows any other alike,
        and only repetition can be predicted.
    repeats
        Share of sequences that repeat.
    seed
        Seed of the chain.

    Raises
    ------
    InputError
        If a number does not fit.

    Examples
    --------
    >>> markov_repeats(spread=0.0)
    MarkovRepeats(64 tokens, 4.14 nats each, repeats=0.75)
    """
    if tokens < 2 or spread < 0 or not 0 <= repeats <= 1:
        msg = (
            "expected two tokens or more, a spread of 0 or more and a share of repeats, got "
            f"tokens={tokens}, spread={spread}, repeats={repeats}"
        )
        raise InputError(msg)
    noise = torch.randn((tokens, tokens), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    labels = [chr(ord("0") + place) for place in range(tokens)]
    return MarkovRepeats((BOS, *labels), (spread * noise).softmax(1), repeats)
