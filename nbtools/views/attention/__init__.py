"""Attention patterns: pick a head, read the matrix, follow the lines of one token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from nbtools.errors import ArrayError, HookError, InputError
from nbtools.naming import HeadLike, head_label, parse_head
from nbtools.views.attention.still import attention_figure
from nbtools.views.base import View
from nbtools.views.colour import Scale, as_floats, check_numbers, check_size, check_tokens

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["Attention", "attention"]


class Attention(View, folder="attention"):
    """The attention patterns of some heads over one prompt; made by `attention`."""

    head = traitlets.Unicode(help='the head on show, such as "18.6"').tag(sync=True)
    query = traitlets.Int(None, allow_none=True, help="position of the pinned query token").tag(sync=True)

    _patterns: np.ndarray
    _labels: tuple[str, ...] = ()
    _tokens: tuple[str, ...] = ()

    def show(
        self,
        pattern: xr.DataArray | np.ndarray,
        tokens: Sequence[str] | None = None,
        *,
        cmap: str = "viridis",
        vmax: float = 1.0,
    ) -> None:
        """Show other patterns in the same place, keeping head and query where they still exist."""
        numbers, labels = _heads_first(pattern)
        check_numbers(numbers, what="attention")
        texts = check_tokens(_texts(pattern) if tokens is None else tokens, numbers.shape[-1], what="position")
        scale = Scale(cmap, 0.0, float(vmax), "attention")
        frame = _frame(numbers, labels, texts, scale)
        self._patterns, self._labels, self._tokens, self._scale = numbers, tuple(labels), tuple(texts), scale
        with self.hold_sync():
            self._frame = frame
            self.head = self.head if self.head in labels else labels[0]
            self.query = self.query if self.query is not None and self.query < len(texts) else None

    def select(self, head: HeadLike | None = None, *, query: int | None = None) -> None:
        """Show a head, given as ``"18.6"`` or ``(18, 6)``, and pin a query position; None releases it."""
        with self.hold_sync():
            if head is not None:
                self.head = head if isinstance(head, str) else head_label(*parse_head(head))
            self.query = query

    @traitlets.validate("head")
    def _known(self, proposal: dict[str, Any]) -> str:
        if self._labels and proposal["value"] not in self._labels:
            some = ", ".join(self._labels[:4]) + (" …" if len(self._labels) > 4 else "")
            msg = f"head {proposal['value']!r} is not in this view: expected one of {some}"
            raise HookError(msg)
        return proposal["value"]

    @traitlets.validate("query")
    def _inside(self, proposal: dict[str, Any]) -> int | None:
        query = proposal["value"]
        if query is not None and not 0 <= query < len(self._tokens):
            msg = f"query position {query} is outside the prompt: expected 0 to {len(self._tokens) - 1}, or None"
            raise InputError(msg)
        return query

    def figure(self) -> Figure:
        """Draw the head on show with matplotlib; the lines are those of the pinned query, or of all."""
        pattern = self._patterns[self._labels.index(self.head)]
        return attention_figure(pattern, list(self._tokens), self._scale, self.head, self.query)

    def __repr__(self) -> str:
        heads, tokens = len(self._labels), len(self._tokens)
        return f"Attention(heads={heads}, tokens={tokens}, head={self.head!r}, query={self.query})"


def attention(
    pattern: xr.DataArray | np.ndarray,
    tokens: Sequence[str] | None = None,
    *,
    head: HeadLike | None = None,
    query: int | None = None,
    cmap: str = "viridis",
    vmax: float = 1.0,
) -> Attention:
    """A head's attention as a matrix and as lines, with all heads to choose from above.

    Rows are queries, columns keys. Hover a row to see where that token looks, click to pin it, Esc to let go.

    Parameters
    ----------
    pattern
        Attention probabilities ``([layer,] head, query, key)`` or ``(query, key)``: a DataArray, whose
        coordinates name the heads and tokens, or any array or tensor.
    tokens
        Text of each position; by default the array's ``key_token``, or else the position.
    head
        Head on show first, as ``"18.6"`` or ``(18, 6)``; without layers ``"6"``.
    query
        Query position pinned from the start.
    cmap, vmax
        As in matplotlib; the colour range begins at 0.

    Returns
    -------
    Attention
        Its traits ``head`` and ``query`` follow the hand, and can be set.

    Raises
    ------
    ArrayError
        If the array is not square in its last two dimensions, holds NaN, has as many positions as the
        tokens do not, or is larger than a page should hold.

    Examples
    --------
    >>> view = attention([[[1, 0], [0.3, 0.7]]], ["Hello", " world"])
    >>> view.query = 1
    >>> view
    Attention(heads=1, tokens=2, head='0', query=1)
    """
    view = Attention()
    view.show(pattern, tokens, cmap=cmap, vmax=vmax)
    if head is not None or query is not None:
        view.select(head, query=query)
    return view


def _heads_first(pattern: Any) -> tuple[np.ndarray, list[str]]:
    """Give patterns as (head, query, key) with a name for each head."""
    array = _ordered(pattern)
    numbers = as_floats(array)
    if not 2 <= numbers.ndim <= 4 or numbers.shape[-1] != numbers.shape[-2] or numbers.size == 0:
        msg = (
            "expected attention patterns ([layer,] head, query, key) with as many queries as keys, "
            f"got shape {numbers.shape}"
        )
        raise ArrayError(msg)
    return numbers.reshape(-1, *numbers.shape[-2:]), _names(array, numbers.shape[:-2])


def _ordered(pattern: Any) -> Any:
    if not hasattr(pattern, "dims"):
        return pattern
    order = [name for name in ("layer", "head", "query", "key") if name in pattern.dims]
    if set(order) != set(pattern.dims) or order[-2:] != ["query", "key"]:
        msg = f"expected dimensions ([layer,] head, query, key), got ({', '.join(pattern.dims)}): choose one prompt"
        raise ArrayError(msg)
    return pattern.transpose(*order)


def _names(array: Any, shape: tuple[int, ...]) -> list[str]:
    coords = getattr(array, "coords", {})
    heads = [int(n) for n in np.atleast_1d(coords["head"])] if "head" in coords else range(shape[-1] if shape else 1)
    if "layer" in coords:
        return [head_label(layer, head) for layer in np.atleast_1d(coords["layer"]) for head in heads]
    if len(shape) == 2:
        return [head_label(layer, head) for layer in range(shape[0]) for head in heads]
    return [str(head) for head in heads]


def _texts(pattern: Any) -> list[str] | None:
    coords = getattr(pattern, "coords", {})
    return [str(text) for text in coords["key_token"].values] if "key_token" in coords else None


def _frame(numbers: np.ndarray, labels: list[str], texts: list[str], scale: Scale) -> dict[str, Any]:
    """Give the patterns as one byte each, 255 being vmax; the empty upper half of a causal one is left out."""
    causal = not np.triu(numbers, 1).any()
    cells = numbers[:, *np.tril_indices(len(texts))] if causal else numbers
    check_size(cells.size, knob="heads or layers (pattern.sel(layer=18)), or a shorter prompt")
    levels = np.clip(np.round(cells / scale.vmax * 255), 0, 255).astype(np.uint8)
    return {"heads": labels, "tokens": texts, "causal": causal, "levels": levels.tobytes(), **scale.frame()}
