"""What all views share: one small ES module each, a page without a kernel, a still picture, and a plain repr."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from nbtools.errors import InputError
from nbtools.views import page
from nbtools.views.colour import Scale
from nbtools.views.options import refuse_unknown
from nbtools.views.pictures import titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nbtools.views.pictures import Drawing

__all__ = ["View", "bundle", "save", "source", "still"]

_HERE = Path(__file__).parent
_SHARED_IMPORT = re.compile(r'^import \{[^}]*\} from "\.\./shared\.js";\n', re.MULTILINE)
_PART_IMPORT = re.compile(r'^import (\w+|\{[^}]*\}) from "([./\w]+\.js)";\n', re.MULTILINE)
_STILL_DPI = 80
_COLOURS = 128  # in a stored picture
_FORMATS = (".png", ".svg", ".pdf", ".html")


def source(name: str) -> str:
    """Give a view's ES module as one text: the shared helpers, then its own files and the views that it holds.

    A file imports what it needs, so that tests can load it as it stands; here each such line is replaced by
    what it names, because a widget's module cannot import from its neighbours. Another view stands in a
    function of its own, where its names meet no others.
    """
    own = _HERE / name / f"{name}.js"
    found = len(_SHARED_IMPORT.findall(own.read_text(encoding="utf-8")))
    if found != 1:
        msg = f"{name}.js must import from ../shared.js in exactly one statement, found {found}"
        raise InputError(msg)
    return _local((_HERE / "shared.js").read_text(encoding="utf-8")) + "\n" + _whole(own, set())


def _whole(path: Path, known: set[Path]) -> str:
    """Give a file's text with that of what it imports, each once, in place of its imports."""

    def put(found: re.Match[str]) -> str:
        name, part = found[1], (path.parent / found[2]).resolve()
        if part in known:
            return ""
        known.add(part)
        text = _whole(part, known)
        return _local(text) if name.startswith("{") else _enclosed(name, text)

    return _PART_IMPORT.sub(put, _SHARED_IMPORT.sub("", path.read_text(encoding="utf-8")))


def _local(text: str) -> str:
    return re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)


def _enclosed(name: str, text: str) -> str:
    body = _local(text).replace("\nexport default ", "\nreturn ")
    return f"const {name} = (() => {{\n{textwrap.indent(body, '  ')}}})();\n"


def style(name: str) -> str:
    """Give a view's style sheet, after the one that all views share and those of the views that it holds."""
    module = (_HERE / name / f"{name}.js").read_text(encoding="utf-8")
    held = [Path(file).stem for part, file in _PART_IMPORT.findall(module) if not part.startswith("{")]
    sheets = [_HERE / "shared.css", *(_HERE / folder / f"{folder}.css" for folder in [*held, name])]
    return "".join(sheet.read_text(encoding="utf-8") for sheet in sheets if sheet.is_file())


