"""Attention patterns of many heads: their names, and their numbers as bytes, one layer at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.errors import ArrayError, HookError
from nbtools.naming import head_label
from nbtools.views.colour import as_floats, check_numbers

__all__ = ["Patterns", "read_patterns"]


@dataclass(frozen=True, eq=False)
class Patterns:
    """Patterns ``(layer, head, query, key)``; arrays without layers have one.

    Attributes
    ----------
    numbers
        Attention probabilities.
    pages
        For each layer the labels of its heads.
    texts
        Token texts that the array carried, or None.
    causal
        Whether no query looks at a later key, so that half of the numbers need not be sent.
    """

    numbers: np.ndarray
    pages: list[list[str]]
    texts: list[str] | None
    causal: bool

    @property
    def positions(self) -> int:
        """How many tokens there are."""
        return self.numbers.shape[-1]

    @property
    def labels(self) -> list[str]:
        """All heads, in order."""
        return [label for page in self.pages for label in page]

    @property
    def page_bytes(self) -> int:
        """How many bytes the patterns of one layer take."""
        cells = self.positions * (self.positions + 1) // 2 if self.causal else self.positions**2
        return cells * self.numbers.shape[1]

    def has(self, label: str) -> bool:
        """Whether there is such a head."""
        return any(label in page for page in self.pages)

    def place(self, label: str) -> tuple[int, int]:
        """Find a head: the place of its layer, and its own within that."""
        for layer, page in enumerate(self.pages):
            if label in page:
                return layer, page.index(label)
        labels = self.labels
        some = ", ".join(labels[:4]) + (f" … {labels[-1]}" if len(labels) > 4 else "")
        msg = f"head {label!r} is not in this view: expected one of {some}"
        raise HookError(msg)

    def of(self, label: str) -> np.ndarray:
        """Give the pattern of one head ``(query, key)``."""
        return self.numbers[self.place(label)]

    def levels(self, layer: int, vmax: float) -> bytes:
        """Give one layer's patterns, a byte for each number, 255 being `vmax`; causal ones without their empty half."""
        numbers = self.numbers[layer]
        cells = numbers[:, *np.tril_indices(self.positions)] if self.causal else numbers
        return np.clip(np.round(cells * np.float32(255 / vmax)), 0, 255).astype(np.uint8).tobytes()


def read_patterns(pattern: Any) -> Patterns:
    """Read a DataArray, array, list or tensor as patterns.

    Raises
    ------
    ArrayError
        If it is not square in its last two dimensions, or holds NaN.
    """
    array = _ordered(pattern)
    numbers = as_floats(array)
    if not 2 <= numbers.ndim <= 4 or numbers.shape[-1] != numbers.shape[-2] or numbers.size == 0:
        msg = (
            "expected attention patterns ([layer,] head, query, key) with as many queries as keys, "
            f"got shape {numbers.shape}"
        )
        raise ArrayError(msg)
    check_numbers(numbers, what="attention")
    shaped = numbers.reshape((1,) * (4 - numbers.ndim) + numbers.shape)
    if hasattr(array, "dims") and "layer" in array.dims and "head" not in array.dims:
        shaped = shaped.swapaxes(0, 1)
    causal = not np.triu((shaped != 0).any((0, 1)), 1).any()
    return Patterns(shaped, _names(array, shaped.shape[:2], layered=numbers.ndim == 4), _texts(array), causal)


def _ordered(pattern: Any) -> Any:
    if not hasattr(pattern, "dims"):
        return pattern
    order = [name for name in ("layer", "head", "query", "key") if name in pattern.dims]
    if set(order) != set(pattern.dims) or order[-2:] != ["query", "key"]:
        msg = f"expected dimensions ([layer,] head, query, key), got ({', '.join(pattern.dims)}): choose one prompt"
        raise ArrayError(msg)
    return pattern.transpose(*order)


def _names(array: Any, shape: tuple[int, int], *, layered: bool) -> list[list[str]]:
    coords = getattr(array, "coords", {})
    heads = [int(n) for n in np.atleast_1d(coords["head"])] if "head" in coords else list(range(shape[1]))
    if "layer" in coords:
        return [[head_label(layer, head) for head in heads] for layer in np.atleast_1d(coords["layer"])]
    if layered:
        return [[head_label(layer, head) for head in heads] for layer in range(shape[0])]
    return [[str(head) for head in heads]]


def _texts(array: Any) -> list[str] | None:
    coords = getattr(array, "coords", {})
    return [str(text) for text in coords["key_token"].values] if "key_token" in coords else None
