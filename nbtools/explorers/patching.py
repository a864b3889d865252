"""Two prompts, a grid of what each activation carries over, and what the model says with one of them patched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import traitlets
import xarray as xr
from torch import Tensor

from nbtools.errors import SweepError
from nbtools.explorers._answers import AnswerPanels
from nbtools.explorers._background import Background, Ending
from nbtools.explorers._patch_controls import PatchControls
from nbtools.explorers._patch_layout import PatchLayout, keep
from nbtools.explorers._patch_runs import (
    SHOWN_SITES,
    PatchingResult,
    Prepared,
    Request,
    check_metric,
    metric_name,
    patched,
    prepare,
)
from nbtools.explorers._prompt import Explorer
from nbtools.naming import head_label, visible
from nbtools.runs.latest import Latest
from nbtools.views.patch_grid import PatchGrid

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching.exact import Direction
    from nbtools.tasks import Metric

__all__ = ["PatchingExplorer", "PatchingResult", "patching"]

_ASKED = ("clean", "corrupted", "answer", "wrong", "site", "metric", "direction")


class PatchingExplorer(Explorer):
    """Two prompts, the effect of each patch, and the answers with one of them; made by `patching`.

    Attributes
    ----------
    clean, corrupted
        The prompts; set one and the model runs.
    answer, wrong
        What follows the clean prompt, and what competes with it; empty for the model's own first choice.
    site, metric, direction
        What is patched, what is read off, and which run is patched into.
    layer, column
        The pinned cell of the grid, each None if it is not pinned.
    result
        What the last request gave: a `PatchingResult`, whose effects fill in while the sweep runs.
    after
        The next tokens with the pinned patch ``(token)``; None if no cell is pinned.
    busy, progress, total
        Whether a sweep runs, how many of its cells are exact, and how many there are.
    state
        The same in words.
    runs
        What was run so far, as far as it went; the last twenty are kept.
    compared
        The run that stands beside the current one, or None.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    clean, corrupted, answer, wrong = (traitlets.Unicode() for _ in range(4))
    site = traitlets.Enum(SHOWN_SITES)
    metric = traitlets.Any("logit difference")
    direction = traitlets.Enum(("denoising", "noising"))
    layer = traitlets.Int(None, allow_none=True)
    column = traitlets.Int(None, allow_none=True)
    result = traitlets.Instance(PatchingResult, allow_none=True)
    after = traitlets.Instance(xr.DataArray, allow_none=True)
    busy = traitlets.Bool()
    progress, total = traitlets.Int(), traitlets.Int()
    state = traitlets.Unicode()
    compared = traitlets.Instance(PatchingResult, allow_none=True)

    def __init__(self, model: TransformerBridge, prepared: Prepared) -> None:
        self.grid, self.answers, self.controls = PatchGrid(), AnswerPanels(), PatchControls()
        self.status, self.runs, self._prepared = self.controls.status, [], prepared
        super().__init__(model, [[self.grid], [self.answers.into, self.answers.source]], controls=[self.controls])
        self._views = PatchLayout(self.grid, self.answers)
        self.children = [self.controls, self._views]
        self._background: Background[tuple[int, xr.DataArray]] = Background()
        self._cells, self._patched = Latest(self._patch_cell), None
        for name, value in zip(_ASKED, prepared.request, strict=True):
            setattr(self, name, value)
        self._connect()
        self._publish(prepared)

    def _connect(self) -> None:
        for name in ("clean", "corrupted", "answer", "wrong", "site", "direction"):
            traitlets.link((self, name), (getattr(self.controls, name), "value"))
        for name in ("layer", "column"):
            traitlets.link((self.grid, name), (self, name))
        self.controls.offer_metric(self.metric)
        self.controls.metric.observe(self._chosen, "value")
        self.controls.compare.observe(self._chosen, "value")
        self.controls.cancel.on_click(lambda button: self.cancel())
        self.observe(lambda change: self.controls.offer_metric(change["new"]), "metric")
        self.observe(self._request, _ASKED)
        self.observe(lambda change: self._pin(), ["layer", "column"])

    def _chosen(self, change: dict[str, Any]) -> None:
        """Take what was chosen in a menu, not what a menu falls back to while its options change."""
        name = "metric" if change["owner"] is self.controls.metric else "compared"
        if not self.controls.filling:
            setattr(self, name, change["new"])

    @traitlets.validate("metric")
    def _is_metric(self, proposal: dict[str, Any]) -> str | Metric:
        return check_metric(proposal["value"])

    @traitlets.validate("layer", "column")
    def _there(self, proposal: dict[str, Any]) -> int | None:
        """Refuse what the grid would refuse, before anything has changed."""
        check = self.grid.check_layer if proposal["trait"].name == "layer" else self.grid.check_column
        return check(proposal["value"])

    def finish(self) -> xr.DataArray:
        """Run what is left of the sweep now, and give the exact effect of every cell.

        Raises
        ------
        SweepError
            If what was asked for has an error, or the sweep has; its ``partial`` holds what was done.
        """
        if not self.busy and not self.error and self.progress < self.total:
            self._run()
        self._background.finish()
        if self.error:
            raise SweepError(self.error, partial=self.result.effect)
        return self.result.effect

    def cancel(self) -> None:
        """Stop the sweep after the piece in progress; what is done stays on show."""
        self._background.stop()

    def select(self, layer: int | None = None, column: int | None = None) -> None:
        """Pin a cell, with one of the two a row or a column; None releases."""
        self.grid.select(layer, column)

    def close(self) -> None:
        """Stop the sweep, and take the explorer off the page."""
        self.cancel()
        super().close()

    def _asked(self) -> Request:
        return Request(*(getattr(self, name) for name in _ASKED))

    def _serve(self, request: Request) -> None:
        if request == self._prepared.request and not self.error:
            return  # several traits were set at once, and the first of them was answered with all
        self.status.value = "running the model …"
        super()._serve(request)

    def _answer(self, *request: Any) -> Prepared:
        return prepare(self.model, Request(*request))

    def _publish(self, prepared: Prepared, *request: Any) -> None:
        self._background.stop()
        self._prepared, self.error = prepared, ""
        self.progress, self.total = 0, prepared.blank.size
        self._show(prepared.blank)
        self.controls.show_request(prepared)
        self._pin()
        self._run()

    def _run(self) -> None:
        self.busy = True
        self._tell()
        self._background.start(self._prepared.pieces(self.model), show=self._fill, end=self._ended)

    def _show(self, effect: xr.DataArray) -> None:
        self.result = self._prepared.result(effect)
        self._views.fill(self.result, self.compared)

    def _fill(self, piece: tuple[int, xr.DataArray]) -> None:
        self.progress, effect = piece
        self._show(effect)
        self._tell()
        if self._latest.waiting and not self._background.yields:
            self._background.stop()  # no loop would serve the new request before the end

    def _ended(self, ending: Ending) -> None:
        self.busy = False
        if ending.error is not None:
            where = f"the sweep stopped at {self.progress} of {self.total} cells"
            self.error = f"{where}: {type(ending.error).__name__}: {ending.error}"
        self._keep(self.result)
        self._tell()

    def _tell(self) -> None:
        """Say how far the sweep is, or what is wrong."""
        done, total = self.progress, self.total
        whole = done == total
        words = f"{done} of {total} cells are exact" if self.busy else f"stopped at {done} of {total}"
        self.state = f"all {total} cells are exact" if whole else words
        self.controls.show_progress(done, total, busy=self.busy, whole=whole)
        self.status.value = f"⚠ {self.error}" if self.error else self.state

    def _pin(self) -> None:
        self._cells.submit((self.grid.layer, self.grid.column))

    def _patch_cell(self, pin: tuple[int | None, int | None]) -> None:
        """Run the model with the pinned patch, and show what it then says."""
        known, result = (self.result.task, pin), self.result
        if known == self._patched:
            return
        self._patched = known
        try:
            run = None if None in pin else patched(self.model, result.task, result.site, result.direction, *pin)
        except Exception as error:
            self._explain(error, pin)
        else:
            self._show_answers(run, *pin)

    def _show_answers(self, run: Tensor | None, layer: int | None, column: int | None) -> None:
        prepared = self._prepared
        names = ("corrupted", "clean") if self.result.direction == "denoising" else ("clean", "corrupted")
        place = "" if run is None else self._place(layer, column)
        self.after = self.answers.show(self.model, prepared.base, prepared.source, names, patched=run, place=place)

    def _place(self, layer: int, column: int) -> str:
        """Name a cell."""
        if "position" not in self.result.effect.dims:
            return f"head {head_label(layer, column)}"
        token = str(self.result.effect.token.values[column])
        return f"layer {layer}, position {column} {visible(token)}"

    def _keep(self, result: PatchingResult) -> None:
        """Keep a run of which something is exact."""
        if not self.progress:
            return
        self.runs = keep(self.runs, result)
        if self.compared is not None and self.compared not in self.runs:
            self.compared = result if self.compared.task is result.task else None
        self._offer_runs()

    def _offer_runs(self) -> None:
        named = [(f"{number} · {run.label(prompts=True)}", run) for number, run in enumerate(self.runs, start=1)]
        self.controls.offer_runs(named, self.compared)

    @traitlets.observe("compared")
    def _compare(self, change: dict[str, Any]) -> None:
        self.rows = self._views.compare(self.result, change["new"])
        self._offer_runs()

    def __repr__(self) -> str:
        asked = f"clean={self.clean!r}, corrupted={self.corrupted!r}, site={self.site!r}"
        how = f"metric={metric_name(self.metric)!r}, direction={self.direction!r}"
        return f"PatchingExplorer({asked}, {how}, layer={self.layer}, column={self.column})"


