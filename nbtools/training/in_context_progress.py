"""How far a network has come on in-context classification: what it can do, and what its attention looks like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from nbtools.training.classifier import InContextClassifier
    from nbtools.training.in_context import Episodes, InContext
    from nbtools.training.minimal_induction import MinimalInduction

__all__ = ["IN_CONTEXT_MEASURES", "InContextProgress"]

IN_CONTEXT_MEASURES: dict[str, str] = {
    "in_context": "accuracy on classes that were never seen: what is learned in context",
    "swapped": "share of answers that follow the context where its labels are moved on by one",
    "in_weights": "accuracy on targets that are hardly ever in the context: what is learned in the weights",
    "novel_loss": "loss on classes that were never seen, in nats",
    "context_label": "share of answers that are one of the labels in the context (CLA)",
    "item_label": "attention of labels to the item before them, in the first layer (ILA1)",
    "target_label": "attention of the target to labels of its class, in the last layer (TILA2)",
    "any_label": "attention of the target to labels, in the last layer (TLA2)",
}
_SEED = 1_000_003


@dataclass(frozen=True, eq=False)
class InContextProgress:
    """Measure a network on the same sequences each time.

    Call it with a model; several networks side by side give one number each. With p1 and p2 the attention of both
    layers, item j at position 2j, its label at 2j + 1, and means over sequences of classes that were never seen:
    ``item_label`` is the mean over j of p1[2j + 1, 2j]; ``target_label`` the sum of p2[target, 2j + 1] over the items j
    of the target's class, ``any_label`` that over all j.

    Attributes
    ----------
    data
        The source of the sequences.
    sequences
        How many of each kind. They are not those that a model is trained on.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024 (the names of its progress measures are in brackets in `IN_CONTEXT_MEASURES`).

    Examples
    --------
    >>> from nbtools.training import ClassifierConfig, InContextClassifier, in_context
    >>> found = InContextProgress(in_context(), sequences=64)(InContextClassifier(ClassifierConfig()))
    >>> found["in_context"] < 0.2, found["any_label"] < 0.8
    (True, True)
    """

    data: InContext
    sequences: int = 512

    @cached_property
    def episodes(self) -> dict[str, Episodes]:
        """The sequences of each kind."""
        generator = torch.Generator().manual_seed(_SEED)
        return {
            kind: self.data.sample(self.sequences, generator, kind=kind) for kind in ("novel", "swapped", "weights")
        }

    def __call__(self, model: InContextClassifier | MinimalInduction) -> dict[str, float | np.ndarray]:
        """Give each of `IN_CONTEXT_MEASURES`."""
        novel = self.episodes["novel"]
        with torch.no_grad():
            first, second = model.attention(self._tokens(model, "novel"))
            logits = {kind: model(self._tokens(model, kind)).cpu() for kind in self.episodes}
        answers = {kind: (logits[kind].argmax(-1) == self.episodes[kind].answer).float().mean(-1) for kind in logits}
        said = logits["novel"].argmax(-1)
        first, second = first.cpu(), second.cpu()
        labels = torch.arange(1, first.shape[-1], 2)
        to_labels = second[..., labels]
        found = {
            "in_context": answers["novel"],
            "swapped": answers["swapped"],
            "in_weights": answers["weights"],
            "novel_loss": _loss(logits["novel"], novel.answer),
            "context_label": (said[..., None] == novel.context).any(-1).float().mean(-1),
            "item_label": _item_label(first, labels),
            "target_label": (to_labels * novel.matching).sum(-1).mean(-1),
            "any_label": to_labels.sum(-1).mean(-1),
        }
        return {name: values.numpy() if values.ndim else values.item() for name, values in found.items()}

    def _tokens(self, model: InContextClassifier | MinimalInduction, kind: str) -> Tensor:
        tokens = self.episodes[kind].tokens.to(next(model.parameters()).device)
        return tokens if isinstance(model.seeds, int) else tokens.expand(len(model.seeds), *tokens.shape)


def _item_label(first: Float[Tensor, "*seed prompt query key"], labels: Tensor) -> Float[Tensor, "*seed"]:
    """Give how much labels look at their item; NaN in a network of one layer, in which only the target looks."""
    if first.shape[-2] == 1:
        return first.new_full(first.shape[:-3], torch.nan)
    return first[..., labels, labels - 1].mean((-1, -2))


def _loss(logits: Float[Tensor, "*seed prompt label"], answer: Tensor) -> Float[Tensor, "*seed"]:
    losses = cross_entropy(logits.flatten(0, -2), answer.expand(logits.shape[:-1]).flatten(), reduction="none")
    return losses.reshape(logits.shape[:-1]).mean(-1)
