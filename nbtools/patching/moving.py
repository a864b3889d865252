"""How an answer changes as activations move along some directions, and where that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.patching.spread import spread

__all__ = ["move_along"]

_SHARES = tuple(np.linspace(-0.5, 1.5, 9).tolist())


def move_along(
    base: Float[Tensor, "pair width"],
    source: Float[Tensor, "pair width"],
    directions: Mapping[str, Float[Tensor, " width"]],
    answer: Callable[[Float[Tensor, "pair width"]], Float[Tensor, " pair"]],
    *,
    shares: Sequence[float] = _SHARES,
    side: Int[Tensor, " pair"] | None = None,
    patched: str | None = None,
    name: str = "logit difference",
    units: str = "nats",
) -> tuple[xr.Dataset, xr.Dataset]:
    """Move base activations toward those of their sources along each of some directions, and read the answers.

    Both results are what `nbtools.views.direction` shows.

    Parameters
    ----------
    base, source
        Activations, such as those of a `Mediator`.
    directions
        Named vectors of any length but zero.
    answer
        Takes one activation for each pair, and gives one number for each.
    shares
        How far activations go: 0 is the base, 1 the full patch.
    side
        The class of each base, 0 or 1; sources have the other. By default bases are one class, and sources the other.
    patched
        The direction whose full patch the second result shows along all of them; by default each shows its own.
    name, units
        What the answer is called, and what it is counted in.

    Returns
    -------
    curves
        ``mean``, ``low`` and ``high`` over ``(part, share)``, with bootstrap intervals over pairs.
    projections
        ``base``, ``source`` and ``patched`` over ``(part, pair)``: where activations lie along each direction.

    Raises
    ------
    ArrayError
        If shapes do not fit, or a direction is zero.
    InputError
        If there is no direction, or none of the name given; or there is one pair alone, which has no spread.

    Examples
    --------
    >>> base, source = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [3.0, 0.0]])
    >>> axes = {"first": torch.tensor([1.0, 0.0]), "second": torch.tensor([0.0, 1.0])}
    >>> curves, projections = move_along(base, source, axes, lambda values: values.sum(1), shares=[0, 0.5, 1])
    >>> curves["mean"].values.tolist()
    [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]
    """
    lines = _lines(base, source, directions)
    if patched is not None and patched not in directions:
        msg = f"no direction {patched!r}: expected one of {', '.join(directions)}"
        raise InputError(msg)
    moves = torch.einsum("nd,pd,pe->pne", source - base, lines, lines)
    with torch.no_grad():
        answers = [[answer(base + share * move) for share in shares] for move in moves]
    read = torch.stack([torch.stack(row) for row in answers]).double().cpu().numpy()
    coords = {"part": list(directions), "share": np.asarray(shares, float)}
    curves = spread(xr.DataArray(read, dims=("part", "share", "prompt"), coords=coords))
    curves.attrs.update(long_name=name, units=units)
    shown = moves if patched is None else moves[list(directions).index(patched)].expand_as(moves)
    lies = {
        "base": torch.einsum("nd,pd->pn", base, lines),
        "source": torch.einsum("nd,pd->pn", source, lines),
        "patched": torch.einsum("pnd,pd->pn", base + shown, lines),
    }
    sides = torch.zeros(len(base), dtype=torch.long) if side is None else side
    where = {"part": list(directions), "side": ("pair", sides.cpu().numpy())}
    names = {} if side is not None else {"sides": ("base", "source")}
    found = {key: (("part", "pair"), value.cpu().numpy()) for key, value in lies.items()}
    return curves, xr.Dataset(found, where, names)


def _lines(base: Tensor, source: Tensor, directions: Mapping[str, Tensor]) -> Float[Tensor, "part width"]:
    if not directions:
        msg = "expected one direction or more, got none"
        raise InputError(msg)
    if base.ndim != 2 or base.shape != source.shape:
        msg = f"expected base and source of one shape (pair, width), got {tuple(base.shape)}, {tuple(source.shape)}"
        raise ArrayError(msg)
    for name, vector in directions.items():
        if vector.shape != base.shape[1:] or not vector.norm() > 0:
            msg = f"expected {name!r} to be a vector of {base.shape[1]} numbers that is not zero: {tuple(vector.shape)}"
            raise ArrayError(msg)
    stacked = torch.stack(list(directions.values())).to(base)
    return stacked / stacked.norm(dim=1, keepdim=True)
