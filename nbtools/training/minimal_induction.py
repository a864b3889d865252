"""The least that an induction head needs: two numbers, and the classifier that reads what it copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from nbtools.errors import InputError
from nbtools.training._classifier_parts import Classify, Drawing, checked_tokens
from nbtools.training.classifier_config import ClassifierConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MinimalInduction"]


class MinimalInduction(HookedRootModule):
    """An induction head with two parameters, followed by the classifier of `InContextClassifier`.

    In the first layer each position looks at the one before it with the logit ``beta``, at itself and all earlier ones
    with 0, and takes what stands there into a buffer of its own. In the second the target looks at each position
    with ``alpha`` times the product of that position's buffer and the target, and adds what stands there. Positions are
    not read; the classifier reads the sum.

    Parameters
    ----------
    config
        Sizes; its attention layers are not used.
    start
        ``beta`` and ``alpha`` at first.
    seeds
        As for `InContextClassifier`.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024. The formulas follow the description there and are not copied.

    Examples
    --------
    >>> model = MinimalInduction(ClassifierConfig(layers=0))
    >>> tuple(model(torch.zeros(4, 17, 64)).shape), model.beta.item(), model.alpha.item()
    ((4, 32), 0.0, 0.0)
    """

    def __init__(
        self,
        config: ClassifierConfig,
        *,
        start: Sequence[float] = (0.0, 0.0),
        seeds: int | list[int] = 0,
    ) -> None:
        super().__init__()
        if len(start) != 2:
            msg = f"expected two numbers to start from, beta and alpha, got {start!r}"
            raise InputError(msg)
        self.config, self.seeds = config, seeds
        draw = Drawing(seeds)
        self.beta, self.alpha = (nn.Parameter(draw(1, std=0.0).detach()[..., 0] + value) for value in start)
        self.hook_first, self.hook_buffer, self.hook_second, self.hook_copied = (HookPoint() for _ in range(4))
        self.classify = Classify(config.dimensions, config, draw)
        self.setup()
        self.eval()

    def forward(self, tokens: Float[Tensor, "*seed prompt position d_model"]) -> Float[Tensor, "*seed prompt label"]:
        """Give the logits of the labels for the last token."""
        content = checked_tokens(tokens, self.config.d_model, self.seeds)[..., -self.config.dimensions :]
        buffer = self.hook_buffer(self.hook_first(self._first(content)) @ content)
        target = content[..., -1:, :]
        scores = self.alpha[..., None, None, None] * (target @ buffer.transpose(-1, -2))
        copied = self.hook_second(scores.softmax(-1)) @ content
        return self.classify(self.hook_copied(copied + target)[..., 0, :])

    def attention(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Give what `InContextClassifier.attention` gives."""
        _, cache = self.run_with_cache(tokens, names_filter=["hook_first", "hook_second"])
        return cache["hook_first"], cache["hook_second"][..., 0, :]

    def _first(self, content: Tensor) -> Float[Tensor, "*seed prompt query key"]:
        """Give the attention of the first layer, which is the same for all prompts."""
        size = content.shape[-2]
        before = torch.ones(size - 1, device=content.device).diag(-1)
        later = torch.full((size, size), -torch.inf, device=content.device).triu(1)
        pattern = (self.beta[..., None, None] * before + later).softmax(-1)
        return pattern[..., None, :, :].expand(*content.shape[:-2], size, size)
