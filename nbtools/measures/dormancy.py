"""Active or dormant: whether a head is missed where it rests on the sink."""

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
from nbtools.measures.attention import pattern_hook
from nbtools.measures.predictions import surprise_of
from nbtools.models.tokens import Prompt, Tokens, tokens
from nbtools.naming import Head, HeadLike, head_label, parse_heads
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["dormancy"]


def dormancy(
    model: TransformerBridge,
    prompt: Prompt,
    heads: HeadLike | Iterable[HeadLike],
    *,
    sink: int = 0,
    start: int = 1,
    batch: int = 32,
) -> xr.Dataset:
    """Give for each head and prompt how much it rests on the sink, and what the model loses without it.

    A head that rests on the sink and is not missed is *dormant* on that prompt; one that looks elsewhere and is missed
    is *active*. The same head can be either, from one kind of text to another.

    Parameters
    ----------
    prompt
        Text or token ids, a list of prompts of equal length.
    heads
        Such as ``["18.6", "17.4"]``; each takes two runs.
    sink
        The position of the sink.
    start
        The first position whose attention and loss count; it comes after the sink.
    batch
        How many prompts are run at once.

    Returns
    -------
    xarray.Dataset
        Over ``(head, prompt)``: ``attention``, the share that the head pays to the sink, mean over positions;
        ``forced``, what the mean surprise gains, in nats, when the head looks at nothing but the sink; ``ablated``,
        what it gains when the head puts out zero. ``loss`` (prompt) is that of the model as it is.

    Raises
    ------
    PromptError, HookError
        If the prompts or a head do not fit the model.
    InputError
        If the sink does not come before the positions that count, or `batch` is no number of prompts.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024 (there of one head of Llama-2-7B, on code and on prose).

    Examples
    --------
    The strongest induction head, on random tokens that repeat and on random tokens that do not:

    >>> import nbtools as nb
    >>> model = load()
    >>> repeats = nb.tasks.repeated_tokens(model, length=24, prompts=2)
    >>> again = dormancy(model, repeats, "18.6", start=25).mean()
    >>> once = dormancy(model, repeats[:, :24], "18.6").mean()
    >>> bool(again.attention < 0.3 < 0.8 < once.attention), bool(again.ablated > 10 * abs(once.ablated))
    (True, True)
    """
    read = tokens(model, prompt)
    _check(read, sink, start, batch)
    asked = parse_heads(heads, shape=(model.cfg.n_layers, model.cfg.n_heads))
    parts = [read.ids[first : first + batch] for first in range(0, len(read.ids), batch)]
    together = [_measure(model, tokens(model, part), asked, sink, start) for part in parts]
    found = {name: np.concatenate([part[name] for part in together], -1) for name in together[0]}
    names = np.array([head_label(*head) for head in asked], dtype=object)
    return xr.Dataset(
        {name: (("head", "prompt")[2 - values.ndim :], values) for name, values in found.items()},
        {"head": names},
        attrs={"model": str(model.cfg.model_name), "sink": sink, "start": start, "units": "nats"},
    )


def _check(read: Tokens, sink: int, start: int, batch: int) -> None:
    if not 0 <= sink < start < len(read):
        msg = f"expected 0 ≤ sink < start < {len(read)}, the number of tokens, got sink={sink} and start={start}"
        raise InputError(msg)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        msg = f"expected a batch of one prompt or more, got {batch!r}"
        raise InputError(msg)


def _measure(model: TransformerBridge, read: Tokens, heads: list[Head], sink: int, start: int) -> dict[str, np.ndarray]:
    """Measure some prompts."""
    layers = sorted({layer for layer, _ in heads})
    looks: dict[str, Callable[[Tensor], Tensor]] = {
        pattern_hook(layer): lambda pattern: pattern[:, :, start:, sink].float().mean(2) for layer in layers
    }
    run = forward(model, read, capture=looks)
    loss = _loss(read, run.logits, start)
    missed = {
        name: np.stack([_loss(read, forward(model, read, edit=edit(*head)).logits, start) - loss for head in heads])
        for name, edit in (("forced", partial(_onto, sink=sink)), ("ablated", _out))
    }
    paid = np.stack([run[pattern_hook(layer)][:, head].cpu().numpy() for layer, head in heads])
    return {"attention": paid, **missed, "loss": loss}


def _loss(read: Tokens, logits: Float[Tensor, "prompt position vocabulary"], start: int) -> np.ndarray:
    return surprise_of(read, logits)[:, start:].mean(1)


def _onto(layer: int, head: int, *, sink: int) -> dict[str, Edit]:
    """Make a head look at the sink from every position that can see it."""

    def look(pattern: Float[Tensor, "prompt head query key"]) -> None:
        pattern[:, head, sink:] = torch.eye(pattern.shape[-1]).to(pattern)[sink]

    return {pattern_hook(layer): look}


def _out(layer: int, head: int) -> dict[str, Edit]:
    """Take a head out."""

    def silence(z: Float[Tensor, "prompt position head d_head"]) -> None:
        z[:, :, head] = 0

    return {f"blocks.{layer}.attn.hook_z": silence}
