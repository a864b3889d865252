"""The controls of the patching explorer: two prompts with their answers, what to patch, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from nbtools.explorers._patch_runs import METRICS, SHOWN_SITES, Prepared, metric_name
from nbtools.naming import visible
from nbtools.patching import SITES

__all__ = ["PatchControls"]

_LABEL = {"description_width": "76px"}
_SHORT = {"description_width": "52px"}
_TIPS = (
    "clean activations into the corrupted run: what is enough to bring the answer back",
    "corrupted activations into the clean run: what is needed for the answer",
)
_NOTHING = ("nothing", None)


class PatchControls(widgets.VBox):
    """Two prompts, each beside its answer; below them what is patched, then how far the sweep is."""

    def __init__(self) -> None:
        self.clean, self.corrupted = (_prompt(name) for name in ("clean", "corrupted"))
        self.answer, self.wrong = (_answer(name) for name in ("answer", "wrong"))
        self.site = widgets.Dropdown(options=SHOWN_SITES, description="site", style=_LABEL, layout=_wide("200px"))
        self.metric = widgets.Dropdown(
            options=_named(METRICS), description="metric", style=_SHORT, layout=_wide("196px")
        )
        self.direction = widgets.ToggleButtons(
            options=("denoising", "noising"), tooltips=_TIPS, style={"button_width": "88px"}, layout=_wide("188px")
        )
        self.compare = widgets.Dropdown(
            options=[_NOTHING],
            description="compare with",
            style={"description_width": "96px"},
            layout=widgets.Layout(flex="1 1 0", min_width="0", width="auto"),
        )
        self.progress = widgets.IntProgress(description="exact", style=_LABEL, layout=_wide("200px"))
        self.cancel = widgets.Button(
            description="cancel", disabled=True, tooltip="keep what is done", layout=_wide("72px")
        )
        self.status = widgets.Label(layout=widgets.Layout(flex="1 1 0", min_width="0")).add_class("nb-says")
        self._filling = False
        super().__init__(
            [
                _row(self.clean, self.answer),
                _row(self.corrupted, self.wrong),
                _row(self.site, self.metric, self.direction, self.compare),
                _row(self.progress, self.cancel, self.status),
            ]
        )

    @property
    def filling(self) -> bool:
        """Whether a menu changes because its options do, and not because something was chosen."""
        return self._filling

    def offer_metric(self, metric: Any) -> None:
        """Choose a metric, and put it in the menu if it is not there."""
        known = [value for _, value in self.metric.options]
        options = list(self.metric.options)
        if metric not in known:
            options = [*_named(METRICS), (f"{metric_name(metric)} (yours)", metric)]
        self._fill(self.metric, options, metric)

    def offer_runs(self, runs: Sequence[tuple[str, Any]], chosen: Any) -> None:
        """Let one of these runs be compared with."""
        self._fill(self.compare, [_NOTHING, *runs], chosen)

    def show_request(self, prepared: Prepared) -> None:
        """Show what was taken where nothing was written, and tell on hover what the site is."""
        texts, task = prepared.task.texts, prepared.task
        self.answer.placeholder, self.wrong.placeholder = (
            visible(texts[int(token)]) for token in (task.answer, task.wrong)
        )
        self.site.tooltip = SITES[prepared.request.site].meaning

    def show_progress(self, done: int, total: int, *, busy: bool, whole: bool) -> None:
        """Show how many cells are exact; while it is `busy` that can be cancelled."""
        with self.progress.hold_sync():
            self.progress.max, self.progress.value = max(total, 1), done
            self.progress.bar_style = "" if busy else "success" if whole else "warning"
        self.cancel.disabled = not busy

    def _fill(self, menu: widgets.Dropdown, options: Sequence[tuple[str, Any]], value: Any) -> None:
        self._filling = True
        try:
            if tuple(menu.options) != tuple(options):
                menu.options = options
            menu.value = value
        finally:
            self._filling = False


def _prompt(name: str) -> widgets.Text:
    layout = widgets.Layout(flex="1 1 auto", width="auto", min_width="0")
    return widgets.Text(description=name, continuous_update=False, style=_LABEL, layout=layout)


def _answer(name: str) -> widgets.Text:
    return widgets.Text(
        description=name,
        continuous_update=False,
        style=_SHORT,
        layout=_wide("200px"),
        tooltip="one token, with the space in front of it; empty for the model's own",
    )


def _named(names: Any) -> list[tuple[str, Any]]:
    return [(name, name) for name in names]


def _wide(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts, layout=widgets.Layout(width="100%", grid_gap="4px 12px", align_items="center"))
