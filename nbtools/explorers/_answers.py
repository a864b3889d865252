"""What several runs would say next, token by token, and two panels that show it of a patched run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from nbtools.measures.predictions import label_tokens
from nbtools.views.bars import Bars
from nbtools.views.group import link

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["AnswerPanels", "axis_end", "leading", "shares"]

_TOP = 4  # most probable tokens of each run


def shares(logits: Float[Tensor, " vocabulary"]) -> Float[Tensor, " vocabulary"]:
    """Give the probability of each next token."""
    return logits.double().softmax(-1).cpu()


def leading(runs: Sequence[Float[Tensor, " vocabulary"]], top: int) -> list[int]:
    """Give the ids that are among the most probable of any run, most probable first."""
    ids = {token for run in runs for token in run.topk(min(top, len(run))).indices.tolist()}
    return sorted(ids, key=lambda token: (-max(float(run[token]) for run in runs), token))


def axis_end(*runs: xr.DataArray) -> float:
    """Give a round end for an axis that holds the probabilities of all runs."""
    return float(np.ceil(10 * max(float(run.max()) for run in runs)) / 10) or 0.1


class AnswerPanels:
    """The next tokens of the run that is patched into, before and after, beside those of the run patched from.

    Attributes
    ----------
    into, source
        The two panels: the same tokens in the same rows, on one axis.
    """

    def __init__(self) -> None:
        self.into, self.source = Bars(), Bars()
        link(self.into, self.source)

    def show(
        self,
        model: TransformerBridge,
        base: Float[Tensor, " vocabulary"],
        source: Float[Tensor, " vocabulary"],
        names: tuple[str, str],
        *,
        patched: Float[Tensor, " vocabulary"] | None = None,
        place: str = "",
    ) -> xr.DataArray | None:
        """Show the probabilities of two runs, and of a patched one; give the latter with labels.

        Rows keep their places from one patch to the next: what only the patched run has is added below.
        """
        ids = leading([base, source], _TOP)
        ids += [] if patched is None else [token for token in leading([patched], _TOP) if token not in ids]
        before, other, *after = (label_tokens(model, run, ids) for run in (base, source, patched) if run is not None)
        end = axis_end(before, other, *after)
        into = [f"{names[0]} run", *("patched" for _ in after)]
        self.into.show(before, *after, names=into, vmin=0, vmax=end)
        self.source.show(other, names=[f"{names[1]} run"], vmin=0, vmax=end)
        self.into.title = f"patched at {place}" if after else "patched into"
        self.source.title = "patched from"
        return after[0] if after else None
