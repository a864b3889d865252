"""Path patching: what one part of a model tells another, and nothing that goes by other ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.patching.exact import finish, usable_site
from nbtools.patching.frozen import FrozenEngine
from nbtools.patching.labels import Direction, described, on_scale, sides
from nbtools.patching.path_hooks import HookedPaths
from nbtools.patching.path_plan import Heads, Mlps, PathPlan, Positions, Senders, Through, plan_paths
from nbtools.patching.proof import EngineName, all_logits, choose_engine, difference, proven, random_pair
from nbtools.patching.running import Metric, Pieces, Running

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["PathSweep", "path_patch"]


class PathRunning(Running):
    """The paths of a plan, run piece by piece."""

    engines: ClassVar[dict[str, type]] = {"resumed": FrozenEngine, "hooks": HookedPaths}


class PathSweep(Pieces):
    """Path patching that is run piece by piece: what `path_patch` runs to the end.

    Iterate over it to run; each piece gives the number of paths that are done. At any time `effect` holds what there
    is, and NaN elsewhere. It takes what `path_patch` takes, and ``piece_tokens``: at most so many tokens of patched
    runs in one piece. `why` says why its `engine` was chosen.

    Examples
    --------
    >>> from nbtools.tasks import pair
    >>> model = load()
    >>> task = pair(model, "The Eiffel Tower is in", "The Colosseum is in", " Paris", " Rome")
    >>> sweep = PathSweep(model, task, senders=["20.0", "mlp25"], positions="END")
    >>> [done for done in sweep], sweep.effect.sender.values.tolist()
    ([2], ['20.0', 'mlp25'])
    """

    def __init__(
        self,
        model: TransformerBridge,
        task: Task,
        *,
        senders: Senders = "heads",
        receivers: Heads | None = None,
        through: Through = "q",
        positions: Positions | None = None,
        receiver_positions: Positions | None = None,
        mlps: Mlps = "recomputed",
        direction: Direction = "denoising",
        metric: Metric | None = None,
        budget_mb: float = 1024,
        piece_tokens: int | None = None,
        engine: EngineName = "auto",
    ) -> None:
        self.base, self.source = sides(task, direction)
        self.model, self.task, self.direction = model, task, direction
        senders, receivers, positions, receiver_positions = map(
            _listed, (senders, receivers, positions, receiver_positions)
        )
        self._asked = {"senders": senders, "positions": positions, "receiver_positions": receiver_positions}
        self.plan = plan_paths(model, task, senders, receivers, through, positions, receiver_positions, mlps)
        self.metric = task.metric if metric is None else metric
        if piece_tokens is not None and piece_tokens < 1:
            msg = f"expected one token or more in a piece, got {piece_tokens}"
            raise InputError(msg)
        for site in _sites(self.plan):
            usable_site(model, site)
        self.engine, self.why = choose_engine(model, engine, partial(prove_paths, model, self.plan))
        self.running = PathRunning(
            model, self.plan, self.base.ids, self.source.ids, self.metric, engine=self.engine,
            budget=1e6 * budget_mb, piece=piece_tokens,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What is done, for a progress bar."""
        return f"paths to {self.plan.receiver_label()}"

    @property
    def effect(self) -> xr.DataArray:
        """What there is so far, normalised: 0 is the run that is patched into, 1 the run that is patched from."""
        return labelled_paths(
            self.running.values - self.running.ends[0][:, None, None], self, self.running.ends,
            engine=self.engine, complete=self.done >= self.total,
        )  # fmt: skip

    def attrs(self, engine: str, complete: bool) -> dict[str, Any]:
        """Say how effects came about."""
        plan = self.plan
        site = " and ".join(site for site in ("z", "mlp_out") if site in _sent(plan))
        return described(
            self.model, self.task, site, direction=self.direction, metric=self.metric, engine=engine, complete=complete
        ) | {
            "receivers": plan.receiver_label(),
            "frozen": "attention and MLPs" if plan.mlps_frozen else "attention",
            "positions": _written(self._asked["positions"]),
            "receiver_positions": _written(self._asked["receiver_positions"]) if plan.receivers else "END",
        }  # fmt: skip

    def cells(self, values: np.ndarray) -> tuple[np.ndarray, list[str], dict[str, Any]]:
        """Give values ``[prompt, layer, column]`` the dimensions of what was asked for, and their coordinates."""
        plan, asked = self.plan, self._asked["senders"]
        if asked == "heads":
            return values[:, :, :-1], ["layer", "head"], {"layer": plan.layers, "head": np.arange(plan.heads)}
        if asked == "mlps":
            return values[:, :, -1], ["layer"], {"layer": plan.layers}
        layer, column = np.array(plan.senders).T
        names = [plan.label(sender) for sender in plan.senders]
        return values[:, layer, column], ["sender"], {"sender": names, "layer": ("sender", layer)}


