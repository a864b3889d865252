"""What one sequence looks like to a model that is trained: where each head looks, and what it would write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from nbtools.explorers._training_variants import heads_of
from nbtools.measures import attention, value_norms
from nbtools.naming import parse_head

if TYPE_CHECKING:
    from nbtools.training import TinyConfig, TinyTransformer
    from nbtools.training.progress import Data

__all__ = ["Looks"]

_TOKENS = 32
_SEED = 2_000_003  # which draws the sequence
_MOST = 64  # steps, lest more and more is sent to the page


class Looks:
    """The attention and the value norms of all heads on one sequence, at some steps.

    Attributes
    ----------
    heads
        Their labels; none for a model without attention.
    tokens
        The text of each token.
    """

    def __init__(self, config: TinyConfig, data: Data) -> None:
        self.heads = heads_of(config)
        self._layers = sorted({parse_head(head)[0] for head in self.heads})
        drawn = data.sample(1, min(config.length, _TOKENS), torch.Generator().manual_seed(_SEED))
        self._ids = drawn[0].tolist()
        self.tokens = [data.labels[token] for token in self._ids]
        self._patterns: dict[int, np.ndarray] = {}
        self._norms: dict[int, np.ndarray] = {}

    def take(self, model: TinyTransformer, step: int) -> None:
        """Look at the model as it is now; nothing is kept of one whose numbers are not finite."""
        if not self.heads:
            return
        count = len(self._ids)
        patterns = attention(model, self._ids, layers=self._layers).values.reshape(-1, count, count)
        norms = value_norms(model, self._ids, layers=self._layers).values.reshape(-1, count)
        if not (np.isfinite(patterns).all() and np.isfinite(norms).all()):
            return
        self._patterns[step], self._norms[step] = patterns, norms
        if len(self._norms) > _MOST:
            crowded = _crowded([*self._norms])
            del self._patterns[crowded], self._norms[crowded]

    def maps(self, head: str) -> xr.DataArray | None:
        """Give the attention of a head ``(step, query, key)``; what is above 1, as ReLU can be, is cut off."""
        if not self._patterns or not head:
            return None
        values = self._of(head, self._patterns)
        cut = " (above 1: cut off)" if values.max() > 1.001 else ""
        named = {f"{dim}_token": (dim, self.tokens) for dim in ("query", "key")}
        coords, attrs = {"step": [*self._patterns], **named}, {"long_name": f"attention of {head}{cut}"}
        return xr.DataArray(values.clip(0, 1), coords, ("step", "query", "key"), attrs=attrs)

    def bars(self, head: str) -> xr.DataArray | None:
        """Give how long a vector a head would write for each token ``(step, position)``."""
        if not self._norms or not head:
            return None
        coords = {"step": [*self._norms], "token": ("position", self.tokens)}
        attrs = {"long_name": f"value norm of {head}"}
        return xr.DataArray(self._of(head, self._norms), coords, ("step", "position"), attrs=attrs)

    def _of(self, head: str, known: dict[int, np.ndarray]) -> np.ndarray:
        return np.stack([values[self.heads.index(head)] for values in known.values()])


def _crowded(steps: Sequence[int]) -> int:
    """Give the step whose neighbours lie closest together, the last of several.

    Examples
    --------
    >>> _crowded([0, 25, 50, 100, 125])
    25
    """
    gaps = np.subtract(steps[2:], steps[:-2])
    return steps[len(gaps) - int(gaps[::-1].argmin())]
