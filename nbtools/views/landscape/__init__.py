"""A number over two parameters, such as a loss, and the way that a training takes over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import traitlets

from nbtools.views.base import View
from nbtools.views.colour import scale_for
from nbtools.views.landscape.reading import read_surface
from nbtools.views.landscape.still import landscape_drawing
from nbtools.views.landscape.surface import Surface
from nbtools.views.options import listed_options

if TYPE_CHECKING:
    import xarray as xr

    from nbtools.views.pictures import Drawing

__all__ = ["Landscape", "landscape"]


class Landscape(View, folder="landscape"):
    """A surface over two parameters, and on it the path of a training with a dot at one step; made by `landscape`.

    Attributes
    ----------
    step
        The step at which the dot is, one of those of the path: another one leads to the nearest.
    """

    _pins: ClassVar[dict[str, str]] = {"step": "step"}

    step = traitlets.Int(0, help="the step at which the dot is; the nearest of the path").tag(sync=True)

    _surface: Surface | None = None

    def show(
        self,
        values: xr.DataArray,
        *,
        path: xr.Dataset | xr.DataArray | None = None,
        label: str | None = None,
        cmap: str | None = None,
        vmin: float | None = None,
        vmax: float | None = None,
    ) -> None:
        """Show another surface, at the step nearest to that on show; takes what `landscape` takes."""
        surface = read_surface(values, path, label)
        self._scale = self._fit(scale_for(surface.values, cmap=cmap, vmin=vmin, vmax=vmax, label=surface.label))
        self._surface = surface
        with self.hold_sync():
            self._recolour()
            self.step = self.step  # which the new path may not have

    def _recolour(self) -> None:
        self._frame = {**self._surface.frame(self._scale), **self._scale.frame()}

    @property
    def newest(self) -> int:
        """The last step of the path; 0 where there is none."""
        track = self._surface.track if self._surface else None
        return int(track.steps[-1]) if track else 0

    def nearest(self, step: int) -> int:
        """Give the step of the path that is nearest to this one."""
        track = self._surface.track if self._surface else None
        return int(track.steps[track.place(step)]) if track else step

    @traitlets.validate("step")
    def _known(self, proposal: dict[str, Any]) -> int:
        return self.nearest(proposal["value"])

    def _drawing(self) -> Drawing:
        return landscape_drawing(self._surface, self._scale, self.step)

    def __repr__(self) -> str:
        surface = self._surface
        over = {axis.name: len(axis.values) for axis in (surface.y, surface.x)} if surface else {}
        steps = len(surface.track.steps) if surface and surface.track else 0
        return f"Landscape(over={over}, steps={steps}, step={self.step})"


@listed_options
def landscape(
    values: xr.DataArray,
    *,
    path: xr.Dataset | xr.DataArray | None = None,
    step: int | None = None,
    label: str | None = None,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str = "",
) -> Landscape:
    """A number over two parameters in colour, with lines where it is the same, and a training's path on it.

    Hover to read both parameters and the value there. On the path, a click puts the dot at the nearest step, a second
    click, or Esc, back at the first one; the arrow keys move along the path, Home and End lead to its ends. Link it
    with `scrubber`, and both are at the same step.

    Parameters
    ----------
    values
        A DataArray over two parameters, the vertical one first, such as ``(alpha, xi)``. Its coordinates are numbers in
        even steps, at most 128 of each. NaN where nothing is known.
    path
        A Dataset over ``step`` with a variable for each of both parameters, or a DataArray that has them along another
        dimension; whatever else is in it is left out. At most 2000 steps.
    step
        Where the dot is first; by default at the last step.
    label
        What the values are; by default the array's ``long_name`` or name.
    cmap, vmin, vmax
        As in matplotlib; by default viridis, over the range of the values.
    title
        Written above the view.

    Returns
    -------
    Landscape
        Its trait ``step`` follows the hand, and can be set; ``show`` shows another surface at the same step.

    Raises
    ------
    ArrayError
        If dimensions, coordinates or numbers are not those that are expected, or there are too many of them.
    InputError
        If there is no such colour map, or the range is empty.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from nbtools import views
    >>> grid = {"b": np.linspace(-1, 1, 21), "a": np.linspace(-2, 2, 31)}
    >>> bowl = xr.DataArray(grid["b"][:, None] ** 2 + grid["a"] ** 2, grid, ("b", "a"), name="loss")
    >>> down = xr.Dataset({"a": ("step", [2.0, 1.0, 0.5]), "b": ("step", [1.0, 0.5, 0.2])}, {"step": [0, 10, 20]})
    >>> view = views.landscape(bowl, path=down)
    >>> view.step = 8
    >>> view
    Landscape(over={'b': 21, 'a': 31}, steps=3, step=10)
    """
    view = Landscape(title=title)
    view.show(values, path=path, label=label, cmap=cmap, vmin=vmin, vmax=vmax)
    view.step = view.newest if step is None else step
    return view
