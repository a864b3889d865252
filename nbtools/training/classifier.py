"""A network of two attention layers and a classifier, for in-context classification; one, or several side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from nbtools.errors import ArrayError, InputError

__all__ = ["ClassifierConfig", "Classify", "Drawing", "InContextClassifier", "checked_tokens"]

Stream = Float[Tensor, "*seed prompt position d_model"]


@dataclass(frozen=True)
class ClassifierConfig:
    """What an `InContextClassifier` is made of.

    Attributes
    ----------
    d_model
        Numbers in a token; `InContext.d_model`.
    labels
        Labels to choose from.
    layers
        Attention layers, of one head each, without layer norm and without scaling of scores.
    d_mlp, hidden
        Width and number of the layers of the classifier that reads the last position.
    length
        Positions that can be read at most.
    """

    d_model: int = 64
    labels: int = 32
    layers: int = 2
    d_mlp: int = 64
    hidden: int = 3
    length: int = 33

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < (name != "hidden"):
                msg = f"expected {name} to be a positive whole number, got {value!r}"
                raise InputError(msg)


class InContextClassifier(HookedRootModule):
    """Attention layers that add to the stream, and a ReLU network that reads a label off its last position.

    Several networks can stand side by side: then each parameter, token and activation has the dimension ``seed`` in
    front, and nothing passes from one to another. Hook points are named as in TransformerLens; those of the classifier
    are ``classify.layers.0.hook_post`` and so on.

    Parameters
    ----------
    config
        Sizes.
    seeds
        Seeds of the networks side by side; a single number makes one, without that dimension.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024.

    Examples
    --------
    >>> model = InContextClassifier(ClassifierConfig())
    >>> tuple(model(torch.zeros(4, 17, 64)).shape)
    (4, 32)
    >>> tuple(InContextClassifier(ClassifierConfig(), seeds=[0, 1])(torch.zeros(2, 4, 17, 64)).shape)
    (2, 4, 32)
    """

    def __init__(self, config: ClassifierConfig, *, seeds: int | list[int] = 0) -> None:
        super().__init__()
        self.config, self.seeds = config, seeds
        draw = Drawing(seeds)
        self.hook_embed = HookPoint()
        self.blocks = nn.ModuleList(_Block(config.d_model, draw) for _ in range(config.layers))
        self.classify = Classify(config.d_model, config, draw)
        self.setup()
        self.eval()

    def forward(self, tokens: Stream) -> Float[Tensor, "*seed prompt label"]:
        """Give the logits of the labels for the last token."""
        stream = self.hook_embed(checked_tokens(tokens, self.config.d_model, self.seeds))
        for block in self.blocks[:-1]:
            stream = block(stream)
        return self.classify(self.blocks[-1](stream, last=True)[..., 0, :])

    def attention(self, tokens: Stream) -> tuple[Tensor, Tensor]:
        """Give where each position looks in the first layer, and where the target looks in the last.

        Returns
        -------
        tuple
            Shares ``[*seed, prompt, query, key]`` and ``[*seed, prompt, key]``.
        """
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in (0, len(self.blocks) - 1)]
        _, cache = self.run_with_cache(tokens, names_filter=names)
        return cache[names[0]], cache[names[1]][..., -1, :]

    def one(self, place: int) -> InContextClassifier:
        """Give one of the networks side by side, with a copy of its parameters."""
        if isinstance(self.seeds, int):
            msg = "this is one network already"
            raise InputError(msg)
        found = InContextClassifier(self.config, seeds=self.seeds[place])
        found.load_state_dict({name: values[place] for name, values in self.state_dict().items()})
        return found


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

    def __init__(self, width: int, draw: Drawing) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V = (draw(width, width, std=1 / math.sqrt(width)) for _ in range(3))
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()

    def forward(self, stream: Stream, last: bool) -> Stream:
        q = self.hook_q(_times(stream[..., -1:, :] if last else stream, self.W_Q))
        k, v = self.hook_k(_times(stream, self.W_K)), self.hook_v(_times(stream, self.W_V))
        scores = q @ k.transpose(-1, -2)
        if not last:
            later = torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype, device=scores.device).triu(1)
            scores = scores + later
        return self.hook_pattern(self.hook_attn_scores(scores).softmax(-1)) @ v


class _Block(nn.Module):
    """An attention layer, added to the stream; of the last layer only the last position is needed."""

    def __init__(self, width: int, draw: Drawing) -> None:
        super().__init__()
        self.attn = _Attention(width, draw)
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
        return self.hook_logits(last @ self.W_U)


class _Dense(nn.Module):
    """A layer of the classifier: a matrix, one number that is added to all, and a ReLU."""

    def __init__(self, reads: int, writes: int, draw: Drawing) -> None:
        super().__init__()
        self.W, self.b = draw(reads, writes, std=math.sqrt(2 / reads)), draw(1, std=0.0)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, last: Float[Tensor, "*seed prompt width"]) -> Float[Tensor, "*seed prompt width"]:
        return self.hook_post(self.hook_pre(last @ self.W + self.b[..., None, :]).relu())


def _times(stream: Stream, matrix: Float[Tensor, "*seed d_model d_model"]) -> Stream:
    """Multiply each token by its own network's matrix."""
    return stream @ (matrix if matrix.ndim == 2 else matrix[:, None])
