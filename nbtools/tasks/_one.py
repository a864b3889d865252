"""Words and answers as single tokens of the tokenizer in use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nbtools.errors import PromptError
from nbtools.models.tokens import label
from nbtools.tasks._show import quoted

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["need_tokenizer", "one_token", "single_tokens"]


def need_tokenizer(model: TransformerBridge, what: str) -> None:
    """Raise a PromptError if a model reads no text."""
    if model.tokenizer is None:
        msg = f"this model has no tokenizer, {what} is text: build the task from token ids with nbtools.tasks.pair"
        raise PromptError(msg)


def single_tokens(model: TransformerBridge, words: Iterable[str]) -> dict[str, int]:
    """Keep the words that are one token after another word and a space, with its id."""
    rows = {word: _following(model, "the", f" {word}") for word in words}
    return {word: row[0] for word, row in rows.items() if len(row) == 1 and _same(label(model, row[0]), word)}


def one_token(model: TransformerBridge, answer: str | int, prompt: str | None, what: str) -> int:
    """Give the id of an answer that must be one token, exactly as it is written.

    Parameters
    ----------
    answer
        Text, taken as it is with or without a leading space, or a token id.
    prompt
        The text it follows; None for a model without a tokenizer.
    what
        What it is in a message, such as "answer of prompt 0 (…)".
    """
    if not isinstance(answer, str):
        return _checked_id(model, answer, what)
    need_tokenizer(model, f"{what}, {answer!r},")
    row = _following(model, prompt, answer)
    spaced = [] if answer[:1].isspace() else _following(model, prompt, f" {answer}")
    hint = f"write {f' {answer}'!r}, with the space, which is one token" if len(spaced) == 1 else ""
    if len(row) != 1 or not _same(label(model, row[0]), answer):
        became = quoted(label(model, token) for token in row)
        msg = f"expected {what} to be one token, got {answer!r}, which becomes {became}: "
        raise PromptError(msg + (hint or "choose another word, or give a token id"))
    if hint and _glued(prompt, answer):
        msg = f"{what}, {answer!r}, has no space before it, the text would read {_joined(prompt, answer)!r}: {hint}"
        raise PromptError(f"{msg}; if it is meant, give the token id {row[0]}")
    return row[0]


def _following(model: TransformerBridge, before: str | None, text: str) -> list[int]:
    """Tokenize text as it continues another; by itself where the two would grow together."""
    if not text:
        return []
    alone, start = _ids(model, text), _ids(model, before or "")
    whole = _ids(model, (before or "") + text)
    return whole[len(start) :] if start and whole[: len(start)] == start else alone


def _ids(model: TransformerBridge, text: str) -> list[int]:
    return model.tokenizer(text, add_special_tokens=False).input_ids if text else []


def _same(token: str, text: str) -> bool:
    """Whether a token is this text and not, say, the sign for an unknown word."""
    return token.strip().casefold() == text.strip().casefold()


def _glued(prompt: str | None, answer: str) -> bool:
    """Whether two letters of a script that writes spaces would meet."""
    return prompt is not None and all(letter.lower() != letter.upper() for letter in (prompt[-1], answer[0]))


def _joined(prompt: str, answer: str) -> str:
    return prompt.split()[-1] + answer


def _checked_id(model: TransformerBridge, answer: int, what: str) -> int:
    number = None if isinstance(answer, bool) or not hasattr(answer, "__index__") else int(answer)
    if number is None or not 0 <= number < model.cfg.d_vocab:
        msg = f"expected {what} to be the text of one token or an id from 0 to {model.cfg.d_vocab - 1}, got {answer!r}"
        raise PromptError(msg)
    return number
