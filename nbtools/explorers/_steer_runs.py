"""What the steering explorer runs: how far the slider goes, and a text that grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.models.tokens import tokens
from nbtools.patching import steering
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["SteeringResult", "checked_length", "slider_limit"]


@dataclass(frozen=True, eq=False)
class SteeringResult:
    """What the model expects and writes, as it is and steered.

    Attributes
    ----------
    text, layer, coefficient
        The prompt, and how much of the direction was added in which layer.
    before, after
        Probabilities of the next token ``(token)``, as it is and steered: the same tokens in both.
    plain, steered
        What the model writes after the prompt, as it is and steered; it grows while it is written.
    """

    text: str
    layer: int
    coefficient: float
    before: xr.DataArray
    after: xr.DataArray
    plain: str = ""
    steered: str = ""


def slider_limit(
    model: TransformerBridge,
    text: str,
    direction: Float[Tensor, " d_model"],
    layer: int,
    site: str,
    limit: float | None,
) -> float:
    """Give the limit that was asked for; or that at which what is added is as long as what is there, rounded up.

    Raises
    ------
    HookError, ArrayError
        If there is no such layer or site, or the direction does not fit it.
    InputError
        If the direction is zero, or the limit is not greater than 0.
    """
    ((hook, add),) = steering(model, direction, layer=layer, site=site).items()
    there = forward(model, tokens(model, text), capture=[hook])[hook].float()
    add(there.clone())  # says so if the direction does not fit
    if limit is not None:
        return _checked(limit)
    norm = float(torch.as_tensor(direction).float().norm())
    if not norm:
        msg = "the direction is zero, so nothing would be added: expected another one"
        raise InputError(msg)
    return _round(float(there[0].flatten(1).norm(dim=1).median()) / norm)


def _round(ratio: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(ratio))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= ratio * (1 - 1e-9))


def _checked(limit: float) -> float:
    if not 0 < limit < math.inf:
        msg = f"expected a limit greater than 0, got {limit:g}"
        raise InputError(msg)
    return float(limit)


def checked_length(tokens: int) -> int:
    """Give a number of tokens back if they can be written, or raise an InputError."""
    if tokens < 1:
        msg = f"expected 1 token or more to be written, got {tokens}"
        raise InputError(msg)
    return tokens
