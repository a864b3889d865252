"""A small transformer that is trained while you watch: its curves, and where it looks, as they come to be."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import traitlets

from nbtools.errors import InputError
from nbtools.explorers._background import Background, Ending
from nbtools.explorers._prompt import Explorer
from nbtools.explorers._training_controls import TrainingControls, progress_words
from nbtools.explorers._training_curves import curves_of
from nbtools.explorers._training_runs import Run, Setting, check_choice, opened
from nbtools.explorers._training_variants import VARIANTS, Variants, described, read_variants
from nbtools.naming import parse_head
from nbtools.training import bigram_backcopy
from nbtools.views.scrubber import Scrubber

if TYPE_CHECKING:
    from nbtools.training import TinyConfig, Training, Trajectory
    from nbtools.training.progress import Data, Progress
    from nbtools.training.trainer import Measure

__all__ = ["VARIANTS", "TrainingExplorer", "training"]

log = logging.getLogger(__name__)

_STEPS = 1000
_CHOSEN = ("variant", "seed", "steps", "head")


class TrainingExplorer(Explorer):
    """A training that can be watched, stopped and gone on with; made by `training`.

    Attributes
    ----------
    variant, seed
        The model and its seed; set one, and there is a fresh model, at step 0.
    steps
        How many steps to train in all; more can be asked for at any time.
    step
        The measured step on show. While that is the newest one, it follows the training.
    head
        The head whose attention and values are on show; empty for a model without attention.
    running
        Whether it trains.
    state
        How far it is, in words.
    error
        What is wrong with what was asked, or why training ended, in a sentence; empty if nothing is. What does not fit
        changes nothing.
    """

    variant, head, state = (traitlets.Unicode() for _ in range(3))
    seed, step = traitlets.Int(), traitlets.Int()
    steps = traitlets.Int(_STEPS)
    running = traitlets.Bool()

    def __init__(self, setting: Setting, run: Run) -> None:
        self.setting, self._run = setting, run
        self.view, self.controls = Scrubber(), TrainingControls(setting.variants)
        self.status = self.controls.status
        self._background: Background[Progress] = Background()
        self._version, self._wanted, self._quiet, self._halting = 0, False, False, False
        self._good: dict[str, Any] = {}
        self._drawn: tuple[Any, ...] = ()
        super().__init__(run.training.model, [[self.view]], controls=[self.controls])
        self.observe(self._changed, _CHOSEN)
        traitlets.link((self.view, "step"), (self, "step"))
        with self._quietly():
            self.variant, self.seed, self.steps = run.variant, run.seed, run.training.steps
        self._open(run, 0)
        self._good = {name: getattr(self, name) for name in _CHOSEN}
        self._tell()
        for name in _CHOSEN:
            getattr(self.controls, name).observe(partial(self._entered, name), "value")
        self.controls.run.on_click(lambda button: self.stop() if self.running else self.train())
        self.controls.reset.on_click(lambda button: self.reset())

    @property
    def training(self) -> Training:
        """The training, with the model as it is now."""
        return self._run.training

    @property
    def result(self) -> Trajectory:
        """What was measured and kept so far."""
        return self.training.trajectory()

    def train(self) -> None:
        """Train, or go on; in a notebook between its cells, elsewhere to the end at once."""
        self._wanted = True
        self._request({})

    def stop(self) -> None:
        """Stop after the piece in progress; `train` goes on."""
        self._wanted = False
        self._request({})

    def reset(self) -> None:
        """Stop, and begin again with a fresh model."""
        self._version += 1
        self.stop()

    def finish(self) -> Trajectory:
        """Train to the end now, and give the result.

        Raises
        ------
        InputError
            If training ended with an error.
        """
        self.train()
        self._background.finish()
        if self.error:
            raise InputError(self.error)
        return self.result

    def close(self) -> None:
        """Stop, and take the explorer off the page."""
        self.stop()
        super().close()

    @traitlets.validate(*_CHOSEN)
    def _fits(self, proposal: dict[str, Any]) -> Any:
        """Say what does not fit, and keep what was there."""
        name, value = proposal["trait"].name, proposal["value"]
        try:
            check_choice(name, value, self.setting, self._run)
        except InputError as error:
            self._complain(str(error))
            return self._good[name]
        return value

    @traitlets.validate("step")
    def _measured(self, proposal: dict[str, Any]) -> int:
        return self.view.nearest(proposal["value"])

    def _entered(self, name: str, change: dict[str, Any]) -> None:
        """Take what was entered, and put back what does not fit."""
        if not self._quiet:
            setattr(self, name, change["new"])
            change["owner"].value = getattr(self, name)

    def _changed(self, change: dict[str, Any]) -> None:
        name = change["name"]
        self._good[name] = change["new"]
        if self._quiet:
            return
        getattr(self.controls, name).value = change["new"]
        self._wanted = self._wanted and name not in ("variant", "seed")
        self._request({})

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Let traits and controls change without a request."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False
            for name in ("variant", "seed", "steps"):
                getattr(self.controls, name).value = getattr(self, name)

    def _asked(self) -> tuple[Any, ...]:
        return self.variant, self.seed, self._version, self.steps, self._wanted

    def _answer(self, variant: str, seed: int, version: int, steps: int, wanted: bool) -> Run:
        same = (variant, seed, version) == self._key
        return self._run if same else opened(self.setting, variant, steps, seed)

    def _explain(self, error: Exception, request: tuple[Any, ...]) -> None:
        """Say why there is no other model, and keep this one."""
        super()._explain(error, request)
        with self._quietly():
            self.variant, self.seed, self._version = self._key

    def _publish(self, run: Run, variant: str, seed: int, version: int, steps: int, wanted: bool) -> None:
        self.error, run.training.steps = "", steps
        if run is not self._run:
            self._halt()
            self._open(run, version)
        self._draw()
        if not wanted:
            self._halt()
        elif not self.running:
            self.running = True
            self._tell()
            self._background.start(run.pieces(), show=self._fill, end=self._ended)
        self._tell()

    def _open(self, run: Run, version: int) -> None:
        """Show another training."""
        self._run, self.model, self._key = run, run.training.model, (run.variant, run.seed, version)
        heads = run.looks.heads
        with self._quietly():
            self.head = self.head if self.head in heads else next(iter(heads), "")
            self.controls.offer_heads(heads, self.head)
        self.controls.about.value = described(*self.setting.variants[run.variant])
        self._draw()

    def _halt(self) -> None:
        self._halting = True
        try:
            self._background.stop()
        finally:
            self._halting = False

    def _draw(self) -> None:
        """Show what was measured since the last time, at the newest step if that was on show."""
        run, steps = self._run, max(self.steps, self._run.training.step)
        news = run, self.head, steps, run.progress.step
        if news == self._drawn:
            return
        layer = parse_head(self.head)[0] if self.head else None
        curves, texts = curves_of(run.training.measures, self.setting.names, layer)
        maps, bars = run.looks.maps(self.head), run.looks.bars(self.head)
        follows = self.step == self.view.newest
        with self.view.hold_sync():
            self.view.show(curves, maps=maps, bars=bars, names=texts, until=steps)
            self.view.title = f"{run.variant}, seed {run.seed}"
            if follows:
                self.view.step = self.view.newest
        self._drawn = news

    def _fill(self, progress: Progress) -> None:
        self._draw()
        self._tell()
        if self._latest.waiting and not self._background.yields:
            self._halt()  # no loop would serve the new request before the end

    def _ended(self, ending: Ending) -> None:
        self.running = self._wanted = False
        where, error = f"at step {self.training.step:,}", ending.error
        if error is not None:
            self.error = f"training ended {where}: {type(error).__name__}: {error}"
            log.error("training ended %s", where, exc_info=error)
        elif not ending.whole and not self._halting:
            self.error = f"training was interrupted {where}: press go on, or call train()"
            self._draw()
        self._tell()

    def _tell(self) -> None:
        """Say how far it is, or what is wrong."""
        self.state = progress_words(self._run, running=self.running)
        self.controls.show_progress(self._run, running=self.running)
        self.status.value = f"⚠ {self.error}" if self.error else self.state

    def __repr__(self) -> str:
        seed = f", seed={self.seed}" if self.seed else ""
        steps = f", steps={self.steps}" if self.steps != _STEPS else ""
        return f"TrainingExplorer({self.variant!r}{seed}{steps}, step={self.step})"


def training(
    config: TinyConfig | str | None = None,
    *,
    data: Data | None = None,
    variants: Variants | None = None,
    steps: int = _STEPS,
    seed: int = 0,
    measure: Measure | None = None,
    measure_every: int = 25,
    keep: int | Iterable[int] | None = None,
    names: Sequence[str] | Mapping[str, str] | None = None,
) -> TrainingExplorer:
    """A small model that you train and watch: what it can do, where a head looks, and what it would write.

    Press train: curves grow, with the attention and the value norms of one head on one sequence below them. Move the
    slider back and it stays there; at its right end it follows the training. Stop at any time and go on: the result is
    the same, bit for bit. Another variant or seed is a fresh model.

    Parameters
    ----------
    config
        What to train first: the name of a variant, or a model; by default the first variant.
    data
        What it is trained on; by default `nbtools.training.bigram_backcopy`.
    variants
        By name a model, and options of `nbtools.training.Training`, such as ``{"optimizer": "sgd"}``; by default
        `nbtools.explorers.VARIANTS`.
    steps, seed
        How many steps to train, and what decides the first weights and all sequences.
    measure, measure_every
        As in `nbtools.training.train`. Each measured step is one on the slider.
    keep
        The steps at which weights are kept in ``result``, as there; by default each measured one.
    names
        The curves to show, at most eight; or a mapping from them to what is written above each. By default those of
        `nbtools.training.SINK_MEASURES` that show a sink most clearly, or what there is.

    Returns
    -------
    TrainingExplorer
        Its traits ``variant``, ``seed``, ``steps``, ``step`` and ``head`` follow the hand, and can be set; ``result``
        is what was measured and kept so far. In a notebook it trains between its cells; ``finish()`` trains to the end
        at once.

    Raises
    ------
    InputError
        If there is no such variant, or options or names do not fit. What comes later is explained in ``error``.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024.

    Examples
    --------
    >>> from nbtools.training import TinyConfig
    >>> explorer = training(TinyConfig(d_model=8, d_head=8, length=8), steps=50)
    >>> explorer
    TrainingExplorer('given', steps=50, step=0)
    >>> explorer.finish()
    Trajectory(bigram_backcopy text, 1 layer x 1 head, softmax, adamw, seed 0: 50 steps, 3 measured, 3 kept)
    >>> explorer.step = 20
    >>> explorer.step, explorer.view.step, explorer.error
    (25, 25, '')
    """
    data = bigram_backcopy() if data is None else data
    known, variant = read_variants(config, variants, data)
    kept = measure_every if keep is None else keep if isinstance(keep, int) else tuple(keep)
    setting = Setting(data, known, measure, measure_every, kept, names)
    return TrainingExplorer(setting, opened(setting, variant, steps, seed))
