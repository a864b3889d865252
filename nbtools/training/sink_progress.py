"""How far a model on Bigram-Backcopy has come: what it can do, and what its heads, values and stream look like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from nbtools.runs.forward import lock

if TYPE_CHECKING:
    from nbtools.training.bigram_backcopy import BigramBackcopy
    from nbtools.training.tiny import TinyTransformer

__all__ = ["SINK_MEASURES", "SinkProgress"]

SINK_MEASURES: dict[str, str] = {
    "backcopy_accuracy": "share of triggers after which the right token comes first",
    "backcopy_loss": "loss after triggers, in nats; 0 is possible",
    "bigram_excess": "loss after other tokens, less the least possible, in nats",
    "sink": "attention of tokens that are no triggers to <bos>",
    "sink_or_trigger": "their attention to <bos> and to triggers, which need not be copied either",
    "trigger_to_bos": "attention of triggers to <bos>",
    "trigger_to_previous": "attention of triggers to the token before them, which is to be copied",
    "sink_logit_gap": "score of <bos> less the mean score of other keys, for tokens that are no triggers",
    "drain": "norm of what <bos> gives through values and W_O, as a share of the mean of other tokens",
    "residual_ratio": "norm of the stream after a layer at <bos>, over the median of other tokens",
    "max_inf_norm": "largest number in the stream after a layer, mean over sequences, of the layer where it is largest",
    "kurtosis": "kurtosis of the stream after a layer, mean over sequences and layers; 3 for a normal distribution",
}
_FIRST_QUERY = 4  # before it there are few keys, and each gets much
_SEED = 1_000_003
Pattern = Float[Tensor, "prompt query key"]
Marks = Bool[Tensor, "prompt position"]


@dataclass(frozen=True, eq=False)
class SinkProgress:
    """Measure a model on the same sequences each time, by one run.

    Call it with a model. Of `SINK_MEASURES` those of attention, values and stream come for each layer (means over
    heads; NaN for a layer without attention), the others as one number.

    Attributes
    ----------
    data
        The source of the sequences, which also knows the least possible loss.
    length, sequences
        Their length and number. They are not those that a model is trained on.

    Examples
    --------
    >>> from nbtools.training import TinyConfig, TinyTransformer, bigram_backcopy
    >>> found = SinkProgress(bigram_backcopy(), sequences=8)(TinyTransformer(TinyConfig()))
    >>> found["sink"].shape, bool(found["sink"] < 0.2), found["backcopy_accuracy"] < 0.2
    ((1,), True, True)
    """

    data: BigramBackcopy
    length: int = 64
    sequences: int = 128

    @cached_property
    def ids(self) -> Int[Tensor, "prompt position"]:
        """The sequences, and one token more."""
        return self.data.sample(self.sequences, self.length + 1, torch.Generator().manual_seed(_SEED))

    def __call__(self, model: TinyTransformer) -> dict[str, float | np.ndarray]:
        """Give each of `SINK_MEASURES`."""
        ids = self.ids[:, :-1].to(model.cfg.device)
        with lock(model), torch.no_grad():
            logits, cache = model.run_with_cache(ids, names_filter=_is_read)
        trigger = self.data.is_trigger(ids.cpu()).to(ids.device)
        found: dict[str, float | np.ndarray] = dict(self._answers(logits, trigger))
        layers = [_of_layer(model, layer, cache, trigger) for layer in range(model.cfg.n_layers)]
        for name in layers[0]:
            found[name] = np.array([layer[name] for layer in layers])
        streams = [cache[f"blocks.{layer}.hook_resid_post"] for layer in range(model.cfg.n_layers)]
        found["max_inf_norm"] = max(stream.abs().amax((1, 2)).mean().item() for stream in streams)
        found["kurtosis"] = float(np.mean([_kurtosis(stream.flatten(1)) for stream in streams]))
        return {name: found[name] for name in SINK_MEASURES}

    def _answers(self, logits: Float[Tensor, "prompt position vocabulary"], trigger: Marks) -> dict[str, float]:
        answers = self.ids[:, 1:].to(logits.device)[trigger]
        copied, drawn = logits[trigger], logits[~trigger].log_softmax(-1)
        true, least = self._truth
        true = true.to(drawn)
        return {
            "backcopy_accuracy": (copied.argmax(-1) == answers).float().mean().item(),
            "backcopy_loss": cross_entropy(copied, answers).item(),
            "bigram_excess": -(true * drawn).sum(-1).mean().item() - least,
        }

    @cached_property
    def _truth(self) -> tuple[Float[Tensor, "drawn next"], float]:
        """The true probabilities after each token that is no trigger, and the loss of who knows them."""
        ids = self.ids[:, :-1]
        return self.data.oracle(ids)[~self.data.is_trigger(ids)].float(), self.data.risk(ids)


def _is_read(name: str) -> bool:
    return name.endswith(("hook_attn_scores", "hook_pattern", "hook_v", "hook_resid_post"))


def _of_layer(model: TinyTransformer, layer: int, cache: dict[str, Tensor], trigger: Marks) -> dict[str, float]:
    block = model.blocks[layer]
    names = ("sink", "sink_or_trigger", "trigger_to_bos", "trigger_to_previous", "sink_logit_gap", "drain")
    found = dict.fromkeys(names, np.nan)
    if block.has_attention:
        pattern, scores, v = (cache[f"blocks.{layer}.attn.hook_{part}"] for part in ("pattern", "attn_scores", "v"))
        found |= _of_attention(pattern.mean(1), trigger)
        found["sink_logit_gap"] = _gap(scores.mean(1))[_others(trigger)].mean().item()
        given = torch.einsum("bphe,hed->bphd", v, block.attn.W_O.detach()).norm(dim=-1)
        found["drain"] = (given[:, 0].mean(0) / given[:, 1:].mean((0, 1))).mean().item()
    norms = cache[f"blocks.{layer}.hook_resid_post"].norm(dim=-1)
    return found | {"residual_ratio": (norms[:, 0].mean() / norms[:, 1:].median()).item()}


def _of_attention(pattern: Pattern, trigger: Marks) -> dict[str, float]:
    others, to_bos = _others(trigger), pattern[:, :, 0]
    quiet = trigger.clone()
    quiet[:, 0] = True
    previous = pattern.diagonal(offset=-1, dim1=1, dim2=2)
    return {
        "sink": to_bos[others].mean().item(),
        "sink_or_trigger": (pattern * quiet[:, None]).sum(-1)[others].mean().item(),
        "trigger_to_bos": to_bos[trigger].mean().item(),
        "trigger_to_previous": previous[trigger[:, 1:]].mean().item(),
    }


def _others(trigger: Marks) -> Marks:
    """Mark the queries that are no triggers and have several keys to choose from."""
    others = ~trigger
    others[:, :_FIRST_QUERY] = False
    return others


def _gap(scores: Pattern) -> Float[Tensor, "prompt query"]:
    """Compare the score of the first key with the mean score of the keys after it, the query's own among them."""
    keys = torch.ones_like(scores[0], dtype=torch.bool).tril()
    keys[:, 0] = False
    others = scores.masked_fill(~keys, 0).sum(-1) / keys.sum(-1).clamp(min=1)
    return scores[:, :, 0] - others


def _kurtosis(numbers: Float[Tensor, "prompt number"]) -> float:
    centred = numbers - numbers.mean(1, keepdim=True)
    return (centred.pow(4).mean(1) / centred.square().mean(1).square()).mean().item()
