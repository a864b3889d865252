"""The weights of heads as they act on the residual stream: gains of norms taken in, one set for each query head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from nbtools.models.norms import FrozenNorm

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["LayerWeights", "layer_weights", "unembedding"]


@dataclass(frozen=True)
class LayerWeights:
    """What the heads of a layer read the stream by, and write to it by."""

    q: Float[Tensor, "head d_model d_head"]
    k: Float[Tensor, "head d_model d_head"]
    v: Float[Tensor, "head d_model d_head"]
    o: Float[Tensor, "head d_head d_model"]


def layer_weights(model: TransformerBridge, layer: int) -> LayerWeights:
    """Read the weights of a layer, each query head with the keys and values of its group."""
    block, heads = model.blocks[layer], model.cfg.n_heads
    written = block.attn.W_O.detach()
    stream = written[0, :1]
    before, after = (FrozenNorm.of(getattr(block, name, None), stream) for name in ("ln1", "ln1_post"))
    read = (getattr(block.attn, name).detach().float() for name in ("W_Q", "W_K", "W_V"))
    grouped = (before.into(weights) for weights in read)
    each = (weights.repeat_interleave(heads // len(weights), 0) for weights in grouped)
    return LayerWeights(*each, after.after(written.float()))


def unembedding(model: TransformerBridge) -> Float[Tensor, "d_model vocabulary"]:
    """Read the unembedding with the gain of the final norm, less its mean over the vocabulary, which says nothing."""
    weights = model.unembed.W_U.detach().float()
    norm = FrozenNorm.of(getattr(model, "ln_final", None), weights.T[:1].to(model.unembed.W_U.dtype))
    read = norm.into(weights)
    return read - read.mean(1, keepdim=True)
