"""Scores of attention heads: where each head looks, as one number.

All but one are the same measure, attention paid to a set of marked keys, with another marking:
the previous token, the first token, the same token earlier, the token after the same token earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.measures.attention import layers_of, pattern_hook
from nbtools.models.tokens import Prompt, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = [
    "HEAD_MEASURES",
    "attention_to",
    "entropy",
    "head_scores",
    "keys_duplicate",
    "keys_first",
    "keys_induction",
    "keys_previous",
    "score_patterns",
]

Ids = Int[Tensor, "prompt position"]
Marks = Bool[Tensor, "prompt query key"]
Pattern = Float[Tensor, "prompt head query key"]


def attention_to(pattern: Pattern, marks: Marks, *, average: bool = True) -> Float[Tensor, "*prompt head"]:
    """Average the attention that each head pays to marked keys.

    The mean is over the queries that have at least one marked key, of all prompts, or of each if `average` is False;
    it is NaN where there is none.

    Examples
    --------
    >>> pattern = torch.tensor([[[[1.0, 0.0], [0.25, 0.75]]]])
    >>> attention_to(pattern, keys_previous(torch.tensor([[7, 8]])))
    tensor([0.2500])
    """
    queries = marks.any(-1)
    paid = (pattern * marks.unsqueeze(1)).sum((-1, -2))
    return paid.sum(0) / queries.sum() if average else paid / queries.sum(1, keepdim=True)


def entropy(pattern: Pattern, *, average: bool = True) -> Float[Tensor, "*prompt head"]:
    """Average the entropy of attention rows, in nats, over all queries but the first, of all prompts or of each.

    0 is a head that looks at one key; the first query has no choice and is left out.

    Examples
    --------
    >>> entropy(torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]]))
    tensor([0.6931])
    """
    rows = pattern[:, :, 1:]
    return torch.special.entr(rows).sum(-1).mean((0, 2) if average else 2)


def keys_previous(ids: Ids) -> Marks:
    """Mark, for each query, the position just before it.

    Examples
    --------
    >>> keys_previous(torch.tensor([[7, 8, 7]])).int()[0].tolist()
    [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    """
    return _by_distance(ids) == 1


def keys_first(ids: Ids) -> Marks:
    """Mark the first position for all queries but the first itself: where attention sinks lie.

    Examples
    --------
    >>> keys_first(torch.tensor([[7, 8, 7]])).int()[0].tolist()
    [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    """
    marks = torch.zeros_like(_by_distance(ids), dtype=torch.bool)
    marks[:, 1:, 0] = True
    return marks


def keys_duplicate(ids: Ids) -> Marks:
    """Mark earlier positions that hold the same token as the query.

    Examples
    --------
    >>> keys_duplicate(torch.tensor([[7, 8, 7]])).int()[0].tolist()
    [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    """
    return (ids.unsqueeze(2) == ids.unsqueeze(1)) & (_by_distance(ids) > 0)


def keys_induction(ids: Ids) -> Marks:
    """Mark positions that follow an earlier occurrence of the query's token.

    Attention there is the prefix-matching score of Olsson et al. (2022). The query itself is never marked.

    Examples
    --------
    >>> keys_induction(torch.tensor([[7, 8, 7]])).int()[0].tolist()
    [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    """
    follows = torch.zeros_like(keys_duplicate(ids))
    follows[:, :, 1:] = keys_duplicate(ids)[:, :, :-1]
    return follows & (_by_distance(ids) > 0)


Measure = Callable[[Pattern, Ids], Float[Tensor, " head"]]

_MARKS = {
    "induction": keys_induction,
    "previous_token": keys_previous,
    "duplicate_token": keys_duplicate,
    "first_token": keys_first,
}
HEAD_MEASURES: dict[str, str] = {
    "induction": "attention to the token after an earlier occurrence of the current one",
    "previous_token": "attention to the previous token",
    "duplicate_token": "attention to earlier occurrences of the current token",
    "first_token": "attention to the first token (a sink)",
    "entropy": "entropy of attention, in nats",
}


def head_scores(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    measures: Iterable[str] = tuple(HEAD_MEASURES),
    layers: int | Iterable[int] | None = None,
    average: bool = True,
) -> xr.Dataset:
    """Score every head by where it looks.

    Parameters
    ----------
    prompt
        Text or token ids; the scores are means over all prompts and queries. For ``induction`` and
        ``duplicate_token`` use `nbtools.tasks.repeated_tokens`: on text in which no token occurs
        twice they are undefined, and NaN.
    measures
        Any of `HEAD_MEASURES`:
        ``induction``, ``previous_token``, ``duplicate_token``, ``first_token``: share of attention, 0 to 1;
        ``entropy``: nats.
    layers
        Layers to score; all by default.
    average
        Whether scores are means over all prompts. If not, each prompt has its own, and
        `nbtools.patching.spread` gives an interval of the mean.

    Returns
    -------
    xarray.Dataset
        One variable ``(layer, head)`` for each measure, or ``(prompt, layer, head)``.

    Raises
    ------
    InputError
        If a measure is unknown.
    PromptError, HookError
        If the prompt or a layer does not fit the model.

    References
    ----------
    .. [1] Olsson et al., "In-context Learning and Induction Heads", 2022 (prefix matching).
    .. [2] Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023.

    Examples
    --------
    >>> from nbtools.tasks import repeated_tokens
    >>> model = load()
    >>> scores = head_scores(model, repeated_tokens(model))
    >>> scores.induction.argmax(...)["layer"].item()
    18
    """
    names = _checked(measures)
    read = tokens(model, prompt)
    chosen = layers_of(model, layers)
    reader = partial(score_patterns, ids=read.ids, measures=names, average=average)
    run = forward(model, read, capture={pattern_hook(layer): reader for layer in chosen})
    return _labelled(model, chosen, names, [run[pattern_hook(layer)] for layer in chosen], read.ids.shape)


def score_patterns(
    pattern: Pattern, ids: Ids, measures: Iterable[str], *, average: bool = True
) -> dict[str, np.ndarray]:
    """Score the heads of one layer: for each measure an array ``[head]``, or ``[prompt, head]``."""
    pattern = pattern.float()
    scores = {
        name: entropy(pattern, average=average)
        if name == "entropy"
        else attention_to(pattern, _MARKS[name](ids), average=average)
        for name in measures
    }
    return {name: score.cpu().numpy() for name, score in scores.items()}


def _by_distance(ids: Ids) -> Int[Tensor, "prompt query key"]:
    """How far each key lies before each query."""
    positions = torch.arange(ids.shape[1], device=ids.device)
    return (positions.unsqueeze(1) - positions).expand(ids.shape[0], -1, -1)


def _checked(measures: Iterable[str]) -> list[str]:
    names = [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in names if name not in HEAD_MEASURES]
    if unknown or not names:
        msg = f"unknown measure {', '.join(map(repr, unknown))}: expected any of {', '.join(HEAD_MEASURES)}"
        raise InputError(msg)
    return names


def _labelled(
    model: TransformerBridge,
    layers: list[int],
    names: list[str],
    scores: list[dict[str, np.ndarray]],
    shape: tuple[int, int],
) -> xr.Dataset:
    variables = {
        name: xr.Variable(
            ("prompt", "layer", "head")[-scores[0][name].ndim - 1 :],
            np.stack([score[name] for score in scores], -2),
            attrs={"long_name": HEAD_MEASURES[name], "units": "nats" if name == "entropy" else "share of attention"},
        )
        for name in names
    }
    attrs = {"model": str(model.cfg.model_name), "prompts": int(shape[0]), "positions": int(shape[1])}
    return xr.Dataset(variables, coords={"layer": layers, "head": np.arange(model.cfg.n_heads)}, attrs=attrs)
