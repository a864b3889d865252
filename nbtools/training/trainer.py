"""Training a small model piece by piece, the same way each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from nbtools.errors import InputError
from nbtools.runs.forward import lock
from nbtools.runs.threads import settle_threads
from nbtools.training.course import Config, Seed, course_of, mean_losses
from nbtools.training.progress import Data, Measure, Progress, Values
from nbtools.training.trajectory import Trajectory

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Training", "train"]

_OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {"lr": 3e-3, "betas": (0.9, 0.99), "fused": True}),
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
}


class Training:
    """A training that runs as far as it is asked to: each ``next()`` goes on to the next measured step.

    It can be left at any time and gone on with, here or, by `state_dict`, in another one made the same way: the
    result is the same, bit for bit on the CPU. The same seed gives the same model. While it trains torch has one
    thread, and afterwards as many as before: small models are many times slower with more on a busy machine.

    Parameters are those of `train`.

    Attributes
    ----------
    step, steps
        Steps done, and to do in all; set `steps` to go further.
    cancel
        Asked before each step: where it says True, training ends for now.

    Examples
    --------
    >>> from nbtools.training import TinyConfig, bigram_backcopy
    >>> config = TinyConfig(d_model=8, d_head=8, d_mlp=0, length=8)
    >>> training = Training(config, bigram_backcopy(), steps=20, batch=4, measure_every=10)
    >>> next(training).step, training.step
    (0, 0)
    >>> [progress.step for progress in training], training.step
    ([10, 20], 20)
    """

    def __init__(
        self,
        config: Config,
        data: Data,
        *,
        steps: int = 1000,
        batch: int = 32,
        optimizer: str = "adamw",
        lr: float | None = None,
        weight_decay: float = 0.0,
        seed: Seed = 0,
        measure: Measure | None = None,
        measure_every: int = 50,
        keep: int | Iterable[int] = 50,
        cancel: Callable[[], bool] | None = None,
    ) -> None:
        _check(optimizer, steps=steps, batch=batch, measure_every=measure_every)
        self.config, self.data, self.steps, self.step = config, data, steps, 0
        kind, options = _OPTIMIZERS[optimizer]
        asked = {"lr": options["lr"] if lr is None else lr, "weight_decay": weight_decay}
        self._course = course_of(config, data, seed)
        seeds = seed if isinstance(seed, int) else list(seed)
        self._about = {"optimizer": optimizer, "batch": batch, "seed": seeds, **asked}
        self._optimizer = kind(self.model.parameters(), **options | asked)
        self._measure = measure or data.progress(getattr(config, "length", 0))
        self._every, self._wanted, self.cancel = measure_every, _wanted(keep), cancel
        self._seconds, self._losses = 0.0, self._course.no_parts()
        self._rows: dict[int, dict[str, Values]] = {}
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._keep_if_wanted()

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        settle_threads()
        with lock(self.model), _one_thread(), self._timed():
            found = self._measured() if self._to_next_measured() else None
        if found is None:
            raise StopIteration
        spent = self._seconds if self.step else float("nan")
        left = spent * (self.steps - self.step) / max(self.step, 1)
        return Progress(self.step, self.steps, *found, seconds=self._seconds, seconds_left=left)

    @property
    def model(self) -> nn.Module:
        """The model, as far as it has come."""
        return self._course.model

    @property
    def measures(self) -> xr.Dataset:
        """What was measured so far, as `Trajectory.measures` has it."""
        about = self._about | {"steps": self.step}
        return Trajectory.of(self.config, self.data, about, self._rows, {}).measures

    def trajectory(self) -> Trajectory:
        """Give what was measured and kept so far, and the weights as they are now."""
        kept = self._kept | ({self.step: self._weights()} if self._kept else {})
        return Trajectory.of(self.config, self.data, self._about | {"steps": self.step}, self._rows, kept)

    def state_dict(self) -> dict[str, Any]:
        """Give all that is needed to go on later: weights, optimizer, generator, and what was measured and kept."""
        state = {name: getattr(self, f"_{name}") for name in ("seconds", "losses", "rows", "kept")}
        state |= {"step": self.step, "generators": self._states()}
        return deepcopy(state | {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another training with the same arguments was."""
        state = deepcopy(state)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._return_to(state["generators"])
        self.step, self._seconds, self._losses = state["step"], state["seconds"], state["losses"]
        self._rows, self._kept = state["rows"], state["kept"]

    def _to_next_measured(self) -> bool:
        """Train up to the next step that is measured; False where all are done, or it was cancelled before."""
        while self.step in self._rows or (self.step % self._every and self.step < self.steps):
            if self.step >= self.steps or (self.cancel is not None and self.cancel()):
                return False
            self._train()
            self._keep_if_wanted()
        return True

    def _measured(self) -> tuple[dict[str, float], dict[str, Values]]:
        measures, losses = dict(self._measure(self.model)), mean_losses(self._losses)
        self._rows[self.step] = measures | {f"loss_{name}": loss for name, loss in losses.items()}
        self._losses = self._course.no_parts()
        return losses, measures

    def _train(self) -> None:
        """Do one step, all of it or none: what is interrupted draws the same sequences again."""
        before = self._states()
        try:
            drawn = self._course.draw(self._about["batch"])
            losses = self._course.losses(drawn)
            self._optimizer.zero_grad(set_to_none=True)
            self._course.total(losses).backward()
        except BaseException:
            self._return_to(before)
            raise
        self._optimizer.step()
        self.step += 1
        for name, part in self._course.parts(drawn, losses).items():
            self._losses[name] += part

    def _states(self) -> list[Tensor]:
        return [generator.get_state() for generator in self._course.generators]

    def _return_to(self, states: list[Tensor]) -> None:
        for generator, state in zip(self._course.generators, states, strict=True):
            generator.set_state(state)

    def _keep_if_wanted(self) -> None:
        if self._wanted(self.step) or (self._kept and self.step == self.steps):
            self._kept[self.step] = self._weights()

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in self.model.state_dict().items()}

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - began


