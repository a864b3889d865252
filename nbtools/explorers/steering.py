"""A direction added to what the model computes: what it then expects next, and what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets
from jaxtyping import Float
from torch import Tensor

from nbtools.errors import InputError
from nbtools.explorers._answers import axis_end, leading, shares
from nbtools.explorers._background import Background, Ending
from nbtools.explorers._prompt import PromptExplorer
from nbtools.explorers._steer_runs import SteeringResult, checked_length, slider_limit
from nbtools.measures.predictions import label_tokens
from nbtools.models.tokens import Tokens
from nbtools.models.tokens import tokens as read_tokens
from nbtools.patching import steering as steering_edit
from nbtools.patching import written
from nbtools.runs.forward import Edit, forward
from nbtools.views.bars import Bars

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["SteeringExplorer", "SteeringResult", "steering"]

_TOP = 8  # most probable next tokens of each run
_STEPS = 20  # of the slider, from 0 to each end


class SteeringExplorer(PromptExplorer):
    """A prompt, a slider, and what the model then expects and writes; made by `steering`.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    coefficient
        How much of the direction is added, from ``-limit`` to ``limit``; 0 changes nothing.
    layer
        The layer in which it is added.
    result
        What the last request gave: a `SteeringResult`.
    busy
        Whether the model is still writing.
    error
        What is wrong with the prompt, in a sentence; empty if nothing is. The last good result stays.
    """

    coefficient = traitlets.Float()
    layer = traitlets.Int()
    result = traitlets.Instance(SteeringResult, allow_none=True)
    busy = traitlets.Bool()

    def __init__(
        self,
        model: TransformerBridge,
        text: str,
        direction: Float[Tensor, " d_model"],
        *,
        layer: int,
        coefficient: float,
        limit: float | None,
        tokens: int,
        site: str,
        positions: int | Sequence[int] | None,
    ) -> None:
        self._background: Background[tuple[str, str]] = Background()
        self.direction, self.length, self.site, self.positions = direction, checked_length(tokens), site, positions
        self.model, self._base, self._whole = model, None, False
        self.limit = slider_limit(model, text, direction, layer, site, limit)
        found = self._answer(text, layer, self._within(coefficient))
        self.bars, (self.plain, self.steered) = Bars(), (_paper() for _ in range(2))
        self.slider, self.layers = _slider(self.limit), _layers(model.cfg.n_layers)
        super().__init__(model, [[self.bars]], controls=[self.slider, self.layers])
        self._heads = widgets.Label("as it is"), widgets.Label()
        self.children = [*self.children[:-1], self._beside()]
        self.text, self.layer, self.coefficient = text, layer, coefficient
        traitlets.link((self, "layer"), (self.layers, "value"))
        traitlets.link((self, "coefficient"), (self.slider, "value"), transform=(float, lambda moved: round(moved, 9)))
        self._listen("layer", "coefficient")
        self._publish(found, *self._asked())

    def _beside(self) -> widgets.HBox:
        """Put the texts beside the bars; they need a kernel, the bars do not."""
        share = {"flex": "1 1 0", "min_width": "0"}
        one, other = self._heads
        papers = widgets.VBox([one, self.plain, other, self.steered], layout=widgets.Layout(**share))
        self.bars.layout = widgets.Layout(**share)
        box = widgets.HBox([self.bars, papers], layout=widgets.Layout(grid_gap="24px", align_items="flex-start"))
        return box.add_class("nb-beside")

    @traitlets.validate("coefficient")
    def _fits(self, proposal: dict[str, Any]) -> float:
        return self._within(proposal["value"])

    @traitlets.validate("layer")
    def _exists(self, proposal: dict[str, Any]) -> int:
        self._edit(proposal["value"], 1.0)
        return proposal["value"]

    def finish(self) -> SteeringResult:
        """Let the model write to the end now, and give the result.

        Raises
        ------
        InputError
            If what was asked for has an error.
        """
        if not self.busy and not self.error and not self._complete:
            self._publish(self._answer(*self._asked()))
        self._background.finish()
        if self.error:
            raise InputError(self.error)
        return self.result

    def close(self) -> None:
        """Stop writing, and take the explorer off the page."""
        self._background.stop()
        super().close()

    def _asked(self) -> tuple[str, int, float]:
        return self.text, self.layer, self.coefficient

    def _edit(self, layer: int, coefficient: float) -> dict[str, Edit]:
        edit = steering_edit(
            self.model, self.direction, layer=layer, coefficient=coefficient, site=self.site, positions=self.positions
        )
        return edit if coefficient else {}

    def _answer(self, text: str, layer: int, coefficient: float) -> tuple[Tokens, SteeringResult]:
        """Run the model once with the direction, and once without unless that is known."""
        read, edit = read_tokens(self.model, text), self._edit(layer, coefficient)
        if self._base is None or self._base[0] != text:
            self._base = text, shares(forward(self.model, read).logits[0, -1])
        base = self._base[1]
        run = shares(forward(self.model, read, edit=edit).logits[0, -1]) if edit else base
        ids = leading([base], _TOP)
        ids += [token for token in leading([run], _TOP) if token not in ids]
        before, after = (label_tokens(self.model, each, ids) for each in (base, run))
        return read, SteeringResult(text, layer, coefficient, before, after)

    def _publish(self, found: tuple[Tokens, SteeringResult], *request: Any) -> None:
        self._background.stop()
        read, result = found
        known = self.result.plain if self.result and self.result.text == result.text and self._whole else None
        self.result, self.error, self._whole = result, "", known is not None
        name = f"steered by {result.coefficient:+g} in layer {result.layer}"
        end = axis_end(result.before, result.after)
        self.bars.show(result.before, result.after, names=["as it is", name], vmin=0, vmax=end)
        self._heads[1].value = name
        self.busy, self.status.value = True, "writing …"
        pieces = self._written(read, self._edit(result.layer, result.coefficient), known)
        self._background.start(pieces, show=self._write, end=self._ended)

    def _written(self, read: Tokens, edit: dict[str, Edit], plain: str | None) -> Iterator[tuple[str, str]]:
        """Write both texts, a token of each at a time; without an edit they are one."""
        first = written(self.model, read, length=self.length) if plain is None else iter([plain])
        if not edit:
            yield from ((text, text) for text in first)
            return
        texts = ("", "")
        for new in zip_longest(first, written(self.model, read, length=self.length, edit=edit)):
            texts = tuple(old if text is None else text for text, old in zip(new, texts, strict=True))
            yield texts

    def _write(self, texts: tuple[str, str]) -> None:
        self.result = replace(self.result, plain=texts[0], steered=texts[1])
        self.plain.value, self.steered.value = texts
        if self._latest.waiting and not self._background.yields:
            self._background.stop()  # no loop would serve the new request before the end

    def _ended(self, ending: Ending) -> None:
        self.busy, self._complete, self._whole = False, ending.whole, self._whole or ending.whole
        self.status.value = ""
        if ending.error is not None:
            self._explain(ending.error, self._asked())

    def _within(self, coefficient: float) -> float:
        if not abs(coefficient) <= self.limit:
            msg = f"expected a coefficient from {-self.limit:g} to {self.limit:g}, got {coefficient:g}: pass limit="
            raise InputError(msg)
        return float(coefficient)

    def __repr__(self) -> str:
        return f"SteeringExplorer(text={self.text!r}, layer={self.layer}, coefficient={self.coefficient:g})"


def steering(
    model: TransformerBridge,
    text: str,
    direction: Float[Tensor, " d_model"],
    *,
    layer: int | None = None,
    coefficient: float = 0.0,
    limit: float | None = None,
    tokens: int = 20,
    site: str = "resid_post",
    positions: int | Sequence[int] | None = None,
) -> SteeringExplorer:
    """A prompt, a direction, and a slider: what the model then expects next, and what it writes.

    Each keystroke and each move of the slider runs the model again: the next tokens are there at once, the two texts
    grow a token at a time, and another move begins anew.

    Parameters
    ----------
    model
        A hooked model.
    text
        The prompt to begin with.
    direction
        What is added, of the shape of the activation at one position; `nbtools.patching.mean_difference` gives one.
    layer
        Where; the middle layer by default. Give the layer that the direction was read from.
    coefficient
        How much of the direction is added at first; 0 changes nothing.
    limit
        The greatest coefficient, either way. By default that at which what is added is as long as what is there: the
        median norm of the activations of this prompt over the norm of the direction, rounded up to 1, 2 or 5 times a
        power of ten. There most models no longer write sentences, so the slider goes a little too far, and not further.
    tokens
        How many tokens the model writes, at most.
    site, positions
        As in `nbtools.patching.steering`.

    Returns
    -------
    SteeringExplorer
        Its traits ``text``, ``layer`` and ``coefficient`` follow the hand, and can be set. In a notebook the texts
        grow between its cells; ``finish()`` writes what is left at once.

    Raises
    ------
    PromptError, HookError, ArrayError, InputError
        If the first prompt, the direction, the layer or the coefficient do not fit. A later prompt is explained in
        ``error``.

    Examples
    --------
    >>> from nbtools.patching import mean_difference
    >>> model = load()
    >>> joy = mean_difference(model, ["I love this", "I like this"], ["I hate this", "I fear this"], layer=12)
    >>> explorer = steering(model, "I think that dogs are", joy, layer=12, tokens=4)
    >>> explorer.coefficient = 2
    >>> explorer.limit, explorer.finish().plain, explorer.result.steered
    (5.0, ' just as capable of', ' a great way to')
    """
    return SteeringExplorer(
        model,
        text,
        direction,
        layer=model.cfg.n_layers // 2 if layer is None else layer,
        coefficient=coefficient,
        limit=limit,
        tokens=tokens,
        site=site,
        positions=positions,
    )


def _slider(limit: float) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        min=-limit, max=limit, step=limit / _STEPS, description="steer by", readout_format="+.2f",
        continuous_update=False, layout=widgets.Layout(flex="3 1 0", width="auto", min_width="0"),
    )  # fmt: skip


def _layers(count: int) -> widgets.IntSlider:
    layout = widgets.Layout(flex="2 1 0", width="auto", min_width="0")
    return widgets.IntSlider(max=count - 1, description="in layer", continuous_update=False, layout=layout)


def _paper() -> widgets.Textarea:
    return widgets.Textarea(disabled=True, rows=5, layout=widgets.Layout(width="auto")).add_class("nb-paper")
