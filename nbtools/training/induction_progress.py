"""How far a model has come at repeating: what it predicts, and where its heads look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from nbtools.errors import InputError
from nbtools.runs.forward import lock

if TYPE_CHECKING:
    from nbtools.training.markov_repeats import MarkovRepeats
    from nbtools.training.tiny import TinyTransformer

__all__ = ["INDUCTION_MEASURES", "InductionProgress"]

INDUCTION_MEASURES: dict[str, str] = {
    "repeated_accuracy": "share of right answers where random tokens come a second time",
    "repeated_loss": "loss where random tokens come a second time, in nats; nearly 0 is possible",
    "novel_excess": "loss on what the chain draws, less its entropy, in nats",
    "in_context_score": "loss on repeated random tokens less that on them the first time, in nats",
    "induction": "attention to the token after the same one earlier, of the head that pays most",
    "previous_token": "attention to the token before, of the head that pays most",
    "sink_novel": "attention to <bos> on random tokens, mean over heads",
    "sink_repeated": "attention to <bos> where they come a second time, mean over heads",
}
_SEED = 1_000_003


@dataclass(frozen=True, eq=False)
class InductionProgress:
    """Measure a model on the same random tokens, written twice, and on the same draws of the chain each time.

    Call it with a model. Of `INDUCTION_MEASURES` those of attention come for each layer, the others as one number.

    Attributes
    ----------
    data
        The source of the sequences.
    length, sequences
        Their length and number. They are not those that a model is trained on.

    References
    ----------
    .. [1] Olsson et al., "In-context Learning and Induction Heads", 2022 (prefix matching, in-context learning score).

    Examples
    --------
    >>> from nbtools.training import TinyConfig, TinyTransformer, markov_repeats
    >>> found = InductionProgress(markov_repeats(), 32, sequences=8)(TinyTransformer(TinyConfig(layers=2, d_mlp=0)))
    >>> found["induction"].shape, found["repeated_accuracy"] < 0.2
    ((2,), True)
    """

    data: MarkovRepeats
    length: int = 32
    sequences: int = 128

    def __post_init__(self) -> None:
        if self.length < 5 or (self.length - 1) // 2 >= len(self.data.labels):
            most = 2 * len(self.data.labels) - 1
            msg = f"expected a length from 5 to {most}, so that random tokens can be written twice, got {self.length}"
            raise InputError(msg)

    @property
    def once(self) -> int:
        """How many tokens there are before they are written again."""
        return (self.length - 1) // 2

    @cached_property
    def ids(self) -> Int[Tensor, "prompt position"]:
        """``<bos>``, and different random tokens, twice."""
        generator = torch.Generator().manual_seed(_SEED)
        drawn = (
            torch.rand(self.sequences, len(self.data.labels) - 1, generator=generator).argsort(1)[:, : self.once] + 1
        )
        return torch.cat([torch.zeros_like(drawn[:, :1]), drawn, drawn], 1)

    @cached_property
    def chain(self) -> Int[Tensor, "prompt position"]:
        """Draws of the chain that are not written again, and one token more."""
        drawn = type(self.data)(self.data.labels, self.data.transitions, 0.0)
        return drawn.sample(self.sequences, self.length + 1, torch.Generator().manual_seed(_SEED))

    def __call__(self, model: TinyTransformer) -> dict[str, float | np.ndarray]:
        """Give each of `INDUCTION_MEASURES`."""
        ids, chain = self.ids.to(model.cfg.device), self.chain.to(model.cfg.device)
        with lock(model), torch.no_grad():
            logits, cache = model.run_with_cache(ids, names_filter=lambda name: name.endswith("hook_pattern"))
            novel = cross_entropy(model(chain[:, :-1])[:, 1:].flatten(0, 1), chain[:, 2:].flatten()).item()
        losses = cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        right = (logits[:, :-1].argmax(-1) == ids[:, 1:]).float()
        first, second = slice(1, self.once), slice(self.once + 1, None)  # predictions from within each time round
        found: dict[str, float | np.ndarray] = {
            "repeated_accuracy": right[:, second].mean().item(),
            "repeated_loss": losses[:, second].mean().item(),
            "novel_excess": novel - self.data.entropy,
            "in_context_score": (losses[:, second].mean() - losses[:, first].mean()).item(),
        }
        patterns = [cache.get(f"blocks.{layer}.attn.hook_pattern") for layer in range(model.cfg.n_layers)]
        layers = [self._of_layer(pattern) for pattern in patterns]
        return found | {name: np.array([layer[name] for layer in layers]) for name in layers[0]}

    def _of_layer(self, pattern: Float[Tensor, "prompt head query key"] | None) -> dict[str, float]:
        if pattern is None:
            return dict.fromkeys(("induction", "previous_token", "sink_novel", "sink_repeated"), np.nan)
        mean = pattern.mean(0)
        again = mean.diagonal(1 - self.once, -2, -1)[:, 2:]  # from each token of the second time round
        before = mean.diagonal(-1, -2, -1)[:, 1:]
        return {
            "induction": again.mean(1).max().item(),
            "previous_token": before.mean(1).max().item(),
            "sink_novel": mean[:, 2 : self.once + 1, 0].mean().item(),
            "sink_repeated": mean[:, self.once + 1 :, 0].mean().item(),
        }
