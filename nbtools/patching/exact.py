"""Exact activation patching: what changes when one activation is taken from another run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from nbtools.errors import InputError, SweepError
from nbtools.patching.engine import Reads
from nbtools.patching.labels import Direction, labelled, sides
from nbtools.patching.plan import plan_sweep
from nbtools.patching.proof import EngineName, choose_engine
from nbtools.patching.running import Metric, Pieces, Running
from nbtools.patching.sites import Site, site_of
from nbtools.runs.forward import check_hook
from nbtools.runs.liveness import refuse_inert

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching.paths import PathSweep
    from nbtools.tasks import Task

__all__ = ["Direction", "Sweep", "finish", "labelled", "patch", "sides", "usable_site"]


class Sweep(Pieces):
    """A sweep that is run piece by piece: what `patch` runs to the end, and an explorer while it is looked at.

    Iterate over it to run; each piece gives the number of cells that are done. At any time `effect` holds what
    there is, and NaN elsewhere. Late positions and layers cost least, and come first. It takes what `patch` takes, and
    ``piece_tokens``: at most so many tokens of patched runs in one piece, for pieces that do not take long.

    Examples
    --------
    >>> from nbtools.tasks import pair
    >>> model = load()
    >>> task = pair(model, "The Eiffel Tower is in", "The Colosseum is in", " Paris", " Rome")
    >>> sweep = Sweep(model, task, "resid_pre", layers=[20], positions=["END"])
    >>> [done for done in sweep], sweep.effect.dims
    ([1], ('layer', 'position'))
    """

    def __init__(
        self,
        model: TransformerBridge,
        task: Task,
        site: str,
        *,
        over: Sequence[str] | str | None = None,
        layers: Iterable[int] | None = None,
        positions: Iterable[int | str] | None = None,
        heads: Iterable[int] | None = None,
        neurons: Iterable[int] | None = None,
        direction: Direction = "denoising",
        metric: Metric | None = None,
        reads: Reads = "END",
        budget_mb: float = 1024,
        piece_tokens: int | None = None,
        engine: EngineName = "auto",
    ) -> None:
        self.base, self.source = sides(task, direction)
        self.model, self.task, self.site, self.direction = model, task, usable_site(model, site), direction
        chosen = {"position": positions, "query": positions, "head": heads, "neuron": neurons}
        self.plan = plan_sweep(model, task, self.site, over, layers, chosen)
        self.metric = task.metric if metric is None else metric
        if reads not in ("END", "all"):
            msg = f"a metric reads the logits at 'END' or 'all', got {reads!r}"
            raise InputError(msg)
        if piece_tokens is not None and piece_tokens < 1:
            msg = f"expected one token or more in a piece, got {piece_tokens}"
            raise InputError(msg)
        self.engine, self.why = choose_engine(model, engine)
        self.running = Running(
            model, self.plan, self.base.ids, self.source.ids, self.metric, engine=self.engine, reads=reads,
            budget=1e6 * budget_mb, piece=piece_tokens,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What is done, for a progress bar."""
        return f"patching {self.site.name}"

    @property
    def effect(self) -> xr.DataArray:
        """What there is so far, normalised: 0 is the run that is patched into, 1 the run that is patched from."""
        values, ends = self.running.values, self.running.ends
        across = (slice(None), *[None] * (values.ndim - 1))
        return labelled(
            values - ends[0][across], self.plan, self.task, ends, model=self.model, metric=self.metric,
            direction=self.direction, engine=self.engine, complete=self.done >= self.total,
        )  # fmt: skip