def path_patch(
    model: TransformerBridge,
    task: Task,
    *,
    senders: Senders = "heads",
    receivers: Heads | None = None,
    through: Through = "q",
    positions: Positions | None = None,
    receiver_positions: Positions | None = None,
    mlps: Mlps = "recomputed",
    direction: Direction = "denoising",
    metric: Metric | None = None,
    budget_mb: float = 1024,
    engine: EngineName = "auto",
    progress: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> xr.DataArray:
    """Send one part's output from the other run to some receivers only, and measure what that does.

    For each sender there are two runs. In the first its output is that of the source, and all other heads put out
    what they do in the base run, so nothing reaches a receiver by way of another head. In the second, a base run, the
    receivers get what arrived at them in the first; everything after them runs as it does. No forward pass is run for
    a sender: with attention frozen a token does not depend on others, so only tokens that change go through the
    layers, those of all senders together.

    Parameters
    ----------
    model
        A hooked model.
    task
        Clean and corrupted prompts with an answer, from `nbtools.tasks`.
    senders
        ``"heads"`` sends the output of each head, ``"mlps"`` that of each MLP, ``"all"`` both; or only some, as
        ``["18.6", "mlp20"]``.
    receivers
        Heads, such as ``["23.0", "23.1"]``, which all get what arrives at them at once. By default the logits: the
        direct effect.
    through
        What of the receivers is changed: their queries ``"q"``, keys ``"k"`` or values ``"v"``. Keys and values that a
        group of heads shares are changed for the receiver alone.
    positions
        Where a sender's output is replaced, by number or name, at all of them at once; by default everywhere. Papers
        replace it at ``"END"``.
    receiver_positions
        Where receivers get what arrived: the positions of these queries, keys or values. By default everywhere.
    mlps
        ``"recomputed"``: MLPs between sender and receiver are part of the path [1]_. ``"frozen"``: they put out what
        they do in the base run, and only the residual stream carries the change [2]_.
    direction
        ``"denoising"`` sends clean outputs in the corrupted run, as `patch` does. ``"noising"`` sends corrupted ones
        in the clean run, as papers on path patching do.
    metric
        As in `patch`. By default the task's logit difference.
    budget_mb
        Memory that this may take at any time beside the model, in megabytes; one run at a time always goes.
    engine
        ``"resumed"`` computes only what can change; ``"hooks"`` runs in full. By default the first where it proves
        itself on this model, the second elsewhere; the result's ``attrs["engine"]`` says which.
    progress
        Whether to show a progress bar.
    cancel
        Asked between pieces; when it says True, what is done so far is returned.

    Returns
    -------
    xarray.DataArray
        Effects ``([prompt,] layer, head)`` of heads, ``([prompt,] layer)`` of MLPs, ``([prompt,] sender)`` otherwise,
        with the senders' labels: 0 is the run that is patched into, 1 the run that is patched from. The coordinates
        ``base`` and ``source`` hold the metric of those two. A sender in the layer of the last receivers or above
        reaches none: NaN. One between receivers reaches those above it.

    Raises
    ------
    HookError
        If a head, MLP or position does not exist, or a site does nothing on this architecture.
    InputError
        If no sender comes before a receiver, or a name or another argument does not fit.
    SweepError
        If the metric raises, or does not give one number for each run; its ``partial`` holds what was done.

    References
    ----------
    .. [1] Wang et al., "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small",
       2022 (attention frozen, MLPs recomputed).
    .. [2] Goldowsky-Dill et al., "Localizing Model Behavior with Path Patching", 2023 (one edge at a time).
    .. [3] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2023.

    Examples
    --------
    Which heads write the answer, and which tell head 23.0 where to look:

    >>> from nbtools.tasks import ioi
    >>> model = load()
    >>> task = ioi(model, prompts=2, template=0, order="ABBA")
    >>> direct = path_patch(model, task, positions="END")
    >>> direct.dims, direct.attrs["receivers"]
    (('prompt', 'layer', 'head'), 'logits')
    >>> senders = path_patch(model, task, receivers="23.0", through="q", positions="END")
    >>> senders.attrs["receivers"], bool(senders.sel(layer=23).isnull().all())
    ('q of 23.0', True)
    """
    sweep = PathSweep(
        model, task, senders=senders, receivers=receivers, through=through, positions=positions,
        receiver_positions=receiver_positions, mlps=mlps, direction=direction, metric=metric, budget_mb=budget_mb,
        engine=engine,
    )  # fmt: skip
    return finish(sweep, progress=progress, cancel=cancel)


def labelled_paths(
    changes: np.ndarray, sweep: PathSweep, ends: np.ndarray, *, engine: str, complete: bool = True
) -> xr.DataArray:
    """Put changes of the metric ``[prompt, layer, column]`` on the scale of effects, with labels."""
    values, dims, coords = sweep.cells(on_scale(changes, ends))
    coords |= {"base": ("prompt", ends[0]), "source": ("prompt", ends[1])}
    attrs = sweep.attrs(engine, complete)
    array = xr.DataArray(values.astype(np.float32), coords, ["prompt", *dims], name="effect", attrs=attrs)
    return array.isel(prompt=0) if sweep.task.single else array


def prove_paths(model: TransformerBridge, plan: PathPlan) -> str:
    """Compare both engines on a few paths of the kind that a plan has; say what is wrong, or nothing."""
    kind = f"{plan.through if plan.receivers else 'logits'}, MLPs {'frozen' if plan.mlps_frozen else 'recomputed'}"
    sent = " and ".join(sorted(_sent(plan)))
    return proven(model, f"{sent} to {kind}", lambda: difference(partial(_sample, model, plan), f"{sent} to {kind}"))


def _sample(model: TransformerBridge, plan: PathPlan, engine: str) -> PathRunning:
    """Lay out a few paths through the first, middle and last layers on two random prompts."""
    ids, last, middle = random_pair(model), len(plan.layers) - 1, len(plan.layers) // 2
    columns = [column for site, column in (("z", plan.heads - 1), ("mlp_out", plan.heads)) if site in _sent(plan)]
    ends = sorted({0, plan.heads - 1})
    everywhere = np.ones((1, ids.shape[-1]), bool)
    few = PathPlan(
        senders=[(layer, column) for layer in sorted({0, middle}) for column in columns],
        receivers=dict.fromkeys(sorted({max(1, middle), last}), ends) if plan.receivers else {},
        through=plan.through, mlps_frozen=plan.mlps_frozen, layers=plan.layers, heads=plan.heads, shared=plan.shared,
        replaced=everywhere, put=everywhere if plan.receivers else np.arange(ids.shape[-1])[None] == ids.shape[-1] - 1,
        first_difference=np.zeros(1, int),
    )  # fmt: skip
    return PathRunning(model, few, *ids, all_logits, engine=engine, budget=2e8)


def _sent(plan: PathPlan) -> set[str]:
    return {"mlp_out" if column == plan.heads else "z" for _, column in plan.senders}


def _sites(plan: PathPlan) -> list[str]:
    """List the sites that path patching edits."""
    return ["z", *(["mlp_out"] if plan.asks_for_mlps else []), *([plan.through] if plan.receivers else [])]


def _listed(asked: Any) -> Any:
    """Let what can be looped over be looped over twice."""
    return asked if asked is None or isinstance(asked, (str, int, np.integer)) else list(asked)


def _written(positions: Any) -> str:
    return "all" if positions is None else " ".join(map(str, positions if isinstance(positions, list) else [positions]))
