"""Attention sinks: tokens that are looked at for want of anything to look at, and how they come to carry nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of, pattern_hook
from nbtools.models.norms import FrozenNorm
from nbtools.models.tokens import Prompt, Tokens, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = [
    "labelled",
    "mass_of",
    "norms_of_stream",
    "norms_of_values",
    "residual_norms",
    "sink_logits",
    "sink_mass",
    "stream_hook",
    "value_hook",
    "value_norms",
]


def sink_mass(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    start: int = 0,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give the attention that each token gets, mean over all queries that can look at it.

    The sink score of [1]_ is that of the first token, ``sink_mass(…).sel(key=0)``, over 64 tokens; a head is a sink
    head where it is above 0.3, and the model's sink rate is the share of such heads.

    Parameters
    ----------
    prompt
        Text or token ids; a list adds the dimension ``prompt``.
    start
        The first query that counts. 0 counts also that the first token looks at itself, as in [1]_; with 32, say, only
        queries count that have much else to look at.
    layers
        Layers to keep; all by default.
    edit
        Changes made during the runs, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.DataArray
        Shares of attention ``([prompt,] layer, head, key)``.

    Raises
    ------
    PromptError, HookError
        If the prompt, a layer or an edit does not fit the model.
    InputError
        If no query is left.

    References
    ----------
    .. [1] Gu et al., "When Attention Sink Emerges in Language Models: An Empirical View", 2024.
    .. [2] Guo et al., "Active-Dormant Attention Heads", 2024 (attention mass onto a key).

    Examples
    --------
    >>> text = "The old harbour town woke slowly, and the first boats came in with the tide before anyone was about."
    >>> mass = sink_mass(load(), text, start=8)
    >>> mass.sel(layer=18, head=7).argmax("key").item(), bool(mass.sel(layer=18, head=7, key=0) > 0.9)
    (0, True)
    """
    read = tokens(model, prompt)
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start < len(read):
        msg = f"expected start to be a position from 0 to {len(read) - 1}, got {start!r}"
        raise InputError(msg)
    found = _by_layer(model, read, layers, pattern_hook, lambda layer: partial(mass_of, start=start), edit)
    return labelled(model, read, found, ("head", "key"), "sink mass", "probability")


def mass_of(pattern: Float[Tensor, "prompt head query key"], start: int = 0) -> Float[Tensor, "prompt head key"]:
    """Read what `sink_mass` gives off the pattern of a layer."""
    length = pattern.shape[-1]
    lookers = torch.arange(length, 0, -1, device=pattern.device).clamp_max(length - start)
    return pattern[:, :, start:].float().sum(2) / lookers


