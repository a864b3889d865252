"""The controls of the pattern editor: heads, where they look from and at what; and what that does to a whole task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from nbtools.explorers._pattern_traits import Quiet
from nbtools.explorers._pattern_words import spaced
from nbtools.explorers._subspace_controls import sentence
from nbtools.views.bars import Bars

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.explorers._pattern_runs import Request

__all__ = ["PatternControls", "TaskPanel"]

_MARK = "▸\N{NO-BREAK SPACE}"  # before the edit on show

_STYLE = {"description_width": "64px"}
_MEASURES = {"correct": "vocabulary", "correct_among": "{} candidates"}


class PatternControls(widgets.VBox):
    """Heads, a query, a prompt; below them heads to try, names to look at, and what is to be said.

    Parameters
    ----------
    prompts
        How many there are.
    names
        What the task calls its positions.
    heads
        Heads to try.
    """

    def __init__(self, prompts: int, names: Sequence[str], heads: Sequence[str]) -> None:
        self.heads = widgets.Text(
            description="heads", continuous_update=False, placeholder="such as 18.6 20.1", style=_STYLE,
            layout=_share("260px"),
        )  # fmt: skip
        self.query = widgets.Dropdown(description="look from", style=_STYLE, layout=_share("200px"))
        self.prompt = widgets.BoundedIntText(
            max=prompts - 1, description="prompt", style=_STYLE, layout=widgets.Layout(width="140px")
        )
        of = widgets.Label(f"of {prompts}, from 0")
        self.tries = {head: _toggle(head, f"add head {head}, or take it away") for head in heads}
        self.names = {name: _toggle(name, f"look at {name}, in all prompts, or no longer") for name in names}
        self.free = widgets.Button(
            description="free", icon="undo", tooltip="give the heads their own attention back", layout=_small()
        )
        self.status = sentence(least="2.8em")
        self._names, self._quiet = list(names), Quiet()
        number = widgets.HBox([self.prompt, of], layout=widgets.Layout(flex="0 0 auto"))
        super().__init__(
            [
                _wrapped(self.heads, self.query, number),
                _told("try heads", *self.tries.values()),
                _told("look at", *self.names.values(), self.free),
                self.status,
            ]
        )

    def on_press(self, head: Callable[[str, bool], None], name: Callable[[str, bool], None]) -> None:
        """Call one of these with the head or name whose button was pressed by hand, and whether it is down now."""
        for buttons, call in ((self.tries, head), (self.names, name)):
            for text, button in buttons.items():
                button.observe(partial(self._pressed, text=text, call=call), "value")

    def _pressed(self, change: dict[str, Any], text: str, call: Callable[[str, bool], None]) -> None:
        if not self._quiet:
            call(text, change["new"])

    def on_query(self, call: Callable[[int | str], None]) -> None:
        """Call this with what was chosen in the menu by hand."""
        self.query.observe(lambda change: self._quiet or call(change["new"]), "value")

    def show(self, request: Request) -> None:
        """Show what was asked for last and could be done."""
        number = [] if isinstance(request.query, str) else [(f"token {request.query}", request.query)]
        with self._quiet:
            self.query.options = [*((name, name) for name in self._names), *number]
            self.query.value = request.query
            for buttons, chosen in ((self.tries, request.heads), (self.names, request.to)):
                for text, button in buttons.items():
                    button.value = text in chosen
            self.free.disabled = not request.to


class TaskPanel(widgets.VBox):
    """All prompts of the task: a switch, how far it is, what came of it, and the edits that were run so far."""

    def __init__(self, prompts: int) -> None:
        self.switch = widgets.ToggleButton(
            description="whole task", icon="play", layout=_small(),
            tooltip="run all prompts of the task with this edit, now and after each change of it",
        )  # fmt: skip
        self.progress = widgets.IntProgress(max=prompts, layout=_share("80px"))
        self.cancel = widgets.Button(
            description="cancel", disabled=True, tooltip="keep what is done", layout=widgets.Layout(width="72px")
        )
        self.says, self.bars = sentence(), Bars()
        self._row = _wrapped(self.switch, self.progress, self.cancel)
        super().__init__([self._row, self.says])

    def show_progress(self, done: int, *, busy: bool) -> None:
        """Show how many prompts are done; while it is `busy` that can be cancelled."""
        with self.progress.hold_sync():
            whole = done == self.progress.max
            self.progress.value, self.progress.bar_style = (
                done,
                "success" if whole else "" if busy or not done else "warning",
            )
        self.cancel.disabled = not busy

    def show_runs(self, runs: Mapping[str, xr.Dataset], chosen: str | None) -> None:
        """Show how often each edit of the whole task is right, below the task as it is; mark the one on show."""
        plain, first, rows = spaced("as it is"), next(iter(runs.values())), {}
        for name in (name for name in _MEASURES if name in first):
            shares = {plain: float(first[name].sel(run="before").mean())}
            shares |= {label: float(run[name].sel(run="after").mean()) for label, run in runs.items()}
            rows[name] = {f"{_MARK}{label}" if label == chosen else label: share for label, share in shares.items()}
        names = [_MEASURES[name].format(first.attrs.get("candidates")) for name in rows]
        self.bars.show(*rows.values(), names=names, vmin=0, vmax=1, label="share right")
        self.children = [self._row, self.says, self.bars]

    def on_run(self, call: Callable[[str], None]) -> None:
        """Call this with the label of the edit that was clicked; it does not stay pinned."""

        def picked(change: dict[str, Any]) -> None:
            if change["new"] is not None:
                call(change["new"].removeprefix(_MARK))
                self.bars.selected = None

        self.bars.observe(picked, "selected")


def _toggle(text: str, tip: str) -> widgets.ToggleButton:
    return widgets.ToggleButton(description=text, tooltip=tip, layout=_small())


def _told(text: str, *parts: widgets.Widget) -> widgets.HBox:
    """Put a name before some buttons, which stay beside it where they take several lines."""
    name = widgets.Label(text, layout=widgets.Layout(width="64px", flex="0 0 auto", justify_content="flex-end"))
    rest = _wrapped(*parts)
    rest.layout.flex, rest.layout.width, rest.layout.min_width = "1 1 0", "auto", "0"
    return widgets.HBox([name, rest], layout=widgets.Layout(width="100%", grid_gap="8px"))


def _small() -> widgets.Layout:
    return widgets.Layout(width="auto", flex="0 0 auto")


def _share(least: str) -> widgets.Layout:
    return widgets.Layout(flex=f"1 1 {least}", width="auto", min_width="0")


def _wrapped(*parts: widgets.Widget) -> widgets.HBox:
    layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 8px", align_items="center")
    return widgets.HBox(parts, layout=layout)
