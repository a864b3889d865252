"""The parts of networks for in-context classification, of one or of several side by side."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from nbtools.errors import ArrayError, InputError

if TYPE_CHECKING:
    from nbtools.training.classifier_config import ClassifierConfig

__all__ = ["Block", "Classify", "Drawing", "Stream", "checked_tokens"]

Stream = Float[Tensor, "*seed prompt position d_model"]


def checked_tokens(tokens: Stream, width: int, seeds: int | list[int]) -> Stream:
    """Raise an ArrayError if tokens are not such as one network, or several side by side, can read."""
    dims = 3 if isinstance(seeds, int) else 4
    if tokens.ndim != dims or tokens.shape[-1] != width:
        first = "" if dims == 3 else "seed, "
        msg = f"expected tokens [{first}prompt, position, {width}], got shape {tuple(tokens.shape)}"
        raise ArrayError(msg)
    return tokens


class Drawing:
    """Draws parameters, those of each seed by a generator of its own."""

    def __init__(self, seeds: int | list[int]) -> None:
        self.single = isinstance(seeds, int)
        self.generators = [torch.Generator().manual_seed(seed) for seed in ([seeds] if self.single else seeds)]
        if not self.generators:
            msg = "expected one seed or more"
            raise InputError(msg)

    def __call__(self, *shape: int, std: float) -> nn.Parameter:
        """Draw normal numbers with this standard deviation."""
        drawn = torch.stack([std * torch.randn(shape, generator=generator) for generator in self.generators])
        return nn.Parameter(drawn[0] if self.single else drawn)


class _Attention(nn.Module):
    """Causal attention of one head, without biases, output matrix or scaling."""

    def __init__(self, width: int, std: float, draw: Drawing) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V = (draw(width, width, std=std) for _ in range(3))
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()

    def forward(self, stream: Stream, last: bool) -> Stream:
        q = self.hook_q(times(stream[..., -1:, :] if last else stream, self.W_Q))
        k, v = self.hook_k(times(stream, self.W_K)), self.hook_v(times(stream, self.W_V))
        scores = q @ k.transpose(-1, -2)
        if not last:
            later = torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype, device=scores.device).triu(1)
            scores = scores + later
        return self.hook_pattern(self.hook_attn_scores(scores).softmax(-1)) @ v


class Block(nn.Module):
    """An attention layer, added to the stream; of the last layer only the last position is needed."""

    def __init__(self, width: int, std: float, draw: Drawing) -> None:
        super().__init__()
        self.attn = _Attention(width, std, draw)
        self.hook_resid_pre, self.hook_attn_out, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()

    def forward(self, stream: Stream, *, last: bool = False) -> Stream:
        stream = self.hook_resid_pre(stream)
        added = self.hook_attn_out(self.attn(stream, last))
        return self.hook_resid_post((stream[..., -1:, :] if last else stream) + added)


class Classify(nn.Module):
    """Layers of ReLU, and logits of labels."""

    def __init__(self, reads: int, config: ClassifierConfig, draw: Drawing) -> None:
        super().__init__()
        widths = [reads, *[config.d_mlp] * config.hidden]
        self.layers = nn.ModuleList(_Dense(*pair, draw) for pair in pairwise(widths))
        self.W_U = draw(widths[-1], config.labels, std=1 / math.sqrt(widths[-1]))
        self.hook_logits = HookPoint()

    def forward(self, last: Float[Tensor, "*seed prompt width"]) -> Float[Tensor, "*seed prompt label"]:
        """Give the logits for what stands at the last position."""
        for layer in self.layers:
            last = layer(last)
        return self.hook_logits(times(last, self.W_U))


class _Dense(nn.Module):
    """A layer of the classifier: a matrix, one number that is added to all, and a ReLU."""

    def __init__(self, reads: int, writes: int, draw: Drawing) -> None:
        super().__init__()
        self.W, self.b = draw(reads, writes, std=math.sqrt(2 / reads)), draw(1, std=0.0)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, last: Float[Tensor, "*seed prompt width"]) -> Float[Tensor, "*seed prompt width"]:
        return self.hook_post(self.hook_pre(times(last, self.W) + self.b[..., None, :]).relu())


def times(
    values: Float[Tensor, "*seed prompt *position reads"], matrix: Float[Tensor, "*seed reads writes"]
) -> Float[Tensor, "*seed prompt *position writes"]:
    """Multiply what each network holds by its own matrix; one network is treated as several are, and gets the same."""
    matrices = matrix.reshape(-1, *matrix.shape[-2:])
    made = values.reshape(len(matrices), -1, values.shape[-1]).bmm(matrices)
    return made.reshape(*values.shape[:-1], -1)
