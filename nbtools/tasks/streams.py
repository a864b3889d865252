"""Token streams made to show one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import InputError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["repeated_tokens"]


def repeated_tokens(
    model: TransformerBridge, *, length: int = 60, prompts: int = 4, repeats: int = 2, seed: int = 0
) -> Int[Tensor, "prompt position"]:
    """Draw random tokens and write them again: all that can be predicted is the repetition.

    The standard stimulus for induction heads: the second time round, the only way to know the next token is
    to find the current one earlier and copy what followed it.

    Parameters
    ----------
    length
        Tokens before they repeat; no token occurs twice among them.
    prompts
        Number of independent draws.
    repeats
        How often the draw is written in all.
    seed
        Seed of the draw.

    Returns
    -------
    Tensor
        Ids ``[prompt, repeats * length]``, on the model's device, without special tokens.

    References
    ----------
    .. [1] Olsson et al., "In-context Learning and Induction Heads", 2022.

    Examples
    --------
    >>> ids = repeated_tokens(load(), length=10, prompts=2)
    >>> tuple(ids.shape), bool((ids[:, :10] == ids[:, 10:]).all())
    ((2, 20), True)
    """
    special = set(model.tokenizer.all_special_ids) if model.tokenizer is not None else set()
    plain = torch.tensor([token for token in range(model.cfg.d_vocab) if token not in special])
    if not 1 <= length <= len(plain) or length * repeats > model.cfg.n_ctx:
        most = min(len(plain), model.cfg.n_ctx // max(repeats, 1))
        msg = f"length must be between 1 and {most} for {repeats} repeats on this model, got {length}"
        raise InputError(msg)
    generator = torch.Generator().manual_seed(seed)
    draws = [plain[torch.randperm(len(plain), generator=generator)[:length]] for _ in range(prompts)]
    return torch.stack(draws).repeat(1, repeats).to(model.cfg.device)
