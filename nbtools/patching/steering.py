"""Steering: adding a direction to what the model computes, and reading what it then says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.models.tokens import Prompt, tokens
from nbtools.patching.exact import usable_site
from nbtools.runs.forward import Edit, forward

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["generate", "mean_difference", "steering", "written"]


def mean_difference(
    model: TransformerBridge, toward: Prompt, away: Prompt, *, layer: int, site: str = "resid_post", position: int = -1
) -> Float[Tensor, " d_model"]:
    """Take the difference between the mean activations of two sets of prompts, at one position.

    Parameters
    ----------
    toward, away
        Prompts; each list must have prompts of equal length, the two lists need not.
    layer, site, position
        Where to read; the last position by default.

    Returns
    -------
    Tensor
        A direction ``[d_model]``, or for a site with heads ``[head, d_head]``.

    Examples
    --------
    >>> direction = mean_difference(load(), ["I love this", "I like this"], ["I hate this", "I fear this"], layer=12)
    >>> tuple(direction.shape)
    (576,)
    """
    hook = usable_site(model, site).at(_layer(model, layer))
    means = [forward(model, prompts, capture=[hook])[hook][:, position].mean(0) for prompts in (toward, away)]
    return means[0] - means[1]


def steering(
    model: TransformerBridge,
    direction: Float[Tensor, " d_model"],
    *,
    layer: int,
    coefficient: float = 1.0,
    site: str = "resid_post",
    positions: int | Sequence[int] | None = None,
) -> dict[str, Edit]:
    """Give the edit that adds a direction at a site; hand it to anything that takes ``edit=``.

    Parameters
    ----------
    direction
        What is added, of the shape of the activation at one position.
    layer, site
        Where.
    coefficient
        How much of it; 0 changes nothing.
    positions
        Only at these; everywhere by default, also at tokens that are generated.

    Raises
    ------
    HookError
        If there is no such layer or site.
    ArrayError
        If the direction does not fit the site, or is not finite.

    References
    ----------
    .. [1] Turner et al., "Activation Addition: Steering Language Models Without Optimization", 2023.
    .. [2] Rimsky et al., "Steering Llama 2 via Contrastive Activation Addition", 2023.

    Examples
    --------
    >>> import torch, nbtools as nb
    >>> model = load()
    >>> nothing = steering(model, torch.ones(576), layer=12, coefficient=0.0)
    >>> bool((nb.runs.forward(model, "Hello", edit=nothing).logits == nb.runs.forward(model, "Hello").logits).all())
    True
    """
    found = usable_site(model, site)
    if "query" in found.axes:
        msg = "a direction cannot be added to an attention pattern: choose another site"
        raise InputError(msg)
    added = torch.as_tensor(direction).detach()
    if not added.isfinite().all():
        msg = "the direction holds NaN or infinity: expected finite numbers"
        raise ArrayError(msg)

    def add(value: Tensor) -> Tensor:
        if added.shape != value.shape[2:]:
            msg = (
                f"the direction has shape {tuple(added.shape)}, {site} in layer {layer} needs {tuple(value.shape[2:])}"
            )
            raise ArrayError(msg)
        where = slice(None) if positions is None else [positions] if isinstance(positions, int) else list(positions)
        value[:, where] += coefficient * added.to(value)
        return value

    return {found.at(_layer(model, layer)): add}


def generate(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    length: int = 20,
    edit: Mapping[str, Edit] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> str:
    """Let the model go on with a prompt while its activations are edited; give what it adds.

    `written` takes the same, and gives the text as it grows.

    Parameters
    ----------
    prompt
        One prompt.
    length
        How many tokens to add, at most; it stops at the end-of-sequence token.
    edit
        Changes made in every run, as in `nbtools.runs.forward`.
    temperature
        0 takes the most probable token; more draws, with this seed.

    Examples
    --------
    >>> generate(load(), "The capital of France is", length=1)
    ' Paris'
    """
    *_, text = ("", *written(model, prompt, length=length, edit=edit, temperature=temperature, seed=seed))
    return text


def written(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    length: int = 20,
    edit: Mapping[str, Edit] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str]:
    """Let the model go on as `generate` does; after each token give all that it has added.

    Examples
    --------
    >>> list(written(load(), "The capital of France is", length=2))
    [' Paris', ' Paris.']
    """
    read = tokens(model, prompt)
    if len(read.ids) != 1 or length < 1:
        msg = f"expected one prompt and a length of 1 or more, got {len(read.ids)} and {length}"
        raise InputError(msg)
    if model.tokenizer is None:
        msg = "this model has no tokenizer, so what it says cannot be written"
        raise InputError(msg)
    generator = torch.Generator().manual_seed(seed)
    ids = read.ids[0].tolist()
    begin = len(ids)
    while len(ids) - begin < min(length, model.cfg.n_ctx - begin):
        logits = forward(model, ids, edit=edit).logits[0, -1].float().cpu()
        token = int(logits.argmax()) if temperature == 0 else _drawn(logits / temperature, generator)
        if token == model.tokenizer.eos_token_id:
            return
        ids.append(token)
        yield model.tokenizer.decode(ids[begin:], clean_up_tokenization_spaces=False)


def _drawn(logits: Float[Tensor, " vocabulary"], generator: torch.Generator) -> int:
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))


def _layer(model: TransformerBridge, layer: int) -> int:
    if not 0 <= layer < model.cfg.n_layers:
        msg = f"layer {layer} does not exist: expected 0 to {model.cfg.n_layers - 1}"
        raise HookError(msg)
    return layer
