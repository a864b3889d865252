"""Massive activations: few numbers of the residual stream that are thousands of times larger than the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of
from nbtools.models.tokens import Prompt, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["FLOOR", "RATIO", "massive_activations", "massive_in"]

FLOOR, RATIO = 100.0, 1000.0  # of Sun et al.


def massive_activations(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    floor: float = FLOOR,
    ratio: float = RATIO,
    layers: int | Iterable[int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.Dataset:
    """List the numbers of the residual stream that are massive: above `floor`, and `ratio` times the layer's median.

    Parameters
    ----------
    prompt
        Text or token ids, one prompt.
    floor, ratio
        What counts as massive, by size, and beside the median size in the stream after the same layer; the defaults
        are those of [1]_.
    layers
        Layers to read; all by default.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.Dataset
        Over ``activation``, layer by layer and largest first: ``value``, its ``ratio`` to the median size, and its
        ``share`` of the squared norm of the stream at its position; the coordinates ``layer``, ``position`` and
        ``dimension`` say where it is, ``token`` at which text. Without massive activations its size is 0.

    Raises
    ------
    PromptError, HookError
        If the prompt, a layer or an edit does not fit the model.
    InputError
        If several prompts were given.

    References
    ----------
    .. [1] Sun et al., "Massive Activations in Large Language Models", 2024.

    Examples
    --------
    >>> found = massive_activations(load(), "The old harbour town woke slowly.")
    >>> set(found.position.values.tolist()), found.layer.values.min().item()
    ({0}, 11)
    >>> found.sel(activation=found.layer == 11).dimension.values[0].item()
    507
    """
    read = tokens(model, prompt)
    if len(read.ids) != 1:
        msg = f"expected one prompt, got {len(read.ids)}: call massive_activations for each"
        raise InputError(msg)
    chosen = layers_of(model, layers)
    hooks = {f"blocks.{layer}.hook_resid_post": lambda stream: massive_in(stream[0], floor, ratio) for layer in chosen}
    run = forward(model, read, capture=hooks, edit=edit, last=True)
    found = np.concatenate([run[hook] for hook in hooks], axis=1)
    layer = np.repeat(chosen, [run[hook].shape[1] for hook in hooks])
    position, dimension = found[:2].astype(int)
    labels = np.array(read.labels[0], dtype=object)
    places = {"layer": layer, "position": position, "dimension": dimension, "token": labels[position]}
    return xr.Dataset(
        {name: ("activation", values) for name, values in zip(("value", "ratio", "share"), found[2:], strict=True)},
        {name: ("activation", values) for name, values in places.items()},
        attrs={"model": str(model.cfg.model_name), "floor": floor, "ratio": ratio},
    )


def massive_in(stream: Float[Tensor, "position d_model"], floor: float = FLOOR, ratio: float = RATIO) -> np.ndarray:
    """Give position, dimension, value, ratio and share of the massive ones, one column for each, largest first."""
    stream = stream.double()
    size = stream.abs()
    median = size.median()
    places = ((size > floor) & (size > ratio * median)).nonzero()
    places = places[size[tuple(places.T)].argsort(descending=True)]
    value = stream[tuple(places.T)]
    share = value**2 / (stream**2).sum(1)[places[:, 0]]
    return torch.stack([*places.T.double(), value, value.abs() / median, share]).cpu().numpy()
