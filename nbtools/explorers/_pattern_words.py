"""How the pattern editor reads heads and positions, and says what an edit does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from nbtools.errors import InputError
from nbtools.naming import head_label, parse_head, visible

if TYPE_CHECKING:
    from nbtools.explorers._pattern_runs import Request

__all__ = ["marked", "read_heads", "read_position", "read_targets", "row_titles", "spaced", "task_words", "words"]

_ROLES = ("answer", "wrong")


def read_heads(heads: Any) -> list[str]:
    """Read heads in any form, each once; what is written wrong is left for the model to refuse.

    Examples
    --------
    >>> read_heads("20.0, 23.3 20.0"), read_heads([(20, 0), "23.3"]), read_heads(None)
    (['20.0', '23.3'], ['20.0', '23.3'], [])
    """
    single = not isinstance(heads, Iterable) or (
        isinstance(heads, Sequence) and len(heads) == 2 and not any(isinstance(part, (str, Sequence)) for part in heads)
    )
    given = [] if heads is None else [heads] if single or isinstance(heads, str) else list(heads)
    labels = [head if isinstance(head, str) else head_label(*parse_head(head)) for head in given]
    return list(dict.fromkeys(" ".join(labels).replace(",", " ").split()))


def read_targets(to: Any) -> list[int | str]:
    """Read what is looked at, each position once.

    Raises
    ------
    InputError
        If something is no position, or each has a share of its own.

    Examples
    --------
    >>> read_targets("WRONG"), read_targets(["WRONG", 7, "WRONG"]), read_targets(None)
    (['WRONG'], ['WRONG', 7], [])
    """
    if isinstance(to, Mapping):
        msg = "expected positions, which share the attention equally: for other shares call nb.patching.force_attention"
        raise InputError(msg)
    given = [] if to is None else list(to) if isinstance(to, Iterable) and not isinstance(to, str) else [to]
    return list(dict.fromkeys(map(read_position, given)))


def read_position(position: Any) -> int | str:
    """Read a position by name or number, or raise an InputError."""
    if isinstance(position, str):
        return position
    if isinstance(position, bool) or not hasattr(position, "__index__"):
        msg = f"expected a position by name or number, got {position!r}"
        raise InputError(msg)
    return int(position)


def spaced(text: str) -> str:
    """Write text so that its spaces are not taken for those of a token."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def signed(number: float) -> str:
    """Write a difference with its sign.

    Examples
    --------
    >>> signed(-0.5)
    '−0.50'
    """
    return f"{number:+.2f}".replace("-", "−")


def joined(names: Iterable[int | str]) -> str:
    """Write names or numbers of positions, or heads, as in a sentence.

    Examples
    --------
    >>> joined(["ANSWER", "WRONG", 7])
    'ANSWER, WRONG and token 7'
    """
    *first, last = (name if isinstance(name, str) else f"token {name}" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def row_titles(request: Request) -> tuple[str, str]:
    """Say what the two rows of attention are, and what a click does there."""
    head, query = request.heads[0], joined([request.query])
    upper = f"{head} as it is, looking from {query} · click a token to look from there"
    state = "free" if not request.to else "forced, as are the others" if len(request.heads) > 1 else "forced"
    return upper, f"{head} {state} · click tokens to look at them, and again to stop"


def words(request: Request, found: xr.Dataset) -> str:
    """Say what is edited, and what that does to the logit difference of the prompt."""
    look, by_itself = ("looks", "it does by itself") if len(request.heads) == 1 else ("look", "they do by themselves")
    where = f"at {joined(request.to)}" if request.to else f"where {by_itself}"
    looks = f"{joined(request.heads)} {look} from {joined([request.query])} {where}"
    own, other = (visible(str(text)) for text in found.token.values[:2])
    change = _change(request, [signed(gap) for gap in found.logit_difference.values], "nats")
    return f"{looks} · logit difference {own} less {other}: {change}"


def marked(expected: xr.DataArray) -> xr.DataArray:
    """Say beside their texts which token is the answer, and which the wrong one."""
    texts = [str(text) for text in expected.token.values]
    names = [spaced(f"\N{NO-BREAK SPACE}({role})") for role in _ROLES]
    texts[: len(names)] = [text + name for text, name in zip(texts, names, strict=False)]
    return expected.assign_coords(token=np.array(texts, dtype=object))


def task_words(request: Request, found: xr.Dataset | None, *, total: int, busy: bool) -> str:
    """Say what an edit does to the prompts of the task that were run so far."""
    if found is None:
        return "running the model …" if busy else ""
    gap = _change(request, [signed(gap) for gap in found.logit_difference.mean("prompt").values], "nats")
    said = [_done(found.sizes["prompt"], total, busy), f"mean logit difference {gap}"]
    for name, where in (
        ("correct", "in the whole vocabulary"),
        ("correct_among", f"among {found.attrs.get('candidates')} candidates"),
    ):
        if name in found:
            right = [f"{100 * share:.0f}" for share in found[name].mean("prompt").values]
            said.append(f"right {where} {_change(request, right, '%')}")
    return " · ".join([*said, *_numbered(request)])


def _done(done: int, total: int, busy: bool) -> str:
    if done == total:
        return f"{done} prompts"
    return f"{done} of {total} prompts so far" if busy else f"stopped at {done} of {total} prompts"


def _change(request: Request, ends: Sequence[str], units: str) -> str:
    return f"{' → '.join(ends) if request.to else ends[0]} {units}"


def _numbered(request: Request) -> list[str]:
    """Say of positions taken by number what they are in other prompts."""
    numbers = [name for name in (request.query, *request.to) if not isinstance(name, str)]
    if not numbers or not request.to:
        return []
    is_taken, it_is = ("is taken by its number", "it is") if len(numbers) == 1 else ("are taken by numbers", "they are")
    return [f"{joined(numbers)} {is_taken}: {it_is} counted off in each prompt, whatever stands there"]
