"""Heads made to look at tokens of one's choice, what the model then says, and how often it is right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from nbtools.errors import InputError
from nbtools.explorers._pattern_controls import PatternControls
from nbtools.explorers._pattern_runs import PatternRuns, Request
from nbtools.explorers._pattern_task import TaskExplorer
from nbtools.explorers._pattern_traits import Given, Quiet
from nbtools.explorers._pattern_views import PatternViews
from nbtools.explorers._pattern_words import read_heads, read_position, read_targets, words
from nbtools.naming import HeadLike

if TYPE_CHECKING:
    import xarray as xr
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.tasks import Task

__all__ = ["PatternEditExplorer", "pattern_edit"]

_SUGGESTED = 6


class PatternEditExplorer(TaskExplorer):
    """Heads, what they are made to look at, and what comes of it; made by `pattern_edit`.

    Attributes
    ----------
    heads
        The heads that are edited, such as ``["20.0", "23.3"]``; a text with spaces can be set too. The attention of
        the first is on show.
    query
        The position from which they look, by name or number.
    to
        The positions that they are made to look at, by name or number, with an equal share each; empty if they are
        free.
    prompt
        The prompt of the task on show, from 0.
    result
        What the last request gave for this prompt, ``before`` and ``after`` the edit along ``run``: ``attention``
        ``(layer, head, position)`` from the query, ``probability`` of the next ``token``, ``logit_difference``.
    whole_task
        Whether all prompts are run, now and after each change of the edit.
    task_result
        The same for all prompts, as far as they were run: what `nbtools.measures.score` gives, over ``run`` and
        ``prompt``; None before any was.
    runs
        What was run on the whole task so far, of each edit once; the last twenty are kept.
    busy, progress, total
        Whether the task is run, how many of its prompts are done, and how many there are.
    state
        What came of the whole task so far, in words.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    heads = Given(())
    query = Given("END")
    to = Given(())
    prompt = traitlets.Int()

    def __init__(self, work: PatternRuns, request: Request, found: xr.Dataset, tries: Sequence[str]) -> None:
        self._shown, self._together = request, Quiet()
        self.views = PatternViews(self._from_here, self._to_here)
        self.controls = PatternControls(len(work.task), work.task.positions, tries)
        self.status = self.controls.status
        rows = [[self.views.before], [self.views.after], [self.views.bars]]
        super().__init__(work, rows, controls=[self.controls])
        self.children = [self.controls, *rows[0], *rows[1], _side_by_side(self.views.bars, self.panel)]
        self.layout.grid_gap = "6px"
        for name, value in request._asdict().items():
            setattr(self, name, value)
        self._publish(found, *request)
        self._connect()

    def _connect(self) -> None:
        traitlets.link((self, "prompt"), (self.controls.prompt, "value"))
        self._type()
        self.controls.heads.observe(self._typed, "value")
        self.controls.on_query(lambda chosen: self._change(query=chosen))
        self.controls.on_press(self._press_head, self._press_name)
        self.controls.free.on_click(lambda button: self.free())
        self.observe(self._type, "heads")
        self.observe(self._asked_otherwise, list(Request._fields))

    @traitlets.validate("heads")
    def _are_heads(self, proposal: dict[str, Any]) -> list[str]:
        return read_heads(proposal["value"])

    @traitlets.validate("to")
    def _are_positions(self, proposal: dict[str, Any]) -> list[int | str]:
        return read_targets(proposal["value"])

    @traitlets.validate("query")
    def _is_position(self, proposal: dict[str, Any]) -> int | str:
        return read_position(proposal["value"])

    @traitlets.validate("prompt")
    def _there(self, proposal: dict[str, Any]) -> int:
        if not 0 <= proposal["value"] < self.total:
            msg = f"expected a prompt from 0 to {self.total - 1}, got {proposal['value']}"
            raise InputError(msg)
        return proposal["value"]

    def free(self) -> None:
        """Give the heads their own attention back."""
        self._change(to=())

    def toggle(self, target: int | str) -> None:
        """Make the heads look at a position as well, by name or number; or no longer, if they do."""
        left = self._elsewhere(target)
        self._change(to=left if len(left) < len(self._base.to) else (*left, target))

    def _elsewhere(self, target: int | str) -> tuple[int | str, ...]:
        """Give what is looked at but for one token, by whatever name it goes."""
        base = self._base
        place, *seen = self._work.places([target, *base.to], base.prompt)
        return tuple(name for name, at in zip(base.to, seen, strict=True) if at != place)

    def _asked(self) -> Request:
        return Request(tuple(self.heads), self.query, tuple(self.to), self.prompt)

    @property
    def _base(self) -> Request:
        """What is changed by hand: what was asked for, or what is on show if that could not be done."""
        return self._shown if self.error else self._asked()

    def _asked_otherwise(self, change: dict[str, Any]) -> None:
        if not self._together:
            self._request(change)

    def _change(self, **new: Any) -> None:
        request = self._base._replace(**new)
        with self._together:
            for name, value in request._asdict().items():
                setattr(self, name, list(value) if isinstance(value, tuple) else value)
        self._request({})

    def _bring_back(self, request: Request) -> None:
        self._change(heads=request.heads, query=request.query, to=request.to)

    def _press_head(self, head: str, down: bool) -> None:
        others = [other for other in self._base.heads if other != head]
        self._change(heads=tuple([*others, head] if down else others))

    def _press_name(self, name: str, down: bool) -> None:
        others = self._elsewhere(name)
        self._change(to=(*others, name) if down else others)

    def _typed(self, change: dict[str, Any]) -> None:
        if read_heads(change["new"]) != self.heads:
            self._change(heads=tuple(read_heads(change["new"])))

    def _type(self, change: Any = None) -> None:
        if read_heads(self.controls.heads.value) != self.heads:
            self.controls.heads.value = " ".join(self.heads)

    def _from_here(self, place: int) -> None:
        self._change(query=self._work.name_at(place, self._shown.prompt))

    def _to_here(self, place: int) -> None:
        self.toggle(self._work.name_at(place, self._shown.prompt))

    def _serve(self, request: Request) -> None:
        if request == self._shown and not self.error:
            return  # several traits were set at once, and the first of them was answered with all
        super()._serve(request)

    def _answer(self, *request: Any) -> xr.Dataset:
        return self._work.answer(Request(*request))

    def _publish(self, found: xr.Dataset, *request: Any) -> None:
        asked, self.error = Request(*request), ""
        other = asked.key != self._shown.key
        if other:
            self._background.stop()
        self._shown = asked
        self.controls.show(asked)
        self.views.show(asked, found, self._work.names(asked.prompt), self._place)
        self.result = found
        if other:
            self._edited()
        self.status.value = f"⚠ {self.error}" if self.error else words(asked, found)

    def _complain(self, sentence: str) -> None:
        """Say what is wrong; the controls and the pin go back to what is on show."""
        super()._complain(sentence)
        self.controls.show(self._shown)
        self.views.point(self._place)

    @property
    def _place(self) -> int:
        """Where the query is in the prompt on show."""
        return self._work.places([self._shown.query], self._shown.prompt)[0]

    def __repr__(self) -> str:
        asked = f"heads={self.heads}, query={self.query!r}, to={self.to}, prompt={self.prompt}"
        return f"PatternEditExplorer({asked})"


