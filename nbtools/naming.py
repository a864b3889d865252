"""How things are written: head 6 of layer 18 is ``18.6``, and the white space of a token can be seen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from nbtools.errors import HookError

__all__ = ["Head", "HeadLike", "head_label", "parse_head", "parse_heads", "visible"]

Head: TypeAlias = tuple[int, int]
HeadLike: TypeAlias = "str | Sequence[int]"

_LABEL = re.compile(r"\s*(\d+)\.(\d+)\s*")
_SIGNS = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


def head_label(layer: int, head: int) -> str:
    """Write a head as it is written in papers.

    Examples
    --------
    >>> head_label(18, 6)
    '18.6'
    """
    return f"{int(layer)}.{int(head)}"


def parse_head(head: HeadLike, *, shape: tuple[int, int] | None = None) -> Head:
    """Read ``"18.6"`` or ``(18, 6)`` as layer and head.

    Parameters
    ----------
    head
        A label ``"layer.head"``, or two whole numbers.
    shape
        Number of layers and heads to check against.

    Raises
    ------
    HookError
        If it is not a head, or lies outside `shape`.

    Examples
    --------
    >>> parse_head("18.6")
    (18, 6)
    """
    layer, index = _two_numbers(head)
    if shape is not None and not (0 <= layer < shape[0] and 0 <= index < shape[1]):
        msg = f"head {layer}.{index} does not exist: expected layers 0 to {shape[0] - 1} and heads 0 to {shape[1] - 1}"
        raise HookError(msg)
    return layer, index


def parse_heads(heads: HeadLike | Iterable[HeadLike], *, shape: tuple[int, int] | None = None) -> list[Head]:
    """Read one head or several, in any of the forms of `parse_head`.

    Examples
    --------
    >>> parse_heads(["18.6", (17, 3)])
    [(18, 6), (17, 3)]
    """
    if isinstance(heads, str) or _is_pair(heads):
        heads = [heads]
    return [parse_head(head, shape=shape) for head in heads]


def visible(text: str) -> str:
    r"""Write a token so that its white space can be seen.

    Examples
    --------
    >>> visible(" Paris\n")
    '·Paris↵'
    """
    return text.translate(_SIGNS)


def _two_numbers(head: HeadLike) -> Head:
    if isinstance(head, str) and (match := _LABEL.fullmatch(head)):
        return int(match[1]), int(match[2])
    if _is_pair(head):
        return int(head[0]), int(head[1])
    msg = f'expected a head such as "18.6" or (18, 6), got {head!r}'
    raise HookError(msg)


def _is_pair(head: object) -> bool:
    return (
        isinstance(head, Sequence)
        and not isinstance(head, str)
        and len(head) == 2
        and all(hasattr(number, "__index__") for number in head)
    )
