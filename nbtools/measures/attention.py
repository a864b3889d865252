"""Attention patterns as labelled arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from nbtools.errors import HookError, InputError
from nbtools.models.tokens import Prompt, Tokens, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["attention", "label_patterns", "layers_of", "pattern_hook"]


def attention(
    model: TransformerBridge, prompt: Prompt, *, layers: int | Iterable[int] | None = None, budget_mb: float = 1024
) -> xr.DataArray:
    """Give the attention pattern of every head: from each query position, to each key position.

    Parameters
    ----------
    prompt
        Text or token ids; a list of prompts adds the dimension ``prompt``.
    layers
        Layers to keep; all by default.
    budget_mb
        Memory the result may take, in megabytes.

    Returns
    -------
    xarray.DataArray
        Probabilities ``([prompt,] layer, head, query, key)``; each row sums to 1, and is 0 for keys
        that come after the query. The coordinates ``query_token`` and ``key_token`` hold the text.

    Raises
    ------
    HookError
        If a layer does not exist.
    InputError
        If the result would not fit into the budget.

    Examples
    --------
    >>> pattern = attention(load(), "Paris is in France")
    >>> pattern.sizes["layer"], pattern.sizes["head"], bool(abs(pattern.sum("key") - 1).max() < 1e-5)
    (30, 9, True)
    """
    read = tokens(model, prompt)
    chosen = layers_of(model, layers)
    _within(budget_mb, read, len(chosen), model.cfg.n_heads)
    run = forward(model, read, capture={pattern_hook(layer): lambda pattern: pattern.float().cpu() for layer in chosen})
    return label_patterns(model, read, {layer: run[pattern_hook(layer)].numpy() for layer in chosen})


def pattern_hook(layer: int) -> str:
    """Name the hook point of a layer's attention pattern."""
    return f"blocks.{layer}.attn.hook_pattern"


def layers_of(model: TransformerBridge, layers: int | Iterable[int] | None) -> list[int]:
    """Check layers, counting from the end where negative; None is all of them."""
    count = model.cfg.n_layers
    if layers is None:
        return list(range(count))
    asked = [layers] if isinstance(layers, int) else list(layers)
    wrong = [layer for layer in asked if not -count <= layer < count]
    if wrong or not asked:
        msg = f"expected layers between 0 and {count - 1}, got {asked}"
        raise HookError(msg)
    return [layer % count for layer in asked]


def label_patterns(model: TransformerBridge, read: Tokens, patterns: dict[int, np.ndarray]) -> xr.DataArray:
    """Put patterns ``[prompt, head, query, key]`` of several layers into one labelled array."""
    stacked = np.stack(list(patterns.values()), axis=1)
    positions = np.arange(len(read))
    coords = {
        "layer": list(patterns),
        "head": np.arange(stacked.shape[2]),
        "query": positions,
        "key": positions,
    }
    if read.single:
        text = np.array(read.labels[0], dtype=object)
        coords |= {"query_token": ("query", text), "key_token": ("key", text)}
    array = xr.DataArray(
        stacked,
        dims=("prompt", "layer", "head", "query", "key"),
        coords=coords,
        name="attention",
        attrs={"model": str(model.cfg.model_name), "prompts": stacked.shape[0], "units": "probability"},
    )
    return array.isel(prompt=0) if read.single else array


def _within(budget_mb: float, read: Tokens, layers: int, heads: int) -> None:
    prompts, positions = read.ids.shape
    needed = 4 * prompts * layers * heads * positions**2 / 1e6
    if needed > budget_mb:
        msg = (
            f"the patterns of {layers} layers, {prompts} prompts of {positions} tokens take {needed:.0f} MB, more than "
            f"budget_mb={budget_mb:g}: ask for fewer layers=, shorten the prompt, or raise budget_mb="
        )
        raise InputError(msg)
