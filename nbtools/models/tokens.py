"""From text, or token ids, to what a model reads; and from ids back to text a person can see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import PromptError
from nbtools.naming import visible

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Prompt", "Tokens", "label", "tokens"]

Prompt: TypeAlias = "str | Sequence[str] | Sequence[int] | Int[Tensor, '...'] | Tokens"


@dataclass(frozen=True, eq=False)
class Tokens:
    r"""Token ids and the text of each, for one or several prompts of equal length.

    Attributes
    ----------
    ids
        Token ids, on the model's device.
    labels
        The text of each token; bytes that are not whole characters are written ``\xNN``.
        A model without a tokenizer has its ids as labels.
    single
        Whether one prompt was given, not a list: measures then leave out the prompt dimension.
    """

    ids: Int[Tensor, "prompt position"]
    labels: list[list[str]]
    single: bool = True

    def __len__(self) -> int:
        return self.ids.shape[1]

    def __repr__(self) -> str:
        shown = " ".join(visible(label) for label in self.labels[0][:12])
        more = " …" if len(self) > 12 else ""
        return f"Tokens(prompts={self.ids.shape[0]}, positions={len(self)}: {shown}{more})"


def tokens(model: TransformerBridge, prompt: Prompt, *, prepend_bos: bool | None = None) -> Tokens:
    """Turn a prompt into token ids as the model's own tokenizer does.

    Parameters
    ----------
    prompt
        Text, a list of texts, token ids, or a tensor of ids ``[position]`` or ``[prompt, position]``.
        Several prompts must have the same number of tokens: padding would change what is measured.
    prepend_bos
        Whether text begins with the model's beginning-of-sequence token. By default what plain
        transformers does for this tokenizer (for a model that `load` made). Ids are taken as they are.

    Raises
    ------
    PromptError
        If the prompt is empty, longer than the model's context, has ids outside the vocabulary,
        or is text for a model that has no tokenizer.

    Examples
    --------
    >>> tokens(load(), "The capital of France is")
    Tokens(prompts=1, positions=5: The ·capital ·of ·France ·is)
    """
    if isinstance(prompt, Tokens):
        return prompt
    texts = _texts(prompt)
    rows = _rows(prompt) if texts is None else [_encode(model, text, prepend_bos) for text in texts]
    ids = _checked(model, rows)
    labels = [[label(model, int(token)) for token in row] for row in ids]
    return Tokens(ids, labels, single=_is_single(prompt))


def _texts(prompt: Prompt) -> list[str] | None:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, Sequence) and prompt and all(isinstance(text, str) for text in prompt):
        return list(prompt)
    return None


def _is_single(prompt: Prompt) -> bool:
    if isinstance(prompt, str):
        return True
    return prompt.ndim == 1 if hasattr(prompt, "ndim") else not _nested(prompt)


def _nested(prompt: Prompt) -> bool:
    return bool(len(prompt)) and (isinstance(prompt[0], str) or hasattr(prompt[0], "__len__"))


def _rows(prompt: Prompt) -> list[list[int]]:
    """Read token ids in any nesting; text and fractions are refused."""
    values = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    if not isinstance(values, Sequence) or isinstance(values, bytes):
        msg = f"expected text, token ids, or a tensor of ids, got {type(prompt).__name__}"
        raise PromptError(msg)
    rows = [list(row) for row in values] if _nested(values) else [list(values)]
    if not all(isinstance(token, int) and not isinstance(token, bool) for row in rows for token in row):
        kinds = sorted({type(token).__name__ for row in rows for token in row})
        msg = f"expected token ids (whole numbers) as [position] or [prompt, position], got {', '.join(kinds)}"
        raise PromptError(msg)
    return rows


def _encode(model: TransformerBridge, text: str, prepend_bos: bool | None) -> list[int]:
    if model.tokenizer is None:
        msg = "this model has no tokenizer: pass token ids instead of text"
        raise PromptError(msg)
    if not text:
        msg = "the prompt is empty: type at least one character"
        raise PromptError(msg)
    return model.to_tokens(text, prepend_bos=prepend_bos, truncate=False)[0].tolist()


def _checked(model: TransformerBridge, rows: list[list[int]]) -> Int[Tensor, "prompt position"]:
    lengths = [len(row) for row in rows]
    if not lengths or min(lengths) == 0:
        msg = "the prompt has no tokens: expected at least one"
        raise PromptError(msg)
    if len(set(lengths)) > 1:
        msg = f"prompts must have the same number of tokens, got {lengths}: run them one at a time, or reword them"
        raise PromptError(msg)
    if lengths[0] > model.cfg.n_ctx:
        msg = f"the prompt has {lengths[0]} tokens, this model reads at most {model.cfg.n_ctx}: shorten it"
        raise PromptError(msg)
    ids = torch.tensor(rows, device=model.cfg.device)
    if ids.min() < 0 or ids.max() >= model.cfg.d_vocab:
        wrong = int(ids[(ids < 0) | (ids >= model.cfg.d_vocab)][0])
        msg = f"token id {wrong} is not in this model's vocabulary: expected 0 to {model.cfg.d_vocab - 1}"
        raise PromptError(msg)
    return ids


def label(model: TransformerBridge, token: int) -> str:
    r"""Give the text of one token id; bytes that are only part of a character are written ``\xNN``."""
    if model.tokenizer is None:
        return str(token)
    text = model.tokenizer.decode([token], clean_up_tokenization_spaces=False)
    if "\ufffd" not in text:
        return text
    return _bytes_label(model.tokenizer.convert_ids_to_tokens(token)) or text


def _bytes_label(piece: str) -> str | None:
    """Spell out a byte-level piece that is only part of a character."""
    table = _byte_of_character()
    if not all(character in table for character in piece):
        return None
    raw = bytes(table[character] for character in piece)
    return raw.decode("utf-8", errors="backslashreplace")


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
