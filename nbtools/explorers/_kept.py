"""How much attention an explorer keeps of a run."""

from __future__ import annotations

from collections.abc import Sequence

from nbtools.views.colour import check_size

__all__ = ["kept_layers"]

_BUDGET_MB = 64


def kept_layers(layers: Sequence[int], heads: int, positions: int, layer: int) -> list[int]:
    """Say of which layers to keep all attention: of all while that is little, else of the one on show.

    Raises
    ------
    ArrayError
        If one layer is more than a view may send to the page.

    Examples
    --------
    >>> kept_layers(range(3), 2, 100, 1), kept_layers(range(3), 2, 1800, 1)
    ([0, 1, 2], [1])
    """
    check_size(heads * positions * (positions + 1) // 2, knob="a shorter prompt")
    everything = 4 * len(layers) * heads * positions**2 / 1e6
    return list(layers) if everything <= _BUDGET_MB else [layer]
