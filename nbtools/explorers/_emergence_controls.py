"""The controls of the emergence explorer: which sequence is looked at, and what the network answers."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets

from nbtools.explorers._subspace_controls import sentence

__all__ = ["EmergenceControls"]

_STYLE = {"description_width": "64px"}


class EmergenceControls(widgets.VBox):
    """A kind of sequences, the number of one, and a button for the next; below them what is to be said."""

    def __init__(self, kinds: Mapping[str, str], count: int) -> None:
        self._kinds = kinds
        self.kind = widgets.Dropdown(options=[*kinds], description="sequence", style=_STYLE, layout=_wide("200px"))
        self.example = widgets.BoundedIntText(max=count - 1, description="number", style=_STYLE, layout=_wide("150px"))
        self.another = widgets.Button(description="another", tooltip="the next sequence", layout=_wide("84px"))
        self.about, self.status = sentence(), sentence(least="2.8em")
        self.about.layout.flex, self.about.layout.min_width = "1 1 240px", "0"
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="4px 12px", align_items="center")
        row = widgets.HBox([self.kind, self.example, self.another, self.about], layout=layout)
        super().__init__([row, self.status], layout=widgets.Layout(margin="0 0 8px"))

    def put(self, kind: str, example: int) -> None:
        """Show which sequence was chosen, and what it is."""
        self.kind.value, self.example.value = kind, example
        self.about.value = self._kinds[kind]


def _wide(width: str) -> widgets.Layout:
    return widgets.Layout(width=width, flex="0 0 auto")
