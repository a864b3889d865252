"""Tokens coloured by a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import ArrayError, InputError
from nbtools.views.base import View
from nbtools.views.colour import as_floats, check_tokens, scale_for
from nbtools.views.options import listed_options
from nbtools.views.token_strip.still import strip_drawing

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["TokenStrip", "token_strip"]


class TokenStrip(View, folder="token_strip"):
    """Tokens in reading order, each on the colour of its value; made by `token_strip`."""

    _pins: ClassVar[dict[str, str]] = {"position": "selected"}

    selected = traitlets.Int(None, allow_none=True, help="position of the pinned token").tag(sync=True)

    def show(
        self,
        tokens: Sequence[str] | xr.DataArray,
        values: Any = None,
        *,
        details: Sequence[str] | None = None,
        label: str = "",
        signed: bool = False,
        cmap: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show other tokens in the same place; takes what `token_strip` takes."""
        numbers = as_floats(tokens if values is None else values)
        texts = _texts(tokens) if values is None else tokens
        if numbers.ndim != 1 or numbers.size == 0:
            msg = f"expected one value for each token, an array (position), got shape {numbers.shape}"
            raise ArrayError(msg)
        shown = check_tokens(texts, len(numbers), what="value")
        notes = check_tokens(details, len(numbers), what="value") if details is not None else []
        scale = scale_for(numbers, cmap=cmap, vmin=vmin, vmax=vmax, label=label, signed=signed)
        self._tokens, self._values, self._scale = shown, numbers, self._fit(scale)
        with self.hold_sync():
            self.selected = None
            self._frame = {"tokens": shown, "values": numbers.tobytes(), "details": notes, **self._scale.frame()}

    @traitlets.validate("selected")
    def _inside(self, proposal: dict[str, Any]) -> int | None:
        position = proposal["value"]
        if position is not None and not 0 <= position < len(self._tokens):
            msg = f"position {position} is outside the strip: expected 0 to {len(self._tokens) - 1}, or None"
            raise InputError(msg)
        return position

    def _drawing(self) -> Drawing:
        return strip_drawing(self._tokens, self._values, self._scale, self.selected)

    def __repr__(self) -> str:
        return f"TokenStrip(tokens={len(self._tokens)}, selected={self.selected})"


@listed_options
def token_strip(
    tokens: Sequence[str] | xr.DataArray,
    values: Any = None,
    *,
    details: Sequence[str] | None = None,
    label: str = "",
    signed: bool = False,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
) -> TokenStrip:
    r"""Text whose tokens are coloured by a value; hover for the number, click to pin a token.

    White space is drawn as ``·``, ``↵`` and ``⇥``; a token without a value (NaN) is hatched.

    Parameters
    ----------
    tokens
        Token texts; or, alone, a DataArray ``(position)`` whose coordinate ``token`` holds them.
    values
        One number for each token.
    details
        Text to show beside the value when a token is hovered, one for each token.
    label
        What the values are, for the legend.
    signed
        Whether values have a sign that matters: RdBu, symmetric around 0.
    cmap, vmin, vmax
        As in matplotlib.
    title
        Written above the view.

    Returns
    -------
    TokenStrip
        Its trait ``selected`` is the pinned position, or None; it can be set.

    Raises
    ------
    ArrayError
        If the numbers of tokens and values differ.

    Examples
    --------
    >>> token_strip(["The", " cat", " sat"], [0.1, 0.9, 0.4], label="surprise")
    TokenStrip(tokens=3, selected=None)
    """
    view = TokenStrip(title=title)
    view.show(tokens, values, details=details, label=label, signed=signed, cmap=cmap, vmin=vmin, vmax=vmax)
    return view


def _texts(array: Any) -> list[str]:
    if "token" not in getattr(array, "coords", ()):
        msg = "expected token texts and values, or one DataArray (position) with a coordinate 'token'"
        raise ArrayError(msg)
    return [str(text) for text in np.asarray(array.coords["token"])]
