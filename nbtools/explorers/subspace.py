"""A direction of an activation, its two parts, and what the model says as each is patched a share of the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from nbtools.errors import InputError
from nbtools.explorers._background import Background, Ending
from nbtools.explorers._prompt import Explorer
from nbtools.explorers._subspace_checks import (
    check_direction,
    check_epochs,
    check_given,
    check_layer,
    check_pairs,
    check_shares,
)
from nbtools.explorers._subspace_controls import PairPanel, SubspaceControls, sentence
from nbtools.explorers._subspace_result import PatchedPair, SubspaceResult, known
from nbtools.explorers._subspace_runs import LEARNED, METHODS, Place, Prepared, Setting, prepare
from nbtools.naming import HeadLike, parse_heads
from nbtools.runs.latest import Latest
from nbtools.views.direction import Direction

if TYPE_CHECKING:
    from ipywidgets import Label
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.patching import Subspace
    from nbtools.tasks import Interchange

__all__ = ["PatchedPair", "SubspaceExplorer", "SubspaceResult", "subspace"]

_SHARES = tuple(np.linspace(-0.5, 1.5, 9).tolist())
_NOTE = (
    "Above: v, row (the part of v that is read) and null (the part that is not), each patched alone, at unit length. "
    "Below: where natural activations lie along each, and where the patch of v puts them."
)


class SubspaceExplorer(Explorer):
    """A direction and its parts, the answer as each is patched, and one pair in full; made by `subspace`.

    Attributes
    ----------
    layer
        The layer whose activation is patched; set it and the model runs.
    direction
        How the direction is found: ``"difference of means"``, ``"gradient"``, ``"learned"``, or a given one by name.
    share
        How far activations have gone: 0 is the base, 1 the full patch.
    pair
        The pair whose next tokens are shown, from 0.
    result
        What the last request gave: a `SubspaceResult`, whose direction follows the learning, and whose curves fill in.
    answer
        What follows the base of the pair, as it is and patched: a `PatchedPair`.
    busy
        Whether a direction is learned, or its curves fill in.
    state
        How far that is, and the verdict, in words.
    error
        What is wrong with what was asked, in a sentence; empty if nothing is. The last good result stays.
    """

    layer = traitlets.Int()
    direction = traitlets.Unicode()
    share = traitlets.Float(1.0)
    pair = traitlets.Int(0)
    result = traitlets.Instance(SubspaceResult, allow_none=True)
    answer = traitlets.Instance(PatchedPair, allow_none=True)
    busy = traitlets.Bool()
    state = traitlets.Unicode()

    def __init__(self, model: TransformerBridge, setting: Setting, prepared: Prepared, *, share: float) -> None:
        self.setting, self._prepared, self._complete = setting, prepared, False
        self._background: Background[tuple[str, SubspaceResult]] = Background()
        self._moves: Latest[tuple[int, float]] = Latest(self._patch)
        self._shown: tuple[Tensor, tuple[int, float]] | None = None
        self.view, self.panel, self.controls = (
            Direction(),
            PairPanel(setting.pairs),
            SubspaceControls(model.cfg.n_layers),
        )
        self.bars, self.status = self.panel.bars, self.controls.status
        super().__init__(model, [[self.view], [self.bars]], controls=[self.controls])
        self.children = [self.controls, self.view, _note(setting), self.panel]
        self.layer, self.direction = prepared.place.layer, prepared.blank.direction
        self.share = share
        self._publish(prepared)
        self._connect()

    def _connect(self) -> None:
        traitlets.link((self, "layer"), (self.controls.layer, "value"))
        traitlets.link((self, "pair"), (self.panel.pair, "value"))
        traitlets.link((self, "share"), (self.view, "share"))
        self._offer()
        self.controls.direction.observe(self._chosen, "value")
        self.observe(self._offer, ["layer", "direction"])
        self.observe(self._request, ["layer", "direction"])
        self.observe(self._move, ["share", "pair"])

    def _offer(self, change: Any = None) -> None:
        """Offer the directions of this layer, and the one that was chosen."""
        given = [name for name in self.setting.directions if self.layer == self.setting.home or name == self.direction]
        self.controls.offer([*METHODS, LEARNED, *given], self.direction)

    def _chosen(self, change: dict[str, Any]) -> None:
        if not self.controls.filling:
            self.direction = change["new"]

    @traitlets.validate("layer")
    def _exists(self, proposal: dict[str, Any]) -> int:
        return check_layer(proposal["value"], self.model)

    @traitlets.validate("direction")
    def _known(self, proposal: dict[str, Any]) -> str:
        return check_direction(proposal["value"], self.setting.directions)

    @traitlets.validate("pair")
    def _there(self, proposal: dict[str, Any]) -> int:
        pairs = len(self.setting.pairs)
        if not 0 <= proposal["value"] < pairs:
            msg = f"expected a pair between 0 and {pairs - 1}, got {proposal['value']}"
            raise InputError(msg)
        return proposal["value"]

    @traitlets.validate("share")
    def _within(self, proposal: dict[str, Any]) -> float:
        """Keep the share among those of the curves, as the view does."""
        if np.isnan(proposal["value"]):
            msg = "expected a share of the way, such as 0 for the base or 1 for the full patch, got nan"
            raise InputError(msg)
        return float(np.clip(proposal["value"], self.setting.shares[0], self.setting.shares[-1]))

    def finish(self) -> SubspaceResult:
        """Learn to the end and run what is left of the curves now, and give the result.

        Raises
        ------
        InputError
            If what was asked for has an error.
        """
        if not self.busy and not self.error and not self._complete:
            self._serve(self._asked())
        self._background.finish()
        if self.error:
            raise InputError(self.error)
        return self.result

    def close(self) -> None:
        """Stop what runs, and take the explorer off the page."""
        self._background.stop()
        super().close()

    def _asked(self) -> tuple[int, str]:
        return self.layer, self.direction

    def _serve(self, request: tuple[int, str]) -> None:
        self._background.stop()
        self.status.value = "running the model …"
        super()._serve(request)

    def _answer(self, layer: int, direction: str) -> Prepared:
        return prepare(self.model, self.setting, layer, direction, self._prepared.place)

    def _publish(self, prepared: Prepared, *request: Any) -> None:
        self._prepared, self.error, self.busy, self._complete = prepared, "", True, False
        self._show(prepared.blank)
        self._tell("patching v and its parts …")
        self._background.start(prepared.pieces(), show=self._fill, end=self._ended)

    def _show(self, result: SubspaceResult) -> None:
        self.result = result
        self.view.show(known(result.curves), result.projections)
        self.view.title = _title(result, self.setting.site)
        self._move()

    def _fill(self, piece: tuple[str, SubspaceResult]) -> None:
        words, result = piece
        if result is not self.result:
            self._show(result)
        self._tell(words)
        if self._latest.waiting and not self._background.yields:
            self._background.stop()  # no loop would serve the new request before the end

    def _ended(self, ending: Ending) -> None:
        self.busy, self._complete = False, ending.whole
        if ending.error is not None:
            self._explain(ending.error, self._asked())
        elif not ending.whole:
            self._tell(f"stopped · {self.state}")

    def _tell(self, words: str) -> None:
        self.state = words
        self.status.value = f"⚠ {self.error}" if self.error else words

    def _move(self, change: Any = None) -> None:
        self._moves.submit((self.pair, self.share))

    def _patch(self, move: tuple[int, float]) -> None:
        """Run the pair with its activation as far along v as the slider says."""
        basis = self.result.subspace.basis
        if self._shown is not None and self._shown[0] is basis and self._shown[1] == move:
            return
        self._shown = basis, move
        try:
            self.answer = self._prepared.place.patch_pair(self.result.subspace, *move)
        except Exception as error:
            self._explain(error, move)
        else:
            self.panel.show(self.answer)

    def __repr__(self) -> str:
        asked = f"site={self.setting.site!r}, layer={self.layer}, direction={self.direction!r}"
        return f"SubspaceExplorer({asked}, pair={self.pair}, share={self.share:g})"


def subspace(
    model: TransformerBridge,
    pairs: Interchange,
    site: str = "neurons",
    *,
    layer: int,
    direction: str = "difference of means",
    directions: Mapping[str, Subspace] | None = None,
    training: Interchange | None = None,
    position: int | str = "END",
    head: int | HeadLike | None = None,
    heads: Iterable[HeadLike] = (),
    through: str = "q",
    mlps: Iterable[int] = (),
    sides: tuple[str, str] = ("class 0", "class 1"),
    shares: Sequence[float] = _SHARES,
    epochs: int = 12,
    share: float = 1.0,
) -> SubspaceExplorer:
    """A direction of an activation, patched from one run to another, and whether that is what the model uses.

    The direction v is split into the part that later weights read (row) and the part that they do not (null), and each
    is patched alone. An illusory direction has no effect without its null part. Move the slider, and the answer of one
    pair follows; move the layer, or choose how the direction is found, and the model runs again. A direction that is
    learned is on show while it is.

    Parameters
    ----------
    model
        A hooked model.
    pairs
        From `nbtools.tasks.ioi_orders` or `nbtools.tasks.interchange`; a few dozen are enough.
    site, layer, position, head
        The activation, as in `nbtools.patching.Mediator`. A head by number goes with the layer.
    direction
        ``"difference of means"`` of two classes of prompts; ``"gradient"`` of the logit difference; ``"learned"``, by
        distributed alignment search; or the name of one of `directions`.
    directions
        Directions by name, found in this layer: they are not offered in others.
    training
        Pairs on which directions are found; by default `pairs`. What was learned should be judged on others.
    heads, through, mlps
        What reads the residual stream, and what is added to it, as in `nbtools.patching.reader_weights`. Without any,
        only v is patched there. Neurons and ``z`` are read by the weights of their own layer.
    sides
        What the two classes of base prompts are called.
    shares
        At how many shares of the way the curves are known; 0 and 1 are always among them.
    epochs
        Passes over the pairs where a direction is learned, at most.
    share
        How far activations have gone at first.

    Returns
    -------
    SubspaceExplorer
        Its traits ``layer``, ``direction``, ``share`` and ``pair`` follow the hand, and can be set. In a notebook
        directions are learned and curves fill in between its cells; ``finish()`` does what is left at once.

    Raises
    ------
    HookError, ArrayError, InputError
        If site, layer, pairs or directions do not fit. A later layer is explained in ``error``.

    References
    ----------
    .. [1] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023.

    Examples
    --------
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> pairs = ioi_orders(model, pairs=4, template=0)
    >>> explorer = subspace(model, pairs, "resid_post", layer=20, heads=["21.3", "23.1"], shares=[0, 1])
    >>> explorer.finish().diagnosis.verdict.split(":")[0]
    'believable'
    >>> explorer.share = 0.5
    >>> explorer
    SubspaceExplorer(site='resid_post', layer=20, direction='difference of means', pair=0, share=0.5)
    """
    given, training = dict(directions or {}), pairs if training is None else training
    check_pairs(pairs, training)
    check_layer(layer, model)
    check_direction(direction, given)
    setting = Setting(
        pairs, training, site, layer, position, head, given, tuple(parse_heads(heads)), through, tuple(mlps),
        sides, check_shares(shares), check_epochs(epochs),
    )  # fmt: skip
    place = Place(model, setting, layer)
    for name, found in given.items():
        check_given(name, found, place.mediator.width)
    return SubspaceExplorer(model, setting, prepare(model, setting, layer, direction, place), share=share)


def _title(result: SubspaceResult, site: str) -> str:
    """Say what v is, and what it is made of."""
    where, lengths = f"{result.direction}, {site} of layer {result.layer}", result.projections.length
    if "row" not in lengths.part:
        return where
    row, null = (lengths.sel(part=part).item() for part in ("row", "null"))
    return f"{where}: v = {row:.2f} row + {null:.2f} null"


def _note(setting: Setting) -> Label:
    """Say what the view shows, or why it does not show more."""
    return sentence(f"Only v: {setting.lacking}." if setting.lacking else _NOTE)
