"""Type a prompt, see which heads rest on a sink, change the sink and see what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from nbtools.errors import InputError
from nbtools.explorers._pattern_traits import Quiet
from nbtools.explorers._prompt import PromptExplorer
from nbtools.explorers._sink_runs import SinkResult, SinkRuns
from nbtools.explorers._sink_words import about_head, about_run, details, named, widest
from nbtools.naming import HeadLike, head_label, parse_head
from nbtools.patching.sinks import SINK_INTERVENTIONS
from nbtools.views.attention import Attention
from nbtools.views.group import link
from nbtools.views.head_grid import HeadGrid
from nbtools.views.norms import Norms
from nbtools.views.token_strip import TokenStrip

if TYPE_CHECKING:
    import xarray as xr
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["SINK_NORMS", "SinkResult", "SinksExplorer", "sinks"]

SINK_NORMS: dict[str, str] = {
    "residual": "residual stream after each layer",
    "value": "values through W_O, mean over heads",
}
_MOST = 128  # tokens of which norms are shown


class SinksExplorer(PromptExplorer):
    """A prompt, the attention that each head pays one token, and what is there; made by `sinks`.

    Attributes
    ----------
    text
        The prompt; set it and the model runs.
    intervention
        How its attention sink is changed, one of `nbtools.patching.SINK_INTERVENTIONS`.
    head
        The head on show, such as ``"18.7"``.
    key
        The position of the token on show, 0 for the first; it counts a token that was put first.
    shown
        Whether norms are those of the ``"residual"`` stream, or of a ``"value"``.
    result
        What the last run gave: a `SinkResult` that belongs to the prompt and the intervention it names.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    intervention = traitlets.Enum(tuple(SINK_INTERVENTIONS))
    head = traitlets.Unicode()
    key = traitlets.Int(0)
    shown = traitlets.Enum(tuple(SINK_NORMS), "residual")
    result = traitlets.Instance(SinkResult, allow_none=True)

    def __init__(
        self, model: TransformerBridge, text: str, *, head: HeadLike | None = None, intervention: str = "unchanged"
    ) -> None:
        self._runs, self._quiet = SinkRuns(model), Quiet()
        chosen = "" if head is None else self._runs.head(head)
        plain = self._runs.answer(text, "unchanged", chosen)
        chosen = chosen or _most(plain.mass.sel(key=0))
        result = self._runs.answer(text, intervention, chosen)
        self.strip, self.grid, self.norms, self.map = TokenStrip(), HeadGrid(), Norms(), Attention()
        self.interventions = _menu("intervention", {name: name for name in SINK_INTERVENTIONS}, intervention)
        self.norms_of = _menu("norms of", {"residual stream": "residual", "values": "value"}, "residual")
        super().__init__(model, [[self.strip], [self.grid, self.norms], [self.map]])
        self._lay_out()
        self.text, self.intervention, self.head = text, intervention, chosen
        self._publish(result, *self._asked())
        self._connect()

    def _lay_out(self) -> None:
        """Let what stands side by side wrap where a page is narrow."""
        self.status.layout.flex, self.grid.layout.flex = "1 1 100%", "0 0 auto"
        self.norms.layout = widgets.Layout(flex="1 1 320px", width="auto", min_width="0")
        controls = _wrapped(self.interventions, self.norms_of, self.status)
        self.children = [self.prompt, controls, self.strip, _wrapped(self.grid, self.norms), self.map]

    def _connect(self) -> None:
        self._listen("intervention")
        traitlets.link((self, "intervention"), (self.interventions, "value"))
        traitlets.link((self, "shown"), (self.norms_of, "value"))
        link(self.strip, self.norms)
        link(self.grid, self.map)
        self.strip.observe(self._pinned, "selected")
        self.grid.observe(self._picked, "selected")
        self.map.observe(self._turned, "head")
        self.observe(self._turn, "head")
        self.observe(self._point, ["key", "shown"])

    @traitlets.validate("head")
    def _exists(self, proposal: dict[str, Any]) -> str:
        return self._runs.head(proposal["value"])

    @traitlets.validate("key")
    def _there(self, proposal: dict[str, Any]) -> int:
        last = self.result.mass.sizes["key"] - 1
        if not 0 <= proposal["value"] <= last:
            msg = f"expected the position of a token from 0 to {last}, got {proposal['value']}"
            raise InputError(msg)
        return proposal["value"]

    def _pinned(self, change: dict[str, Any]) -> None:
        """Follow a click on a token; a token that is let go of gives way to the first."""
        if not self._quiet:
            self._look_at(change["new"] or 0)

    def _picked(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.head = change["new"][-1]

    def _turned(self, change: dict[str, Any]) -> None:
        self.head = change["new"]

    def _turn(self, change: dict[str, Any]) -> None:
        """Show another head; the model runs only if the attention of its layer was not kept."""
        if parse_head(self.head)[0] in self.result.pattern.layer:
            self._point()
        else:
            self._request(change)

    def _asked(self) -> tuple[str, str, str]:
        return self.text, self.intervention, self.head

    def _answer(self, text: str, intervention: str, head: str) -> SinkResult:
        return self._runs.answer(text, intervention, head)

    def _publish(self, result: SinkResult, text: str, intervention: str, head: str) -> None:
        self.result, self.error = result, ""
        with self._quiet:
            self._tell(result)
            self.map.show(result.pattern, head=head)
        self._look_at(self.key if self.key < result.mass.sizes["key"] else 0)

    def _look_at(self, key: int) -> None:
        """Show a token, again if it is the one that was on show."""
        if key == self.key:
            self._point()
        else:
            self.key = key

    def _tell(self, result: SinkResult) -> None:
        """Colour the tokens by surprise, or by how much it has changed."""
        kind, notes = result.intervention, details(result)
        if kind == "unchanged":
            self.strip.show(result.surprise, details=notes, label="surprise in nats", vmin=0, cmap="magma_r")
        else:
            end = widest(result.change)
            self.strip.show(
                result.change, details=notes, label="change of surprise in nats", signed=True, vmin=-end, vmax=end
            )
        self.strip.title = f"{kind}: {SINK_INTERVENTIONS[kind]}"

    def _point(self, change: dict[str, Any] | None = None) -> None:
        """Show the token and the head that were chosen, of the last result."""
        result, key, head = self.result, self.key, self.head
        norms = result.residual_norms if self.shown == "residual" else result.value_norms.mean("head")
        with self._quiet:
            self.grid.show(result.mass.sel(key=key), vmin=0, vmax=1, label="attention")
            self.norms.show(norms.isel(position=slice(_MOST)), label="norm")
            self.norms.position = key if key < _MOST else None
            self.strip.selected = key  # the link has let go of it where the norms have no such token
            self.grid.selected = [head]
        if parse_head(head)[0] in result.pattern.layer:
            self.map.head, self.map.title = head, about_head(result, head, key)
        more = f", first {_MOST} tokens" if norms.sizes["position"] > _MOST else ""
        self.grid.title, self.norms.title = f"paid to {named(result, key)}", SINK_NORMS[self.shown] + more
        self.status.value = about_run(result, key)

    def __repr__(self) -> str:
        return (
            f"SinksExplorer(text={self.text!r}, intervention={self.intervention!r}, head={self.head!r}, key={self.key})"
        )


def sinks(
    model: TransformerBridge, text: str, *, head: HeadLike | None = None, intervention: str = "unchanged"
) -> SinksExplorer:
    """A prompt you can edit, which heads rest on its first token, what is there, and what it costs to change that.

    Each keystroke runs the model again, once, and once more if an intervention is on. Tokens are coloured by surprise,
    or by how an intervention has changed it. Click one, and the grid shows the attention that each head pays it, the
    lines beside the norms how far it stands out. The loss is the mean over all tokens that the unchanged run predicts;
    `nbtools.patching.sink_costs` leaves the first few out, and takes several prompts.

    Parameters
    ----------
    model
        A hooked model with a tokenizer: what is typed is text.
    text
        The prompt to begin with.
    head
        Head on show first; by default the one that pays the first token most.
    intervention
        How the sink is changed at first, one of `nbtools.patching.SINK_INTERVENTIONS`.

    Returns
    -------
    SinksExplorer
        Its traits ``text``, ``intervention``, ``head``, ``key`` and ``shown`` follow the hand, and can be set.

    Raises
    ------
    PromptError, HookError, InputError
        If the first prompt, head or intervention does not fit the model. Later prompts, and interventions that a
        prompt does not allow, are explained in ``error``.

    Examples
    --------
    >>> text = "The old harbour town woke slowly, and the first boats came in with the tide before anyone was about."
    >>> explorer = sinks(load(), text, head="18.7")
    >>> explorer.intervention = "clamped"
    >>> explorer.result.resting(), bool(explorer.result.cost > 1)
    (180, True)
    """
    return SinksExplorer(model, text, head=head, intervention=intervention)


def _most(values: xr.DataArray) -> str:
    """Give the head with the largest value."""
    best = values.stack(each=("layer", "head")).idxmax("each").item()
    return head_label(*best)


def _menu(name: str, options: dict[str, str], value: str) -> widgets.Dropdown:
    layout = widgets.Layout(width="220px", flex="0 1 auto")
    return widgets.Dropdown(options=list(options.items()), value=value, description=name, layout=layout)


def _wrapped(*parts: widgets.Widget) -> widgets.HBox:
    layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 24px", align_items="flex-start")
    return widgets.HBox(parts, layout=layout)
