"""Attention patterns: pick a head, read the matrix, follow the lines of one token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.naming import HeadLike, head_label, parse_head
from nbtools.views.attention.patterns import Patterns, read_patterns
from nbtools.views.attention.still import attention_drawing
from nbtools.views.base import View
from nbtools.views.colour import Scale, check_size, check_tokens
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Attention", "attention"]

_FIRST_BYTES = 100_000  # layers beyond the one on show are sent at once while they are this small


class Attention(View, folder="attention"):
    """The attention patterns of some heads over one prompt; made by `attention`."""

    _pins: ClassVar[dict[str, str]] = {"head": "head", "position": "query"}

    head = traitlets.Unicode(help='the head on show, such as "18.6"').tag(sync=True)
    query = traitlets.Int(None, allow_none=True, help="position of the pinned query token").tag(sync=True)

    _pages = traitlets.Dict().tag(sync=True)
    """The patterns of some layers as bytes, and of which frame they are."""
    _wanted = traitlets.Int(-1).tag(sync=True)
    """The place of a layer whose patterns the page asks for."""

    _patterns: Patterns | None = None
    _tokens: tuple[str, ...] = ()

    def show(
        self,
        pattern: xr.DataArray | np.ndarray,
        tokens: Sequence[str] | None = None,
        *,
        cmap: str = "viridis",
        vmax: float = 1.0,
        head: HeadLike | None = None,
    ) -> None:
        """Show other patterns in the same place, keeping head and query where they still exist."""
        patterns = read_patterns(pattern)
        texts = check_tokens(patterns.texts if tokens is None else tokens, patterns.positions, what="position")
        check_size(patterns.page_bytes, knob="heads (pattern.isel(head=slice(4))), or a shorter prompt")
        shown = self._chosen(patterns, head)
        self._patterns, self._tokens = patterns, tuple(texts)
        self._scale = self._fit(Scale(cmap, 0.0, float(vmax), "attention"))
        with self.hold_sync():
            self._publish(shown)
            self.head = shown
            self.query = self.query if self.query is not None and self.query < len(texts) else None

    def _chosen(self, patterns: Patterns, head: HeadLike | None) -> str:
        if head is None:
            return self.head if patterns.has(self.head) else patterns.labels[0]
        label = head if isinstance(head, str) else head_label(*parse_head(head))
        patterns.place(label)
        return label

    def _publish(self, head: str) -> None:
        """Send what is on show, and with it the other layers if they are small; the rest waits until asked for."""
        patterns = self._patterns
        layer, _ = patterns.place(head)
        whole = patterns.page_bytes * len(patterns.pages) <= _FIRST_BYTES
        serial = self._frame.get("serial", 0) + 1
        frame = {"pages": patterns.pages, "tokens": list(self._tokens), "causal": patterns.causal, "serial": serial}
        self._wanted = -1
        self._frame = {**frame, **self._scale.frame()}
        self._pages = self._packed(range(len(patterns.pages)) if whole else [layer])

    def _packed(self, layers: Sequence[int]) -> dict[str, Any]:
        levels = {str(layer): self._patterns.levels(layer, self._scale.vmax) for layer in layers}
        return {"serial": self._frame["serial"], "levels": levels}

    @traitlets.observe("_wanted")
    def _hand_over(self, change: dict[str, Any]) -> None:
        if self._patterns is not None and 0 <= change["new"] < len(self._patterns.pages):
            self._pages = self._packed([change["new"]])

    def _recolour(self) -> None:
        self._publish(self.head)

    def _state(self, *, complete: bool) -> dict[str, Any]:
        layers = range(len(self._patterns.pages)) if complete else [self._patterns.place(self.head)[0]]
        return {**super()._state(complete=complete), "_pages": self._packed(layers), "_wanted": -1}

    def _weight(self) -> int:
        return self._patterns.page_bytes * len(self._patterns.pages)

    def select(self, head: HeadLike | None = None, *, query: int | None = None) -> None:
        """Show a head, given as ``"18.6"`` or ``(18, 6)``, and pin a query position; None releases it."""
        with self.hold_sync():
            if head is not None:
                self.head = head if isinstance(head, str) else head_label(*parse_head(head))
            self.query = query

    @traitlets.validate("head")
    def _known(self, proposal: dict[str, Any]) -> str:
        if self._patterns is not None:
            self._patterns.place(proposal["value"])
        return proposal["value"]

    @traitlets.validate("query")
    def _inside(self, proposal: dict[str, Any]) -> int | None:
        query = proposal["value"]
        if query is not None and not 0 <= query < len(self._tokens):
            msg = f"query position {query} is outside the prompt: expected 0 to {len(self._tokens) - 1}, or None"
            raise InputError(msg)
        return query

    def _drawing(self) -> Drawing:
        pattern = self._patterns.of(self.head)
        return attention_drawing(pattern, list(self._tokens), self._scale, self.head, self.query)

    def __repr__(self) -> str:
        heads, tokens = len(self._patterns.labels) if self._patterns else 0, len(self._tokens)
        return f"Attention(heads={heads}, tokens={tokens}, head={self.head!r}, query={self.query})"


@listed_options
def attention(
    pattern: xr.DataArray | np.ndarray,
    tokens: Sequence[str] | None = None,
    *,
    head: HeadLike | None = None,
    query: int | None = None,
    cmap: str = "viridis",
    vmax: float = 1.0,
    title: str = "",
) -> Attention:
    """A head's attention as a matrix and as lines, with the heads of its layer to choose from above.

    Rows are queries, columns keys. Hover a row to see where that token looks, click to pin it, Esc to let go; the
    arrow keys move, Page Up and Page Down change the layer. Of a prompt of more than 128 tokens a window is drawn
    large, beside a small picture of the whole in which the window can be moved.

    Parameters
    ----------
    pattern
        Attention probabilities ``([layer,] head, query, key)`` or ``(query, key)``: a DataArray, whose
        coordinates name the heads and tokens, or any array or tensor. A live view sends one layer at a time.
    tokens
        Text of each position; by default the array's ``key_token``, or else the position.
    head
        Head on show first, as ``"18.6"`` or ``(18, 6)``; without layers ``"6"``.
    query
        Query position pinned from the start.
    cmap, vmax
        As in matplotlib; the colour range begins at 0.
    title
        Written above the view.

    Returns
    -------
    Attention
        Its traits ``head`` and ``query`` follow the hand, and can be set.

    Raises
    ------
    ArrayError
        If the array is not square in its last two dimensions, holds NaN, has as many positions as the
        tokens do not, or one layer of it is larger than a page should hold.
    HookError, InputError
        If there is no such head, or no such query position.

    Examples
    --------
    >>> view = attention([[[1, 0], [0.3, 0.7]]], ["Hello", " world"])
    >>> view.query = 1
    >>> view
    Attention(heads=1, tokens=2, head='0', query=1)
    """
    view = Attention(title=title)
    view.show(pattern, tokens, cmap=cmap, vmax=vmax, head=head)
    view.query = query
    return view
