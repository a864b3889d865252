"""What happened while a small network learned to learn in context: its curves, and where it looked at each step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets
import xarray as xr

from nbtools.errors import InputError
from nbtools.explorers._emergence_controls import EmergenceControls
from nbtools.explorers._emergence_curves import emergence_curves
from nbtools.explorers._emergence_in_context import InContextLooks, about_target, pairs_of
from nbtools.explorers._emergence_tokens import TokenLooks, about_token, source_of
from nbtools.explorers._pattern_traits import Found, Quiet
from nbtools.explorers._prompt import Explorer
from nbtools.training import InContext, Trajectory
from nbtools.views.attention import Attention
from nbtools.views.bars import Bars
from nbtools.views.scrubber import Scrubber

__all__ = ["EmergenceExplorer", "emergence"]

_LOOKS = 64  # sequences at steps that are remembered
_CHOSEN = ("step", "kind", "example", "head", "first_head", "query")


class EmergenceExplorer(Explorer):
    """A training that is over, step by step; made by `emergence`.

    Attributes
    ----------
    step
        The measured step on show. Attention is that of the nearest step whose weights were kept.
    kind, example
        Which sequence is looked at: one of ``kinds``, and its number from 0.
    head, first_head
        For tokens the heads on show of the last and of the first layer; else empty.
    query
        For tokens the position whose next token is asked for, pinned in the attention of the last layer; or None. In
        the first layer the position is pinned that an induction head would look at from there.
    result
        What is on show: ``first`` and ``last``, the attention of both layers, and ``probability`` of each answer; the
        attributes say at which kept step, and of which sequence.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. What does not fit changes nothing.
    """

    step, example = traitlets.Int(), traitlets.Int()
    kind, head, first_head = (traitlets.Unicode() for _ in range(3))
    query = traitlets.Int(None, allow_none=True)
    result = Found()

    def __init__(self, run: Trajectory, looks: InContextLooks | TokenLooks, curves: Scrubber, example: int) -> None:
        self.run, self._looks, self.curves = run, looks, curves
        self.kinds = looks.kinds
        self._tokens = isinstance(looks, TokenLooks)
        self._model = lru_cache(maxsize=2)(run.model)
        self._look = lru_cache(maxsize=_LOOKS)(self._looked)
        self.first = Attention() if len(looks.layers) > 1 else None
        self.last = Attention() if self._tokens else Bars()
        self.controls = EmergenceControls(looks.kinds, looks.count)
        self.status = self.controls.status
        self._quiet, self._good, self._pinned = Quiet(), {}, ()
        below = [view for view in (self.first, self.last) if view is not None]
        super().__init__(self._model(run.kept[-1]), [[curves], below], controls=[self.controls])
        self._lay_out(below)
        self._begin(example)
        self._connect()

    def _lay_out(self, below: Sequence[widgets.Widget]) -> None:
        """Put both layers side by side, or below each other where a page is narrow."""
        for view in below:
            view.layout = widgets.Layout(flex="1 1 380px", width="auto", min_width="0")
        layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="8px 24px", align_items="flex-start")
        layout.margin = "12px 0 0"
        self.children = [self.controls, self.curves, widgets.HBox(below, layout=layout)]

    def _begin(self, example: int) -> None:
        with self._quiet:
            self.step, self.kind, self.example = self.curves.step, next(iter(self.kinds)), example
            if self._tokens:
                *first, self.head = self._looks.telling(self._look(self.run.kept[-1], self.kind, example))
                self.first_head, self.query = first[0] if first else "", self._looks.asked(self.kind, example)
        self._keep()
        self._publish(self._answer(*self._asked()), *self._asked())

    def _connect(self) -> None:
        self.observe(self._changed, _CHOSEN)
        traitlets.link((self.curves, "step"), (self, "step"))
        if self._tokens:
            self.last.observe(partial(self._clicked, ""), ["head", "query"])
            if self.first is not None:
                self.first.observe(partial(self._clicked, "first_"), "head")
        for name in ("kind", "example"):
            getattr(self.controls, name).observe(partial(self._entered, name), "value")
        self.controls.another.on_click(lambda button: setattr(self, "example", (self.example + 1) % self._looks.count))

    @traitlets.validate(*_CHOSEN)
    def _fits(self, proposal: dict[str, Any]) -> Any:
        """Say what does not fit, and keep what was there."""
        name, value = proposal["trait"].name, proposal["value"]
        if name == "step":
            return self.curves.nearest(value)
        try:
            self._check(name, value)
        except InputError as error:
            self._complain(str(error))
            return self._good[name]
        return value

    def _check(self, name: str, value: Any) -> None:
        if name in ("example", "query"):
            known = range(self._looks.count if name == "example" else self._looks.length(self.kind))
            fits, expected = value is None or value in known, f"from 0 to {len(known) - 1}" if known else "as None"
        else:
            known = list(self.kinds) if name == "kind" else self._heads(name)
            fits, expected = value in known, f"as one of {', '.join(known)}" if any(known) else "as '': there is one"
        if not fits:
            msg = f"expected {name} {expected}, got {value!r}"
            raise InputError(msg)

    def _heads(self, name: str) -> list[str]:
        """Give the heads that can be on show in one of the layers; none where there is nothing to choose."""
        layers = self._looks.heads
        return (layers[-1] if name == "head" else layers[0] if len(layers) > 1 else []) or [""]

    def _entered(self, name: str, change: dict[str, Any]) -> None:
        """Take what was entered, and put back what does not fit."""
        if not self._quiet:
            setattr(self, name, change["new"])
            with self._quiet:
                self.controls.put(self.kind, self.example)

    def _clicked(self, prefix: str, change: dict[str, Any]) -> None:
        if not self._quiet:
            setattr(self, prefix + change["name"], change["new"])

    def _changed(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        if self._tokens and change["name"] in ("kind", "example"):
            with self._quiet:
                self.query = self._looks.asked(self.kind, self.example)
        self._keep()
        self._request(change)

    def _keep(self) -> None:
        self._good = {name: getattr(self, name) for name in _CHOSEN}

    def _asked(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _CHOSEN)

    def _answer(self, step: int, kind: str, example: int, *others: Any) -> xr.Dataset:
        """Give what the nearest kept step makes of a sequence, if its numbers are finite."""
        kept = min(self.run.kept, key=lambda kept: abs(kept - step))
        found = self._look(kept, kind, example)
        if not all(np.isfinite(found[name]).all() for name in ("first", "last", "probability") if name in found):
            msg = f"at step {kept:,} attention or answers are not finite, for training diverged: choose an earlier step"
            raise InputError(msg)
        return found

    def _looked(self, kept: int, kind: str, example: int) -> xr.Dataset:
        """Run the model of a kept step on a sequence."""
        found = self._looks.look(self._model(kept), kind, example)
        return found.assign_attrs(step=kept, kind=kind, example=example)

    def _publish(self, found: xr.Dataset, step: int, *others: Any) -> None:
        new = found is not self.result
        self.model = self._model(found.attrs["step"]) if new else self.model
        at = f"at step {found.attrs['step']:,}" + ("" if found.attrs["step"] == step else ", the nearest that was kept")
        with self._quiet:
            if new:
                self._draw(found)
            if self._tokens:
                self._pin(found)
            self.controls.put(self.kind, self.example)
            self._name(found, at)
        self.error, self.result = "", found
        said = about_token(found, self.query) if self._tokens else about_target(found)
        self.status.value = f"{at}: {said}"

    def _draw(self, found: xr.Dataset) -> None:
        """Show the attention of both layers."""
        if self.first is not None:
            self._draw_heads(self.first, found["first"], 0, self.first_head)
        if self._tokens:
            self._draw_heads(self.last, found["last"], -1, self.head)
        else:
            names = ["to the item", "to its label"]
            self.last.show(*pairs_of(found), names=names, label="attention", vmin=0, vmax=1)

    def _draw_heads(self, view: Attention, pattern: xr.DataArray, place: int, head: str) -> None:
        layer = self._looks.layers[place]
        pattern = pattern if self._tokens else pattern.expand_dims(head=[0])
        view.show(pattern.assign_coords(layer=layer, head=np.arange(pattern.sizes["head"])), head=head or None)

    def _pin(self, found: xr.Dataset) -> None:
        """Pin the token that is asked about, and where an induction head would look from there."""
        self.last.head, self.last.query = self.head, self.query
        if self.first is not None:
            asked = self.kind, self.example, self.query
            if asked != self._pinned:
                self.first.query, self._pinned = source_of(found, self.query), asked
            self.first.head = self.first_head

    def _name(self, found: xr.Dataset, at: str) -> None:
        """Write above the views what they show."""
        layers, target = self._looks.layers, found.key_token.values[-1]
        if self.first is not None:
            self.first.title = f"layer {layers[0]} {at}"
        self.last.title = f"layer {layers[-1]} {at}" if self._tokens else f"layer {layers[-1]} from {target} {at}"

    def __repr__(self) -> str:
        kind = f", kind={self.kind!r}" if self.kind != next(iter(self.kinds)) else ""
        example = f", example={self.example}" if self.example else ""
        return f"EmergenceExplorer({self.run.data.kind!r}, step={self.step}{kind}{example})"


def emergence(
    run: Trajectory,
    *,
    seeds: Trajectory | xr.Dataset | Iterable[Trajectory | xr.Dataset] | None = None,
    step: int | None = None,
    example: int = 0,
    names: Sequence[str] | Mapping[str, str] | None = None,
) -> EmergenceExplorer:
    """What happened while a small network learned to learn in context, step by step.

    Move the step over the curves: below them stand where the first and the last layer look on one sequence, and what
    the network answers. Of in-context classification items are letters, one for each class, followed by their labels,
    which are numbers; ``▸`` marks the items of the target's class and their labels. When it has learned, labels look at
    their item in the first layer, and the target looks at the labels that are marked in the last. Of tokens the heads
    are on show that come to look most at the token before, and at the token that came after the same one before; click
    a token in the last layer to ask what follows it.

    Parameters
    ----------
    run
        A training whose weights were kept: of in-context classification, or of tokens. Of several networks side by
        side the first is looked at.
    seeds
        Trainings from other seeds, or their measures over ``seed``. Curves are then the mean of all seeds, the run's
        among them, in the band of all, at the steps at which all were measured. A seed counts once.
    step
        On show first; by default the last.
    example
        The number of the sequence on show first. Those of in-context classification are the ones that it was measured
        on.
    names
        The curves to show, at most eight; or a mapping from them to what is written above each. By default those that
        tell most.

    Returns
    -------
    EmergenceExplorer
        Its traits ``step``, ``kind``, ``example``, ``head``, ``first_head`` and ``query`` follow the hand, and can be
        set; ``result`` is what is on show.

    Raises
    ------
    InputError
        If no weights were kept, the model has no attention, or measures, names or the example do not fit. What comes
        later is explained in ``error``.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024.
    .. [2] Olsson et al., "In-context Learning and Induction Heads", 2022.

    Examples
    --------
    >>> from nbtools.training import ClassifierConfig, in_context, train
    >>> data = in_context(classes=16, labels=4, pairs=2, dimensions=6, most_pairs=3, burstiness=1)
    >>> config = ClassifierConfig(places=7, dimensions=6, labels=4, d_mlp=8)
    >>> explorer = emergence(train(config, data, steps=40, measure_every=10, keep=20))
    >>> explorer
    EmergenceExplorer('in_context', step=40)
    >>> explorer.step = 19
    >>> explorer.step, explorer.result.attrs["step"], explorer.result["last"].dims
    (20, 20, ('key',))
    """
    looks = _looks_of(run)
    if example not in range(looks.count):
        msg = f"expected example from 0 to {looks.count - 1}, got {example!r}"
        raise InputError(msg)
    measures, texts = emergence_curves(run, seeds, names, looks.layers)
    curves = Scrubber()
    curves.show(measures, names=texts)
    curves.step = curves.newest if step is None else step
    if (count := measures.sizes.get("seed", 1)) > 1:
        curves.title = f"mean of {count} seeds; below it seed {np.atleast_1d(run.about['seed'])[0]}"
    return EmergenceExplorer(run, looks, curves, example)


def _looks_of(run: Any) -> InContextLooks | TokenLooks:
    if not isinstance(run, Trajectory):
        msg = f"expected a Trajectory, as nbtools.training.train gives, got {type(run).__name__}"
        raise InputError(msg)
    if not run.kept:
        msg = "this trajectory has measures only: weights are needed, so train again with keep=50, say"
        raise InputError(msg)
    return InContextLooks(run) if isinstance(run.data, InContext) else TokenLooks(run)
