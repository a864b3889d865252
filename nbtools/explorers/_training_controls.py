"""The controls of the training explorer: what is trained, buttons, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import ipywidgets as widgets

from nbtools.explorers._subspace_controls import sentence

if TYPE_CHECKING:
    from nbtools.explorers._training_runs import Run

__all__ = ["TrainingControls", "progress_words"]

_STYLE = {"description_width": "52px"}


class TrainingControls(widgets.VBox):
    """A variant, its seed, how many steps; below them buttons, a bar, and what is to be said."""

    def __init__(self, variants: Iterable[str]) -> None:
        self.variant = widgets.Dropdown(options=[*variants], description="variant", style=_STYLE, layout=_wide("200px"))
        self.seed, self.steps = (
            widgets.IntText(description=name, style=_STYLE, layout=_wide("136px")) for name in ("seed", "steps")
        )
        self.head = widgets.Dropdown(description="head", style=_STYLE, layout=_wide("136px"))
        self.about = sentence()
        self.run = widgets.Button(layout=_wide("84px"))
        self.reset = widgets.Button(description="reset", tooltip="a fresh model, at step 0", layout=_wide("72px"))
        self.bar = widgets.IntProgress(layout=_wide("200px"))
        self.status = sentence()
        self.status.layout.flex, self.status.layout.min_width = "1 1 240px", "0"
        super().__init__(
            [
                _row(self.variant, self.seed, self.steps, self.head),
                self.about,
                _row(self.run, self.reset, self.bar, self.status),
            ],
            layout=widgets.Layout(margin="0 0 8px"),
        )

    def offer_heads(self, heads: list[str], chosen: str) -> None:
        """Let one of these heads be chosen, if there are several."""
        if list(self.head.options) != heads:
            self.head.options = heads
        self.head.value = chosen or None
        self.head.layout.display = None if len(heads) > 1 else "none"

    def show_progress(self, run: Run, *, running: bool) -> None:
        """Show how far a training is, and what the button does now."""
        step, steps = run.training.step, run.training.steps
        with self.bar.hold_sync():
            self.bar.max, self.bar.value = max(steps, step), step
            self.bar.bar_style = "" if running or not step else "success" if run.whole else "warning"
        with self.run.hold_sync():
            self.run.description = "stop" if running else "go on" if step else "train"
            self.run.button_style = "" if running else "primary"
            self.run.disabled = run.whole and not running
            self.run.tooltip = "all steps are done: set more steps, or reset" if self.run.disabled else ""


def progress_words(run: Run, *, running: bool) -> str:
    """Say how far a training is, how long it took and will take, and what the loss is."""
    step, steps = run.training.step, run.training.steps
    if running:
        where = f"step {step:,} of {steps:,}"
    elif run.whole:
        where = f"all {step:,} steps are done"
    else:
        where = f"stopped at step {step:,} of {steps:,}" if step else f"step 0 of {steps:,}"
    left = f", about {run.seconds_left:.0f} s left" if running and step else ""
    return " · ".join([where, *([f"{run.seconds:.0f} s{left}"] if step else []), *_losses(run.progress.losses)])


def _losses(losses: Mapping[str, float]) -> list[str]:
    known = [f"{name} {loss:.2f}" for name, loss in losses.items() if loss == loss]
    return [f"loss {', '.join(known)} nats"] if known else []


def _wide(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(
        parts, layout=widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 12px", align_items="center")
    )