def patch(
    model: TransformerBridge,
    task: Task,
    site: str,
    *,
    over: Sequence[str] | str | None = None,
    layers: Iterable[int] | None = None,
    positions: Iterable[int | str] | None = None,
    heads: Iterable[int] | None = None,
    neurons: Iterable[int] | None = None,
    direction: Direction = "denoising",
    metric: Metric | None = None,
    reads: Reads = "END",
    budget_mb: float = 1024,
    engine: EngineName = "auto",
    progress: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> xr.DataArray:
    """Take one activation at a time from the other run, and measure how much of the gap it closes.

    Every cell is a run of the model in which one activation comes from the other prompt. The result is exact: that
    of a full run with the patch in it. Only what can change is computed (later layers, later positions), many cells
    together; before the first token that differs nothing can change, so those cells are known without running.

    Parameters
    ----------
    model
        A hooked model.
    task
        Clean and corrupted prompts with an answer, from `nbtools.tasks`.
    site
        ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out``, ``mlp_out``; ``z``, ``q``, ``k``, ``v`` (a head's
        output, queries, keys, values; with grouped-query attention keys and values are those of a group); ``pattern``
        (where a head looks); ``neurons``.
    over
        The dimensions to sweep beside the layer. By default ``position`` for what has no heads, ``head`` for what
        has (all positions are patched together), ``neuron`` for neurons. ``("position", "head")`` sweeps both. Keys
        and values that a group of heads shares are patched for the whole group by ``head``, and for one head alone
        by ``query_head``; the result's dimension is ``head`` all the same.
    layers, positions, heads, neurons
        Only these; all by default. Positions may be names of the task's, such as ``"END"``.
    direction
        ``"denoising"`` patches clean activations into the corrupted run: what is enough to bring the answer back.
        ``"noising"`` patches corrupted ones into the clean run: what is needed for it.
    metric
        A function of the logits at the last position ``[run, vocabulary]``, and if it takes two arguments of the
        prompt of each run, that gives a number for each run. By default the task's logit difference.
    reads
        ``"all"`` gives the metric the logits of all positions ``[run, position, vocabulary]``. That takes more time
        and memory: each of them has to be unembedded.
    budget_mb
        Memory that the sweep may take at any time beside the model, in megabytes; one run at a time always goes.
    engine
        ``"resumed"`` recomputes only what can change; ``"hooks"`` runs in full. By default the first where it proves
        itself on this model, the second elsewhere; the result's ``attrs["engine"]`` says which.
    progress
        Whether to show a progress bar.
    cancel
        Asked between pieces; when it says True, what is done so far is returned.

    Returns
    -------
    xarray.DataArray
        Effects ``([prompt,] layer, …)``: 0 is the run that is patched into, 1 the run that is patched from. The
        coordinates ``base`` and ``source`` hold the metric of those two, so ``base + effect * (source - base)`` is
        the metric itself. Cells that were not run are NaN, and ``attrs["complete"]`` is then 0.

    Raises
    ------
    HookError
        If there is no such site, it does nothing on this architecture, or a layer, head or neuron does not exist.
    InputError
        If a dimension, position or direction does not fit.
    SweepError
        If the metric raises, or does not give one number for each run; its ``partial`` holds what was done.

    References
    ----------
    .. [1] Vig et al., "Investigating Gender Bias in Language Models Using Causal Mediation Analysis", 2020.
    .. [2] Meng et al., "Locating and Editing Factual Associations in GPT", 2022 (causal tracing).
    .. [3] Zhang and Nanda, "Towards Best Practices of Activation Patching in Language Models", 2023.

    Examples
    --------
    >>> from nbtools.tasks import pair
    >>> model = load()
    >>> task = pair(model, "The Eiffel Tower is in", "The Colosseum is in", " Paris", " Rome")
    >>> effect = patch(model, task, "resid_pre", positions=["END"])
    >>> bool(abs(effect.sel(layer=0).item()) < 1e-4), bool(effect.sel(layer=29).item() > 0.9)
    (True, True)
    """
    sweep = Sweep(
        model, task, site, over=over, layers=layers, positions=positions, heads=heads, neurons=neurons,
        direction=direction, metric=metric, reads=reads, budget_mb=budget_mb, engine=engine,
    )  # fmt: skip
    return finish(sweep, progress=progress, cancel=cancel)


def finish(sweep: Sweep | PathSweep, *, progress: bool, cancel: Callable[[], bool] | None) -> xr.DataArray:
    """Run a sweep to its end, or until it is cancelled or interrupted; what is done is kept."""
    from tqdm.auto import tqdm

    with tqdm(total=sweep.total, disable=not progress, desc=sweep.title, leave=False) as bar:
        try:
            for done in sweep:
                bar.update(done - bar.n)
                if cancel is not None and cancel():
                    break
        except KeyboardInterrupt:
            warnings.warn(f"stopped: {sweep.done} of {sweep.total} cells are done, the others are NaN", stacklevel=3)
        except InputError:
            raise
        except Exception as error:
            msg = (
                f"the sweep stopped at {sweep.done} of {sweep.total} cells: {type(error).__name__}: {error}. "
                "What is done is in this error's `partial`"
            )
            raise SweepError(msg, partial=sweep.effect) from error
    return sweep.effect


def usable_site(model: TransformerBridge, name: str) -> Site:
    """Find a site, and see to it that an edit there does something on this architecture."""
    site = site_of(name)
    check_hook(model, site.at(0))
    refuse_inert(model, site.at(0))
    return site
