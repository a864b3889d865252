"""The numbers of one run or of two, token by token."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, InputError
from nbtools.views.colour import as_floats

__all__ = ["Rows", "Run", "read_run", "side_by_side"]

_MOST = 200  # rows
_LOOKS_MARKED = re.compile(r"#\d+$")


@dataclass(frozen=True)
class Run:
    """What one run gives to each of its tokens, which have ids or texts that differ."""

    tokens: list[str]
    ids: list[int] | None
    values: np.ndarray

    def greatest(self, top: int | None, *, by_size: bool) -> list[int]:
        """Give the places of the greatest values, greatest first; all places, in order, without `top`."""
        if top is None:
            return list(range(len(self.tokens)))
        ranked = np.abs(self.values) if by_size else self.values
        return np.argsort(np.where(np.isnan(ranked), np.inf, -ranked), kind="stable")[:top].tolist()


@dataclass(frozen=True)
class Rows:
    """Tokens with the numbers of each run, NaN where a run has none.

    Attributes
    ----------
    tokens
        The text of each row.
    ids
        The id of each row's token; empty if the runs do not all give ids.
    values
        float32 ``[run, row]``.
    """

    tokens: list[str]
    ids: list[int]
    values: np.ndarray

    @cached_property
    def marks(self) -> list[str]:
        """What must follow each text to tell it from the others: ``#id``, or nothing."""
        seen = Counter(self.tokens)
        ids = self.ids or [None] * len(self.tokens)
        doubtful = [seen[text] > 1 or bool(_LOOKS_MARKED.search(text)) for text in self.tokens]
        return [
            f"#{token}" if unclear and token is not None else "" for token, unclear in zip(ids, doubtful, strict=True)
        ]

    @cached_property
    def keys(self) -> list[str]:
        """By what each row is pinned; no two are equal."""
        return [text + mark for text, mark in zip(self.tokens, self.marks, strict=True)]

    def find(self, name: str) -> int | None:
        """Give the row of a key, or of a text followed by ``#id``; None if there is no such row."""
        if name in self.keys:
            return self.keys.index(name)
        full = [f"{text}#{token}" for text, token in zip(self.tokens, self.ids, strict=False)]
        return full.index(name) if name in full else None

    def key_of(self, other: Rows, row: int) -> str | None:
        """Give the key, among these rows, of a row of others; None if it is not here."""
        by_id = bool(self.ids and other.ids)
        names, wanted = self._names(by_id), other._names(by_id)[row]
        return self.keys[names.index(wanted)] if names.count(wanted) == 1 else None

    def _names(self, by_id: bool) -> list[Hashable]:
        return list(zip(self.ids, self.tokens, strict=True)) if by_id else self.tokens


def read_run(values: Any, *, what: str) -> Run:
    """Read a DataArray ``(token)``, or texts with their numbers.

    Raises
    ------
    ArrayError
        If it is neither, is empty or holds infinity, or if two of its tokens cannot be told apart.
    """
    run = _of_dict(values) if isinstance(values, Mapping) else _of_array(values, what)
    if run.values.ndim != 1 or run.values.size == 0 or np.isinf(run.values).any():
        got = "infinity" if np.isinf(run.values).any() else f"shape {run.values.shape}"
        msg = f"expected one finite number, or NaN, for each token of {what}, got {got}"
        raise ArrayError(msg)
    _check_distinct(run.tokens if run.ids is None else run.ids, what)
    return run


def _of_dict(numbers: Mapping[str, Any]) -> Run:
    return Run([str(text) for text in numbers], None, as_floats([as_floats(number) for number in numbers.values()]))


def _of_array(array: Any, what: str) -> Run:
    if not hasattr(array, "dims"):
        msg = f"expected {what} as a DataArray (token) or a dict {{text: number}}, got {type(array).__name__}"
        raise ArrayError(msg)
    if tuple(array.dims) != ("token",):
        msg = f"expected {what} as a DataArray (token), got ({', '.join(map(str, array.dims))}): choose one with .sel"
        raise ArrayError(msg)
    if "token" not in array.coords:
        msg = f"expected {what} to have a coordinate 'token', which holds the texts; got {', '.join(array.coords)}"
        raise ArrayError(msg)
    ids = [int(token) for token in array.coords["token_id"].values] if "token_id" in array.coords else None
    return Run([str(text) for text in array.coords["token"].values], ids, as_floats(array.values))


def _check_distinct(names: Sequence[Hashable], what: str) -> None:
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        kind = "text" if isinstance(name, str) else "token_id"
        msg = f"{times} tokens of {what} have the {kind} {name!r}: expected a coordinate 'token_id' that differs"
        raise ArrayError(msg)


def side_by_side(runs: Sequence[Run], *, top: int | None, by_size: bool) -> Rows:
    """Put runs into one table: the tokens of the first in its order, then those that only the second has.

    Tokens are matched by id if all runs give ids, otherwise by text. With `top`, the greatest of each run.

    Raises
    ------
    ArrayError
        If the runs cannot be matched, or there are more rows than a page should hold.
    InputError
        If `top` is not at least 1.
    """
    if top is not None and top < 1:
        msg = f"top must be at least 1, got {top}"
        raise InputError(msg)
    by_id = all(run.ids is not None for run in runs)
    names = [run.ids if by_id else run.tokens for run in runs]
    if not by_id:
        for run, what in zip(runs, ("values", "other"), strict=False):
            _check_distinct(run.tokens, what)
    texts = _texts_of(runs, names)
    chosen = list(
        dict.fromkeys(
            own[at] for run, own in zip(runs, names, strict=True) for at in run.greatest(top, by_size=by_size)
        )
    )
    _check_count(len(chosen))
    tables = [dict(zip(own, run.values, strict=True)) for run, own in zip(runs, names, strict=True)]
    values = np.array([[table.get(name, np.nan) for name in chosen] for table in tables], np.float32)
    return Rows([texts[name] for name in chosen], chosen if by_id else [], values)


def _texts_of(runs: Sequence[Run], names: Sequence[Sequence[Hashable]]) -> dict[Hashable, str]:
    """Give the text of each name, which must be the same in all runs."""
    texts: dict[Hashable, str] = {}
    for run, own in zip(runs, names, strict=True):
        for name, text in zip(own, run.tokens, strict=True):
            if texts.setdefault(name, text) != text:
                msg = (
                    f"token_id {name} is {texts[name]!r} in one run and {text!r} in the other, so their vocabularies "
                    "differ: to match by text, drop the ids with .drop_vars('token_id')"
                )
                raise ArrayError(msg)
    return texts


def _check_count(count: int) -> None:
    if count > _MOST:
        msg = f"bars shows at most {_MOST} tokens, got {count}: choose fewer with top=, such as top=10"
        raise ArrayError(msg)
