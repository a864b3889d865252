"""Patching a direction: only what lies along some directions of an activation is taken from another run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError

if TYPE_CHECKING:
    from nbtools.patching.mediator import Mediator

__all__ = ["Subspace", "gradient_direction", "mean_direction", "patch_subspace"]

_EPSILON = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class Subspace:
    """Some directions of an activation, and how they were found.

    Attributes
    ----------
    basis
        Orthonormal columns ``[width, k]``.
    how
        How they were found, in a few words.
    losses
        Where they were learned, the loss of each epoch, in nats.

    Examples
    --------
    >>> Subspace(torch.eye(4)[:, :1], "the first axis")
    Subspace('the first axis', width=4, k=1)
    """

    basis: Float[Tensor, "width k"]
    how: str
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        k = self.basis.shape[1] if self.basis.ndim == 2 else 0
        if not k:
            msg = f"expected directions as columns (width, k), got shape {tuple(self.basis.shape)}"
            raise ArrayError(msg)
        off = (self.basis.T @ self.basis - torch.eye(k).to(self.basis)).abs().max()
        if not off < 1e-4:
            msg = f"expected orthonormal columns, they are off by {off:.2g}: Subspace.spanned_by(…) makes them so"
            raise ArrayError(msg)

    @classmethod
    def spanned_by(cls, directions: Float[Tensor, "width k"], how: str) -> Subspace:
        """Make one of directions of any length, as long as none is made of the others.

        Examples
        --------
        >>> Subspace.spanned_by(torch.tensor([3.0, 4.0]), "by hand").basis[:, 0].tolist()
        [0.6..., 0.8...]
        """
        columns = directions[:, None] if directions.ndim == 1 else directions
        basis, triangle = torch.linalg.qr(columns)
        if not bool((triangle.diagonal().abs() > _EPSILON * columns.abs().max()).all()):
            msg = "expected directions that are not zero and not made of one another"
            raise ArrayError(msg)
        return cls(basis * triangle.diagonal().sign(), how)

    @property
    def width(self) -> int:
        """How many numbers the activation has."""
        return self.basis.shape[0]

    @property
    def k(self) -> int:
        """How many directions there are."""
        return self.basis.shape[1]

    def __repr__(self) -> str:
        return f"Subspace({self.how!r}, width={self.width}, k={self.k})"


def patch_subspace(
    base: Float[Tensor, "*pair width"], source: Float[Tensor, "*pair width"], basis: Float[Tensor, "width k"]
) -> Float[Tensor, "*pair width"]:
    """Give the base activations with what lies along some directions taken from the source.

    Parameters
    ----------
    base, source
        Activations of the same shape.
    basis
        Orthonormal directions; as many as the width patch everything.

    References
    ----------
    .. [1] Geiger et al., "Finding Alignments Between Interpretable Causal Variables and Distributed Neural
       Representations", 2023.

    Examples
    --------
    >>> patch_subspace(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0]), torch.tensor([[1.0], [0.0]])).tolist()
    [5.0, 2.0]
    """
    basis = basis.to(base)
    return base + (source - base) @ basis @ basis.T


def mean_direction(mediator: Mediator) -> Subspace:
    """The difference of the mean activations of two classes of base prompts, such as both orders of two names.

    Raises
    ------
    InputError
        If the pairs do not know two classes.

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> mean_direction(Mediator(model, ioi_orders(model, pairs=8, template=0), "resid_post", layer=20))
    Subspace('difference of means', width=576, k=1)
    """
    classes = _classes(mediator)
    means = [mediator.base[classes == name].mean(0) for name in (0, 1)]
    return Subspace.spanned_by(means[1] - means[0], "difference of means")


def gradient_direction(mediator: Mediator) -> Subspace:
    """The direction in which the base's logit difference rises most, counted the other way round for the second class.

    Raises
    ------
    InputError
        If the pairs do not know two classes.

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> gradient_direction(Mediator(model, ioi_orders(model, pairs=8, template=0), "resid_post", layer=20))
    Subspace('gradient of the logit difference', width=576, k=1)
    """
    with torch.enable_grad():
        values = mediator.base.clone().requires_grad_(True)
        pair = torch.arange(len(mediator), device=values.device)
        gap = mediator.pairs.metric(mediator.logits(values), pair)
        slopes = torch.autograd.grad(gap.sum(), values)[0]
    signs = 1 - 2 * _classes(mediator).to(slopes)
    lengths = slopes.norm(dim=1, keepdim=True).clamp_min(_EPSILON)
    return Subspace.spanned_by((signs[:, None] * slopes / lengths).mean(0), "gradient of the logit difference")


def _classes(mediator: Mediator) -> Int[Tensor, " pair"]:
    classes = mediator.pairs.classes
    if classes is None or len(classes.unique()) != 2:
        msg = "expected base prompts of two classes, such as those of nbtools.tasks.ioi_orders"
        raise InputError(msg)
    return classes
