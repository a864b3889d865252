"""Where a model can be patched: what each site is called, which hook point it is, and what its dimensions mean."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import HookError, InputError
from nbtools.models.describe import n_key_value_heads

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["SITES", "Site", "by_query_head", "count", "exchange", "site_of", "swept"]


@dataclass(frozen=True)
class Site:
    """A kind of place in every layer.

    Attributes
    ----------
    name
        As users write it.
    hook
        The hook point in layer ``{layer}``.
    axes
        What the activation's dimensions after the first, the prompt, are; ``""`` is never chosen from.
    default
        The dimensions a sweep runs over beside the layer, unless others are asked for.
    meaning
        In a few words.
    """

    name: str
    hook: str
    axes: tuple[str, ...]
    default: tuple[str, ...]
    meaning: str

    def at(self, layer: int) -> str:
        """Name the hook point of one layer."""
        return self.hook.format(layer=layer)

    def gradient_at(self, layer: int) -> str:
        """Name the hook point whose gradient is that of the site."""
        return (SITES["attn_out"] if self.name == "resid_mid" else self).at(layer)

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimensions that can be swept beside the layer."""
        return tuple(axis for axis in self.axes if axis)


QUERY_HEAD = "query_head"
_STREAM = ("position", "")
_HEADS = ("position", "head", "")


def _site(name: str, hook: str, axes: tuple[str, ...], default: str, meaning: str) -> Site:
    return Site(name, f"blocks.{{layer}}.{hook}", axes, (default,), meaning)


SITES: dict[str, Site] = {
    site.name: site
    for site in (
        _site("resid_pre", "hook_resid_pre", _STREAM, "position", "the residual stream into a layer"),
        _site("resid_mid", "hook_resid_mid", _STREAM, "position", "the residual stream between attention and MLP"),
        _site("resid_post", "hook_resid_post", _STREAM, "position", "the residual stream out of a layer"),
        _site("attn_out", "hook_attn_out", _STREAM, "position", "what attention adds to the residual stream"),
        _site("mlp_out", "hook_mlp_out", _STREAM, "position", "what the MLP adds to the residual stream"),
        _site("z", "attn.hook_z", _HEADS, "head", "the output of a head, before W_O"),
        _site("q", "attn.hook_q", _HEADS, "head", "the queries of a head"),
        _site("k", "attn.hook_k", _HEADS, "head", "the keys of a head, or of a group of heads"),
        _site("v", "attn.hook_v", _HEADS, "head", "the values of a head, or of a group of heads"),
        _site("pattern", "attn.hook_pattern", ("head", "query", "key"), "head", "where a head looks"),
        _site("neurons", "mlp.hook_post", ("position", "neuron"), "neuron", "MLP neurons, after the activation"),
    )
}


def site_of(name: str) -> Site:
    """Find a site by name.

    Raises
    ------
    HookError
        If there is none of that name; the message lists those there are.
    """
    if name in SITES:
        return SITES[name]
    near = difflib.get_close_matches(name, SITES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"no site {name!r}: expected any of {', '.join(SITES)}{hint}"
    raise HookError(msg)


def swept(site: Site, over: Sequence[str] | str | None) -> tuple[str, ...]:
    """Choose the dimensions of a sweep beside the layer, in the order of the site's own.

    Raises
    ------
    InputError
        If the site does not have one of them.
    """
    wanted = {name for name in _asked(site, over) if name != "layer"}
    if by_query_head(site, over):
        wanted = wanted - {QUERY_HEAD} | {"head"}
    if not wanted <= set(site.dims):
        unknown = ", ".join(sorted(wanted - set(site.dims)))
        msg = f"{site.name!r} cannot be swept over {unknown}: it has {', '.join(site.dims)}"
        raise InputError(msg)
    return tuple(name for name in site.dims if name in wanted)


def by_query_head(site: Site, over: Sequence[str] | str | None) -> bool:
    """Whether keys or values are asked for head by head, also where a group of heads shares them."""
    return site.name in ("k", "v") and QUERY_HEAD in _asked(site, over)


def _asked(site: Site, over: Sequence[str] | str | None) -> Sequence[str]:
    return site.default if over is None else [over] if isinstance(over, str) else list(over)


def count(model: TransformerBridge, site: Site, axis: str, positions: int) -> int:
    """How many places an axis of a site has."""
    if axis in ("position", "query", "key"):
        return positions
    if axis == "neuron":
        return model.cfg.d_mlp
    return n_key_value_heads(model) if site.name in ("k", "v") else model.cfg.n_heads


def exchange(
    value: Tensor, source: Tensor, prompts: Int[Tensor, " run"], chosen: dict[int, Int[Tensor, " run"]]
) -> Tensor:
    """Put into each run what its prompt has in the source, at the chosen places, in place.

    Parameters
    ----------
    value
        The activation of all runs ``[run, …]``.
    source
        That of the source run ``[prompt, …]``.
    prompts
        The prompt of each run.
    chosen
        For each dimension of the activation that was chosen from, counted from 0 after the first, the place.
    """
    dims = value.ndim - 1
    order = [*sorted(chosen), *(dim for dim in range(dims) if dim not in chosen)]
    moved = value.permute(0, *(dim + 1 for dim in order))
    given = source.permute(0, *(dim + 1 for dim in order))
    runs = torch.arange(len(prompts), device=value.device)
    places = [chosen[dim] for dim in sorted(chosen)]
    moved[(runs, *places)] = given[(prompts, *places)].to(moved)
    return value
