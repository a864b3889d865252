"""What the explorer of three nested logits says of a training and of its landscape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtools.explorers._three_runs import PLANES
from nbtools.views.written import number

if TYPE_CHECKING:
    from nbtools.explorers._three_runs import Course

__all__ = ["about_course", "about_slice"]

_BEFORE = 0.9  # of the way to a probability of 0.5
_SHORT = 10  # steps that are no plateau


def about_course(course: Course) -> str:
    """Say when the right label becomes probable, and how probable it was shortly before."""
    setting, half = course.setting, course.half
    if not course.moves:
        where = "the start" if any(setting.start) else "the origin"
        return f"{where} is critical: nothing moves"
    if half is None:
        end = number(float(course.result.probability[-1]))
        return f"P does not pass 0.5 in {setting.steps:,} steps: it ends at {end} ({_guess(course)})"
    if half == 0:
        return "P is above 0.5 from the start"
    return f"P passes 0.5 at step {half:,}" + (f"; plateau: {_plateau(course, half)}" if half > _SHORT else "")


def _plateau(course: Course, half: int) -> str:
    before = int(_BEFORE * half)
    return f"still {number(float(course.result.probability[before]))} at step {before:,} ({_guess(course)})"


def _guess(course: Course) -> str:
    classes = course.setting.model.classes
    return f"a guess among the {classes} classes of the context: {number(1 / classes)}"


def about_slice(course: Course, plane: str, step: int) -> str:
    """Say at which value the parameter is held that the landscape does not show."""
    return f"loss with {PLANES[plane][2]} held at {number(course.held(plane, step))}, as at step {step:,}"
