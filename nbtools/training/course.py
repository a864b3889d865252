"""What a training does at each step: draw, and find the losses, for each kind of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nbtools.errors import InputError
from nbtools.training.classifier import InContextClassifier
from nbtools.training.classifier_config import ClassifierConfig
from nbtools.training.config import TinyConfig
from nbtools.training.in_context import Episodes, InContext
from nbtools.training.minimal_induction import MinimalInduction
from nbtools.training.tiny import TinyTransformer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtools.training.progress import Data

__all__ = ["Config", "Course", "Parts", "Seed", "course_of", "mean_losses", "network"]

Config: TypeAlias = "TinyConfig | ClassifierConfig"
Seed: TypeAlias = "int | Sequence[int]"
Parts: TypeAlias = "dict[str, np.ndarray]"  # for each part of the data the sum of its losses, and their number

_DATA = 1_000_003  # apart from the seeds of weights


class Course(Protocol):
    """What a training does at each step.

    Attributes
    ----------
    model
        The network, or several side by side.
    generators
        Of the data.
    """

    model: nn.Module
    generators: list[torch.Generator]

    def draw(self, batch: int) -> Any:
        """Draw what the next step is about."""

    def losses(self, drawn: Any) -> Tensor:
        """Give the losses on it, with gradients."""

    def total(self, losses: Tensor) -> Tensor:
        """Give the one number that is to become smaller."""

    def parts(self, drawn: Any, losses: Tensor) -> Parts:
        """Tell the losses of different parts of the data apart."""

    def no_parts(self) -> Parts:
        """Give what `parts` gives before anything was drawn."""


def course_of(config: Config, data: Data, seed: Seed) -> Course:
    """Give the course by which a model of this kind learns from data of this kind.

    Raises
    ------
    InputError
        If they do not fit each other.
    """
    if isinstance(data, InContext):
        return InContextCourse(config, data, seed)
    return TokenCourse(config, data, seed)


def network(config: Config, data: Data, seed: Seed = 0, *, name: str = "") -> nn.Module:
    """Build the network that a configuration and data of this kind describe; its weights are not trained."""
    if isinstance(config, TinyConfig):
        return TinyTransformer(config, data.labels, generator=torch.Generator().manual_seed(seed), name=name)
    return (InContextClassifier if config.layers else MinimalInduction)(config, seeds=seed)


class TokenCourse:
    """Predicting the next token, at each position; the loss is the mean over all."""

    def __init__(self, config: TinyConfig, data: Data, seed: Seed) -> None:
        if not isinstance(config, TinyConfig) or not isinstance(seed, int):
            msg = f"expected a TinyConfig and one seed for tokens, got {type(config).__name__} and seed={seed!r}"
            raise InputError(msg)
        if len(data.labels) != config.vocabulary:
            known = len(data.labels)
            msg = f"the data has {known} tokens, the model {config.vocabulary}: set vocabulary={known}"
            raise InputError(msg)
        self.data, self.length = data, config.length
        self.generators = [torch.Generator().manual_seed(seed)]
        self.model = TinyTransformer(config, data.labels, generator=self.generators[0], name=data.describe()["kind"])

    def draw(self, batch: int) -> Tensor:
        return self.data.sample(batch, self.length + 1, self.generators[0])

    def losses(self, drawn: Tensor) -> Tensor:
        ids, answers = (part.to(self.model.cfg.device) for part in (drawn[:, :-1], drawn[:, 1:]))
        return cross_entropy(self.model(ids).flatten(0, 1), answers.flatten(), reduction="none")

    def total(self, losses: Tensor) -> Tensor:
        return losses.mean()

    def parts(self, drawn: Tensor, losses: Tensor) -> Parts:
        marks = self.data.domains(drawn[:, :-1])
        losses = losses.detach().cpu()
        return {
            name: np.array([losses[part.flatten()].sum().item(), part.sum().item()]) for name, part in marks.items()
        }

    def no_parts(self) -> Parts:
        return {name: np.zeros(2) for name in self.data.domains(torch.zeros((1, 1), dtype=torch.long))}


class InContextCourse:
    """Naming the label of the last item; several networks learn side by side, each from sequences of its own."""

    def __init__(self, config: ClassifierConfig, data: InContext, seed: Seed) -> None:
        if not isinstance(config, ClassifierConfig):
            msg = f"expected a ClassifierConfig for in-context classification, got {type(config).__name__}"
            raise InputError(msg)
        config.check(data)
        self.data, self.seed = data, seed if isinstance(seed, int) else list(seed)
        self.model = network(config, data, self.seed)
        each = [seed] if isinstance(seed, int) else self.seed
        self.generators = [torch.Generator().manual_seed(_DATA + own) for own in each]

    def draw(self, batch: int) -> list[Episodes]:
        return [self.data.sample(batch, generator) for generator in self.generators]

    def losses(self, drawn: list[Episodes]) -> Tensor:
        device = self.model.classify.W_U.device
        tokens, answers = (
            torch.stack([getattr(own, name) for own in drawn]).to(device) for name in ("tokens", "answer")
        )
        logits = self.model(tokens[0] if isinstance(self.seed, int) else tokens)
        losses = cross_entropy(logits.flatten(0, -2), answers.flatten(), reduction="none")
        return losses.reshape(logits.shape[:-1])

    def total(self, losses: Tensor) -> Tensor:
        return losses.mean(-1).sum()

    def parts(self, drawn: list[Episodes], losses: Tensor) -> Parts:
        sums = losses.detach().cpu().double().sum(-1).numpy()
        return {"train": np.stack([sums, np.full_like(sums, losses.shape[-1])])}

    def no_parts(self) -> Parts:
        return {"train": np.zeros((2, *([] if isinstance(self.seed, int) else [len(self.seed)])))}


def mean_losses(parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Divide sums by numbers; what did not occur has no mean, and NaN."""
    means = {
        name: np.divide(*part, out=np.full(part.shape[1:], np.nan), where=part[1] > 0) for name, part in parts.items()
    }
    return {name: mean if mean.ndim else mean.item() for name, mean in means.items()}
