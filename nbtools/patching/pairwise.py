"""A direction for each pair alone: what can be moved by one, where it need not be the same for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, InputError

if TYPE_CHECKING:
    from nbtools.patching.mediator import Mediator

__all__ = ["pair_directions", "patch_directions"]


def patch_directions(
    base: Float[Tensor, "pair width"], source: Float[Tensor, "pair width"], directions: Float[Tensor, "pair width"]
) -> Float[Tensor, "pair width"]:
    """Give the base activations with what lies along a direction taken from the source, another one for each pair.

    Parameters
    ----------
    base, source
        Activations of the same shape.
    directions
        Of any length but zero.

    Raises
    ------
    ArrayError
        If the shapes differ, or a direction is zero.

    Examples
    --------
    >>> base, source, directions = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 6.0]]), torch.tensor([[0.0, 3.0]])
    >>> patch_directions(base, source, directions).tolist()
    [[1.0, 6.0]]
    """
    if not base.shape == source.shape == directions.shape:
        shapes = ", ".join(str(tuple(part.shape)) for part in (base, source, directions))
        msg = f"expected base, source and directions of the same shape (pair, width), got {shapes}"
        raise ArrayError(msg)
    lengths = directions.norm(dim=-1, keepdim=True)
    if not bool((lengths > 0).all()):
        msg = f"the direction of pair {int(lengths[:, 0].argmin())} is zero: expected one that points somewhere"
        raise ArrayError(msg)
    units = directions / lengths
    return base + ((source - base) * units).sum(-1, keepdim=True) * units


def pair_directions(
    mediator: Mediator, *, steps: int = 40, rate: float = 0.02, seed: int = 0
) -> Float[Tensor, "pair width"]:
    """Learn for each pair the direction whose patch lowers the logit difference of its base most.

    With as many numbers as an activation has to choose from, much can be moved that way; it tells what a direction
    can do, not what the model does.

    Parameters
    ----------
    steps, rate
        Steps of Adam and its learning rate.
    seed
        Of the first directions, which point anywhere.

    Returns
    -------
    Tensor
        Unit vectors.

    Raises
    ------
    InputError
        If a number is not positive.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023 (facts flipped one by one).

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import facts, interchange
    >>> model = load()
    >>> pairs = interchange(facts(model, relation="capital", prompts=2))
    >>> pair_directions(Mediator(model, pairs, "neurons", layer=20, position="SUBJECT"), steps=1).shape
    torch.Size([2, 1536])
    """
    for name, value in (("steps", steps), ("rate", rate)):
        if not value > 0:
            msg = f"expected {name} above 0, got {value}"
            raise InputError(msg)
    drawn = torch.randn(mediator.base.shape, generator=torch.Generator().manual_seed(seed)).to(mediator.base)
    directions = torch.nn.functional.normalize(drawn, dim=1).requires_grad_(True)
    optimiser = torch.optim.Adam([directions], lr=rate)
    pair = torch.arange(len(mediator), device=directions.device)
    for _ in range(steps):
        with torch.enable_grad():
            logits = mediator.logits(patch_directions(mediator.base, mediator.source, directions))
            optimiser.zero_grad()
            mediator.pairs.metric(logits, pair).sum().backward(inputs=[directions])
        optimiser.step()
    return torch.nn.functional.normalize(directions.detach(), dim=1)