def train(
    config: Config,
    data: Data,
    *,
    steps: int = 1000,
    batch: int = 32,
    optimizer: str = "adamw",
    lr: float | None = None,
    weight_decay: float = 0.0,
    seed: Seed = 0,
    measure: Measure | None = None,
    measure_every: int = 50,
    keep: int | Iterable[int] = 50,
    progress: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> Trajectory:
    """Train a small model and keep it as it was at many steps.

    The loss is the mean over all positions, or over all answers. By default what showed sinks most clearly at this
    size: a thousand steps of AdamW without weight decay take about 25 seconds of one core. `Training` does the same
    piece by piece.

    Parameters
    ----------
    config
        What the model is made of: a `TinyConfig` for tokens, a `ClassifierConfig` for in-context classification.
    data
        What it is trained on: `bigram_backcopy`, `markov_repeats` or `in_context`.
    steps, batch
        How many steps, each with this many new sequences of the model's length.
    optimizer
        ``"adamw"`` (betas 0.9 and 0.99) or ``"sgd"`` (momentum 0.9).
    lr
        By default 0.003 for AdamW, 0.1 for SGD.
    weight_decay
        As torch has it.
    seed
        Decides the first weights and all sequences. In-context classification takes a list of seeds as well: then as
        many networks learn side by side, each as if it were alone.
    measure
        Gives numbers about a model; an array of numbers is one for each layer, or for each seed of a list. By default
        the measures of the data: `SinkProgress`, `InductionProgress` or `InContextProgress`.
    measure_every
        How many steps lie between two measured ones; the first and the last are measured too.
    keep
        The steps at which the weights are kept, or how many lie between two of them; the last is kept too. ``()``
        keeps none. `log_spaced` gives steps that lie close where most happens.
    progress
        Whether to show a progress bar.
    cancel
        Asked before each step; training ends where it says True, and what was done is given.

    Returns
    -------
    Trajectory
        The model at each kept step, and what was measured.

    Raises
    ------
    InputError
        If an argument does not fit.

    References
    ----------
    .. [1] Guo et al., "Active-Dormant Attention Heads", 2024.

    Examples
    --------
    >>> from nbtools.training import TinyConfig, bigram_backcopy
    >>> config = TinyConfig(d_model=8, d_head=8, d_mlp=0, length=8)
    >>> found = train(config, bigram_backcopy(), steps=40, batch=4, measure_every=20, keep=[0, 10])
    >>> found
    Trajectory(bigram_backcopy text, 1 layer x 1 head, softmax, adamw, seed 0: 40 steps, 3 measured, 3 kept)
    >>> found.measures.backcopy_loss.dims, found.measures.sink.dims
    (('step',), ('step', 'layer'))
    """
    training = Training(
        config,
        data,
        steps=steps,
        batch=batch,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        measure=measure,
        measure_every=measure_every,
        keep=keep,
        cancel=cancel,
    )
    with tqdm(total=steps, unit="step", **({} if progress else {"disable": True})) as bar:  # TQDM_DISABLE rules
        for done in training:
            bar.update(done.step - bar.n)
    return training.trajectory()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wanted(keep: int | Iterable[int]) -> Callable[[int], bool]:
    if isinstance(keep, int):
        if keep < 1:
            msg = f"expected keep= as steps, or as a distance of at least 1 between them, got {keep}; () keeps none"
            raise InputError(msg)
        return lambda step: step % keep == 0
    return frozenset(keep).__contains__


def _check(optimizer: str, **counts: int) -> None:
    wrong = [f"{name}={count!r}" for name, count in counts.items() if not isinstance(count, int) or count < 1]
    if wrong:
        msg = f"expected whole numbers from 1, got {', '.join(wrong)}"
        raise InputError(msg)
    if optimizer not in _OPTIMIZERS:
        msg = f"expected optimizer= one of {', '.join(_OPTIMIZERS)}, got {optimizer!r}"
        raise InputError(msg)