def patching(
    model: TransformerBridge,
    clean: str,
    corrupted: str,
    *,
    answer: str | None = None,
    wrong: str | None = None,
    site: str = "resid_pre",
    metric: str | Metric = "logit difference",
    direction: Direction = "denoising",
) -> PatchingExplorer:
    """Two prompts you can edit, and what each activation of the one does in the other.

    Type a prompt and press Enter: an estimate of every patch is there at once (small squares), and exact runs take
    its place while you look. Click a cell: the next tokens with that one patch stand beside those of both runs.
    Earlier runs can be put beside the current one.

    Parameters
    ----------
    model
        A hooked model.
    clean, corrupted
        Prompts of the same number of tokens.
    answer, wrong
        The token that follows the clean prompt, and the one that competes with it, as text with its space; by
        default the model's own first choice after the clean and after the corrupted prompt.
    site
        Any of `nbtools.patching.SITES` but ``neurons``, of which a layer has too many to show whole.
    metric
        ``"logit difference"``; ``"probability"`` or ``"log probability"`` of the answer; or a function of the logits
        at the last position, as in `nbtools.patching.patch`.
    direction
        ``"denoising"`` patches clean activations into the corrupted run, ``"noising"`` the other way.

    Returns
    -------
    PatchingExplorer
        Its traits ``clean``, ``corrupted``, ``answer``, ``wrong``, ``site``, ``metric``, ``direction``, ``layer`` and
        ``column`` follow the hand, and can be set. In a notebook exact cells fill in between its cells;
        ``finish()`` runs what is left at once.

    Raises
    ------
    PromptError, HookError, InputError
        If the first prompts, answers, site, metric or direction do not fit. Later ones are explained in ``error``.

    Examples
    --------
    >>> explorer = patching(load(), "The Eiffel Tower is in", "The Colosseum is in")
    >>> effect = explorer.finish()
    >>> explorer.select(layer=29, column=5)
    >>> effect.token.values[5], effect.sel(layer=29, position=5).round(1).item(), explorer.after.idxmax().item()
    (' in', 1.0, ' Paris')
    """
    request = Request(clean, corrupted, answer or "", wrong or "", site, metric, direction)
    return PatchingExplorer(model, prepare(model, request))
