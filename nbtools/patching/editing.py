"""A weight edit of rank one, which does in the weights what patching one direction does to an activation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.models.tokens import tokens
from nbtools.patching.sites import SITES
from nbtools.runs.forward import forward, lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.models.tokens import Prompt
    from nbtools.patching.mediator import Mediator

__all__ = ["RankOneEdit", "rank_one_edit", "second_moment"]

_RIDGE = 1e-3  # of the mean variance, so that few tokens will do


@dataclass(frozen=True, eq=False, repr=False)
class RankOneEdit:
    """``W_out`` of one MLP plus an outer product: neurons that look like `key` also write `value`.

    Attributes
    ----------
    layer
        Which MLP.
    key
        What is looked for ``[d_mlp]``; of the activation that the edit is made for its product is one.
    value
        What is then written in addition ``[d_model]``.
    """

    layer: int
    key: Float[Tensor, " d_mlp"]
    value: Float[Tensor, " d_model"]

    def __repr__(self) -> str:
        return f"RankOneEdit(layer={self.layer}, value_norm={self.value.norm().item():.2f})"

    @contextmanager
    def on(self, model: TransformerBridge) -> Iterator[None]:
        """Hold the edit in the weights of a model for a while; afterwards they are what they were, bit for bit.

        Raises
        ------
        HookError
            If the model hands out a copy of the weights.
        ArrayError
            If they have another shape.

        Examples
        --------
        >>> from nbtools.runs import forward
        >>> model = load()
        >>> edit = RankOneEdit(2, torch.ones(1536), 10 * torch.ones(576))
        >>> with edit.on(model):
        ...     forward(model, "Paris is").logits.shape
        torch.Size([1, 2, 49152])
        """
        weights = _own_weights(model, self.layer)
        outer = torch.outer(self.key, self.value).to(weights)
        if outer.shape != weights.shape:
            msg = f"expected a key and a value for weights of shape {tuple(weights.shape)}, got {tuple(outer.shape)}"
            raise ArrayError(msg)
        before = weights.clone()
        with torch.no_grad():
            try:
                with lock(model):
                    weights += outer
                yield
            finally:
                with lock(model):
                    weights.copy_(before)


def second_moment(model: TransformerBridge, text: Prompt, *, layer: int) -> Float[Tensor, "d_mlp d_mlp"]:
    """Give the mean product of each two neurons of a layer over all tokens of some text.

    Parameters
    ----------
    text
        A prompt, or several of one length.

    Examples
    --------
    >>> second_moment(load(), "The tower stands in the middle of the old town.", layer=2).shape
    torch.Size([1536, 1536])
    """
    hook = SITES["neurons"].at(layer)
    neurons = forward(model, tokens(model, text), capture=[hook])[hook].flatten(0, 1).float()
    return neurons.T @ neurons / len(neurons)


def rank_one_edit(
    mediator: Mediator,
    pair: int,
    direction: Float[Tensor, " d_mlp"],
    moment: Float[Tensor, "d_mlp d_mlp"],
) -> RankOneEdit:
    """Give the edit that makes an MLP write for one base what it writes with a direction patched.

    Of all edits that do so it is the one that changes least what is written for other tokens.

    Parameters
    ----------
    mediator
        Neurons.
    pair
        Which pair.
    direction
        A unit vector, patched from source to base.
    moment
        From `second_moment`, of any text.

    Raises
    ------
    InputError
        If the mediator is not the neurons of a layer.

    References
    ----------
    .. [1] Meng et al., "Locating and Editing Factual Associations in GPT", 2022 (the edit).
    .. [2] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023 (patch and edit as one).

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import facts, interchange
    >>> model = load()
    >>> pairs = interchange(facts(model, relation="capital", prompts=2))
    >>> mediator = Mediator(model, pairs, "neurons", layer=2, position="SUBJECT")
    >>> direction = torch.nn.functional.normalize(mediator.source[0] - mediator.base[0], dim=0)
    >>> rank_one_edit(mediator, 0, direction, second_moment(model, pairs.base, layer=2)).layer
    2
    """
    if mediator.site.name != "neurons":
        msg = f"expected a mediator of neurons, whose weights can be edited, got {mediator!r}"
        raise InputError(msg)
    base, source = mediator.base[pair].double(), mediator.source[pair].double()
    along = direction.double()
    written = along @ _own_weights(mediator.model, mediator.layer).double()
    ridge = _RIDGE * moment.double().diagonal().mean() * torch.eye(len(base), device=base.device)
    seen = torch.linalg.solve(moment.double() + ridge, base)
    key, value = seen / (base @ seen), ((source - base) @ along) * written
    return RankOneEdit(mediator.layer, key.float(), value.float())


def _own_weights(model: TransformerBridge, layer: int) -> Float[Tensor, "d_mlp d_model"]:
    """Give ``W_out`` as a view of what the model computes with."""
    mlp = model.blocks[layer].mlp
    weights = mlp.W_out.detach()
    if weights.data_ptr() not in {parameter.data_ptr() for parameter in mlp.parameters()}:
        msg = f"layer {layer} hands out a copy of its MLP's weights: they cannot be edited in place"
        raise HookError(msg)
    return weights
