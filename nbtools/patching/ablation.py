"""Ablation: taking a part out, by zeros, by its mean, or by what it does on another prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.models.tokens import Prompt, tokens
from nbtools.naming import HeadLike, parse_heads
from nbtools.patching.exact import usable_site
from nbtools.patching.sites import Site, count
from nbtools.runs.forward import Edit, forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Ablation", "ablation"]

Ablation = Literal["zero", "mean", "resample"]


def ablation(
    model: TransformerBridge,
    site: str,
    *,
    layers: int | Iterable[int] | None = None,
    heads: HeadLike | Iterable[HeadLike] | None = None,
    positions: int | Sequence[int] | None = None,
    neurons: int | Sequence[int] | None = None,
    kind: Ablation = "zero",
    reference: Prompt | None = None,
    seed: int = 0,
) -> dict[str, Edit]:
    """Give the edits that take a part of the model out; hand them to anything that takes ``edit=``.

    Parameters
    ----------
    site
        Any of `SITES`.
    layers
        In which layers; all by default. Not with `heads`, which name their layers.
    heads
        For sites with heads: which, as ``"18.6"``.
    positions, neurons
        Only these; all by default.
    kind
        ``"zero"`` puts zeros there. ``"mean"`` puts the mean over all tokens of `reference`: the part is there, but
        says nothing about this prompt. ``"resample"`` puts what the part does on a prompt drawn from `reference`,
        which must have as many tokens: the part says something, but about another prompt.
    reference
        Prompts for ``"mean"`` and ``"resample"``.
    seed
        Seed of the draw.

    Returns
    -------
    dict of str to function
        For each hook point the edit, as `nbtools.runs.forward` takes it.

    Raises
    ------
    HookError
        If a site, layer, head, neuron or position does not exist, or an edit there would do nothing.
    InputError
        If the reference is missing or not needed.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild", 2022 (mean ablation).
    .. [2] Chan et al., "Causal Scrubbing", 2022 (resampling ablation).

    Examples
    --------
    Two heads taken out, and what it costs to predict a repetition:

    >>> import nbtools as nb
    >>> model = load()
    >>> ids = nb.tasks.repeated_tokens(model, length=20, prompts=2)
    >>> without = ablation(model, "z", heads=["18.6", "17.3"])
    >>> nats = nb.measures.surprise(model, ids, edit=without) - nb.measures.surprise(model, ids)
    >>> bool(nats[:, 21:].mean() > 0.1)
    True
    """
    found = usable_site(model, site)
    if (reference is None) != (kind == "zero") or kind not in ("zero", "mean", "resample"):
        msg = f"expected kind 'zero' without reference=, or 'mean' or 'resample' with one; got {kind!r}"
        raise InputError(msg)
    places = _places(model, found, layers, heads)
    put = _stand_ins(model, found, list(places), kind, reference)
    return {
        found.at(layer): _taking_out(found, chosen, positions, neurons, put[layer], seed)
        for layer, chosen in places.items()
    }


def _places(
    model: TransformerBridge,
    site: Site,
    layers: int | Iterable[int] | None,
    heads: HeadLike | Iterable[HeadLike] | None,
) -> dict[int, list[int] | None]:
    """For each layer the heads that are taken out; None is all of the layer."""
    if heads is None:
        asked = range(model.cfg.n_layers) if layers is None else [layers] if isinstance(layers, int) else list(layers)
        wrong = [layer for layer in asked if not 0 <= layer < model.cfg.n_layers]
        if wrong:
            msg = f"layer {wrong[0]} does not exist: expected 0 to {model.cfg.n_layers - 1}"
            raise HookError(msg)
        return dict.fromkeys(asked)
    if "head" not in site.axes or layers is not None:
        msg = f"heads= goes with a site that has heads, and without layers=: {site.name} has {', '.join(site.dims)}"
        raise InputError(msg)
    places: dict[int, list[int] | None] = {}
    for layer, head in parse_heads(heads, shape=(model.cfg.n_layers, count(model, site, "head", 1))):
        places.setdefault(layer, []).append(head)
    return places


def _stand_ins(
    model: TransformerBridge, site: Site, layers: list[int], kind: Ablation, reference: Prompt | None
) -> dict[int, Tensor]:
    """For each layer what is put in: zeros, a mean, or an activation ``[prompt, position, …]`` to draw from."""
    if kind == "zero":
        return {layer: torch.zeros(()) for layer in layers}
    read = tokens(model, reference)
    if kind == "mean" and site.name == "pattern":
        msg = "the mean of attention patterns is taken over positions that mean different things: use kind='resample'"
        raise InputError(msg)
    run = forward(model, read, capture=[site.at(layer) for layer in layers])
    if kind == "mean":
        return {layer: run[site.at(layer)].mean((0, 1)) for layer in layers}
    return {layer: run[site.at(layer)] for layer in layers}


def _taking_out(
    site: Site,
    heads: list[int] | None,
    positions: int | Sequence[int] | None,
    neurons: int | Sequence[int] | None,
    put: Float[Tensor, ...],
    seed: int,
) -> Edit:
    """Give the edit of one layer."""
    wanted = {"head": heads, "position": positions, "query": positions, "neuron": neurons}

    def take_out(value: Tensor) -> Tensor:
        new = _fitted(put, value, seed)
        chosen = torch.ones_like(value, dtype=torch.bool)
        for dim, name in enumerate(site.axes, start=1):
            places = wanted.get(name)
            if places is not None:
                mask = _mask(places, value.shape[dim], name).to(value.device)
                chosen &= mask.view(*(-1 if d == dim else 1 for d in range(value.ndim)))
        return torch.where(chosen, new, value)

    return take_out


def _fitted(put: Tensor, value: Tensor, seed: int) -> Tensor:
    """Give each prompt its stand-in; one that is drawn is drawn alike in every layer."""
    if put.ndim < value.ndim:
        return put.to(value).expand_as(value)
    if put.shape[1:] != value.shape[1:]:
        have, need = put.shape[1], value.shape[1]
        msg = f"the reference has {have} tokens, this prompt {need}: resample from prompts of equal length"
        raise ArrayError(msg)
    drawn = torch.randint(len(put), (len(value),), generator=torch.Generator().manual_seed(seed))
    return put[drawn.to(put.device)].to(value)


def _mask(places: int | Sequence[int], count: int, name: str) -> Tensor:
    wanted = [places] if isinstance(places, int) else list(places)
    wrong = [place for place in wanted if not -count <= place < count]
    if wrong:
        msg = f"{name} {wrong[0]} does not exist: expected 0 to {count - 1}"
        raise HookError(msg)
    mask = torch.zeros(count, dtype=torch.bool)
    mask[wanted] = True
    return mask
