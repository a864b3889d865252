"""Drawing the sequences of in-context classification."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from nbtools.training.in_context import InContext

__all__ = ["Draw", "rows_where", "vectors_of"]


def vectors_of(number: int, dimensions: int, generator: torch.Generator) -> Float[Tensor, "number dimension"]:
    return torch.randn(number, dimensions, generator=generator) / math.sqrt(dimensions)


def rows_where(rows: Tensor, some: Tensor, others: Tensor) -> Tensor:
    return torch.where(rows.reshape(-1, *[1] * (some.ndim - 1)), some, others)


@dataclass(frozen=True)
class Draw:
    """One batch being drawn."""

    data: InContext
    generator: torch.Generator
    batch: int

    def known(self, bursty: Tensor) -> tuple[Tensor, Tensor]:
        """Draw classes of contexts and of targets, some of them bursty."""
        if bursty.all():
            return self._bursty(self.data.probabilities)
        drawn = self.batch * (self.data.pairs + 1)
        alone = torch.multinomial(self.data.probabilities, drawn, replacement=True, generator=self.generator)
        classes, target = alone.reshape(self.batch, -1).split([self.data.pairs, 1], 1)
        if not bursty.any():
            return classes, target[:, 0]
        together, member = self._bursty(self.data.probabilities)
        return rows_where(bursty, together, classes), torch.where(bursty, member, target[:, 0])

    def novel(self, classes: int) -> tuple[Tensor, Tensor]:
        return self._bursty(torch.full((classes,), 1 / classes, dtype=torch.float64))

    def _bursty(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Draw classes of different labels, each as often as the burstiness says, in any order; and one of them."""
        data, labels = self.data, len(self.data.label_vectors)
        times = max(data.burstiness, 1)
        best, row = self._one_for_each_label(probabilities, labels)
        chosen = best.topk(data.pairs // times, dim=1).indices
        classes = row.gather(1, chosen) * labels + chosen
        order = torch.rand(self.batch, data.pairs, generator=self.generator).argsort(1)
        context = classes.repeat(1, times).gather(1, order)
        pick = torch.randint(data.pairs, (self.batch, 1), generator=self.generator)
        return context, context.gather(1, pick)[:, 0]

    def _one_for_each_label(self, probabilities: Tensor, labels: int) -> tuple[Tensor, Tensor]:
        """Draw a class of each label, and a key by which labels are chosen, so that classes come by their probability.

        The largest of ``log p`` and Gumbel noise is a draw by ``p``, and the next ones are draws from what is left.
        So the largest of each label, and the labels of which that is largest, are draws without a label twice.
        """
        if (probabilities == probabilities[0]).all():  # the same, and cheaper
            rows = torch.randint(len(probabilities) // labels, (self.batch, labels), generator=self.generator)
            return torch.rand(self.batch, labels, generator=self.generator), rows
        noise = -torch.empty(self.batch, len(probabilities)).exponential_(generator=self.generator).log()
        return (probabilities.log().float() + noise).reshape(self.batch, -1, labels).max(1)

    def noisy(self, center: Float[Tensor, "prompt item dimension"]) -> Float[Tensor, "prompt item dimension"]:
        """Move items away from the centers of their classes."""
        away = torch.randn(center.shape, generator=self.generator) / math.sqrt(center.shape[-1])
        return (center + self.data.noise * away) / math.sqrt(1 + self.data.noise**2)

    def tokens(self, items: Tensor, context: Tensor) -> Float[Tensor, "prompt position d_model"]:
        """Put items and labels in turn, and before each the place where it stands."""
        data = self.data
        places = data.places
        content = items.new_empty(self.batch, data.length, items.shape[-1])
        content[:, ::2], content[:, 1::2] = items, data.label_vectors[context]
        first = torch.randint(places - data.length + 1, (self.batch, 1), generator=self.generator)
        where = first + torch.arange(data.length)
        return torch.cat([torch.nn.functional.one_hot(where, places).to(content), content], -1)
