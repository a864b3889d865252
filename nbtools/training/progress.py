"""What a training needs, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

__all__ = ["Data", "Measure", "Progress", "Tokens", "Values"]

Values: TypeAlias = "float | np.ndarray"  # one number, or one for each layer, or for each seed
Measure: TypeAlias = Callable[[nn.Module], Mapping[str, Values]]
Ids = Int[Tensor, "prompt position"]


class Data(Protocol):
    """What a model can be trained on: `Tokens`, or `InContext`."""

    kind: str
    summary: str

    def progress(self, length: int) -> Measure:
        """Give what measures a model of this data, if nothing else is asked for."""

    def describe(self) -> dict[str, Any]:
        """Give what is written into a file, beside `tensors`."""

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors that are written into a file."""


class Tokens(Data, Protocol):
    """Sequences of tokens of which each is to be predicted, such as `BigramBackcopy`."""

    labels: tuple[str, ...]

    def sample(self, batch: int, length: int, generator: torch.Generator) -> Ids:
        """Draw sequences."""

    def domains(self, ids: Ids) -> dict[str, Bool[Tensor, "prompt position"]]:
        """Mark the positions whose losses are to be told apart."""


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes
    ----------
    step, steps
        Steps done, and to do in all.
    losses
        For each domain of the data the mean loss in nats over the steps since the last measured one; NaN at step 0.
        Of several networks side by side one number each.
    measures
        What the measure of the training gave.
    seconds, seconds_left
        How long it has trained and measured, and how long it will at this pace, NaN at step 0.
    """

    step: int
    steps: int
    losses: dict[str, Values]
    measures: Mapping[str, Values] = field(repr=False)
    seconds: float = field(repr=False)
    seconds_left: float = field(repr=False)
