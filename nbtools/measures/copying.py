"""Do heads copy? Whether the token that a head attends to becomes more likely, by its weights alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures._weights import layer_weights, unembedding
from nbtools.measures.positions import places_of
from nbtools.models.tokens import Prompt, tokens
from nbtools.naming import Head, HeadLike, parse_heads
from nbtools.runs.forward import check_model, forward, lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["copying_rates", "copying_scores"]

_AFTER_LAYER_0 = "blocks.0.hook_resid_post"
_TOGETHER = 256  # streams whose logits are held at once


def copying_scores(model: TransformerBridge, *, layers: int = 0) -> xr.DataArray:
    """Give for each head whether it makes the tokens it attends to more likely: the sign of its eigenvalues.

    The matrix from each token to the logit of each is W_E W_OV W_U, vocabulary by vocabulary. It has the eigenvalues of
    the small W_O W_U W_E W_V, which is what is computed. Gains of norms are taken in, their division is not, and from
    the unembedding its mean over the vocabulary is taken away.

    Parameters
    ----------
    layers
        How many layers each token has gone through, alone, before a head reads it. 0 is the embedding itself, as in
        [1]_. Where the first layer rewrites the embedding (SmolLM2 does), later heads copy what it writes, and the
        score of 0 says little of them: take 1, which runs the vocabulary through layer 0.

    Returns
    -------
    xarray.DataArray
        ``(layer, head)``: the sum of the eigenvalues over the sum of their sizes, from -1 to 1. Positive is copying.

    Raises
    ------
    InputError
        If there are not so many layers.

    References
    ----------
    .. [1] Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021 (copying, by eigenvalues).

    Examples
    --------
    >>> scores = copying_scores(load())
    >>> scores.dims, bool((abs(scores) <= 1).all())
    (('layer', 'head'), True)
    """
    if isinstance(layers, bool) or not hasattr(layers, "__index__") or not 0 <= layers < model.cfg.n_layers:
        msg = f"expected layers to be a whole number from 0 to {model.cfg.n_layers - 1}, got {layers!r}"
        raise InputError(msg)
    check_model(model)
    with lock(model), torch.no_grad():
        from_tokens = unembedding(model) @ _vocabulary(model, layers)
        weights = (layer_weights(model, layer) for layer in range(model.cfg.n_layers))
        small = torch.stack([layer.o @ from_tokens @ layer.v for layer in weights])
    values = torch.linalg.eigvals(small.double())
    return xr.DataArray(
        (values.real.sum(-1) / values.abs().sum(-1)).float().cpu().numpy(),
        dims=("layer", "head"),
        coords={"layer": np.arange(model.cfg.n_layers), "head": np.arange(model.cfg.n_heads)},
        name="copying score",
        attrs={"model": str(model.cfg.model_name), "layers": int(layers), "units": "share of eigenvalues"},
    )


def _vocabulary(model: TransformerBridge, layers: int) -> Float[Tensor, "vocabulary d_model"]:
    """Give the stream of each token of the vocabulary, run alone through some layers."""
    if not layers:
        return model.embed.W_E.detach().float()
    every = torch.arange(model.cfg.d_vocab, device=model.cfg.device)[:, None].split(_TOGETHER)
    return torch.cat([model(part, stop_at_layer=layers)[:, 0].float() for part in every])


def copying_rates(
    model: TransformerBridge,
    prompt: Prompt,
    positions: Mapping[str, Sequence[int]],
    *,
    heads: HeadLike | Iterable[HeadLike] | None = None,
    top: int = 5,
) -> xr.Dataset:
    """Give how often a head, made to look at a token alone, puts it among the most likely, or the least likely.

    The stream after layer 0 at a named position, where little but the token itself has been written, goes through the
    head's values and output, the final norm and the unembedding. A name mover has a high ``copies``, a negative one a
    high ``suppresses``.

    Parameters
    ----------
    prompt
        Text or token ids. Of a task, ``task.clean``.
    positions
        For each name one position for each prompt: the tokens to copy, such as ``IO`` and ``S1`` of an `ioi` task.
    heads
        Such as ``["23.1", "24.4"]``; all by default, which unembeds heads × positions streams.
    top
        How many tokens count as the most likely.

    Returns
    -------
    xarray.Dataset
        ``copies`` and ``suppresses`` ``(layer, head)``: the share of tokens that come among the `top` highest and the
        `top` lowest logits; NaN for heads that were not asked for. By chance it is `top` over the vocabulary.

    Raises
    ------
    PromptError, HookError
        If the prompt or a head does not fit the model.
    InputError
        If there are no positions, they do not fit the prompts, or `top` is outside the vocabulary.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
       2022 (the copy score, there of three mentions of names and the top 5).

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=8)
    >>> names = {name: task.positions[name] for name in ("IO", "S1", "S2")}
    >>> rates = copying_rates(model, task.clean, names, heads=["23.1", "24.4"])
    >>> bool(rates.copies.sel(layer=23, head=1) > 0.8), bool(rates.suppresses.sel(layer=24, head=4) > 0.8)
    (True, True)
    """
    read = tokens(model, prompt)
    if not 1 <= top <= model.cfg.d_vocab:
        msg = f"expected top to be between 1 and {model.cfg.d_vocab}, got {top}"
        raise InputError(msg)
    if not positions:
        msg = "expected at least one named position whose tokens to copy, got none: {'IO': task.positions['IO']}"
        raise InputError(msg)
    places = places_of(positions, list(positions), read.ids)
    chosen = _heads(model, heads)
    shares = np.full((2, model.cfg.n_layers, model.cfg.n_heads), np.nan, np.float32)
    with lock(model), torch.no_grad():
        streams = forward(model, read, capture=[_AFTER_LAYER_0])[_AFTER_LAYER_0]
        rows = torch.arange(len(places), device=places.device)[:, None]
        streams, copied = streams[rows, places].flatten(0, 1), read.ids[rows, places].flatten()
        for layer in sorted({layer for layer, _ in chosen}):
            own = [head for at, head in chosen if at == layer]
            written = _written(model, layer, streams)[:, own]
            shares[:, layer, own] = _shares(model, written, copied, top)
    return xr.Dataset(
        {name: (("layer", "head"), share) for name, share in zip(("copies", "suppresses"), shares, strict=True)},
        coords={"layer": np.arange(model.cfg.n_layers), "head": np.arange(model.cfg.n_heads)},
        attrs={"model": str(model.cfg.model_name), "tokens": len(copied), "top": top, "units": "share of tokens"},
    )


def _heads(model: TransformerBridge, heads: HeadLike | Iterable[HeadLike] | None) -> list[Head]:
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    return list(np.ndindex(shape)) if heads is None else parse_heads(heads, shape=shape)


def _written(
    model: TransformerBridge, layer: int, streams: Float[Tensor, "token d_model"]
) -> Float[Tensor, "token head d_model"]:
    """Give what each head writes of a stream that it alone attends to."""
    block, heads = model.blocks[layer], model.cfg.n_heads
    read = block.ln1(streams) if hasattr(block, "ln1") else streams
    values = torch.einsum("td,hde->the", read, block.attn.W_V)
    if block.attn.b_V is not None:
        values = values + block.attn.b_V
    written = torch.einsum("the,hed->thd", values.repeat_interleave(heads // values.shape[1], 1), block.attn.W_O)
    return block.ln1_post(written) if hasattr(block, "ln1_post") else written


def _shares(
    model: TransformerBridge, written: Float[Tensor, "token head d_model"], copied: Int[Tensor, " token"], top: int
) -> np.ndarray:
    """Give for each head how often the token has one of the highest logits, and one of the lowest ``[2, head]``."""
    norm = getattr(model, "ln_final", torch.nn.Identity())
    streams, ids = written.flatten(0, 1), copied.repeat_interleave(written.shape[1])
    found: list[Bool[Tensor, "two stream"]] = []
    for part, own in zip(streams.split(_TOGETHER), ids.split(_TOGETHER), strict=True):
        logits = model.unembed(norm(part[None]))[0]
        token = logits.gather(1, own[:, None])
        found.append(torch.stack([(logits > token).sum(1) < top, (logits < token).sum(1) < top]))
    return torch.cat(found, 1).unflatten(1, written.shape[:2]).float().mean(1).cpu().numpy()
