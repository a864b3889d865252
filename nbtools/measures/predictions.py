"""What the model expects next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.models.tokens import Prompt, Tokens, label, tokens
from nbtools.runs.forward import forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit

__all__ = ["accuracy", "in_context_score", "label_tokens", "next_token", "surprise", "surprise_of"]


def next_token(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    position: int = -1,
    top: int | None = 10,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give the most probable next tokens and their probabilities, most probable first.

    Parameters
    ----------
    prompt
        One prompt: text or token ids.
    position
        The position after which the token is predicted; the last by default.
    top
        How many tokens to keep; None keeps the whole vocabulary, in the order of its ids.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.DataArray
        Probabilities ``(token)``; the coordinate ``token`` holds the text, ``token_id`` the id.

    Raises
    ------
    PromptError
        If the prompt does not fit the model.
    InputError
        If the position lies outside the prompt, or several prompts were given.

    Examples
    --------
    >>> next_token(load(), "The capital of France is").token.values[0]
    ' Paris'
    """
    read = tokens(model, prompt)
    _check(model, len(read), read.ids.shape[0], position, top)
    logits = forward(model, read, edit=edit).logits[0, position]
    probabilities = logits.double().softmax(-1)
    ids = torch.arange(len(logits)) if top is None else probabilities.topk(top).indices.cpu()
    prompt_text = "".join(read.labels[0]) if model.tokenizer is not None else " ".join(read.labels[0])
    return label_tokens(model, probabilities.cpu(), ids.tolist()).assign_attrs(
        prompt=prompt_text, position=position % len(read)
    )


def label_tokens(
    model: TransformerBridge, probabilities: Float[Tensor, " vocabulary"], ids: Sequence[int]
) -> xr.DataArray:
    """Give the probabilities of some tokens with their texts: what `next_token` gives.

    Examples
    --------
    >>> label_tokens(load(), torch.full([49152], 1 / 49152), [7042]).token.values.tolist()
    [' Paris']
    """
    texts = np.array([label(model, token) for token in ids], dtype=object)
    return xr.DataArray(
        probabilities[list(ids)].numpy().astype(np.float32),
        dims="token",
        coords={"token": texts, "token_id": ("token", np.array(ids))},
        name="probability",
        attrs={"model": str(model.cfg.model_name), "units": "probability"},
    )


def accuracy(
    logits: Float[Tensor, "prompt vocabulary"],
    answer: Int[Tensor, " prompt"],
    *,
    among: Int[Tensor, "prompt candidate"] | None = None,
) -> xr.DataArray:
    """Say of each prompt whether its answer comes first, in the whole vocabulary or among candidates.

    A model can know that a color is asked for and not know which: then it is right about one of three among the
    colors of the prompt, and less often in the whole vocabulary.

    Parameters
    ----------
    logits
        At the last position, ``run.logits[:, -1]``.
    answer
        The id of the right token of each prompt, such as ``task.answer``.
    among
        For each prompt the ids that the answer is compared with, itself one of them; by default the whole vocabulary.

    Returns
    -------
    xarray.DataArray
        ``(prompt)``: 1 where right, 0 where not, of which the mean is the accuracy. An answer that shares the first
        place is not right.

    Raises
    ------
    ArrayError
        If shapes do not fit, or logits are NaN.
    InputError
        If the answer of a prompt is not among its candidates.

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 2.0, 1.0, 9.0], [3.0, 1.0, 2.0, 0.0]])
    >>> accuracy(logits, torch.tensor([1, 0])).mean().item()
    0.5
    >>> accuracy(logits, torch.tensor([1, 0]), among=torch.tensor([[0, 1, 2], [0, 1, 2]])).mean().item()
    1.0
    """
    answer = torch.as_tensor(answer, device=logits.device)
    if logits.ndim != 2 or answer.shape != logits.shape[:1] or logits.isnan().any():
        msg = (
            "expected logits [prompt, vocabulary] without NaN and an answer for each prompt, got shapes "
            f"{tuple(logits.shape)} and {tuple(answer.shape)}: pass run.logits[:, -1] and task.answer"
        )
        raise ArrayError(msg)
    rivals = logits if among is None else _candidates(logits, answer, torch.as_tensor(among, device=logits.device))
    own = logits.gather(1, answer[:, None])
    return xr.DataArray(
        ((rivals >= own).sum(1) == 1).float().cpu().numpy(),
        dims="prompt",
        name="accuracy",
        attrs={"prompts": len(answer), "among": rivals.shape[1], "units": "share"},
    )


