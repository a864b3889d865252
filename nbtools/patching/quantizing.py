"""Activations in few bits: what a model loses when they are rounded, and which of them it cannot spare."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["quantize"]

_SITES: dict[str, tuple[tuple[str, ...], ...]] = {  # for each place the names it goes by
    "stream": (("hook_resid_post",),),
    "inputs": (
        ("ln1.hook_out", "ln1.hook_normalized"),
        ("attn.hook_z",),
        ("ln2.hook_out", "ln2.hook_normalized"),
        ("mlp.hook_post",),
    ),
}


def quantize(
    model: TransformerBridge,
    *,
    bits: int = 8,
    at: str = "stream",
    dimensions: Iterable[int] = (),
    positions: Iterable[int] = (),
    layers: int | Iterable[int] | None = None,
) -> dict[str, Edit]:
    """Give the edit that rounds activations to a few bits, as a quantised model would, one scale for each tensor.

    The scale of a prompt's activations is such that the largest number just fits, symmetric about zero. Weights stay
    as they are, and numbers stay in floating point: this shows what rounding costs, not what it saves.

    Parameters
    ----------
    bits
        Of each number; 8 makes it one of 255 values.
    at
        ``"stream"``: the residual stream after each layer. ``"inputs"``: what the matrix products of a layer read
        (normalised stream, mixed values, hidden neurons).
    dimensions
        Dimensions of the stream that are left alone, and do not count for the scale, as the outlier dimensions
        of [1]_. Only for the stream and its normalised forms.
    positions
        Positions that are left alone, such as ``[0]``.
    layers
        Layers to round in; all by default.

    Returns
    -------
    dict
        For each hook point what changes it: ``measures.surprise(model, text, edit=quantize(model))``.

    Raises
    ------
    InputError, HookError
        If an option does not fit the model.

    References
    ----------
    .. [1] Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022.
    .. [2] Bondarenko et al., "Quantizable Transformers", 2023 (why outliers are there, and make rounding costly).

    Examples
    --------
    >>> from nbtools.measures import surprise
    >>> model, text = load(), "The old harbour town woke slowly, and the first boats came in with the tide."
    >>> loss = [surprise(model, text, edit=edit).mean().item() for edit in (None, quantize(model))]
    >>> spared = surprise(model, text, edit=quantize(model, positions=[0], dimensions=[507])).mean().item()
    >>> spared < loss[0] + 0.2 < loss[0] + 5 < loss[1]
    True
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        msg = f"expected 2 to 16 bits, got {bits!r}"
        raise InputError(msg)
    if at not in _SITES:
        msg = f"expected a place to round at, one of {', '.join(_SITES)}, got {at!r}"
        raise InputError(msg)
    spared = _listed(dimensions, model.cfg.d_model, "dimensions"), _listed(positions, model.cfg.n_ctx, "positions")
    hooks = (_hook(model, layer, names) for layer in layers_of(model, layers) for names in _SITES[at])
    levels = 2 ** (bits - 1) - 1
    return {
        hook: partial(_round, levels=levels, dimensions=spared[0] if _is_stream(hook) else [], positions=spared[1])
        for hook in hooks
        if hook
    }


def _hook(model: TransformerBridge, layer: int, names: tuple[str, ...]) -> str:
    """Give the name by which this model has a place, if it has it."""
    found = (f"blocks.{layer}.{name}" for name in names)
    return next((hook for hook in found if hook in model.hook_dict), "")


def _is_stream(hook: str) -> bool:
    return ".attn." not in hook and ".mlp." not in hook


def _listed(asked: Iterable[int], size: int, name: str) -> list[int]:
    found = list(asked)
    if not all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < size for each in found):
        msg = f"expected {name} from 0 to {size - 1}, got {found}"
        raise InputError(msg)
    return found


def _round(activation: Tensor, levels: int, dimensions: list[int], positions: list[int]) -> Tensor:
    """Round all but what is spared; each prompt has its own scale."""
    spared = torch.zeros_like(activation, dtype=torch.bool)
    spared[:, [each for each in positions if each < activation.shape[1]]] = True
    if dimensions:
        spared[..., dimensions] = True
    most = activation.masked_fill(spared, 0).flatten(1).abs().amax(1)
    scale = (most / levels).clamp_min(torch.finfo(activation.dtype).tiny)
    scale = scale.reshape(-1, *[1] * (activation.ndim - 1))
    return torch.where(spared, activation, (activation / scale).round() * scale)
