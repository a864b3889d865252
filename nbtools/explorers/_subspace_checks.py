"""What the subspace explorer takes, and what is wrong with what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nbtools.errors import HookError, InputError
from nbtools.explorers._subspace_runs import LEARNED, METHODS
from nbtools.patching import Subspace
from nbtools.tasks import Interchange

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = [
    "check_direction",
    "check_epochs",
    "check_given",
    "check_layer",
    "check_pairs",
    "check_shares",
]


def check_pairs(*given: Interchange) -> None:
    """Raise an InputError if something is not pairs, or only one."""
    for pairs in given:
        if not (isinstance(pairs, Interchange) and len(pairs) > 1):
            what = "one pair" if isinstance(pairs, Interchange) else type(pairs).__name__
            msg = f"expected two or more pairs, from nbtools.tasks.ioi_orders or interchange, got {what}"
            raise InputError(msg)


def check_layer(layer: int, model: TransformerBridge) -> int:
    """Give a layer back if the model has it, or raise a HookError."""
    layers = model.cfg.n_layers
    if not 0 <= layer < layers:
        msg = f"expected a layer between 0 and {layers - 1}, got {layer}"
        raise HookError(msg)
    return layer


def check_direction(direction: str, given: Mapping[str, Subspace]) -> str:
    """Give the name of a direction back if it is known, or raise an InputError."""
    if twice := {*METHODS, LEARNED} & set(given):
        msg = f"{min(twice)!r} is the name of a way to find a direction: name the given one otherwise"
        raise InputError(msg)
    names = [*METHODS, LEARNED, *given]
    if direction not in names:
        msg = f"no direction {direction!r}: expected {', '.join(map(repr, names))}; others go into directions="
        raise InputError(msg)
    return direction


def check_given(name: str, found: Subspace, width: int) -> None:
    """Raise an InputError if something is not one direction of an activation so wide."""
    if not isinstance(found, Subspace) or (found.width, found.k) != (width, 1):
        got = repr(found) if isinstance(found, Subspace) else type(found).__name__
        msg = f"expected {name!r} as a Subspace of width={width} and k=1, as the activation is, got {got}"
        raise InputError(msg)


def check_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Give shares in their order, with 0 and 1 among them, or raise an InputError."""
    every = sorted({0.0, 1.0, *(round(float(share), 6) for share in shares)})
    if not np.isfinite(every).all():
        msg = f"expected shares of the way as finite numbers, got {list(shares)}"
        raise InputError(msg)
    return tuple(every)


def check_epochs(epochs: int) -> int:
    """Give a number of epochs back if so many can be run, or raise an InputError."""
    if epochs < 1:
        msg = f"expected 1 epoch or more, got {epochs}"
        raise InputError(msg)
    return epochs
