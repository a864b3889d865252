"""The ledger: every claim that a series of notebooks makes, read from what they stored when they ran."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbtools.errors import DataError, NbtoolsError
from nbtools.lessons.claims import CLAIMS_MIME, CLAIMS_VERSION, Claim, ClaimsTable
from nbtools.lessons.markup import html_text, markdown_text

__all__ = ["Ledger", "collect", "read_notebook"]


@dataclass(frozen=True, repr=False)
class Ledger:
    """The claims of several notebooks, one table for each.

    Shown in a notebook it carries no claims data: it repeats what others measured.

    Attributes
    ----------
    tables
        The path of each notebook, as given, and its claims.
    """

    tables: dict[str, ClaimsTable]

    def __iter__(self) -> Iterator[Claim]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def __repr__(self) -> str:
        parts = [f"{name}\n{table!r}" for name, table in self.tables.items()]
        return "\n\n".join([*parts, self.summary])

    @property
    def all(self) -> ClaimsTable:
        """All claims as one table."""
        return ClaimsTable(tuple(claim for table in self.tables.values() for claim in table))

    @property
    def summary(self) -> str:
        """How many claims there are in all, and of which verdict, in words."""
        return f"In all, {self.all.summary}"

    def to_markdown(self) -> str:
        """Write a heading and a table for each notebook, then how many claims hold in all."""
        parts = [f"## {markdown_text(name)}\n\n{table.to_markdown()}" for name, table in self.tables.items()]
        return "\n\n".join([*parts, self.summary]) + "\n"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        parts = [f"<h4>{html_text(name)}</h4>{table.to_html()}" for name, table in self.tables.items()]
        return {"text/plain": repr(self), "text/html": "".join([*parts, f"<p>{self.summary}</p>"])}


def collect(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Ledger:
    """Gather the claims that executed notebooks hold in their outputs.

    Parameters
    ----------
    paths
        Notebooks, or folders of notebooks; one or several. Nothing is executed.

    Returns
    -------
    Ledger
        One table for each notebook. A claim shown alone and again in a table is listed once.

    Raises
    ------
    DataError
        If a notebook is missing, damaged, was not executed, or stopped at an error.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> empty = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    >>> _ = (folder / "00_empty.ipynb").write_text(empty)
    >>> collect(folder).summary
    'In all, no claims'
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    notebooks = dict.fromkeys(path for entry in given for path in _notebooks_at(Path(entry)))
    return Ledger({path.as_posix(): _claims_in(path) for path in notebooks})


def _notebooks_at(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.ipynb"))
    if not found:
        msg = f"expected notebooks in the folder {path}, found none; pass the folder of the .ipynb files"
        raise DataError(msg)
    return found


def _claims_in(path: Path) -> ClaimsTable:
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code" and cell.source.strip()]
    if cells and not any(cell.execution_count for cell in cells):
        msg = f"{path} was not executed, so it holds no measurements; run it and save it"
        raise DataError(msg)
    outputs = [output for cell in cells for output in cell.outputs if _finished(path, cell, output)]
    bundles = [output.data[CLAIMS_MIME] for output in outputs if CLAIMS_MIME in output.get("data", {})]
    return ClaimsTable(tuple(dict.fromkeys(claim for data in bundles for claim in _decode(path, data))))


def read_notebook(path: Path) -> Any:
    """Read a notebook; what goes wrong is a DataError that says so."""
    try:
        import nbformat  # here, since a kernel can run without it
    except ModuleNotFoundError as error:
        msg = 'reading notebooks needs nbformat; install it with pip install "nbtools[notebook]"'
        raise NbtoolsError(msg) from error
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError as error:
        msg = f"expected a notebook at {path}, found nothing; check the path"
        raise DataError(msg) from error
    except Exception as error:  # a damaged notebook fails in as many ways as there are versions
        msg = f"{path} cannot be read as a notebook ({type(error).__name__}: {error}); restore the file"
        raise DataError(msg) from error


def _finished(path: Path, cell: Any, output: Any) -> bool:
    if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
        msg = f"{path} stopped at {output.ename}: {output.evalue}; mend the cell, run the notebook and save it"
        raise DataError(msg)
    return True


def _decode(path: Path, data: Any) -> list[Claim]:
    try:
        if data["version"] == CLAIMS_VERSION:
            return [Claim(**entry) for entry in data["claims"]]
        reason = f"they have version {data['version']!r}, this nbtools reads {CLAIMS_VERSION}"
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
    msg = f"the claims stored in {path} cannot be read ({reason}); run the notebook again and save it"
    raise DataError(msg)
