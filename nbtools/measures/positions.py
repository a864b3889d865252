"""Where heads look, by the names that a task gives to positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of, pattern_hook
from nbtools.models.tokens import Prompt, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["attention_to_positions", "places_of"]

_FIRST, _ELSEWHERE = "first token", "elsewhere"


def attention_to_positions(
    model: TransformerBridge,
    prompt: Prompt,
    positions: Mapping[str, Sequence[int]],
    *,
    query: str = "END",
    keys: Iterable[str] | None = None,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give how much each head attends from one named position to the others.

    Parameters
    ----------
    prompt
        Text or token ids; a list adds the dimension ``prompt``. Of a task, ``task.clean``.
    positions
        For each name one position for each prompt, such as ``task.positions``.
    query
        The name from which heads look.
    keys
        The names to which they look; all by default. No two may be the same token of a prompt.
    layers
        Layers to keep; all by default.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.DataArray
        Shares of attention ``([prompt,] layer, head, key)``, of which the keys are the names, then ``"first token"``
        and ``"elsewhere"``; they add up to 1 (less where attention has a sink of its own, as in GPT-OSS). Where a
        named position is the first token it counts under its name, and ``"first token"`` is NaN.

    Raises
    ------
    PromptError, HookError
        If the prompt, a layer or an edit does not fit the model.
    InputError
        If there is no such name, positions do not fit the prompts, or two names are the same token.

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=8)
    >>> paid = attention_to_positions(model, task.clean, task.positions, keys=["IO", "S1", "S2"], layers=23)
    >>> paid.mean("prompt").sel(layer=23, head=0).idxmax("key").item()
    'IO'
    """
    read = tokens(model, prompt)
    names = list(positions) if keys is None else [keys] if isinstance(keys, str) else list(keys)
    found = places_of(positions, [query, *names], read.ids)
    start, places = found[:, 0], found[:, 1:]
    _check_apart(names, places)
    chosen = layers_of(model, layers)
    reader = partial(_paid, start=start, places=places)
    run = forward(model, read, capture={pattern_hook(layer): reader for layer in chosen}, edit=edit)
    paid = xr.DataArray(
        np.stack([run[pattern_hook(layer)] for layer in chosen], 1),
        dims=("prompt", "layer", "head", "key"),
        coords={"layer": chosen, "head": np.arange(model.cfg.n_heads), "key": [*names, _FIRST, _ELSEWHERE]},
        name="attention",
        attrs={"model": str(model.cfg.model_name), "prompts": len(start), "query": query, "units": "probability"},
    )
    return paid.isel(prompt=0) if read.single else paid


def places_of(
    positions: Mapping[str, Sequence[int]], names: Sequence[str], ids: Int[Tensor, "prompt position"]
) -> Int[Tensor, "prompt name"]:
    """Give the named positions of each prompt, checked against the prompts."""
    prompts, length = ids.shape
    for name in names:
        if name not in positions:
            msg = f"no position {name!r}: expected any of {', '.join(positions)}"
            raise InputError(msg)
        places = list(positions[name])
        if len(places) != prompts or not all(0 <= place < length for place in places):
            msg = f"expected {name} to be {prompts} positions from 0 to {length - 1}, one for each prompt, got {places}"
            raise InputError(msg)
    return torch.tensor([list(positions[name]) for name in names], device=ids.device).T


def _check_apart(names: list[str], places: Int[Tensor, "prompt key"]) -> None:
    for row, found in enumerate(places.tolist()):
        for place in found:
            same = [name for name, other in zip(names, found, strict=True) if other == place]
            if len(same) > 1:
                msg = f"{' and '.join(same)} are the same token, {place}, of prompt {row}: choose one of them in keys="
                raise InputError(msg)


def _paid(
    pattern: Float[Tensor, "prompt head query key"], start: Int[Tensor, " prompt"], places: Int[Tensor, "prompt name"]
) -> np.ndarray:
    """Read off each prompt's row what goes to each place, to the first token, and elsewhere."""
    rows = pattern[torch.arange(len(start), device=pattern.device), :, start].float()
    named = rows.gather(2, places[:, None].expand(-1, rows.shape[1], -1))
    first = rows[:, :, 0].masked_fill((places == 0).any(1)[:, None], torch.nan)
    elsewhere = rows.sum(2) - named.sum(2) - first.nan_to_num()
    return torch.cat([named, torch.stack([first, elsewhere], 2)], 2).cpu().numpy()
