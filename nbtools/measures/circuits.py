"""What the weights of heads do by themselves: OV and QK circuits, and how they compose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures._weights import LayerWeights, layer_weights
from nbtools.naming import HeadLike, parse_head
from nbtools.runs.forward import lock

if TYPE_CHECKING:
    from transformer_lens import FactoredMatrix
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["composition_scores", "ov_circuit", "qk_circuit"]


def ov_circuit(model: TransformerBridge, head: HeadLike) -> FactoredMatrix:
    """Give what a head writes of what it reads: W_OV = W_V W_O, from the stream at a key to that at the query.

    Gains of norms are taken in, as in TransformerLens after ``fold_ln``, and so is the gain of a norm that follows
    attention. A query head has the values of its group.

    Parameters
    ----------
    head
        Such as ``"23.1"``.

    Returns
    -------
    transformer_lens.FactoredMatrix
        ``[d_model, d_model]`` of rank d_head: ``.A`` and ``.B`` are its factors, ``.AB`` is the matrix, and it has
        ``.svd()`` and ``.eigenvalues``.

    Raises
    ------
    HookError
        If there is no such head.

    References
    ----------
    .. [1] Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021.

    Examples
    --------
    >>> ov = ov_circuit(load(), "23.1")
    >>> tuple(ov.AB.shape), tuple(ov.A.shape)
    ((576, 576), (576, 64))
    """
    weights, own = _of(model, head)
    return _factored(weights.v[own], weights.o[own])


def qk_circuit(model: TransformerBridge, head: HeadLike) -> FactoredMatrix:
    """Give what a head looks for: W_QK = W_Q W_Kᵀ, from the stream at the query to that at the key.

    The gain of the norm before attention is taken in. Where positions are rotary, this is the score at distance 0;
    norms of queries and keys, biases and the division by the root of d_head are left out.

    Parameters
    ----------
    head
        Such as ``"23.1"``.

    Returns
    -------
    transformer_lens.FactoredMatrix
        ``[d_model, d_model]`` of rank d_head, see `ov_circuit`.

    Raises
    ------
    HookError
        If there is no such head.

    References
    ----------
    .. [1] Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021.

    Examples
    --------
    >>> tuple(qk_circuit(load(), (23, 1)).svd()[1].shape)
    (64,)
    """
    weights, own = _of(model, head)
    return _factored(weights.q[own], weights.k[own].T)


def composition_scores(model: TransformerBridge, through: str) -> xr.DataArray:
    """Give how much of what each head writes each later head reads by its queries, keys or values.

    ``‖W_OV W‖ / (‖W_OV‖ ‖W‖)`` with Frobenius norms, where W is the later head's W_QK for ``"q"``, W_QKᵀ for ``"k"``
    and W_OV for ``"v"``. Large matrices are never formed. Gains of norms are taken in; for rotary positions see
    `qk_circuit`.

    Parameters
    ----------
    through
        ``"q"``, ``"k"`` or ``"v"``.

    Returns
    -------
    xarray.DataArray
        ``(sender_layer, sender, layer, head)``; NaN where the head is not in a later layer than the sender. The
        attribute ``baseline`` is the score of matrices that have nothing to do with each other, the root of 1/d_model:
        what counts is the score less the baseline.

    Raises
    ------
    InputError
        If `through` is none of the three.

    References
    ----------
    .. [1] Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021.

    Examples
    --------
    >>> scores = composition_scores(load(), "k")
    >>> excess = scores - scores.attrs["baseline"]
    >>> excess.sel(sender_layer=16, sender=0, layer=17, head=3).item() > 0
    True
    """
    if through not in _RIGHT:
        msg = f"a head reads the stream through 'q', 'k' or 'v', got {through!r}"
        raise InputError(msg)
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    scores = torch.full((layers, heads, layers, heads), torch.nan)
    with lock(model), torch.no_grad():
        senders: list[Float[Tensor, "head small d_model"]] = []
        for layer in range(layers):
            weights = layer_weights(model, layer)
            reading = _unit(_RIGHT[through](weights))
            for earlier, writing in enumerate(senders):
                scores[earlier, :, layer] = _together(writing, reading).cpu()
            senders.append(_unit(_square(weights.v) @ weights.o))
    return xr.DataArray(
        scores.numpy(),
        dims=("sender_layer", "sender", "layer", "head"),
        coords={"sender_layer": range(layers), "sender": range(heads), "layer": range(layers), "head": range(heads)},
        name=f"{through} composition",
        attrs={"model": str(model.cfg.model_name), "baseline": model.cfg.d_model**-0.5, "units": "ratio of norms"},
    )


def _of(model: TransformerBridge, head: HeadLike) -> tuple[LayerWeights, int]:
    layer, own = parse_head(head, shape=(model.cfg.n_layers, model.cfg.n_heads))
    with lock(model), torch.no_grad():
        return layer_weights(model, layer), own


def _factored(left: Float[Tensor, "d_model d_head"], right: Float[Tensor, "d_head d_model"]) -> FactoredMatrix:
    from transformer_lens import FactoredMatrix

    return FactoredMatrix(left, right)


def _square(tall: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "head d_head d_head"]:
    """Give a small R with ``‖R X‖ = ‖tall X‖`` for any X: what is left of a factor when only norms are asked for."""
    return torch.linalg.qr(tall, mode="r").R


_RIGHT = {  # what a later head reads by, as [head, d_model, small], with the norms of the whole circuit
    "q": lambda weights: weights.q @ _square(weights.k).mT,
    "k": lambda weights: weights.k @ _square(weights.q).mT,
    "v": lambda weights: weights.v @ _square(weights.o.mT).mT,
}


def _unit(matrices: Float[Tensor, "head rows columns"]) -> Float[Tensor, "head rows columns"]:
    return matrices / torch.linalg.matrix_norm(matrices, keepdim=True)


def _together(
    writing: Float[Tensor, "sender small d_model"], reading: Float[Tensor, "head d_model small"]
) -> Float[Tensor, "sender head"]:
    product = writing.flatten(0, 1) @ reading.movedim(1, 0).flatten(1)
    blocks = product.unflatten(0, writing.shape[:2]).unflatten(2, (len(reading), -1))
    return blocks.square().sum((1, 3)).sqrt()
