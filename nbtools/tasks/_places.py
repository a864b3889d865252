"""Named positions: where in its tokens a fragment of a prompt ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from nbtools.errors import PromptError
from nbtools.models.tokens import Tokens
from nbtools.tasks._one import need_tokenizer
from nbtools.tasks._show import shown

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["Place", "last_token_of", "named_positions"]

Place: TypeAlias = "str | int"


def named_positions(
    model: TransformerBridge, prompts: Tokens, named: Mapping[str, Place | Sequence[Place]]
) -> dict[str, list[int]]:
    """Find each named position in each prompt, and add END, the last.

    Parameters
    ----------
    named
        For each name a fragment of text or a number, the same for all prompts or one for each.
    """
    if "END" in named:
        msg = "END is always the last position: expected other names in positions, leave END out"
        raise PromptError(msg)
    found = {name: _one_each(model, prompts, name, places) for name, places in named.items()}
    return found | {"END": [len(prompts) - 1] * len(prompts.ids)}


def last_token_of(model: TransformerBridge, ids: list[int], fragment: str) -> list[int]:
    """Give the position of the last token of each occurrence of a fragment."""
    text, ends = _decoded(model, ids), [_length(model, ids[: place + 1]) for place in range(len(ids))]
    starts = [start for start in range(len(text)) if fragment and text.startswith(fragment, start)]
    return [next(place for place, end in enumerate(ends) if end >= start + len(fragment)) for start in starts]


def _one_each(model: TransformerBridge, prompts: Tokens, name: str, places: Place | Sequence[Place]) -> list[int]:
    rows = prompts.ids.tolist()
    each = [places] * len(rows) if isinstance(places, str) or hasattr(places, "__index__") else list(places)
    if len(each) != len(rows):
        msg = f"expected position {name!r} once, or for each of {len(rows)} prompts, got {len(each)}"
        raise PromptError(msg)
    wheres = [f"prompt {row} ({shown(labels)})" for row, labels in enumerate(prompts.labels)]
    return [_place(model, *found, name) for found in zip(rows, each, wheres, strict=True)]


def _place(model: TransformerBridge, ids: list[int], place: Place, where: str, name: str) -> int:
    if isinstance(place, str):
        return _only(model, ids, place, where, name)
    if isinstance(place, bool) or not hasattr(place, "__index__") or not -len(ids) <= place < len(ids):
        msg = f"position {name!r} is outside {where}: expected text or {-len(ids)} to {len(ids) - 1}, got {place!r}"
        raise PromptError(msg)
    return int(place) % len(ids)


def _only(model: TransformerBridge, ids: list[int], fragment: str, where: str, name: str) -> int:
    need_tokenizer(model, f"position {name!r}, {fragment!r},")
    found = last_token_of(model, ids, fragment)
    if len(found) != 1:
        times = f"{len(found)} times, ending at positions {', '.join(map(str, found))}" if found else "not at all"
        msg = f"expected {fragment!r}, position {name!r}, to occur once in {where}, it does {times}: "
        raise PromptError(msg + "give a fragment that occurs once, or the position as a number")
    return found[0]


def _decoded(model: TransformerBridge, ids: list[int]) -> str:
    return model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def _length(model: TransformerBridge, ids: list[int]) -> int:
    """Count the whole characters; a token that is part of one ends it only with its last byte."""
    return len(_decoded(model, ids).rstrip("\ufffd"))
