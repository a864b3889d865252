"""What the training explorer runs: a training in short turns, and what one sequence looks like on the way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbtools.errors import InputError
from nbtools.explorers._training_curves import Names, curves_of
from nbtools.explorers._training_looks import Looks
from nbtools.explorers._training_variants import Variants
from nbtools.training import Training

if TYPE_CHECKING:
    from nbtools.training.progress import Data, Progress
    from nbtools.training.trainer import Measure

__all__ = ["Run", "Setting", "check_choice", "opened"]

_TURN = 0.4  # seconds; then a click is heard
_MOST_MEASURED = 1990  # steps; a scrubber shows a few more
_LAST_SEED = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Setting:
    """What all trainings of an explorer share."""

    data: Data
    variants: Variants
    measure: Measure | None
    measure_every: int
    keep: int | Iterable[int]
    names: Names

    def training(self, variant: str, steps: int, seed: int) -> Training:
        """Make a fresh model of a variant, that can be trained."""
        config, options = self.variants[variant]
        given = {"measure": self.measure, "measure_every": self.measure_every, "keep": self.keep}
        return Training(config, self.data, **given | dict(options), steps=steps, seed=seed)


class Run:
    """One training, and how far it has come.

    Attributes
    ----------
    training
        The training; it goes on by `pieces`.
    looks
        The attention and the values of one sequence at measured steps.
    progress
        The last measured step.
    seconds
        How long it has run.
    """

    def __init__(self, setting: Setting, variant: str, steps: int, seed: int) -> None:
        self.variant, self.seed, self.seconds = variant, seed, 0.0
        self.training = setting.training(variant, steps, seed)
        self.looks = Looks(self.training.config, setting.data)
        self._note(next(self.training))

    def _note(self, progress: Progress) -> None:
        self.progress = progress
        self.looks.take(self.training.model, progress.step)

    @property
    def whole(self) -> bool:
        """Whether all steps are done, and the last one is measured."""
        return self.training.step >= self.training.steps and self.progress.step == self.training.step

    @property
    def seconds_left(self) -> float:
        """How long it will train at this pace; NaN at step 0."""
        step, steps = self.training.step, self.training.steps
        return self.seconds * max(steps - step, 0) / step if step else float("nan")

    def pieces(self) -> Iterator[Progress]:
        """Train in short turns; give the last measured step after each."""
        while not self.whole:
            began = time.perf_counter()
            try:
                self._turn(began + _TURN, self.training.step)
            finally:
                self.seconds += time.perf_counter() - began
            yield self.progress

    def _turn(self, until: float, first: int) -> None:
        """Train for a moment, and at least one step."""
        self.training.cancel = lambda: self.training.step > first and time.perf_counter() > until
        try:
            for progress in self.training:
                self._note(progress)
                if time.perf_counter() > until:
                    return
        finally:
            self.training.cancel = None


def opened(setting: Setting, variant: str, steps: int, seed: int) -> Run:
    """Make a fresh model, of which all is measured that is to be shown.

    Raises
    ------
    InputError
        If options, names, steps or seed do not fit.
    """
    run = Run(setting, variant, steps, seed)
    curves_of(run.training.measures, setting.names, None)
    for name, value in (("steps", steps), ("seed", seed)):
        check_choice(name, value, setting, run)
    return run


def check_choice(name: str, value: Any, setting: Setting, run: Run) -> None:
    """Raise an InputError if something cannot be chosen."""
    most = _MOST_MEASURED * setting.measure_every
    if name in ("variant", "head"):
        known = setting.variants if name == "variant" else run.looks.heads or [""]
        fits, expected = value in known, f"one of {', '.join(known)}"
    elif name == "seed":
        fits, expected = 0 <= value <= _LAST_SEED, "0 or more"
    else:
        fits, expected = 1 <= value <= most, f"1 to {most:,}, with every {setting.measure_every} of them measured"
    if not fits:
        msg = f"expected {name} as {expected}, got {value!r}"
        raise InputError(msg)