def surprise(model: TransformerBridge, prompt: Prompt, *, edit: dict[str, Edit] | None = None) -> xr.DataArray:
    """Give the surprise of each token, given those before it: its negative log probability, in nats.

    The mean over positions is the model's loss. The first token is predicted from nothing: it is NaN.

    Parameters
    ----------
    prompt
        Text or token ids; a list of prompts adds the dimension ``prompt``.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.DataArray
        Nats ``([prompt,] position)``; for one prompt the coordinate ``token`` holds the text.

    Examples
    --------
    >>> nats = surprise(load(), "The Eiffel Tower is in Paris")
    >>> nats.token.values[nats.argmin("position").item()]
    ' Tower'
    """
    read = tokens(model, prompt)
    nats = surprise_of(read, forward(model, read, edit=edit).logits)
    array = xr.DataArray(
        nats,
        dims=("prompt", "position"),
        name="surprise",
        attrs={"model": str(model.cfg.model_name), "prompts": len(nats), "units": "nats"},
    )
    if not read.single:
        return array
    return array.isel(prompt=0).assign_coords(token=("position", np.array(read.labels[0], dtype=object)))


def in_context_score(
    model: TransformerBridge,
    prompt: Prompt,
    *,
    early: int,
    late: int,
    width: int = 1,
    edit: dict[str, Edit] | None = None,
) -> xr.DataArray:
    """Give how much better later tokens are predicted than earlier ones: the in-context learning score.

    It is the surprise at a late position less that at an early one; the more negative, the more the model makes of what
    came between. [1]_ takes position 500 less position 50.

    Parameters
    ----------
    prompt
        Text or token ids; a list of prompts adds the dimension ``prompt``.
    early, late
        The positions that are compared.
    width
        How many positions, from each of them on, are averaged.
    edit
        Changes made during the run, as in `nbtools.runs.forward`.

    Returns
    -------
    xarray.DataArray
        Nats, of each prompt.

    Raises
    ------
    InputError
        If the positions do not lie in the prompt, one after the other.

    References
    ----------
    .. [1] Olsson et al., "In-context Learning and Induction Heads", 2022.

    Examples
    --------
    >>> from nbtools.tasks import repeated_tokens
    >>> model = load()
    >>> in_context_score(model, repeated_tokens(model, length=20)[0], early=1, late=21, width=19).item() < -8
    True
    """
    read = tokens(model, prompt)
    if not 1 <= early < late or width < 1 or late + width > len(read):
        msg = f"expected 1 ≤ early < late and width ≥ 1 within {len(read)} tokens, got {early}, {late}, {width}"
        raise InputError(msg)
    nats = surprise(model, read, edit=edit)
    ends = [nats.isel(position=slice(at, at + width)).mean("position") for at in (late, early)]
    attrs = nats.attrs | {"early": early, "late": late, "width": width}
    return (ends[0] - ends[1]).rename("in-context learning score").assign_attrs(attrs)


def surprise_of(read: Tokens, logits: Float[Tensor, "prompt position vocabulary"]) -> np.ndarray:
    """Read surprise ``[prompt, position]`` off the logits of a run over these tokens."""
    nats = np.full(read.ids.shape, np.nan, np.float32)
    log_probability = logits[:, :-1].float().log_softmax(-1)
    nats[:, 1:] = -log_probability.gather(2, read.ids[:, 1:, None])[..., 0].cpu().numpy()
    return nats


def _candidates(
    logits: Float[Tensor, "prompt vocabulary"], answer: Int[Tensor, " prompt"], among: Int[Tensor, "prompt candidate"]
) -> Float[Tensor, "prompt candidate"]:
    if among.ndim != 2 or len(among) != len(answer) or not (among == answer[:, None]).any(1).all():
        msg = f"expected candidates [prompt, candidate] of which one is the answer, got shape {tuple(among.shape)}"
        raise InputError(msg)
    return logits.gather(1, among)


def _check(model: TransformerBridge, positions: int, prompts: int, position: int, top: int | None) -> None:
    if prompts != 1:
        msg = f"expected one prompt, got {prompts}: call next_token for each"
        raise InputError(msg)
    if not -positions <= position < positions:
        msg = f"position {position} is outside the prompt: expected {-positions} to {positions - 1}"
        raise InputError(msg)
    if top is not None and not 1 <= top <= model.cfg.d_vocab:
        msg = f"top must be between 1 and {model.cfg.d_vocab}, got {top}"
        raise InputError(msg)
