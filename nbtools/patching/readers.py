"""What later weights read of an activation: row space and null space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.models.norms import FrozenNorm
from nbtools.naming import HeadLike, parse_heads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching.mediator import Mediator

__all__ = ["reader_weights", "row_space", "split"]

_ROUNDING = 1e-5  # of the largest singular value: less is none


def reader_weights(
    mediator: Mediator, *, heads: Iterable[HeadLike] = (), through: str = "q", mlps: Iterable[int] = ()
) -> Float[Tensor, "width reading"]:
    """Give the weights that read an activation: what no column of them sees cannot matter.

    Parameters
    ----------
    mediator
        Neurons are read by ``W_out``, the outputs of heads by ``W_O``; nothing more is asked for then.
    heads, through
        The residual stream, and what is added to it, is read by later layers. Name the heads that matter, and by
        which of ``"q"``, ``"k"``, ``"v"``. Query heads that share keys read by those of their group.
    mlps
        Layers whose MLPs read the stream; a gated one does so twice.

    Returns
    -------
    Tensor
        Weights, with the gain of the norm before them.

    Raises
    ------
    InputError
        If there is nothing that reads by weights alone, or a reader comes before the activation.

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> pairs = ioi_orders(model, pairs=2, template=0)
    >>> reader_weights(Mediator(model, pairs, "neurons", layer=20)).shape
    torch.Size([1536, 576])
    >>> reader_weights(Mediator(model, pairs, "resid_post", layer=20), heads=["21.3", "23.1"]).shape
    torch.Size([576, 128])
    """
    model, site, layer = mediator.model, mediator.site.name, mediator.layer
    if site == "neurons":
        return model.blocks[layer].mlp.W_out.detach().float()
    if site == "z":
        weights = model.blocks[layer].attn.W_O.detach().float()
        return weights.flatten(0, 1) if mediator.head is None else weights[mediator.head]
    if site in ("q", "k", "v"):
        msg = f"attention reads {site!r} by products of activations, not by weights: choose z, neurons or the stream"
        raise InputError(msg)
    chosen = parse_heads(heads) if heads else []
    parts = [_head_reads(model, *head, through) for head in chosen] + [_mlp_reads(model, mlp) for mlp in mlps]
    first = layer + (site in ("resid_post", "mlp_out"))
    early = [at for at in (*(at for at, _ in chosen), *mlps) if at < first]
    if early or not parts:
        what = f"a reader in layer {early[0]} comes before it" if early else "the stream is read by later layers"
        msg = f"{what}: name heads= or mlps= from layer {first} on"
        raise InputError(msg)
    return torch.cat(parts, 1)


def split(
    directions: Float[Tensor, "width k"], reading: Float[Tensor, "width reading"]
) -> tuple[Float[Tensor, "width k"], Float[Tensor, "width k"]]:
    """Split directions into what some weights read, and what they do not: row space and null space.

    The two parts add up to the directions; they are not made longer.

    Parameters
    ----------
    directions
        Columns ``[width, k]``.
    reading
        Weights that read the activation, as `reader_weights` gives them.

    Examples
    --------
    >>> row, null = split(torch.tensor([[0.6], [0.8]]), torch.tensor([[2.0], [0.0]]))
    >>> row[:, 0].tolist(), null[:, 0].tolist()
    ([0.6..., 0.0], [0.0, 0.8...])
    """
    if directions.ndim != 2 or reading.ndim != 2 or len(directions) != len(reading):
        msg = f"expected columns and weights of one width, got {tuple(directions.shape)} and {tuple(reading.shape)}"
        raise ArrayError(msg)
    rows = row_space(reading.double())
    row = (rows @ (rows.T @ directions.double())).to(directions)
    return row, directions - row


def row_space(reading: Float[Tensor, "width reading"]) -> Float[Tensor, "width rank"]:
    """Give orthonormal directions that span what some weights read.

    Parameters
    ----------
    reading
        As `reader_weights` gives them.

    Examples
    --------
    >>> row_space(torch.tensor([[2.0, 4.0], [0.0, 0.0]])).abs().tolist()
    [[1.0], [0.0]]
    """
    left, sizes, _ = torch.linalg.svd(reading, full_matrices=False)
    return left[:, sizes > _ROUNDING * sizes.max()]


def _head_reads(model: TransformerBridge, layer: int, head: int, through: str) -> Float[Tensor, "d_model d_head"]:
    if through not in ("q", "k", "v"):
        msg = f"a head reads the stream through 'q', 'k' or 'v', got {through!r}"
        raise InputError(msg)
    block = model.blocks[layer]
    weights = getattr(block.attn, f"W_{through.upper()}").detach().float()
    return _behind(block.ln1, weights[head * len(weights) // model.cfg.n_heads])


def _mlp_reads(model: TransformerBridge, layer: int) -> Float[Tensor, "d_model reading"]:
    block = model.blocks[layer]
    gate = getattr(block.mlp, "W_gate", None)
    parts = [block.mlp.W_in, *([] if gate is None else [gate])]
    return torch.cat([_behind(block.ln2, part.detach().float()) for part in parts], 1)


def _behind(norm: torch.nn.Module, weights: Float[Tensor, "d_model reading"]) -> Float[Tensor, "d_model reading"]:
    """Take a norm into the weights that read what it gives; one that centres does not let the mean be read."""
    return FrozenNorm.of(norm, weights.T[:1].to(next(norm.parameters()))).into(weights)
