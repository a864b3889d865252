"""The parts of a small transformer, with hook points named as TransformerLens names them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformer_lens.hook_points import HookPoint

if TYPE_CHECKING:
    from nbtools.training.config import TinyConfig

__all__ = ["Block", "Draw", "Embedding", "Norm", "Positions", "Unembedding"]

Draw = Callable[..., nn.Parameter]  # a shape, and the standard deviation
Ids = Int[Tensor, "prompt position"]
Stream = Float[Tensor, "prompt position d_model"]
Scores = Float[Tensor, "prompt head query key"]

_EPS = 1e-5


class Embedding(nn.Module):
    """From tokens to the stream."""

    def __init__(self, config: TinyConfig, draw: Draw) -> None:
        super().__init__()
        self.W_E = draw(config.vocabulary, config.d_model, std=config.embedding_scale)

    def forward(self, ids: Ids) -> Stream:
        return self.W_E[ids]


class Positions(nn.Module):
    """What each position adds to the stream."""

    def __init__(self, config: TinyConfig, draw: Draw) -> None:
        super().__init__()
        self.W_pos = draw(config.length, config.d_model, std=config.embedding_scale)

    def forward(self, ids: Ids) -> Stream:
        return self.W_pos[: ids.shape[1]].expand(len(ids), -1, -1)


class Norm(nn.Module):
    """A layer norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.hook_normalized = HookPoint()

    def forward(self, stream: Stream) -> Stream:
        return self.hook_normalized(layer_norm(stream, self.w.shape, eps=_EPS)) * self.w + self.b


class Attention(nn.Module):
    """Causal attention, without biases."""

    def __init__(self, config: TinyConfig, kind: str, draw: Draw) -> None:
        super().__init__()
        self.kind, self.gamma, self.zeta = kind, config.gamma, config.zeta
        reads = (config.heads, config.d_model, config.d_head)
        deviation = config.weight_scale / math.sqrt(config.d_model)
        self.W_Q, self.W_K, self.W_V = (draw(*reads, std=deviation) for _ in range(3))
        writes = (config.heads, config.d_head, config.d_model)
        self.W_O = draw(*writes, std=config.weight_scale / math.sqrt(config.heads * config.d_head))
        self.register_buffer("b_O", torch.zeros(config.d_model), persistent=False)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        if kind == "gated":
            self.W_gate = nn.Parameter(torch.zeros(config.heads, config.d_model))
            self.b_gate = nn.Parameter(
                torch.full((config.heads,), math.log(config.open_share / (1 - config.open_share)))
            )
            self.hook_gate = HookPoint()
        self.hook_z = HookPoint()

    def forward(self, stream: Stream, positions: Stream | None) -> Stream:
        placed = stream if positions is None else stream + positions
        q = self.hook_q(torch.einsum("bpd,hde->bphe", placed, self.W_Q))
        k = self.hook_k(torch.einsum("bpd,hde->bphe", placed, self.W_K))
        v = self.hook_v(torch.einsum("bpd,hde->bphe", stream, self.W_V))
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / math.sqrt(q.shape[-1])
        later = torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype, device=scores.device).triu(1)
        pattern = self.hook_pattern(self._pattern(self.hook_attn_scores(scores + later)))
        z = torch.einsum("bhqk,bkhe->bqhe", pattern, v)
        if self.kind == "gated":
            opened = torch.sigmoid(torch.einsum("bpd,hd->bph", stream, self.W_gate) + self.b_gate)
            z = z * self.hook_gate(opened)[..., None]
        return torch.einsum("bqhe,hed->bqd", self.hook_z(z), self.W_O)

    def _pattern(self, scores: Scores) -> Scores:
        if self.kind == "relu":
            keys = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
            return scores.relu() / keys[:, None]
        shares = scores.softmax(-1)
        if self.kind == "clipped":
            return ((self.zeta - self.gamma) * shares + self.gamma).clamp(0, 1)
        return shares


class MLP(nn.Module):
    """Two matrices and a ReLU, without biases."""

    def __init__(self, config: TinyConfig, draw: Draw) -> None:
        super().__init__()
        self.W_in = draw(config.d_model, config.d_mlp, std=config.weight_scale / math.sqrt(config.d_model))
        self.W_out = draw(config.d_mlp, config.d_model, std=config.weight_scale / math.sqrt(config.d_mlp))
        self.register_buffer("b_out", torch.zeros(config.d_model), persistent=False)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, stream: Stream) -> Stream:
        return self.hook_post(self.hook_pre(stream @ self.W_in).relu()) @ self.W_out


class Block(nn.Module):
    """One layer: attention, then an MLP, each reading the normed stream and adding to it; either can be missing."""

    def __init__(self, config: TinyConfig, kind: str, draw: Draw) -> None:
        super().__init__()

        def norm() -> nn.Module:
            return Norm(config.d_model) if config.norm else nn.Identity()

        self.hook_resid_pre = HookPoint()
        self.has_attention, self.has_mlp = kind != "none", config.d_mlp > 0
        if self.has_attention:
            self.ln1, self.attn = norm(), Attention(config, kind, draw)
            self.hook_attn_out = HookPoint()
        if self.has_mlp:
            self.hook_resid_mid = HookPoint()
            self.ln2, self.mlp = norm(), MLP(config, draw)
            self.hook_mlp_out = HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(self, stream: Stream, positions: Stream | None = None) -> Stream:
        stream = self.hook_resid_pre(stream)
        if self.has_attention:
            stream = stream + self.hook_attn_out(self.attn(self.ln1(stream), positions))
        if self.has_mlp:
            stream = self.hook_resid_mid(stream)
            stream = stream + self.hook_mlp_out(self.mlp(self.ln2(stream)))
        return self.hook_resid_post(stream)


class Unembedding(nn.Module):
    """From the stream to logits."""

    def __init__(self, config: TinyConfig, draw: Draw) -> None:
        super().__init__()
        deviation = config.weight_scale / math.sqrt(config.d_model)
        self.W_U = draw(config.d_model, config.vocabulary, std=deviation)
        self.register_buffer("b_U", torch.zeros(config.vocabulary), persistent=False)
        self.hook_out = HookPoint()

    def forward(self, stream: Stream) -> Float[Tensor, "prompt position vocabulary"]:
        return self.hook_out(stream @ self.W_U)
