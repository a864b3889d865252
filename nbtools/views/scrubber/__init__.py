"""What happened while a model was trained: curves with a step that moves over all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from nbtools.views.base import View
from nbtools.views.colour import Scale
from nbtools.views.options import listed_options
from nbtools.views.scrubber.history import History
from nbtools.views.scrubber.reading import read_history
from nbtools.views.scrubber.still import scrubber_drawing

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Scrubber", "scrubber"]


class Scrubber(View, folder="scrubber"):
    """A panel for each curve over training, with one slider for the step of all of them; made by `scrubber`.

    Attributes
    ----------
    step
        The step on show, one of those at which the curves are known: another one leads to the nearest.
    """

    _pins: ClassVar[dict[str, str]] = {"step": "step"}

    step = traitlets.Int(0, help="the step on show; the nearest that is known").tag(sync=True)

    _history: History | None = None

    def show(
        self,
        curves: xr.DataArray | xr.Dataset,
        *,
        maps: xr.DataArray | None = None,
        bars: xr.DataArray | None = None,
        names: Sequence[str] | Mapping[str, str] | None = None,
        scale: str = "linear",
        until: int | None = None,
    ) -> None:
        """Show another training, at the step nearest to that on show; takes what `scrubber` takes."""
        history = read_history(curves, maps, bars, names, scale, until)
        self._history = history
        self._scale = self._fit(Scale("viridis", 0.0, 1.0, history.maps.label if history.maps else ""))
        with self.hold_sync():
            self._recolour()
            self.step = self.step  # which the new curves may not have

    def _recolour(self) -> None:
        self._frame = {**self._history.frame(), **self._scale.frame()}

    @property
    def newest(self) -> int:
        """The last step that is known; 0 before anything is shown."""
        return int(self._history.steps[-1]) if self._history else 0

    def nearest(self, step: int) -> int:
        """Give the step at which curves are known that is nearest to this one."""
        return int(self._history.steps[self._history.place(step)]) if self._history else step

    @traitlets.validate("step")
    def _known(self, proposal: dict[str, Any]) -> int:
        return self.nearest(proposal["value"])

    def _drawing(self) -> Drawing:
        return scrubber_drawing(self._history, self._scale, self.step)

    def __repr__(self) -> str:
        history = self._history
        names, steps = ([panel.name for panel in history.panels], len(history.steps)) if history else ([], 0)
        return f"Scrubber(curves={names}, steps={steps}, step={self.step})"


@listed_options
def scrubber(
    curves: xr.DataArray | xr.Dataset,
    *,
    maps: xr.DataArray | None = None,
    bars: xr.DataArray | None = None,
    step: int | None = None,
    names: Sequence[str] | Mapping[str, str] | None = None,
    scale: str = "linear",
    until: int | None = None,
    title: str = "",
) -> Scrubber:
    """Curves over training in small panels, and a step that moves over all of them at once.

    Drag the slider, or let it play; below it stand the attention and the norms of the nearest step at which they were
    kept. Hover a curve to look at a step, click to set it, click again, or press Esc, to go back to the first one; the
    arrow keys move, Home and End lead to the ends. Where a reader has asked for less motion, play takes longer steps.

    Parameters
    ----------
    curves
        A Dataset of one to eight variables over ``step``, or a DataArray, such as
        `nbtools.training.Trajectory.measures`. Over ``seed`` as well, it becomes the mean line in the band of all
        seeds, of those that are known at a step; over ``layer``, one panel for each. ``attrs["long_name"]`` and
        ``attrs["units"]`` say what a variable is, ``attrs["vmin"]`` and ``attrs["vmax"]`` may say where its axis ends.
        NaN where nothing is known. At most 2000 steps, in any order and at any distance.
    maps
        Attention ``(step, query, key)`` at some steps, of at most 64 tokens; the coordinates ``query_token`` and
        ``key_token`` are their texts.
    bars
        Norms ``(step, position)`` at some steps, of at most 64 tokens, drawn on a logarithmic axis; the coordinate
        ``token`` is their text.
    step
        On show first; by default the last.
    names
        The variables to show, in order; or a mapping from them to what is written above each.
    scale
        How steps lie on their axis: ``"linear"`` or ``"log"``, where step 0 stands a little apart.
    until
        Where that axis ends at least, for a training that goes on: then one step is enough. By default at the last one.
    title
        Written above the view.

    Returns
    -------
    Scrubber
        Its trait ``step`` follows the slider, and can be set; ``show`` shows another training at the same step.

    Raises
    ------
    ArrayError
        If dimensions, coordinates or numbers are not those that are expected, or there are too many of them.
    InputError
        If there is no such variable or scale.

    Examples
    --------
    >>> import xarray as xr
    >>> from nbtools import views
    >>> steps = {"step": [0, 10, 100, 1000]}
    >>> loss = xr.DataArray([3.1, 2.5, 0.8, 0.1], dims="step", coords=steps, name="loss", attrs={"units": "nats"})
    >>> view = views.scrubber(loss, scale="log")
    >>> view.step = 90
    >>> view
    Scrubber(curves=['loss'], steps=4, step=100)
    """
    view = Scrubber(title=title)
    view.show(curves, maps=maps, bars=bars, names=names, scale=scale, until=until)
    view.step = view.newest if step is None else step
    return view