def pattern_edit(
    model: TransformerBridge,
    task: Task,
    *,
    head: HeadLike | Iterable[HeadLike] | None = None,
    query: int | str = "END",
    to: int | str | Iterable[int | str] | None = None,
    prompt: int = 0,
) -> PatternEditExplorer:
    """Heads that you make look where you say, what the model then expects, and how often it is right.

    Pick heads, and click tokens: the row of attention from the query is overwritten, in equal shares, and the next
    tokens follow. A token that the task has a name for is taken by its name, so the same edit can be made in all
    prompts of the task; switch that on, and it is run between your clicks.

    Parameters
    ----------
    model
        A hooked model.
    task
        Prompts with an answer and a wrong token; the clean ones are run.
    head
        One head or several, as ``"20.0"``, ``"20.0 23.3"`` or a list; by default the one that looks most at what the
        task names.
    query
        The position from which they look, by name or number.
    to
        What they are made to look at, by name or number; nothing by default, and they are free.
    prompt
        The prompt to begin with, from 0.

    Returns
    -------
    PatternEditExplorer
        Its traits ``heads``, ``query``, ``to``, ``prompt`` and ``whole_task`` follow the hand, and can be set. In a
        notebook the whole task is run between its cells; ``finish()`` runs it at once.

    Raises
    ------
    HookError, InputError
        If the first heads or positions do not fit. Later ones are explained in ``error``.

    References
    ----------
    .. [1] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2024
       (half of the attention on each of two wrong colors).

    Examples
    --------
    >>> from nbtools.tasks import colored_objects
    >>> model = load()
    >>> explorer = pattern_edit(model, colored_objects(model, prompts=4), head="20.0", to=["WRONG", "OTHER"])
    >>> explorer.heads = ["20.0", "23.3"]
    >>> before, after = explorer.result.logit_difference.values
    >>> found = explorer.finish()
    >>> bool(after > before), found.correct_among.sel(run="after").mean().item()
    (True, 1.0)
    """
    work = PatternRuns(model, task)
    tries = work.suggest(read_position(query), most=_SUGGESTED)
    heads = read_heads(tries[:1] if head is None else head)
    request = Request(tuple(heads), query, tuple(read_targets(to)), prompt)
    return PatternEditExplorer(work, request, work.answer(request), list(dict.fromkeys([*heads, *tries])))


def _side_by_side(*parts: widgets.Widget) -> widgets.HBox:
    for part in parts:
        part.layout = widgets.Layout(flex="1 1 320px", width="auto", min_width="0")
    layout = widgets.Layout(width="100%", flex_flow="row wrap", grid_gap="8px 24px", align_items="flex-start")
    return widgets.HBox(parts, layout=layout)
