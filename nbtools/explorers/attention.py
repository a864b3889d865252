"""Type a prompt, pick a head, follow a token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
import torch
import traitlets
import xarray as xr

from nbtools.explorers._kept import kept_layers
from nbtools.explorers._prompt import PromptExplorer
from nbtools.measures.attention import label_patterns, pattern_hook
from nbtools.measures.heads import HEAD_MEASURES, score_patterns
from nbtools.measures.predictions import surprise_of
from nbtools.models.tokens import label, tokens
from nbtools.naming import HeadLike, parse_head, visible
from nbtools.runs.forward import forward
from nbtools.views.attention import Attention
from nbtools.views.group import link
from nbtools.views.head_grid import HeadGrid
from nbtools.views.token_strip import TokenStrip

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.models.tokens import Tokens
    from nbtools.runs.forward import Run

__all__ = ["AttentionExplorer", "AttentionResult", "attention"]

_EXPECTED = 5  # most probable next tokens, for the hover of each token


@dataclass(frozen=True, eq=False)
class AttentionResult:
    """What one run of the model gave.

    Attributes
    ----------
    text
        The prompt that was run.
    scores
        Head scores on this prompt, as `nbtools.measures.head_scores` gives them.
    pattern
        Attention ``(layer, head, query, key)`` of the layers that were kept.
    surprise
        Negative log probability of each token given those before, in nats ``(position)``; the
        first has none.
    expected
        For each position the most probable next tokens, in words.
    """

    text: str
    scores: xr.Dataset
    pattern: xr.DataArray
    surprise: xr.DataArray
    expected: list[str]


class AttentionExplorer(PromptExplorer):
    """A prompt, all heads, and the attention of one; made by `attention`.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    measure
        Which of `nbtools.measures.HEAD_MEASURES` the grid shows.
    head
        The head on show, such as ``"18.6"``.
    query
        The pinned query position, or None.
    result
        What the last run gave: an `AttentionResult` that belongs to the prompt in its ``text``.
    error
        What is wrong with the prompt, in a sentence; empty if nothing is. The last good result stays.
    """

    measure = traitlets.Enum(tuple(HEAD_MEASURES))
    head = traitlets.Unicode()
    query = traitlets.Int(None, allow_none=True)
    result = traitlets.Instance(AttentionResult, allow_none=True)

    def __init__(
        self, model: TransformerBridge, text: str, *, head: HeadLike = (0, 0), measure: str = "first_token"
    ) -> None:
        layer, index = parse_head(head, shape=(model.cfg.n_layers, model.cfg.n_heads))
        self.measures = widgets.Dropdown(
            options=[(name.replace("_", " "), name) for name in HEAD_MEASURES], value=measure, description="heads by"
        )
        self.strip, self.grid, self.map = TokenStrip(), HeadGrid(), Attention()
        result = explore(model, text, layer)
        super().__init__(model, [[self.strip], [self.grid, self.map]], controls=[self.measures])
        self.text, self.measure, self.head = text, measure, f"{layer}.{index}"
        self._publish(result, *self._asked())
        self._connect()

    def _connect(self) -> None:
        self._listen("head")
        traitlets.link((self, "measure"), (self.measures, "value"))
        traitlets.link((self, "query"), (self.map, "query"))
        link(self.strip, self.map)
        link(self.grid, self.map)
        self.observe(self._colour, "measure")
        self.grid.observe(self._picked, "selected")
        self.map.observe(self._turned, "head")

    def _picked(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.head = change["new"][-1]

    def _turned(self, change: dict[str, Any]) -> None:
        self.head = change["new"]

    def _asked(self) -> tuple[str, str]:
        return self.text, self.head

    def _answer(self, text: str, head: str) -> AttentionResult:
        """Run the model, unless what is known already holds this layer of this prompt."""
        layer, _ = parse_head(head, shape=(self.model.cfg.n_layers, self.model.cfg.n_heads))
        known = self.result
        if known is None or known.text != text or layer not in known.pattern.layer:
            return explore(self.model, text, layer)
        return known

    def _publish(self, result: AttentionResult, text: str, head: str) -> None:
        changed = result is not self.result
        self.result, self.error = result, ""
        if changed:
            self._show(result, head)
        self.map.head = head
        self.grid.selected = [head]
        self.status.value = f"next: {result.expected[-1]}"

    def _show(self, result: AttentionResult, head: str) -> None:
        query = self.query if self.query is not None and self.query < result.pattern.sizes["query"] else None
        self.map.show(result.pattern, head=head)
        self.strip.show(result.surprise, details=result.expected, label="surprise in nats", vmin=0, cmap="magma_r")
        self.query = self.map.query = self.strip.selected = query
        self._colour()

    def _colour(self, change: dict[str, Any] | None = None) -> None:
        shares = {} if self.measure == "entropy" else {"vmax": 1}
        self.grid.show(self.result.scores[self.measure], vmin=0, **shares)

    def __repr__(self) -> str:
        return f"AttentionExplorer(text={self.text!r}, head={self.head!r}, query={self.query})"


def attention(
    model: TransformerBridge, text: str, *, head: HeadLike = (0, 0), measure: str = "first_token"
) -> AttentionExplorer:
    """A prompt you can edit, every head at a glance, and the attention of the one you pick.

    Each keystroke runs the model again; while it is busy only the newest prompt waits. The tokens are
    coloured by surprise, and hovering one tells what the model expected after it.

    Parameters
    ----------
    model
        A hooked model.
    text
        The prompt to begin with.
    head
        Head on show first.
    measure
        What the grid of heads shows, one of `nbtools.measures.HEAD_MEASURES`.

    Returns
    -------
    AttentionExplorer
        Its traits ``text``, ``measure``, ``head`` and ``query`` follow the hand, and can be set.

    Raises
    ------
    PromptError, HookError
        If the first prompt or head does not fit the model. Later ones are explained in ``error``.

    Examples
    --------
    >>> explorer = attention(load(), "The Eiffel Tower is in", head="18.6")
    >>> explorer.text = "The Colosseum is in"
    >>> explorer.result.expected[-1].split()[0]
    '·Rome'
    """
    return AttentionExplorer(model, text, head=head, measure=measure)


def explore(model: TransformerBridge, text: str, layer: int) -> AttentionResult:
    """Run the model once and read all that the explorer shows."""
    read = tokens(model, text)
    kept = kept_layers(range(model.cfg.n_layers), model.cfg.n_heads, len(read), layer)
    readers = {
        pattern_hook(index): partial(_read, ids=read.ids, keep=index in kept) for index in range(model.cfg.n_layers)
    }
    run = forward(model, read, capture=readers)
    patterns = {index: run[pattern_hook(index)][1] for index in kept}
    return AttentionResult(
        text, _scores(run), label_patterns(model, read, patterns), _surprise(read, run), _expected(model, run)
    )


def _read(pattern: torch.Tensor, ids: torch.Tensor, keep: bool) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    return score_patterns(pattern, ids, HEAD_MEASURES), pattern.float().cpu().numpy() if keep else None


def _scores(run: Run) -> xr.Dataset:
    layers = [scores for scores, _ in run.cache.values()]
    variables = {
        name: xr.Variable(
            ("layer", "head"), np.stack([scores[name] for scores in layers]), attrs={"long_name": meaning}
        )
        for name, meaning in HEAD_MEASURES.items()
    }
    return xr.Dataset(variables, coords={"layer": range(len(layers)), "head": range(len(layers[0]["entropy"]))})


def _surprise(read: Tokens, run: Run) -> xr.DataArray:
    text = np.array(read.labels[0], dtype=object)
    return xr.DataArray(
        surprise_of(read, run.logits)[0], dims="position", coords={"token": ("position", text)}, name="surprise"
    )


def _expected(model: TransformerBridge, run: Run) -> list[str]:
    top = run.logits[0].float().softmax(-1).topk(_EXPECTED)
    return [
        "  ".join(f"{visible(label(model, token))} {share:.2f}" for token, share in zip(ids, shares, strict=True))
        for ids, shares in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
