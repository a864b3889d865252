"""Forcing attention: heads made to look where one says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import ArrayError, InputError
from nbtools.naming import HeadLike, parse_heads
from nbtools.patching.exact import usable_site
from nbtools.patching.plan import read_positions

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from nbtools.runs.forward import Edit
    from nbtools.tasks import Task

__all__ = ["Looks", "force_attention"]

Looks: TypeAlias = "int | str | Iterable[int | str] | Mapping[int | str, float]"


def force_attention(
    model: TransformerBridge,
    task: Task,
    heads: HeadLike | Iterable[HeadLike],
    to: Looks,
    *,
    query: int | str = "END",
) -> dict[str, Edit]:
    """Give the edits that make heads look from one token at tokens of one's choice, and at nothing else.

    The row of the attention pattern is overwritten after the softmax; all else follows from it. Hand the edits to
    anything that takes ``edit=``, with the clean or the corrupted prompts of the task.

    Parameters
    ----------
    task
        Where the named positions are.
    heads
        Such as ``["20.0", "23.3"]``.
    to
        Positions, by name or number: ``["WRONG", "OTHER"]`` share the attention equally; ``{"WRONG": 0.8, 0: 0.2}``
        gives each its share, and the shares must add up to 1.
    query
        The position from which the heads look.

    Returns
    -------
    dict of str to function
        For each hook point the edit, as `nbtools.runs.forward` takes it.

    Raises
    ------
    HookError
        If a head or position does not exist, or patterns cannot be edited on this architecture.
    InputError
        If there is nothing to look at, it comes after the query, or shares do not add up to 1.

    References
    ----------
    .. [1] Merullo, Eickhoff and Pavlick, "Circuit Component Reuse Across Tasks in Transformer Language Models", 2024
       (half of the attention on each of two wrong colors).

    Examples
    --------
    >>> import nbtools as nb
    >>> model = load()
    >>> task = nb.tasks.colored_objects(model, prompts=2)
    >>> edit = force_attention(model, task, "20.0", ["WRONG", "OTHER"])
    >>> paid = nb.measures.attention_to_positions(model, task.clean, task.positions, layers=20, edit=edit)
    >>> paid.sel(layer=20, head=0, key=["ANSWER", "WRONG", "OTHER"]).mean("prompt").values.tolist()
    [0.0, 0.5, 0.5]
    """
    site = usable_site(model, "pattern")
    start, (places, shares) = _places(task, [query])[:, 0], _looks(task, to)
    late = torch.nonzero(places > start[:, None])
    if len(late):
        row, column = late[0].tolist()
        msg = (
            f"prompt {row} would look ahead, from token {int(start[row])} at {int(places[row, column])}: expected "
            f"positions up to the query's ({query!r})"
        )
        raise InputError(msg)
    chosen: dict[int, list[int]] = {}
    for layer, head in parse_heads(heads, shape=(model.cfg.n_layers, model.cfg.n_heads)):
        chosen.setdefault(layer, []).append(head)
    if not chosen:
        msg = "expected one head or more, got none"
        raise InputError(msg)
    row = _row(places, shares, len(task.clean))
    return {site.at(layer): partial(_force, heads=own, start=start, row=row) for layer, own in chosen.items()}


def _looks(task: Task, to: Looks) -> tuple[Int[Tensor, "prompt key"], Float[Tensor, " key"]]:
    """Give the positions that are looked at, and the share of each."""
    names = [to] if isinstance(to, (int, str)) else list(to)
    if not names:
        msg = f"expected one position or more to look at, got none: any of {', '.join(task.positions)}, or numbers"
        raise InputError(msg)
    shares = torch.tensor([float(to[name]) if isinstance(to, Mapping) else 1 / len(names) for name in names])
    if not (shares >= 0).all() or abs(shares.sum().item() - 1) > 1e-4:
        msg = f"expected shares of attention from 0 to 1 that add up to 1, got {shares.tolist()}"
        raise InputError(msg)
    return _places(task, names), shares


def _places(task: Task, names: list[int | str]) -> Int[Tensor, "prompt name"]:
    places, _ = read_positions(task, names, len(task.clean))
    return torch.as_tensor(places, device=task.clean.ids.device).expand(len(task), -1)


def _row(
    places: Int[Tensor, "prompt key"], shares: Float[Tensor, " key"], length: int
) -> Float[Tensor, "prompt position"]:
    row = torch.zeros(len(places), length, device=places.device)
    return row.scatter_add_(1, places, shares.to(row).expand(len(places), -1))


def _force(
    pattern: Float[Tensor, "prompt head query key"],
    heads: list[int],
    start: Int[Tensor, " prompt"],
    row: Float[Tensor, "prompt key"],
) -> None:
    """Overwrite the heads' rows."""
    if (len(pattern), pattern.shape[-1]) != tuple(row.shape):
        msg = f"expected prompts of the task, {tuple(row.shape)}, got {(len(pattern), pattern.shape[-1])}"
        raise ArrayError(msg)
    prompts = torch.arange(len(start), device=pattern.device)
    for head in heads:
        pattern[prompts, head, start.to(pattern.device)] = row.to(pattern)
