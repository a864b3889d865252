"""What a training needs, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["Data", "Progress", "Values", "mean_losses", "no_losses"]

Values: TypeAlias = "float | np.ndarray"  # one number, or one for each layer
Ids = Int[Tensor, "prompt position"]


class Data(Protocol):
    """What a model can be trained on, such as `BigramBackcopy`."""

    labels: tuple[str, ...]

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Ids:
        """Draw sequences."""

    def domains(self, ids: Ids) -> dict[str, Bool[Tensor, "prompt position"]]:
        """Mark the positions whose losses are to be told apart."""

    def describe(self) -> dict[str, Any]:
        """Give what is written into a file, beside `tensors`."""

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors that are written into a file."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes
    ----------
    step, steps
        Steps done, and to do in all.
    losses
        For each domain of the data the mean loss in nats over the steps since the last measured one; NaN at step 0.
    measures
        What the measure of the training gave.
    seconds, seconds_left
        How long it has trained and measured, and how long it will at this pace, NaN at step 0.
    """

    step: int
    steps: int
    losses: dict[str, float]
    measures: Mapping[str, Values] = field(repr=False)
    seconds: float = field(repr=False)
    seconds_left: float = field(repr=False)


def no_losses(data: Data) -> dict[str, np.ndarray]:
    """Start the sum and the number of the losses of each domain."""
    return {name: np.zeros(2) for name in data.domains(torch.zeros((1, 1), dtype=torch.long))}


def mean_losses(losses: dict[str, np.ndarray]) -> dict[str, float]:
    """Divide; a domain that did not occur has no mean, and NaN."""
    return {name: total / count if count else float("nan") for name, (total, count) in losses.items()}
