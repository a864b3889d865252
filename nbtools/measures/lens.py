"""The logit lens: what the model would say if it stopped after each layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import HookError, InputError, ModelError
from nbtools.measures.attention import layers_of
from nbtools.models.tokens import Prompt, Tokens, label, tokens
from nbtools.runs.forward import Run, forward, lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["logit_lens"]

_EMBEDDING = -1
_AFTER_THE_LAYERS = ("ln_final", "unembed", "hook_unembed")
_TOLERANCE = 1e-3  # of logits in float32; where the model is less precise, a few of its roundings
_TOGETHER = 64  # layers times positions whose logits are held at once; at least the layers of one position
_RANKED, _FOLLOWED = ("layer", "position", "rank"), ("layer", "position", "follow")
_VARIABLES = {  # their dimensions and units
    "token": (_RANKED, "text"),
    "token_id": (_RANKED, "token id"),
    "probability": (_RANKED, "probability"),
    "followed": (_FOLLOWED[1:], "text"),
    "followed_id": (_FOLLOWED[1:], "token id"),
    "followed_probability": (_FOLLOWED, "probability"),
    "followed_rank": (_FOLLOWED, "rank, 1 is the most probable"),
}

Reading = dict[str, np.ndarray]


def logit_lens(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    top: int = 5,
    layers: int | Iterable[int] | None = None,
    follow: str | int | Sequence[str | int] | None = None,
    edit: dict[str, Edit] | None = None,
) -> xr.Dataset:
    """Give what the model would say if it stopped after each layer.

    The residual stream after each layer is read as the model reads the last one: final norm, unembedding, and
    what the architecture does to logits (a soft cap, a scale). Logits are held for a few positions at a time.

    Parameters
    ----------
    prompt
        One prompt: text or token ids.
    top
        How many of the most probable tokens to keep, for each layer and position.
    layers
        Layers to keep, counted from the end where negative. By default all, and before them one row for the
        stream that enters layer 0, what the embedding alone would say: its coordinate is -1, so
        ``.sel(layer=-1)`` is this row and ``.isel(layer=-1)`` the last layer.
    follow
        Tokens to follow through the layers at every position: ids, or texts of one token each.
        By default, for each position, those that come first in some kept layer or in the last one, ordered by
        the last layer in which they do, latest first: so ``follow=0`` is the model's own answer.
    edit
        Changes made during the run, as in `nbtools.runs.forward`; not after the last layer.

    Returns
    -------
    xarray.Dataset
        ``token``, ``token_id``, ``probability`` ``(layer, position, rank)``: text, id and probability,
        rank 0 the most probable; ``followed``, ``followed_id`` ``(position, follow)``;
        ``followed_probability``, ``followed_rank`` ``(layer, position, follow)``: the rank counts from 1, the most
        probable, and equal logits share it. Where a position follows fewer tokens than others, text is
        empty and numbers are NaN. The coordinate ``position_token`` holds the text of the prompt.

    Raises
    ------
    PromptError, HookError
        If the prompt, a layer or an edit does not fit the model, or the edit comes after the last layer.
    InputError
        If several prompts were given, or a text to follow is not one token.
    ModelError
        If the last layer, read this way, is not the model's own answer: some architectures do more.

    References
    ----------
    .. [1] nostalgebraist, "interpreting GPT: the logit lens", 2020.

    Examples
    --------
    >>> lens = logit_lens(load(), "The capital of France is", follow=" Paris")
    >>> lens.token.sel(layer=[-1, 28, 29]).isel(position=-1, rank=0).values.tolist()
    [' is', ' capital', ' Paris']
    """
    read = tokens(model, prompt)
    _check(model, read, top, edit or {})
    asked = None if follow is None else _ids_to_follow(model, follow)
    kept = [_EMBEDDING, *layers_of(model, None)] if layers is None else layers_of(model, layers)
    rows = sorted({*kept, model.cfg.n_layers - 1})  # the last layer is the proof, also where it is not kept
    with lock(model), torch.no_grad():
        run = forward(model, read, capture=[_hook(row) for row in rows], edit=edit)
        both = zip(_logits(model, run, rows), run.logits[0], strict=True)
        readings = [_reading(model, logits, own, top, asked) for logits, own in both]
    return _labelled(model, read, rows, readings).sel(layer=kept)


def _check(model: TransformerBridge, read: Tokens, top: int, edit: dict[str, Edit]) -> None:
    if len(read.ids) != 1:
        msg = f"expected one prompt, got {len(read.ids)}: call logit_lens for each"
        raise InputError(msg)
    if not 1 <= top <= model.cfg.d_vocab:
        msg = f"top must be between 1 and {model.cfg.d_vocab}, got {top}"
        raise InputError(msg)
    late = [name for name in edit if name.startswith(_AFTER_THE_LAYERS)]
    if late:
        msg = f"the lens reads the layers, {late[0]!r} comes after them: expected edits at the embedding or in blocks"
        raise HookError(msg)


def _ids_to_follow(model: TransformerBridge, follow: str | int | Sequence[str | int]) -> list[int]:
    asked = [follow] if isinstance(follow, str) or not np.iterable(follow) else list(follow)
    if not asked:
        msg = "expected at least one token to follow, got none: without follow= the most probable ones are followed"
        raise InputError(msg)
    return [_one_id(model, token) for token in asked]


def _one_id(model: TransformerBridge, token: str | int) -> int:
    read = tokens(model, token if isinstance(token, str) else np.atleast_1d(token), prepend_bos=False)
    if len(read) != 1:
        msg = (
            f"expected what to follow to be one token, got {token!r}, which becomes {len(read)}: "
            f"{', '.join(map(repr, read.labels[0]))}; follow one of them (most words begin with a space)"
        )
        raise InputError(msg)
    return int(read.ids)


def _hook(row: int) -> str:
    return "blocks.0.hook_resid_pre" if row == _EMBEDDING else f"blocks.{row}.hook_resid_post"


def _logits(model: TransformerBridge, run: Run, rows: list[int]) -> Iterator[Float[Tensor, "layer vocabulary"]]:
    """Yield the logits of one position after another; a few are unembedded together."""
    norm = getattr(model, "ln_final", torch.nn.Identity())
    streams = torch.cat([norm(run[_hook(row)].to(run.logits.device)) for row in rows])
    width = streams.shape[-1]
    reads = getattr(model.unembed.original_component, "in_features", width)
    if reads != width:
        raise _does_more(model, f"the unembedding reads {reads} numbers, the residual stream has {width}")
    for part in streams.split(max(1, _TOGETHER // len(rows)), dim=1):
        yield from model.adapter.apply_output_logits_transform(model.unembed(part)).float().unbind(1)


def _reading(
    model: TransformerBridge,
    logits: Float[Tensor, "layer vocabulary"],
    own: Float[Tensor, " vocabulary"],
    top: int,
    asked: list[int] | None,
) -> Reading:
    """Read what is kept of one position off its logits in all layers."""
    _prove(model, logits[-1], own)
    best = logits.topk(top).indices
    ids = asked or list(dict.fromkeys(best[:, 0].flip(0).tolist()))  # the latest first
    probability = logits.softmax(-1)
    reading = {
        "token_id": best,
        "probability": probability.gather(1, best),
        "followed_id": torch.tensor([ids], dtype=torch.float64),
        "followed_probability": probability[:, ids],
        "followed_rank": torch.stack([_ranks(logits, token) for token in ids], -1),
    }
    return {name: value.cpu().numpy() for name, value in reading.items()}


def _ranks(logits: Float[Tensor, "layer vocabulary"], token: int) -> Float[Tensor, " layer"]:
    return torch.count_nonzero(logits > logits[:, [token]], dim=-1) + 1.0


def _prove(model: TransformerBridge, ours: Float[Tensor, " vocabulary"], own: Float[Tensor, " vocabulary"]) -> None:
    own, rounding = own.float(), 4 * torch.finfo(own.dtype).eps
    allowed = max(_TOLERANCE, rounding * float(own.abs().median()))
    if not torch.isclose(ours, own, rtol=rounding, atol=allowed).all():
        raise _does_more(model, f"the logits are off by {float((ours - own).abs().max()):.2g}")


def _does_more(model: TransformerBridge, found: str) -> ModelError:
    return ModelError(
        f"expected final norm and unembedding to turn the last layer of {model.cfg.model_name} "
        f"({model.cfg.architecture}) into the model's own answer, but {found}: this architecture, or a hook you added, "
        "does more there, so the lens would not say what the model would; nb.measures.next_token says what it does"
    )


def _labelled(model: TransformerBridge, read: Tokens, rows: list[int], readings: list[Reading]) -> xr.Dataset:
    found = {name: _side_by_side([reading[name] for reading in readings]) for name in readings[0]}
    found["followed_id"] = found["followed_id"][0]
    for text, ids in (("token", "token_id"), ("followed", "followed_id")):
        found[text] = _texts(model, found[ids])
    return xr.Dataset(
        {name: (dims, found[name], {"units": units}) for name, (dims, units) in _VARIABLES.items()},
        coords={
            "layer": rows,
            "position": np.arange(len(read)),
            "position_token": ("position", np.array(read.labels[0], dtype=object)),
        },
        attrs={
            "model": str(model.cfg.model_name),
            "prompt": ("" if model.tokenizer is not None else " ").join(read.labels[0]),
            "units": "probability",
        },
    )


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    """Stack arrays ``[layer, n]``, one for each position; the shorter ones end in NaN."""
    widths = [part.shape[1] for part in parts]
    if len(set(widths)) == 1:
        return np.stack(parts, axis=1)
    stacked = np.full((len(parts[0]), len(parts), max(widths)), np.nan, parts[0].dtype)
    for position, part in enumerate(parts):
        stacked[:, position, : widths[position]] = part
    return stacked


def _texts(model: TransformerBridge, ids: np.ndarray) -> np.ndarray:
    """Give the text of each id, empty where it is NaN; each id is decoded once."""
    names = {token: label(model, int(token)) for token in np.unique(ids[~np.isnan(ids)])}
    return np.vectorize(lambda token: names.get(token, ""), otypes=[object])(ids)
