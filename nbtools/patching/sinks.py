"""Attention sinks moved, hidden, emptied and cut down, and what each of it costs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of, pattern_hook
from nbtools.measures.massive import massive_activations
from nbtools.measures.predictions import surprise_of
from nbtools.measures.sinks import norms_of_stream, stream_hook
from nbtools.models.tokens import Prompt, Tokens, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit, Run

__all__ = ["SINK", "SINK_INTERVENTIONS", "intervene", "sink_costs"]

SINK_INTERVENTIONS: dict[str, str] = {
    "unchanged": "the model as it is",
    "replaced": "another token comes first, in place of the first one",
    "prepended": "the token that the tokenizer begins texts with comes first, and all others one place later",
    "emptied": "the value of the first token is zero in every head",
    "hidden": "no head looks at the first token: the others share its attention",
    "clamped": "massive activations at the first token are cut down to the largest that others have there",
}
SINK = 0.3  # a head is a sink head above it
Pattern = Float[Tensor, "prompt head query key"]
Stream = Float[Tensor, "prompt position d_model"]


def intervene(
    model: TransformerBridge, prompt: Prompt, kind: str, *, token: str = "\n", dimensions: Iterable[int] | None = None
) -> tuple[Tokens, dict[str, Edit]]:
    """Give the tokens and the edit that change a prompt's attention sink in one way.

    Pass both on to a measure: ``measures.surprise(model, read, edit=edit)``.

    Parameters
    ----------
    prompt
        Text or token ids, or a list of prompts of equal length.
    kind
        One of `SINK_INTERVENTIONS`.
    token
        The text of the one token that replaces the first, for ``"replaced"``.
    dimensions
        The dimensions of the residual stream that are cut down, for ``"clamped"``; by default those of the
        `nbtools.measures.massive_activations` of the first prompt.

    Returns
    -------
    tuple
        The tokens to run, and for each hook point what changes it.

    Raises
    ------
    PromptError
        If the prompt does not fit the model.
    InputError
        If there is no such kind, or the model has no such token, or no massive activations.

    Examples
    --------
    >>> from nbtools.measures import sink_mass
    >>> model, text = load(), "The old harbour town woke slowly, and the first boats came in."
    >>> read, edit = intervene(model, text, "hidden")
    >>> sink_mass(model, read, start=4, edit=edit).sel(layer=18, head=7, key=0).item()
    0.0
    """
    if kind not in SINK_INTERVENTIONS:
        msg = f"expected an intervention, one of {', '.join(SINK_INTERVENTIONS)}, got {kind!r}"
        raise InputError(msg)
    read = tokens(model, prompt)
    if len(read) < 2:
        msg = f"expected a prompt of two tokens or more, got {len(read)}: without the first nothing would be left"
        raise InputError(msg)
    if kind == "clamped":
        return read, _clamping(model, read, dimensions)
    if kind == "replaced":
        return _replaced(model, read, token), {}
    return (_prepended(model, read), {}) if kind == "prepended" else (read, _edits(model, kind))


def _edits(model: TransformerBridge, kind: str) -> dict[str, Edit]:
    if kind == "unchanged":
        return {}
    part, change = {"emptied": ("hook_v", _empty), "hidden": ("hook_pattern", _hide)}[kind]
    hooks, known = (f"blocks.{layer}.attn.{part}" for layer in range(model.cfg.n_layers)), model.hook_dict
    return {hook: change for hook in hooks if hook in known}


def _empty(v: Float[Tensor, "prompt position head d_head"]) -> None:
    v[:, 0] = 0


def _hide(pattern: Pattern) -> None:
    """Spread the attention to the first token over the others in proportion; the first query has no others."""
    rows = pattern[:, :, 1:]
    whole = rows.sum(-1, keepdim=True)
    rows[..., 0] = 0
    rest = rows.sum(-1, keepdim=True)
    even = torch.ones_like(rows).tril(1)  # a head that looks at nothing else at all looks at all others alike
    even[..., 0] = 0
    pattern[:, :, 1:] = torch.where(rest > 0, rows * whole / rest, even * whole / even.sum(-1, keepdim=True))


def _clamping(model: TransformerBridge, read: Tokens, dimensions: Iterable[int] | None) -> dict[str, Edit]:
    chosen = _massive_dimensions(model, read) if dimensions is None else list(dimensions)
    if not chosen or not all(0 <= dimension < model.cfg.d_model for dimension in chosen):
        msg = (
            f"expected dimensions of the residual stream from 0 to {model.cfg.d_model - 1}, got {chosen}: this prompt "
            "may have no massive activations at its first token; say which dimensions are to be cut down"
        )
        raise InputError(msg)
    clamp = partial(_clamp, dimensions=chosen)
    return {stream_hook(layer): clamp for layer in range(model.cfg.n_layers)}


def _massive_dimensions(model: TransformerBridge, read: Tokens) -> list[int]:
    """Give the dimensions of massive activations at the first token of the first prompt."""
    found = massive_activations(model, read.ids[0])
    return np.unique(found.dimension[found.position == 0]).tolist()


def _clamp(stream: Stream, dimensions: list[int]) -> None:
    most = stream[:, 1:, dimensions].abs().amax(1)
    stream[:, 0, dimensions] = stream[:, 0, dimensions].clamp(-most, most)


def _replaced(model: TransformerBridge, read: Tokens, token: str) -> Tokens:
    found = tokens(model, token, prepend_bos=False).ids[0].tolist()
    if len(found) != 1:
        msg = f"expected the text of one token to come first, got {token!r}, which is {len(found)}"
        raise InputError(msg)
    ids = read.ids.clone()
    ids[:, 0] = found[0]
    return _tokens(model, read, ids)


def _prepended(model: TransformerBridge, read: Tokens) -> Tokens:
    first = None if model.tokenizer is None else model.tokenizer.bos_token_id
    if first is None:
        msg = "this model's tokenizer has no token that texts begin with: replace the first token instead"
        raise InputError(msg)
    return _tokens(model, read, torch.cat([torch.full_like(read.ids[:, :1], first), read.ids], 1))


def _tokens(model: TransformerBridge, read: Tokens, ids: Tensor) -> Tokens:
    return tokens(model, ids[0] if read.single else ids)


def sink_costs(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    kinds: Iterable[str] = tuple(SINK_INTERVENTIONS),
    start: int = 8,
    batch: int = 8,
    token: str = "\n",
    dimensions: Iterable[int] | None = None,
) -> xr.Dataset:
    """Change the attention sink in several ways, and say what becomes of it and of the model's predictions.

    Parameters
    ----------
    prompt
        Text or token ids, or a list of prompts of equal length.
    kinds
        Which of `SINK_INTERVENTIONS`.
    start
        The first token of the prompt whose loss and attention count: the first few are hard to predict without it.
    batch
        How many prompts are run at once.
    token, dimensions
        As in `intervene`; dimensions are those of the first prompt's massive activations.

    Returns
    -------
    xarray.Dataset
        Over ``(intervention, prompt)``: ``loss``, the mean surprise in nats of the same tokens; ``sink_rate``, the
        share of heads that pay the first token of the run more than 0.3 of their attention; ``elsewhere``, the share
        that pay so much to one other token before `start`; ``peak``, the norm of the residual stream at the first
        token over the median of the others, after the layer where that is largest.

    Raises
    ------
    PromptError, InputError
        As `intervene` does, and if no token is left to count.

    References
    ----------
    .. [1] Gu et al., "When Attention Sink Emerges in Language Models: An Empirical View", 2024 (sink rate).
    .. [2] Sun et al., "Massive Activations in Large Language Models", 2024 (setting them to zero).

    Examples
    --------
    >>> text = "The old harbour town woke slowly, and the first boats came in with the tide before anyone was about."
    >>> found = sink_costs(load(), text, kinds=["unchanged", "hidden", "clamped"])
    >>> cost = found.loss - found.loss.sel(intervention="unchanged")
    >>> bool(cost.sel(intervention="hidden") < 0.5 < 3 < cost.sel(intervention="clamped"))
    True
    """
    read, kinds = tokens(model, prompt), list(kinds)
    _check(read, kinds, start, batch)
    if "clamped" in kinds and dimensions is None:
        dimensions = _massive_dimensions(model, read)
    options = {"token": token, "dimensions": dimensions}
    parts = [tokens(model, read.ids[first : first + batch]) for first in range(0, len(read.ids), batch)]
    rows = {
        kind: [_measured(model, part, *intervene(model, part, kind, **options), start) for part in parts]
        for kind in kinds
    }
    dims, names = ("intervention", "prompt"), rows[kinds[0]][0]
    return xr.Dataset(
        {
            name: (dims, np.stack([np.concatenate([part[name] for part in rows[kind]]) for kind in kinds]))
            for name in names
        },
        {"intervention": np.array(kinds, dtype=object)},
        attrs={"model": str(model.cfg.model_name), "start": start, "units": "nats"},
    )


def _check(read: Tokens, kinds: list[str], start: int, batch: int) -> None:
    if isinstance(start, bool) or not isinstance(start, int) or not 2 <= start < len(read):
        msg = f"expected 2 ≤ start < {len(read)}, the number of tokens, got {start!r}"
        raise InputError(msg)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        msg = f"expected a batch of one prompt or more, got {batch!r}"
        raise InputError(msg)
    if not kinds:
        msg = f"expected one intervention or more of {', '.join(SINK_INTERVENTIONS)}"
        raise InputError(msg)


def _measured(
    model: TransformerBridge, plain: Tokens, read: Tokens, edit: dict[str, Edit], start: int
) -> dict[str, np.ndarray]:
    """Measure one intervention on some prompts."""
    first = start + len(read) - len(plain)
    layers, known = layers_of(model, None), model.hook_dict
    masses: dict[str, Callable[[Tensor], Tensor]] = {
        pattern_hook(layer): lambda pattern: pattern[:, :, first:, :first].float().mean(2)
        for layer in layers
        if pattern_hook(layer) in known
    }
    norms = {stream_hook(layer): norms_of_stream for layer in layers}
    run = forward(model, read, capture=masses | norms, edit=edit)
    loss = surprise_of(read, run.logits)[:, first:].mean(1)
    return {"loss": loss, **_sinks(run, masses), "peak": _peak(run, norms)}


def _sinks(run: Run, hooks: Iterable[str]) -> dict[str, np.ndarray]:
    mass = torch.cat([run[hook] for hook in hooks], 1)
    rates = {"sink_rate": mass[:, :, 0], "elsewhere": mass[:, :, 1:].amax(2)}
    return {name: (most > SINK).float().mean(1).cpu().numpy() for name, most in rates.items()}


def _peak(run: Run, hooks: Iterable[str]) -> np.ndarray:
    norms = torch.stack([run[hook] for hook in hooks])
    return (norms[:, :, 0] / norms[:, :, 1:].median(2).values).amax(0).cpu().numpy()
