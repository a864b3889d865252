"""A network of attention layers and a classifier, for in-context classification; one, or several side by side."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from nbtools.training._classifier_parts import Block, Classify, Drawing, Stream, checked_tokens
from nbtools.training.classifier_config import ClassifierConfig

__all__ = ["InContextClassifier"]


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
    >>> import torch
    >>> model = InContextClassifier(ClassifierConfig())
    >>> tuple(model(torch.zeros(4, 17, 64)).shape)
    (4, 32)
    >>> tuple(InContextClassifier(ClassifierConfig(), seeds=[0, 1])(torch.zeros(2, 4, 17, 64)).shape)
    (2, 4, 32)
    """

    def __init__(self, config: ClassifierConfig, *, seeds: int | list[int] = 0) -> None:
        super().__init__()
        self.config, self.seeds = config, seeds
        draw, std = Drawing(seeds), config.weight_scale / math.sqrt(config.d_model)
        self.hook_embed = HookPoint()
        self.blocks = nn.ModuleList(Block(config.d_model, std, draw) for _ in range(config.layers))
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
