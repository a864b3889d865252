"""The controls of the explorer of three nested logits: sliders over round numbers, and whatever else is chosen."""

from __future__ import annotations

from collections.abc import Iterable

import ipywidgets as widgets
import numpy as np

from nbtools.explorers._subspace_controls import sentence
from nbtools.explorers._three_runs import PLANES, SCALES

__all__ = ["ThreeControls"]

_STYLE = {"description_width": "84px"}
_STARTS = np.linspace(-2, 6, 161).round(2).tolist()
_ROUND: dict[str, list[float]] = {
    "pairs": [*range(2, 33)],
    "labels": [*range(2, 129)],
    "burstiness": [],
    "beta": _STARTS,
    "alpha": _STARTS,
    "xi": _STARTS,
    "lr": [float(f"{part}e{power}") for power in (-3, -2, -1) for part in (1, 1.5, 2, 3, 5, 7)] + [1.0],
    "steps": [*range(500, 20_001, 500)],
}
_NAMES = {"pairs": "pairs N", "labels": "labels L", "lr": "learning rate"}
_NAMES |= {name: f"start {name}" for name in ("beta", "alpha", "xi")}


class ThreeControls(widgets.VBox):
    """Sliders for the context, where training begins and how it goes; below them what is to be said.

    Attributes
    ----------
    named
        Each control that stands for a trait, by the name of the trait: the sliders, and two menus that the owner puts
        where they belong.
    status
        What is said.
    """

    def __init__(self) -> None:
        sliders = {name: _made(widgets.SelectionSlider, _NAMES.get(name, name), options=[0]) for name in _ROUND}
        menus = {
            "plane": _made(widgets.Dropdown, "landscape", options={f"over {name}": name for name in PLANES}),
            "scale": _made(widgets.Dropdown, "step axis", options=SCALES),
        }
        self.named: dict[str, widgets.Widget] = {**sliders, **menus}
        self.status = sentence(least="2.8em")
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="0 20px")
        shown = [*sliders.values()]
        for slider in shown:
            slider.layout.flex = "1 1 240px"
        rows = [widgets.HBox(part, layout=layout) for part in (shown[:3], shown[3:6], shown[6:])]
        super().__init__([*rows, self.status])

    def put(self, name: str, value: float | str, others: Iterable[float] = ()) -> None:
        """Show what was chosen, and let that or any round number be chosen next, or one of some others."""
        control = self.named[name]
        if name in _ROUND:
            options = tuple((f"{number:g}", number) for number in sorted({*_ROUND[name], *others, value}))
            if control.options != options:
                control.index = 0  # or the page would cut off an index that is too large for what it knows, and send it
                control.options = options
            control.disabled = len(options) < 2
        control.value = value


def _made(kind: type[widgets.Widget], description: str, **options: object) -> widgets.Widget:
    layout = widgets.Layout(width="auto", min_width="0", max_width="420px", margin="2px 2px 6px")
    return kind(description=description, style=_STYLE, layout=layout, **options)
