"""Views in a page that no kernel stands behind: the same modules, on a stand-in for the model.

Everything that a view needs (its modules, its traits, its numbers) is packed into one compressed text of letters and
digits, so that nothing in a token can be taken for markup. Without scripts the picture remains.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtools.errors import ArrayError

if TYPE_CHECKING:
    from nbtools.views.base import View

__all__ = ["document", "fragment"]

_MOST_INLINE = 1_000_000  # characters that one output may add to a notebook
_MOST_TRIED = 6_000_000  # bytes worth compressing to see whether they fit
_MOST_IN_A_FILE = 64_000_000  # bytes that a page opens without trouble

_DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --jp-layout-color0: #fff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --jp-layout-color0: #0d1117; --jp-content-font-color1: #e6edf3;
  --jp-content-font-color2: #9198a1; --jp-border-color2: #3d444d; }} }}
body {{ margin: 24px; background: var(--jp-layout-color0); }}
</style></head><body><main>{body}</main></body></html>
"""


def fragment(rows: list[list[View]], *, picture: bytes, text: str) -> str:
    """Give HTML for an output cell: the picture, which a script replaces by the views where scripts run."""
    payload = _payload(rows, complete=_size(rows) <= _MOST_TRIED)
    if len(payload) > _MOST_INLINE:
        payload = _payload(rows, complete=False)
    inside = f'<img alt="{html.escape(text, quote=True)}" src="data:image/png;base64,{_letters(picture)}">'
    return _alive(payload, inside) if len(payload) <= _MOST_INLINE else f"<div>{inside}</div>"


def document(rows: list[list[View]]) -> str:
    """Give a whole page, with everything that a live view could ask for.

    Raises
    ------
    ArrayError
        If that is more than a page should hold.
    """
    if _size(rows) > _MOST_IN_A_FILE:
        msg = (
            f"this page would hold {_size(rows) / 1e6:.0f} MB, more than {_MOST_IN_A_FILE / 1e6:g} MB: "
            "choose fewer with layers or heads (pattern.sel(layer=slice(0, 9))), or a shorter prompt"
        )
        raise ArrayError(msg)
    title = ", ".join(repr(view) for row in rows for view in row)
    return _DOCUMENT.format(title=html.escape(title), body=_alive(_payload(rows, complete=True), ""))


def _alive(payload: str, inside: str) -> str:
    name = hashlib.sha256(payload.encode()).hexdigest()[:12]
    script = _host().replace("PAYLOAD", payload).replace("NAME", name)
    return f'<div data-nb="{name}">{inside}</div><script>{script}</script>'


@lru_cache(maxsize=1)
def _host() -> str:
    lines = (Path(__file__).parent / "host.js").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if not line.strip().startswith("//"))


def _size(rows: list[list[View]]) -> int:
    return sum(view._weight() for row in rows for view in row)


def _payload(rows: list[list[View]], *, complete: bool) -> str:
    """Pack a header as JSON, its length before it, and all bytes after it."""
    from nbtools.views.group import links_between

    views = [view for row in rows for view in row]
    chunks: list[bytes] = []
    header = {
        "rows": [len(row) for row in rows],
        "views": [{"module": view._name, "state": _pack(view._state(complete=complete), chunks)} for view in views],
        "modules": {view._name: view._module for view in views},
        "style": "".join(dict.fromkeys(view._style for view in views)),
        "links": links_between(views),
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return _letters(_squeezed(len(text).to_bytes(4, "little") + text, b"".join(chunks)))


def _squeezed(text: bytes, numbers: bytes) -> bytes:
    """Compress in one raw stream: text thoroughly, numbers by their runs alone, which is as small and far faster."""
    thorough = zlib.compressobj(9, zlib.DEFLATED, -15)
    by_runs = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    begin = thorough.compress(text) + thorough.flush(zlib.Z_FULL_FLUSH)
    return begin + by_runs.compress(numbers) + by_runs.flush()


def _pack(value: Any, chunks: list[bytes]) -> Any:
    """Replace bytes, anywhere in a value, by the place where they will lie."""
    if isinstance(value, (bytes, memoryview)):
        start = sum(map(len, chunks))
        chunks.append(bytes(value))
        return {"$bytes": [start, len(chunks[-1])]}
    if isinstance(value, dict):
        return {key: _pack(item, chunks) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(item, chunks) for item in value]
    return value


def _letters(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
