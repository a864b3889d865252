"""Three numbers that learn in context: drag what they depend on, and the plateau and the jump move."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.explorers._pattern_traits import Found, Quiet
from nbtools.explorers._prompt import Explorer
from nbtools.explorers._three_controls import ThreeControls
from nbtools.explorers._three_runs import PLANES, SCALES, Course, Setting, burstinesses, check_setting
from nbtools.explorers._three_words import about_course, about_slice
from nbtools.views.group import link
from nbtools.views.landscape import Landscape
from nbtools.views.scrubber import Scrubber

__all__ = ["ThreeLogitsExplorer", "three_logits"]

_SETTING = ("pairs", "labels", "burstiness", "beta", "alpha", "xi", "lr", "steps")
_CHOSEN = (*_SETTING, "plane", "scale")


class ThreeLogitsExplorer(Explorer):
    """A training of three nested logits, its curves and its landscape; made by `three_logits`.

    Attributes
    ----------
    pairs, labels, burstiness
        The context: its pairs of an item and a label, how many labels there are in all, and how often each class is in
        it. A number of pairs that the burstiness does not divide gets the next lower one that does.
    beta, alpha, xi
        The parameters before the first step.
    lr, steps
        How training goes.
    step
        The step on show.
    plane
        Which parameters the landscape is over: ``"xi, alpha"``, ``"alpha, beta"`` or ``"xi, beta"``. The third is held
        at what it is at the step on show.
    scale
        How steps lie on their axis, ``"linear"`` or ``"log"``.
    result
        The training on show, at every step: what `nbtools.training.three_logits` gives.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. What does not fit changes nothing.
    """

    pairs, labels, burstiness, steps, step = (traitlets.Int() for _ in range(5))
    beta, alpha, xi, lr = (traitlets.Float() for _ in range(4))
    plane, scale = traitlets.Unicode(next(iter(PLANES))), traitlets.Unicode(SCALES[0])
    result = Found()

    def __init__(self, setting: Setting) -> None:
        self._course, self._quiet, self._often = Course(check_setting(setting)), Quiet(), setting.burstiness
        self._shown: tuple[Any, Any] = (None, None)
        self._drawn = self._drawn_of = None
        self.landscape, self.curves, self.controls = Landscape(), Scrubber(), ThreeControls()
        self.status = self.controls.status
        super().__init__(setting.model, [[self.landscape], [self.curves]], controls=[self.controls])
        self._lay_out()
        with self._quiet:
            self._good = asdict(setting) | {"plane": self.plane, "scale": self.scale}
            for name, value in asdict(setting).items():
                self.set_trait(name, value)
            self.step = setting.steps if self._course.half is None else self._course.half
            for name in _CHOSEN:
                self._put(name)
        self._publish(self._course, *self._asked())
        self._connect()

    def _lay_out(self) -> None:
        """Put the curves beside the landscape, or below it where a page is narrow; above each what it is over."""
        named, columns = self.controls.named, widgets.Layout(flex="1 1 380px", width="auto", min_width="0")
        parts = [(named["plane"], self.landscape), (named["scale"], self.curves)]
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="8px 24px", align_items="flex-start")
        beside = widgets.HBox([widgets.VBox(part, layout=columns) for part in parts], layout=layout)
        self.children = [self.controls, beside]

    def _connect(self) -> None:
        link(self.curves, self.landscape)
        traitlets.link((self.curves, "step"), (self, "step"))
        self.observe(self._changed, _CHOSEN)
        self.observe(self._scrubbed, "step")
        for name, control in self.controls.named.items():
            control.observe(partial(self._entered, name), "value")

    @property
    def _setting(self) -> Setting:
        return Setting(**{name: getattr(self, name) for name in _SETTING})

    @traitlets.validate(*_CHOSEN)
    def _fits(self, proposal: dict[str, Any]) -> Any:
        """Say what does not fit, and keep what was there."""
        name, value = proposal["trait"].name, proposal["value"]
        try:
            self._check(name, value)
        except InputError as error:
            self._complain(str(error))
            return self._good[name]
        return value

    def _check(self, name: str, value: Any) -> None:
        if name in ("plane", "scale"):
            known = PLANES if name == "plane" else SCALES
            if value not in known:
                msg = f"expected {name} as one of {', '.join(map(repr, known))}, got {value!r}"
                raise InputError(msg)
        elif not self._quiet:
            setting = replace(self._setting, **{name: value})
            check_setting(self._divided(setting) if name == "pairs" else setting)

    def _divided(self, setting: Setting) -> Setting:
        """Give each class as many copies as were asked for, or the next lower number that divides the pairs."""
        fits = [times for times in burstinesses(setting.pairs, setting.labels) if times <= self._often]
        return replace(setting, burstiness=max(fits, default=1))

    @traitlets.validate("step")
    def _known(self, proposal: dict[str, Any]) -> int:
        return self.curves.nearest(proposal["value"])

    def _entered(self, name: str, change: dict[str, Any]) -> None:
        """Take what was entered, and put back what does not fit."""
        if not self._quiet:
            setattr(self, name, change["new"])
            with self._quiet:
                self._put(name)

    def _changed(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        if change["name"] == "burstiness":
            self._often = self.burstiness
        with self._quiet:
            if change["name"] == "pairs":
                self.burstiness = self._divided(self._setting).burstiness
            self._good = {name: getattr(self, name) for name in _CHOSEN}
            for name in {change["name"], "burstiness"}:
                self._put(name)
        self._request(change)

    def _put(self, name: str) -> None:
        """Let a control show what its trait is."""
        others = burstinesses(self.pairs, self.labels) if name == "burstiness" else ()
        self.controls.put(name, getattr(self, name), others)

    def _scrubbed(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self._request(change)

    def _asked(self) -> tuple[Setting, str, str]:
        return self._setting, self.plane, self.scale

    def _answer(self, setting: Setting, plane: str, scale: str) -> Course:
        return self._course if setting == self._course.setting else Course(setting)

    def _publish(self, course: Course, setting: Setting, plane: str, scale: str) -> None:
        self._course, self.model, self.error = course, setting.model, ""
        with self._quiet:
            self._draw(course, plane, scale)
        self.result, self.status.value = course.result, about_course(course)

    def _draw(self, course: Course, plane: str, scale: str) -> None:
        """Draw the landscape, and then the curves, if they are others than before; the step stays as it is."""
        step = min(self.step, course.setting.steps)
        if course is not self._drawn_of:
            self._drawn, self._drawn_of = course.drawn(step), course
        place, axis = (course, plane, course.held(plane, step)), (course, scale)
        if place != self._shown[0]:
            self._draw_landscape(course, plane, step)
        if axis != self._shown[1]:
            names = {str(name): str(name) for name in self._drawn} | {"probability": "P"}
            with self.curves.hold_sync():
                self.curves.show(self._drawn, names=names, scale=scale)
                self.curves.step = step
        self._shown = place, axis
        self.step = self.landscape.step = step

    def _draw_landscape(self, course: Course, plane: str, step: int) -> None:
        surface = course.surface(plane, step)
        with self.landscape.hold_sync():
            self.landscape.show(surface, path=self._drawn, vmin=0, vmax=np.ceil(2 * float(surface.max())) / 2)
            self.landscape.title, self.landscape.step = about_slice(course, plane, step), step

    def __repr__(self) -> str:
        copies = f", burstiness={self.burstiness}" if self.burstiness > 1 else ""
        return f"ThreeLogitsExplorer(pairs={self.pairs}, labels={self.labels}{copies}, step={self.step})"


def three_logits(
    pairs: int = 8,
    labels: int = 32,
    *,
    burstiness: int = 1,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    lr: float = 0.05,
    steps: int = 6000,
) -> ThreeLogitsExplorer:
    """Three nested logits that learn in context: what a plateau and a jump depend on, while you drag it.

    Each move of a slider trains the model again, from the first step to the last. The landscape is the loss over two of
    the three parameters, with the path that training takes; click it, or move the slider of the curves, and both are at
    the same step. The third parameter is held at what it is there.

    Parameters
    ----------
    pairs, labels, burstiness, start, lr, steps
        As in `nbtools.training.three_logits`.

    Returns
    -------
    ThreeLogitsExplorer
        Its traits ``pairs``, ``labels``, ``burstiness``, ``beta``, ``alpha``, ``xi``, ``lr``, ``steps``, ``step``,
        ``plane`` and ``scale`` follow the hand, and can be set; ``result`` is the training.

    Raises
    ------
    InputError
        If a number does not fit. Later ones are explained in ``error``.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024.

    Examples
    --------
    >>> explorer = three_logits(8, 32)
    >>> explorer.pairs = 4
    >>> explorer.status.value.split(";")[0]
    'P passes 0.5 at step 403'
    >>> explorer.labels = 4
    >>> explorer.status.value
    'the origin is critical: nothing moves'
    """
    if np.shape(start) != (3,):
        msg = f"expected three numbers to start from, beta, alpha and xi, got {start!r}"
        raise InputError(msg)
    return ThreeLogitsExplorer(Setting(pairs, labels, burstiness, *map(float, start), lr, steps))