class View(anywidget.AnyWidget):
    """A picture of an array: live in a notebook, alive without a kernel in a page, still elsewhere.

    Attributes
    ----------
    title
        Written above the view; empty by default.
    """

    title = traitlets.Unicode(help="written above the view").tag(sync=True)

    _frame = traitlets.Dict().tag(sync=True)
    """All that the page draws, in one message: sizes, labels, and numbers as bytes."""

    _name: ClassVar[str] = ""
    _module: ClassVar[str] = ""
    _style: ClassVar[str] = ""
    _pins: ClassVar[dict[str, str]] = {}
    """For each dimension along which something can be pinned, the trait that holds what is."""

    _scale: Scale
    _natural: Scale
    _range: tuple[float, float] | None = None

    def __init_subclass__(cls, *, folder: str | None = None, **kwargs: Any) -> None:
        if folder is not None:
            cls._name, cls._module, cls._style = folder, source(folder), style(folder)
            cls._esm, cls._css = cls._module, cls._style
        super().__init_subclass__(**kwargs)

    def __init__(self, **options: Any) -> None:
        refuse_unknown(type(self).__name__, options, known=self.trait_names())
        super().__init__(**options)

    def _fit(self, natural: Scale) -> Scale:
        """Put a scale on the range that was chosen with `rescale`, if one was."""
        self._natural = natural
        return natural if self._range is None else replace(natural, vmin=self._range[0], vmax=self._range[1])

    def rescale(self, vmin: float | None = None, vmax: float | None = None) -> None:
        """Put the colours on another range, now and for what is shown later; without values, on the data's own.

        Raises
        ------
        InputError
            If the range is empty.

        Examples
        --------
        >>> from nbtools import views
        >>> view = views.head_grid([[0.1, 0.9]])
        >>> view.rescale(0, 1)
        """
        natural = self._natural
        low, high = natural.vmin if vmin is None else float(vmin), natural.vmax if vmax is None else float(vmax)
        if not low < high:
            msg = f"the colour range is empty: expected vmin < vmax, got {low:g} and {high:g}"
            raise InputError(msg)
        self._range = None if vmin is None and vmax is None else (low, high)
        self._scale = replace(natural, vmin=low, vmax=high)
        self._recolour()

    def _recolour(self) -> None:
        """Send the page the new scale; a view whose numbers depend on it sends those too."""
        self._frame = {**self._frame, **self._scale.frame()}

    def _drawing(self) -> Drawing:
        msg = f"{type(self).__name__} draws no still picture"
        raise InputError(msg)

    def _state(self, *, complete: bool) -> dict[str, Any]:
        """Give what a page without a kernel needs; `complete` adds what a live view would ask for later."""
        own = set(self.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names(sync=True))
        return {name: getattr(self, name) for name in sorted(own) if name not in ("_esm", "_css", "_anywidget_id")}

    def _weight(self) -> int:
        """How many bytes the complete state takes, more or less."""
        return sum(len(value) for value in self._frame.values() if isinstance(value, bytes))

    def figure(self) -> Figure:
        """Draw the view as it is now, selection included, with matplotlib."""
        return titled(self._drawing(), self.title).figure()

    def save(self, path: str | Path) -> Path:
        """Write the view as it is now, selection included.

        The suffix says how: ``.png``, ``.svg`` and ``.pdf`` are still; ``.html`` is one file that answers
        to the hand in any browser, with neither a kernel nor a network.

        Raises
        ------
        InputError
            If the suffix is another one.
        """
        return save([[self]], self.figure, path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, **bundle([[self]], self.figure(), repr(self))}, metadata


def bundle(rows: list[list[View]], figure: Figure, text: str) -> dict[str, Any]:
    """Give what a saved notebook keeps of views: text, a picture, and the views themselves without a kernel."""
    picture = still(figure)
    html = page.fragment(rows, picture=picture, text=text)
    return {"text/plain": text, "image/png": picture, "text/html": html}


def save(rows: list[list[View]], figure: Any, path: str | Path) -> Path:
    """Write views in the format that the suffix of `path` names; `figure` draws them where they are still."""
    path = Path(path)
    if path.suffix not in _FORMATS:
        msg = f"cannot save as {path.suffix or 'a file without suffix'!r}: expected {', '.join(_FORMATS)}"
        raise InputError(msg)
    if path.suffix == ".html":
        path.write_text(page.document(rows), encoding="utf-8")
    else:
        _write(figure(), path, dpi=200)
    return path


def still(figure: Figure) -> bytes:
    """Render a figure as a small PNG whose bytes depend on the picture alone."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    _write(figure, drawn, format="png", dpi=_STILL_DPI)
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def _write(figure: Figure, target: Path | io.BytesIO, **options: Any) -> None:
    with warnings.catch_warnings():
        # a token in a script that the font lacks is drawn as a box; that is no news to the reader
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(target, bbox_inches="tight", **options)
