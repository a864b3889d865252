"""Direct logit attribution: how much each head and each MLP says for the answer, and against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import InputError, ModelError
from nbtools.models.norms import FrozenNorm
from nbtools.models.tokens import Prompt, tokens
from nbtools.runs.forward import Run, forward, lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["logit_attribution"]

Ids: TypeAlias = "int | Sequence[int] | Sequence[Sequence[int]] | Int[Tensor, '...']"
Stream = Float[Tensor, "prompt d_model"]

_INTO, _LOGITS = "blocks.0.hook_resid_pre", "unembed.hook_out"
_TOLERANCE = 1e-3  # of the logit difference, or of a nat; where the model is less precise, a few of its roundings
_DIMS = {"heads": ("prompt", "layer", "head"), "mlps": ("prompt", "layer"), "attention_bias": ("prompt", "layer")}
_MEANINGS = {
    "embedding": "all that enters layer 0",
    "heads": "what a head writes",
    "mlps": "what an MLP writes, with its bias",
    "attention_bias": "the output bias of attention",
    "final_bias": "the biases of the final norm and the unembedding",
}


def logit_attribution(
    model: TransformerBridge, prompt: Prompt, answer: Ids, wrong: Ids, *, edit: dict[str, Edit] | None = None
) -> xr.Dataset:
    """Give what each head, each MLP and the embedding add to the logit difference at the last position.

    The last residual stream is the sum of what all components wrote. The final norm divides it by a scale; with that
    held at what it was in this run, the logit of the answer less that of the wrong token is a sum too, and these are
    its terms. What a component does through later ones is counted there. Where a norm follows attention in each layer
    (Gemma-2), its scale is held in the same way. That the terms add up is checked in each call.

    Parameters
    ----------
    prompt
        Text or token ids; a list adds the dimension ``prompt``. Of a task, ``task.clean``. All run at once.
    answer, wrong
        For each prompt the id of a token, such as ``task.answer`` and ``task.wrong``; of several for one prompt
        ``[prompt, n]`` the mean of their logits counts.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.Dataset
        In nats: ``embedding ([prompt])``, all that enters layer 0; ``heads ([prompt,] layer, head)``;
        ``mlps ([prompt,] layer)``; and where the architecture has them ``attention_bias ([prompt,] layer)``, the output
        bias of attention, and ``final_bias ([prompt])``, those of the final norm and the unembedding. They add up to
        the coordinate ``logit_difference``, the model's own; the attribute ``off`` says how nearly. For a model that
        caps or scales its logits it is the difference before that, and the attribute ``note`` says so.

    Raises
    ------
    PromptError
        If the prompt does not fit the model.
    InputError
        If answer and wrong are not token ids for each prompt.
    ModelError
        If the terms do not add up: this architecture, an edit, or a hook you added does more than add.

    References
    ----------
    .. [1] Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021.
    .. [2] Wang et al., "Interpretability in the Wild", 2022 (the direct effect on logits).

    Examples
    --------
    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=4)
    >>> said = logit_attribution(model, task.clean, task.answer, task.wrong)
    >>> best = said.heads.mean("prompt").argmax(...)
    >>> best["layer"].item(), best["head"].item()
    (23, 3)
    >>> total = said.sum(["layer", "head"]).to_array().sum("variable")
    >>> bool(abs(total - said.logit_difference).max() < 1e-2)
    True
    """
    read = tokens(model, prompt)
    ours, theirs = (_ids(model, given, len(read.ids), what) for given, what in ((answer, "answer"), (wrong, "wrong")))
    with lock(model), torch.no_grad():
        weights, bias = _difference(model, ours, theirs)
        run = forward(model, read, capture=dict.fromkeys(_hooks(model), _at_the_end), edit=edit)
        terms = _terms(model, run, weights, bias)
    own = run[_LOGITS].double()
    difference = own.gather(1, ours).mean(1) - own.gather(1, theirs).mean(1)
    off = _prove(model, terms, difference, run.logits.dtype)
    capped = not torch.allclose(run[_LOGITS], run.logits[:, -1], atol=_TOLERANCE)
    found = _labelled(model, terms, difference, off, capped)
    return found.isel(prompt=0) if read.single else found


def _ids(model: TransformerBridge, given: Ids, prompts: int, what: str) -> Int[Tensor, "prompt n"]:
    try:
        ids = torch.atleast_1d(torch.as_tensor(given, device=model.cfg.device))
    except (TypeError, ValueError, RuntimeError):
        ids = torch.empty(0)
    rows = ids.reshape(prompts, -1) if ids.ndim <= 2 and len(ids) == prompts else ids[:0]
    whole = not (ids.is_floating_point() or ids.dtype == torch.bool)
    if not (whole and rows.numel() and rows.min() >= 0 and rows.max() < model.cfg.d_vocab):
        msg = (
            f"expected {what} to be ids from 0 to {model.cfg.d_vocab - 1}, one or more for each of {prompts} prompts, "
            f"got {given!r}: a task has them as task.{what}"
        )
        raise InputError(msg)
    return rows


def _at_the_end(activation: Float[Tensor, "prompt position ..."]) -> Float[Tensor, "prompt ..."]:
    return activation[:, -1].clone()


def _hooks(model: TransformerBridge) -> list[str]:
    """Name what is read: what enters, what each layer adds, what leaves; not what an architecture lacks."""
    parts = ("attn.hook_z", "attn.hook_out", "hook_mlp_out")
    layers = [f"blocks.{layer}.{part}" for layer in range(model.cfg.n_layers) for part in parts]
    return [name for name in (_INTO, *layers, _last(model), _LOGITS) if name in model.hook_dict]


def _last(model: TransformerBridge) -> str:
    return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"


def _difference(
    model: TransformerBridge, ours: Int[Tensor, "prompt n"], theirs: Int[Tensor, "prompt m"]
) -> tuple[Stream, Float[Tensor, " prompt"]]:
    """Give the weights and the bias by which the logit difference of each prompt is read off the final norm."""
    columns, bias = model.unembed.W_U.T, model.unembed.b_U
    if columns.shape[1] != model.cfg.d_model:
        raise _does_more(model, f"the unembedding reads {columns.shape[1]} numbers, not the {model.cfg.d_model} of it")
    weights = columns[ours].double().mean(1) - columns[theirs].double().mean(1)
    return weights, bias[ours].double().mean(1) - bias[theirs].double().mean(1)


def _terms(model: TransformerBridge, run: Run, weights: Stream, bias: Tensor) -> dict[str, Float[Tensor, "prompt ..."]]:
    stream = run[_last(model)]
    norm = FrozenNorm.of(getattr(model, "ln_final", None), stream)
    reading = norm.back(stream, weights)
    layers = [_layer(model, run, layer, reading) for layer in range(model.cfg.n_layers)]
    terms = {name: torch.stack([layer[name] for layer in layers], 1) for name in layers[0]}
    last = {"embedding": _along(run[_INTO], reading), "final_bias": weights @ norm.bias + bias}
    return {name: term for name, term in (terms | last).items() if not name.endswith("bias") or term.any()}


def _layer(model: TransformerBridge, run: Run, layer: int, reading: Stream) -> dict[str, Float[Tensor, "prompt ..."]]:
    """Give what the heads, the bias of attention and the MLP of one layer add along a direction of each prompt."""
    block, at = model.blocks[layer], f"blocks.{layer}."
    attended, mlp = run[f"{at}attn.hook_out"], run.cache.get(f"{at}hook_mlp_out")
    norm = FrozenNorm.of(getattr(block, "ln1_post", None), attended)
    before = norm.back(attended, reading)
    through = torch.einsum("hed,pd->phe", block.attn.W_O.double(), before)
    constant = reading @ norm.bias
    if block.attn.b_O is not None:
        constant = constant + before @ block.attn.b_O.double()
    return {
        "heads": _along(run[f"{at}attn.hook_z"], through),
        "mlps": torch.zeros_like(constant) if mlp is None else _along(mlp, reading),
        "attention_bias": constant,
    }


def _along(written: Float[Tensor, "*any width"], direction: Float[Tensor, "*any width"]) -> Float[Tensor, "*any"]:
    return (written.double() * direction).sum(-1)


def _prove(
    model: TransformerBridge, terms: dict[str, Tensor], own: Float[Tensor, " prompt"], dtype: torch.dtype
) -> float:
    """Give by how much the sum is off at most, if that is no more than rounding."""
    flat = torch.cat([term.flatten(1) if term.ndim > 1 else term[:, None] for term in terms.values()], 1)
    off = (flat.sum(1) - own).abs()
    rounding = 4 * torch.finfo(dtype).eps * flat.abs().sum(1)
    if not (off <= torch.maximum(_TOLERANCE * own.abs().clamp_min(1), rounding)).all():
        raise _does_more(model, f"they are off by {float(off.max()):.2g} nats")
    return float(off.max())


def _does_more(model: TransformerBridge, found: str) -> ModelError:
    return ModelError(
        f"expected what heads and MLPs of {model.cfg.model_name} ({model.cfg.architecture}) write to add up to its own "
        f"logit difference, but {found}: this architecture, an edit, or a hook you added does more than add to the "
        "residual stream; nb.patching.ablation measures what a head does without adding up"
    )


def _labelled(
    model: TransformerBridge, terms: dict[str, Tensor], own: Float[Tensor, " prompt"], off: float, capped: bool
) -> xr.Dataset:
    note = "before the model caps or scales its logits" if capped else "the model's own logits"
    return xr.Dataset(
        {
            name: (_DIMS.get(name, ("prompt",)), _numbers(term), {"long_name": _MEANINGS[name], "units": "nats"})
            for name, term in terms.items()
        },
        coords={
            "layer": np.arange(model.cfg.n_layers),
            "head": np.arange(model.cfg.n_heads),
            "logit_difference": ("prompt", _numbers(own), {"units": "nats"}),
        },
        attrs={"model": str(model.cfg.model_name), "prompts": len(own), "units": "nats", "note": note, "off": off},
    )


def _numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
