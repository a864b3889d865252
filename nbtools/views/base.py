"""What all views share: one small ES module each, a still picture, and a plain repr."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from nbtools.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["View", "source"]

_HERE = Path(__file__).parent
_SHARED_IMPORT = re.compile(r'^import \{[^}]*\} from "\.\./shared\.js";\n', re.MULTILINE)
_STILL_DPI = 80
_FORMATS = (".png", ".svg", ".pdf")


def source(name: str) -> str:
    """Give a view's ES module as one text: the shared helpers, then its own file.

    The file imports the helpers, so that tests can load it as it stands; here that line is replaced
    by the helpers themselves, because a widget's module cannot import from its neighbours.
    """
    shared = (_HERE / "shared.js").read_text(encoding="utf-8")
    own = (_HERE / name / f"{name}.js").read_text(encoding="utf-8")
    body, found = _SHARED_IMPORT.subn("", own)
    if found != 1:
        msg = f"{name}.js must import from ../shared.js in exactly one statement, found {found}"
        raise InputError(msg)
    return re.sub(r"^export ", "", shared, flags=re.MULTILINE) + "\n" + body


def style(name: str) -> str:
    """Give a view's style sheet, after the one that all views share."""
    own = _HERE / name / f"{name}.css"
    shared = (_HERE / "shared.css").read_text(encoding="utf-8")
    return shared + (own.read_text(encoding="utf-8") if own.is_file() else "")


class View(anywidget.AnyWidget):
    """A picture of an array: live in a notebook, still elsewhere.

    Where no kernel runs, a saved notebook shows the still picture that was stored beside the live one.
    """

    _frame = traitlets.Dict().tag(sync=True)
    """All that the page draws, in one message: sizes, labels, and numbers as bytes."""

    def __init_subclass__(cls, *, folder: str | None = None, **kwargs: Any) -> None:
        if folder is not None:
            cls._esm = source(folder)
            cls._css = style(folder)
        super().__init_subclass__(**kwargs)

    def figure(self) -> Figure:
        """Draw the view as it is now, selection included, with matplotlib."""
        msg = f"{type(self).__name__} draws no still picture"
        raise InputError(msg)

    def save(self, path: str | Path) -> Path:
        """Write the still picture, as the suffix says: ``.png``, ``.svg`` or ``.pdf``.

        Raises
        ------
        InputError
            If the suffix is another one.
        """
        path = Path(path)
        if path.suffix not in _FORMATS:
            msg = f"cannot save as {path.suffix or 'a file without suffix'!r}: expected {', '.join(_FORMATS)}"
            raise InputError(msg)
        _write(self.figure(), path, dpi=200)
        return path

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self), "image/png": still(self.figure())}, metadata


def still(figure: Figure) -> bytes:
    """Render a figure as a small PNG whose bytes depend on the picture alone."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    _write(figure, drawn, format="png", dpi=_STILL_DPI)
    Image.open(drawn).convert("RGB").save(small, "PNG", optimize=True)
    return small.getvalue()


def _write(figure: Figure, target: Path | io.BytesIO, **options: Any) -> None:
    with warnings.catch_warnings():
        # a token in a script that the font lacks is drawn as a box; that is no news to the reader
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(target, bbox_inches="tight", **options)
