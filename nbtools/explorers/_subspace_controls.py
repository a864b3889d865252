"""The controls of the subspace explorer: a layer, how the direction is found, and a pair whose answer is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets

from nbtools.explorers._answers import axis_end
from nbtools.naming import visible
from nbtools.views.bars import Bars

if TYPE_CHECKING:
    from nbtools.explorers._subspace_result import PatchedPair
    from nbtools.tasks import Interchange

__all__ = ["PairPanel", "SubspaceControls", "sentence"]

_STYLE = {"description_width": "64px"}
_LONGEST = 100  # letters of a prompt in the menu


class SubspaceControls(widgets.VBox):
    """A layer and a direction; below them what is to be said."""

    def __init__(self, layers: int) -> None:
        self.layer = widgets.IntSlider(
            max=layers - 1, description="layer", continuous_update=False, style=_STYLE, layout=_share("240px")
        )
        self.direction = widgets.Dropdown(description="direction", style=_STYLE, layout=_share("240px"))
        self.status = sentence(least="2.8em")
        self._filling = False
        row = widgets.HBox([self.layer, self.direction], layout=_wrapped())
        super().__init__([row, self.status])

    @property
    def filling(self) -> bool:
        """Whether the menu changes because its options do, and not because something was chosen."""
        return self._filling

    def offer(self, names: Sequence[str], chosen: str) -> None:
        """Let one of these directions be chosen."""
        self._filling = True
        try:
            if tuple(self.direction.options) != tuple(names):
                self.direction.options = names
            self.direction.value = chosen
        finally:
            self._filling = False


class PairPanel(widgets.HBox):
    """One pair: its prompts, and what follows the base, as it is and patched."""

    def __init__(self, pairs: Interchange) -> None:
        self._pairs, self.bars = pairs, Bars()
        prompts = [_line(labels) for labels in pairs.base.labels]
        options = [(f"{number} · {prompt[-_LONGEST:]}", number) for number, prompt in enumerate(prompts)]
        self.pair = widgets.Dropdown(
            options=options, description="pair", style=_STYLE, layout=widgets.Layout(width="auto", min_width="0")
        )
        self.base, self.source, self.gap = (sentence() for _ in range(3))
        self.bars.layout = _share("280px")
        words = widgets.VBox([self.pair, self.base, self.source, self.gap], layout=_share("280px"))
        super().__init__([self.bars, words], layout=_wrapped())

    def show(self, answer: PatchedPair) -> None:
        """Show the next tokens of a pair, and its logit difference."""
        pairs, pair = self._pairs, answer.pair
        names = ["base as it is", f"patched along v, share {answer.share:.4g}"]
        self.bars.show(answer.before, answer.after, names=names, vmin=0, vmax=axis_end(answer.before, answer.after))
        self.base.value, self.source.value = (
            f"{name}: {_line(side.labels[pair])}" for name, side in (("base", pairs.base), ("source", pairs.source))
        )
        own, other = (visible(str(text)) for text in answer.before.token.values[:2])
        before, after = (f"{gap:+.2f}".replace("-", "−") for gap in answer.differences)
        self.gap.value = f"logit difference {own} less {other}: {before} as it is, {after} patched, in nats"


def sentence(text: str = "", *, least: str = "0") -> widgets.Label:
    """Give a label that takes as many lines as it needs."""
    return widgets.Label(text, layout=widgets.Layout(height="auto", min_height=least)).add_class("nb-says")


def _line(labels: Sequence[str]) -> str:
    return " ".join("".join(labels).split())


def _share(least: str) -> widgets.Layout:
    return widgets.Layout(flex=f"1 1 {least}", width="auto", min_width="0")


def _wrapped() -> widgets.Layout:
    return widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 24px", align_items="flex-start")