def value_norms(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give how long a vector each head would write if it looked at one token alone: its value, through W_O.

    A sink that is to say nothing has a short one, a *value-state drain* [1]_. Compare with the other tokens.

    Returns
    -------
    xarray.DataArray
        Norms ``([prompt,] layer, head, position)`` of each query head.

    See Also
    --------
    sink_mass : What the arguments mean.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024.

    Examples
    --------
    >>> norms = value_norms(load(), "The old harbour town woke slowly.", layers=18).sel(layer=18, head=7)
    >>> bool(norms[0] < 0.2 * norms[1:].mean())
    True
    """
    read = tokens(model, prompt)
    found = _by_layer(model, read, layers, value_hook, partial(norms_of_values, model), edit)
    return labelled(model, read, found, ("head", "position"), "value norm", "norm")


def value_hook(layer: int) -> str:
    """Name the hook point of a layer's values."""
    return f"blocks.{layer}.attn.hook_v"


def norms_of_values(model: TransformerBridge, layer: int) -> Callable[[Tensor], Tensor]:
    """Give a reader of values that measures what W_O makes of them, without making it."""
    block = model.blocks[layer]
    weights = block.attn.W_O.detach()
    written = FrozenNorm.of(getattr(block, "ln1_post", None), weights[0, :1]).after(weights.float())
    lengths = written @ written.transpose(1, 2)

    def read(values: Float[Tensor, "prompt position group d_head"]) -> Float[Tensor, "prompt head position"]:
        each = values.float().repeat_interleave(len(lengths) // values.shape[2], 2)
        return torch.einsum("bphd,hde,bphe->bhp", each, lengths, each).clamp_min(0).sqrt()

    return read


def residual_norms(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give the norm of the residual stream after each layer, at each token.

    Returns
    -------
    xarray.DataArray
        Norms ``([prompt,] layer, position)``.

    See Also
    --------
    sink_mass : What the arguments mean.

    Examples
    --------
    >>> norms = residual_norms(load(), "The old harbour town woke slowly.")
    >>> bool(norms.sel(layer=12, position=0) > 100 * norms.sel(layer=12)[1:].median())
    True
    """
    read = tokens(model, prompt)
    found = _by_layer(model, read, layers, stream_hook, lambda layer: norms_of_stream, edit)
    return labelled(model, read, found, ("position",), "residual norm", "norm")


def stream_hook(layer: int) -> str:
    """Name the hook point of the residual stream after a layer."""
    return f"blocks.{layer}.hook_resid_post"


def norms_of_stream(stream: Float[Tensor, "prompt position d_model"]) -> Float[Tensor, "prompt position"]:
    """Measure the residual stream at each token."""
    return stream.float().norm(dim=-1)


def sink_logits(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give how much higher the first token scores, before the softmax, than the others that a query can look at.

    Differences of scores are read off the pattern, as differences of its logarithm; a token whose attention is zero in
    float32 counts as 10⁻³⁸.

    Returns
    -------
    xarray.DataArray
        Differences of scores ``([prompt,] layer, head, query)``; NaN for the first query, which has no others.

    See Also
    --------
    sink_mass : What the arguments mean.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024 (sink logits, and that they come to be all the same).

    Examples
    --------
    >>> gap = sink_logits(load(), "The old harbour town woke slowly.", layers=18).sel(layer=18, head=7)
    >>> bool(gap[0].isnull()), bool((gap[1:] > 3).all())
    (True, True)
    """
    read = tokens(model, prompt)
    found = _by_layer(model, read, layers, pattern_hook, lambda layer: _gap, edit)
    return labelled(model, read, found, ("head", "query"), "sink logit", "nats")


def _gap(pattern: Float[Tensor, "prompt head query key"]) -> Float[Tensor, "prompt head query"]:
    """Compare the first key with the mean of those after it, up to the query; scores differ as logarithms do."""
    scores = pattern.float().clamp_min(torch.finfo(torch.float32).tiny).log()
    size = scores.shape[-1]
    others = torch.ones(size, size, dtype=torch.bool, device=scores.device).tril()
    others[:, 0] = False
    counts = torch.arange(size, device=scores.device)
    mean = scores.masked_fill(~others, 0).sum(-1) / counts
    return torch.where(counts > 0, scores[..., 0] - mean, torch.nan)


def _by_layer(
    model: TransformerBridge,
    read: Tokens,
    layers: int | Iterable[int] | None,
    hook: Callable[[int], str],
    reader: Callable[[int], Callable[[Tensor], Tensor]],
    edit: dict[str, Edit] | None,
) -> dict[int, np.ndarray]:
    """Run once, and keep for each layer what its reader makes of a hook point."""
    chosen = layers_of(model, layers)
    run = forward(model, read, capture={hook(layer): reader(layer) for layer in chosen}, edit=edit, last=True)
    return {layer: run[hook(layer)].cpu().numpy() for layer in chosen}


def labelled(
    model: TransformerBridge, read: Tokens, found: dict[int, np.ndarray], dims: tuple[str, ...], name: str, units: str
) -> xr.DataArray:
    """Put what was found in each layer, ``[prompt, …]``, into one labelled array; of one prompt without that."""
    stacked = np.stack(list(found.values()), axis=1)
    coords: dict[str, Any] = {"layer": list(found)}
    for dim, size in zip(dims, stacked.shape[2:], strict=True):
        coords[dim] = np.arange(size)
        if read.single and dim != "head":
            coords[f"{dim}_token" if dim in ("query", "key") else "token"] = (
                dim,
                np.array(read.labels[0], dtype=object),
            )
    attrs = {"model": str(model.cfg.model_name), "prompts": len(stacked), "units": units}
    array = xr.DataArray(stacked, coords, ("prompt", "layer", *dims), name=name, attrs=attrs)
    return array.isel(prompt=0) if read.single else array
