"""How prompts are written in messages, and pairs in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from nbtools.naming import visible

if TYPE_CHECKING:
    from nbtools.tasks.task import Task

__all__ = ["pairs_html", "quoted", "shown"]

_SHOWN = 4  # pairs
_CELL = "style='text-align:left;vertical-align:top;padding:0.25em 0.75em'"
_MARK = "style='background:#ffd54f;color:#000'"  # legible in light and dark themes alike


def shown(labels: Iterable[str]) -> str:
    """Write a prompt token by token, its white space visible."""
    return " ".join(map(visible, labels))


def quoted(labels: Iterable[str]) -> str:
    """List tokens with their quotation marks."""
    return ", ".join(map(repr, labels)) or "nothing"


def pairs_html(task: Task) -> str:
    """Draw the first pairs of a task as a table; tokens in which a pair differs are marked."""
    rows = "".join(_row(task, row) for row in range(min(len(task), _SHOWN)))
    more = len(task) - _SHOWN
    note = f"<p>and {more} more</p>" if more > 0 else ""
    header = "".join(f"<th scope='col' {_CELL}>{name}</th>" for name in ("", "clean", "answer", "corrupted", "wrong"))
    title = f"<p><strong>{escape(task.name)}</strong>: {len(task)} prompts of {len(task.clean)} tokens</p>"
    return f"{title}<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _row(task: Task, row: int) -> str:
    clean, corrupted = task.clean.labels[row], task.corrupted.labels[row]
    differ = (task.clean.ids[row] != task.corrupted.ids[row]).tolist()
    answer, wrong = (task.texts.get(int(side[row]), str(int(side[row]))) for side in (task.answer, task.wrong))
    cells = (_marked(clean, differ), escape(visible(answer)), _marked(corrupted, differ), escape(visible(wrong)))
    inside = "".join(f"<td {_CELL}>{cell}</td>" for cell in cells)
    return f"<tr><th scope='row' {_CELL}>{row}</th>{inside}</tr>"


def _marked(labels: Sequence[str], differ: Sequence[bool]) -> str:
    texts = [escape(visible(text)) for text in labels]
    marked = [f"<mark {_MARK}>{text}</mark>" if mark else text for text, mark in zip(texts, differ, strict=True)]
    between = " " if all(text.isdigit() for text in labels) else "<wbr>"  # ids of a model without a tokenizer
    return between.join(marked)
