"""Text as safe HTML and Markdown: everything is escaped, only a code span in backticks is kept."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

__all__ = ["box", "html_table", "html_text", "markdown_table", "markdown_text", "plain_table"]

_CODE = re.compile(r"(`[^`\n]+`)")
# An underscore inside a word is no emphasis in Markdown, and escaping it would break addresses.
_SPECIAL = re.compile(r"[\\`*\[\]<>&$~|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_CELL = 'style="text-align:left;vertical-align:top;padding:0.25em 0.75em"'


def html_text(text: str) -> str:
    """Escape text for HTML; a span in backticks becomes ``<code>``.

    Examples
    --------
    >>> html_text("`a[0]` < <bos>")
    '<code>a[0]</code> &lt; &lt;bos&gt;'
    """
    parts = _CODE.split(text)
    parts[::2] = [html.escape(part) for part in parts[::2]]
    parts[1::2] = [f"<code>{html.escape(part[1:-1])}</code>" for part in parts[1::2]]
    return "".join(parts)


def markdown_text(text: str) -> str:
    r"""Escape text for one cell of a Markdown table; a span in backticks stays code.

    Examples
    --------
    >>> print(markdown_text("|a| < *b* in `x*y`"))
    \|a\| \< \*b\* in `x*y`
    """
    parts = _CODE.split(" ".join(text.split()))
    parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", r"\|") for part in parts[1::2]]
    return "".join(parts)


def box(*parts: str, accent: str = "currentColor") -> str:
    """Put finished HTML in a box with a coloured left edge; text keeps the colours of its host.

    Examples
    --------
    >>> box("<p>seen</p>").endswith("<p>seen</p></div>")
    True
    """
    style = f"border-left:4px solid {accent};padding:0.25em 0.75em;margin:0.5em 0;overflow-x:auto"
    return f'<div style="{style}">{"".join(parts)}</div>'


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw an HTML table of escaped text.

    Examples
    --------
    >>> html_table(["a"], [["1 < 2"]]).count("1 &lt; 2")
    1
    """
    head = "".join(f'<th scope="col" {_CELL}>{html_text(cell)}</th>' for cell in header)
    lines = ("".join(f"<td {_CELL}>{html_text(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    style = "color:inherit;font-size:inherit;border-collapse:collapse"  # some hosts give tables their own
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a Markdown table of escaped text.

    Examples
    --------
    >>> print(markdown_table(["a", "b"], [["1", "2|3"]]))
    | a | b |
    | --- | --- |
    | 1 | 2\|3 |
    """
    rule = ["---"] * len(header)
    escaped = [[markdown_text(cell) for cell in row] for row in (header, *rows)]
    return "\n".join(_line(row) for row in (escaped[0], rule, *escaped[1:]))


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table for a terminal, columns aligned, nothing escaped.

    Examples
    --------
    >>> print(plain_table(["claim", "ours"], [["sinks", "0.5"]]))
    | claim | ours |
    | ----- | ---- |
    | sinks | 0.5  |
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(_line([c.ljust(w) for c, w in zip(row, widths, strict=True)]) for row in cells)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
