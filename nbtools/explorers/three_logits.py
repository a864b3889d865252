"""Three numbers that learn in context: drag what they depend on, and the plateau and the jump move."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.explorers._pattern_traits import Found, Quiet
from nbtools.explorers._three_runs import PLANES, SCALES, SHADES, Course, Setting, burstinesses, check_setting
from nbtools.explorers._three_words import about_course, about_slice
from nbtools.runs.latest import Latest
from nbtools.views.base import View
from nbtools.views.pictures import titled

if TYPE_CHECKING:
    from nbtools.training.three_logits import ThreeLogits
    from nbtools.views.pictures import Drawing

__all__ = ["ThreeLogitsExplorer", "three_logits"]

_SETTING = ("pairs", "labels", "burstiness", "beta", "alpha", "xi", "lr", "steps")
_CHOSEN = (*_SETTING, "plane", "scale")


class ThreeLogitsExplorer(View, folder="three_logits"):
    """A training of three nested logits, its curves and its landscape; made by `three_logits`.

    The page trains the model itself, so that it answers at once, and where there is no kernel. What is chosen there
    arrives here, and ``result`` follows.

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

    _pins: ClassVar[dict[str, str]] = {"step": "step"}

    pairs, labels, burstiness, steps, step = (traitlets.Int().tag(sync=True) for _ in range(5))
    beta, alpha, xi, lr = (traitlets.Float().tag(sync=True) for _ in range(4))
    plane = traitlets.Unicode(next(iter(PLANES))).tag(sync=True)
    scale = traitlets.Unicode(SCALES[0]).tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    result = Found()

    def __init__(self, setting: Setting) -> None:
        self._course, self._quiet, self._often = Course(check_setting(setting)), Quiet(), setting.burstiness
        self._latest: Latest[Setting] = Latest(self._train)
        self._good = asdict(setting) | {"plane": next(iter(PLANES)), "scale": SCALES[0]}
        step = setting.steps if self._course.half is None else self._course.half
        self._scale, frame = self._fit(SHADES), SHADES.frame() | {"notes": self._course.notes}
        with self._quiet:
            super().__init__(**asdict(setting), step=step, result=self._course.result, _frame=frame)
        self.observe(self._changed, (*_CHOSEN, "step"))

    @property
    def model(self) -> ThreeLogits:
        """The model that is trained."""
        return self._course.setting.model

    @property
    def status(self) -> str:
        """What is wrong, or else what the training on show comes to, in a sentence."""
        return f"⚠ {self.error}" if self.error else about_course(self._course)

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
            self.error = str(error)
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
        return max(0, min(proposal["value"], self.steps))

    def _changed(self, change: dict[str, Any]) -> None:
        """Let what depends on it follow, and train if something else is to be trained than was."""
        if self._quiet or change["old"] == change["new"]:  # the same: what the page sent was put back
            return
        divided = self._divided(self._setting).burstiness
        with self._quiet:
            if change["name"] == "pairs":
                self.burstiness = divided
            elif self.burstiness != divided:  # which was asked for, and does not follow from other numbers
                self._often = self.burstiness
            self.step = self.step
        self._good = {name: getattr(self, name) for name in _CHOSEN}
        self.error = ""
        self._latest.submit(self._setting)

    def _train(self, setting: Setting) -> None:
        if setting != self._course.setting:
            self._course = Course(setting)
            self.result = self._course.result

    def _drawing(self) -> Drawing:
        about = about_slice(self._course, self.plane, self.step)
        return titled(self._course.drawing(self.plane, self.scale, self.step, about), about_course(self._course))

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

    Each move of a slider trains the model again, from the first step to the last, in the page itself: also in one that
    no kernel stands behind. The landscape is the loss over two of the three parameters, with the path that training
    takes; click it, or move the slider of the curves, and both are at the same step. The third parameter is held at
    what it is there.

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
    >>> explorer.status.split(";")[0]
    'P passes 0.5 at step 403'
    >>> explorer.labels = 4
    >>> explorer.status
    'the origin is critical: nothing moves'
    """
    if np.shape(start) != (3,):
        msg = f"expected three numbers to start from, beta, alpha and xi, got {start!r}"
        raise InputError(msg)
    return ThreeLogitsExplorer(Setting(pairs, labels, burstiness, *map(float, start), lr, steps))
