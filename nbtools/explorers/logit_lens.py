"""Type a prompt, see what the model would say after each of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets
import xarray as xr

from nbtools import measures
from nbtools.explorers._prompt import PromptExplorer
from nbtools.models.tokens import tokens
from nbtools.naming import visible
from nbtools.views.group import link
from nbtools.views.lens_grid import LensGrid
from nbtools.views.token_strip import TokenStrip

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["LensResult", "LogitLensExplorer", "logit_lens"]


@dataclass(frozen=True, eq=False)
class LensResult:
    """What the model gave for one prompt.

    Attributes
    ----------
    text
        The prompt.
    lens
        What `nbtools.measures.logit_lens` gives for it.
    surprise
        What `nbtools.measures.surprise` gives for it: nats ``(position)``; the first token has none.
    """

    text: str
    lens: xr.Dataset
    surprise: xr.DataArray


class LogitLensExplorer(PromptExplorer):
    """A prompt, the surprise of its tokens, and what the model would say after each layer; made by `logit_lens`.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    layer, position
        The pinned cell of the grid, each None if it is not pinned; layer -1 is the embedding.
    result
        What the last run gave: a `LensResult` that belongs to the prompt in its ``text``.
    error
        What is wrong with the prompt, in a sentence; empty if nothing is. The last good result stays.
    """

    layer = traitlets.Int(None, allow_none=True)
    position = traitlets.Int(None, allow_none=True)
    result = traitlets.Instance(LensResult, allow_none=True)

    def __init__(
        self,
        model: TransformerBridge,
        text: str,
        *,
        layer: int | None = None,
        position: int | None = None,
        top: int = 5,
    ) -> None:
        self.strip, self.grid, self._top = TokenStrip(), LensGrid(), top
        result = explore(model, text, top)
        super().__init__(model, [[self.strip], [self.grid]])
        self.text = text
        self._publish(result, text)
        self.grid.select(layer, position)
        self._connect()

    def _connect(self) -> None:
        self._listen()
        for name in ("layer", "position"):
            traitlets.link((self.grid, name), (self, name))
        link(self.grid, self.strip)

    @traitlets.validate("layer", "position")
    def _there(self, proposal: dict[str, Any]) -> int | None:
        """Refuse what the grid would refuse, before anything has changed."""
        check = self.grid.check_layer if proposal["trait"].name == "layer" else self.grid.check_position
        return check(proposal["value"])

    def _answer(self, text: str) -> LensResult:
        return explore(self.model, text, self._top)

    def _publish(self, result: LensResult, text: str) -> None:
        expected = _expected(result.lens)
        self.result, self.error = result, ""
        self.grid.show(result.lens)
        position = self.grid.position  # the strip lets go of its token, and the link would let go of this
        self.strip.show(result.surprise, details=expected, label="surprise in nats", vmin=0, cmap="magma_r")
        self.grid.position = position
        self.status.value = f"next: {expected[-1]}"

    def __repr__(self) -> str:
        return f"LogitLensExplorer(text={self.text!r}, layer={self.layer}, position={self.position})"


def logit_lens(
    model: TransformerBridge, text: str, *, layer: int | None = None, position: int | None = None, top: int = 5
) -> LogitLensExplorer:
    """A prompt you can edit, and what the model would say after each layer at each of its positions.

    Each keystroke runs the model again; while it is busy only the newest prompt waits. The tokens above the grid
    are coloured by surprise: click one, and what the model expects after it is framed in the grid.

    Parameters
    ----------
    model
        A hooked model.
    text
        The prompt to begin with.
    layer, position
        Cell pinned from the start; layer -1 is the embedding.
    top
        How many of the most probable tokens are listed for a cell.

    Returns
    -------
    LogitLensExplorer
        Its traits ``text``, ``layer`` and ``position`` follow the hand, and can be set.

    Raises
    ------
    PromptError, HookError, InputError
        If the first prompt, layer or position does not fit the model. A later prompt is explained in ``error``.
    ModelError
        If the model's last layer cannot be read as its answer: some architectures do more.

    Examples
    --------
    >>> explorer = logit_lens(load(), "The Eiffel Tower is in", layer=29, position=4)
    >>> explorer.text = "The Colosseum is in"
    >>> explorer.result.lens.token.isel(layer=-1, position=-1, rank=0).item()
    ' Rome'
    """
    return LogitLensExplorer(model, text, layer=layer, position=position, top=top)


def explore(model: TransformerBridge, text: str, top: int) -> LensResult:
    """Read the lens and the surprise off a prompt."""
    read = tokens(model, text)
    return LensResult(text, measures.logit_lens(model, read, top=top), measures.surprise(model, read))


def _expected(lens: xr.Dataset) -> list[str]:
    """Give for each position the model's own answers, in words."""
    last = lens.isel(layer=-1)
    return [
        "  ".join(f"{visible(str(token))} {share:.2f}" for token, share in zip(texts, shares, strict=True))
        for texts, shares in zip(last.token.values, last.probability.values, strict=True)
    ]
