"""What the drawn tasks share: their tables and small checks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from nbtools.errors import InputError
from nbtools.models.tokens import Tokens

__all__ = ["check_choice", "check_prompts", "one_prompt", "table", "usual"]


@lru_cache(maxsize=2)
def table(name: str) -> dict[str, Any]:
    """Read one of the tables beside this module, all of them written for this project."""
    return json.loads(files("nbtools.tasks").joinpath(f"{name}.json").read_text(encoding="utf-8"))


def check_prompts(prompts: int) -> None:
    """Raise an InputError if this is no number of prompts."""
    if isinstance(prompts, bool) or not hasattr(prompts, "__index__") or prompts < 1:
        msg = f"expected prompts to be a whole number from 1, got {prompts!r}"
        raise InputError(msg)


def check_choice(what: str, given: object, known: Sequence[str], also: str = "") -> None:
    """Raise an InputError that lists the choices if this is none of them."""
    if given not in known:
        msg = f"expected {what} to be one of {', '.join(map(repr, known))}{also}, got {given!r}"
        raise InputError(msg)


def usual(lengths: Sequence[int]) -> int | None:
    """Give the most frequent length, of two such the shorter; None if there is none."""
    counts = Counter(lengths)
    return min(counts, key=lambda length: (-counts[length], length), default=None)


def one_prompt(prompts: Tokens) -> Tokens:
    """Say that a list of one prompt is one prompt, as a task does."""
    return Tokens(prompts.ids, prompts.labels, single=len(prompts.ids) == 1)
