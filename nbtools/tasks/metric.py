"""What is read off the logits at END: one number per run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError

__all__ = ["LogProbability", "LogitDifference", "Metric", "Probability"]


class Metric(Protocol):
    """One number per row of logits, for tasks and for engines; `name` and `units` go into results."""

    name: ClassVar[str]
    units: ClassVar[str]

    def __call__(
        self, logits: Float[Tensor, "row vocabulary"], prompt: Int[Tensor, " row"] | None = None
    ) -> Float[Tensor, " row"]:
        """Read one number off each row; `prompt` says which prompt of the task a row belongs to."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class LogitDifference:
    """The logit of the answer less that of the wrong token: 0 is no preference.

    An engine needs two columns of the unembedding for it, those in `answer` and `wrong`.

    Attributes
    ----------
    answer, wrong
        A token id for each prompt.

    Examples
    --------
    >>> metric = LogitDifference(torch.tensor([2, 0]), torch.tensor([1, 1]))
    >>> logits = torch.tensor([[0.0, 1.0, 5.0], [3.0, 1.0, 0.0]])
    >>> metric(logits).tolist(), metric(logits[:1], torch.tensor([1])).tolist()
    ([4.0, 2.0], [-1.0])
    """

    answer: Int[Tensor, " prompt"]
    wrong: Int[Tensor, " prompt"]

    name: ClassVar[str] = "logit difference"
    units: ClassVar[str] = "nats"

    def __call__(
        self, logits: Float[Tensor, "row vocabulary"], prompt: Int[Tensor, " row"] | None = None
    ) -> Float[Tensor, " row"]:
        """Give the difference of each row, in nats; without `prompt` row k is prompt k."""
        ours, theirs = (_precise(_pick(logits, token, prompt)) for token in (self.answer, self.wrong))
        return ours - theirs

    def __repr__(self) -> str:
        return f"LogitDifference(prompts={len(self.answer)})"


@dataclass(frozen=True, eq=False, repr=False)
class Probability:
    """The probability of the answer, among the whole vocabulary.

    Attributes
    ----------
    answer
        A token id for each prompt.

    Examples
    --------
    >>> Probability(torch.tensor([1]))(torch.tensor([[0.0, 0.0]])).tolist()
    [0.5]
    """

    answer: Int[Tensor, " prompt"]

    name: ClassVar[str] = "probability"
    units: ClassVar[str] = "probability"

    def __call__(
        self, logits: Float[Tensor, "row vocabulary"], prompt: Int[Tensor, " row"] | None = None
    ) -> Float[Tensor, " row"]:
        """Give the probability of each row's answer; without `prompt` row k is prompt k."""
        return LogProbability(self.answer)(logits, prompt).exp()

    def __repr__(self) -> str:
        return f"Probability(prompts={len(self.answer)})"


@dataclass(frozen=True, eq=False, repr=False)
class LogProbability:
    """The logarithm of the probability of the answer, among the whole vocabulary.

    Attributes
    ----------
    answer
        A token id for each prompt.

    Examples
    --------
    >>> LogProbability(torch.tensor([1]))(torch.tensor([[0.0, 0.0]])).exp().tolist()
    [0.5]
    """

    answer: Int[Tensor, " prompt"]

    name: ClassVar[str] = "log probability"
    units: ClassVar[str] = "nats"

    def __call__(
        self, logits: Float[Tensor, "row vocabulary"], prompt: Int[Tensor, " row"] | None = None
    ) -> Float[Tensor, " row"]:
        """Give the log probability of each row's answer, in nats; without `prompt` row k is prompt k."""
        return _pick(_precise(logits).log_softmax(-1), self.answer, prompt)

    def __repr__(self) -> str:
        return f"LogProbability(prompts={len(self.answer)})"


def _precise(values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Half precision is left before anything is subtracted or summed."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _pick(
    values: Float[Tensor, "row vocabulary"], token: Int[Tensor, " prompt"], prompt: Int[Tensor, " row"] | None
) -> Float[Tensor, " row"]:
    if values.ndim != 2:
        msg = f"expected logits [row, vocabulary] of one position, got shape {tuple(values.shape)}: logits[:, task.end]"
        raise ArrayError(msg)
    token = token.to(values.device)
    token = token if prompt is None else token[torch.as_tensor(prompt, device=values.device)]
    if len(token) != len(values):
        msg = f"expected a row of logits for each of {len(token)} prompts, got {len(values)}: say which with prompt="
        raise ArrayError(msg)
    return values.gather(1, token[:, None])[:, 0]
