"""Copies of a notebook for a workshop: one to work in, and one in which all exercises are solved."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbtools.errors import DataError, InputError
from nbtools.lessons.ledger import read_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Exercise", "exercises", "participant_copy", "solution_copy", "write_copies"]

_STUB = "raise NotImplementedError"
_CHECK = "nb.lessons.check("
_SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n```python\n(?P<code>.*?)```\n(?P<words>.*?)</details>\n*", re.DOTALL
)
_TITLE = re.compile(
    r"^### Exercise (?P<number>[\d.]+): (?P<name>.+) \((?P<level>\w+), (?P<minutes>\d+) minutes?\)", re.M
)


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    Attributes
    ----------
    number, name, level, minutes
        As its heading says: ``### Exercise 5.1: the sink rate (easy, 5 minutes)``.
    stub, check, solution
        Which cells of the notebook hold them.
    code
        The solution, which takes the place of the stub.
    """

    number: str
    name: str
    level: str
    minutes: int
    stub: int
    check: int
    solution: int
    code: str


def exercises(notebook: NotebookNode) -> list[Exercise]:
    r"""Find the exercises of a notebook.

    Each is a heading, a stub that raises NotImplementedError, a check, and a solution that is folded away.

    Parameters
    ----------
    notebook
        As ``nbformat.read`` gives it.

    Raises
    ------
    DataError
        If a part is missing, or the solution does not define what the stub does.

    Examples
    --------
    >>> from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
    >>> solved = "```python\ndef half(x):\n    return x / 2\n```"
    >>> folded = f"<details><summary>Solution</summary>\n\n{solved}\n\n</details>"
    >>> cells = [
    ...     new_markdown_cell("### Exercise 1.1: a half (easy, 2 minutes)"),
    ...     new_code_cell("def half(x):\n    raise NotImplementedError"),
    ...     new_code_cell("nb.lessons.check(half, [2.0], inputs=[4])"),
    ...     new_markdown_cell(folded),
    ... ]
    >>> found = exercises(new_notebook(cells=cells))
    >>> found[0].number, found[0].minutes, found[0].code
    ('1.1', 2, 'def half(x):\n    return x / 2')
    """
    return list(_found(notebook))


def _found(notebook: NotebookNode) -> Iterator[Exercise]:
    cells, title = notebook.cells, None
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            title = [*_TITLE.finditer(cell.source)][-1:] or title
        elif _STUB in cell.source:
            yield _exercise(cells, place, title[0] if title else None)
            title = None


def _exercise(cells: list[NotebookNode], stub: int, title: re.Match[str] | None) -> Exercise:
    if title is None:
        raise _unlike(stub, "a heading above it such as `### Exercise 1.1: a name (easy, 3 minutes)`")
    check = next((at for at in _after(cells, stub, "code") if _CHECK in cells[at].source), None)
    if check is None:
        raise _unlike(stub, f"a check after it, {_CHECK}…)")
    found = next(((at, held) for at in _after(cells, check, "markdown") if (held := _solution(cells[at]))), None)
    if found is None:
        raise _unlike(stub, "a solution after it: <details><summary>Solution</summary>, and Python in it")
    solution, held = found
    code = held["code"].rstrip("\n")
    if missing := _defined(cells[stub].source) - _defined(code):
        raise _unlike(stub, f"a solution that defines {', '.join(sorted(missing))}")
    return Exercise(title["number"], title["name"], title["level"], int(title["minutes"]), stub, check, solution, code)


def _after(cells: list[NotebookNode], place: int, kind: str) -> Iterator[int]:
    """Go through the cells of one kind up to the next stub."""
    for at in range(place + 1, len(cells)):
        if _STUB in cells[at].source and cells[at].cell_type == "code":
            return
        if cells[at].cell_type == kind:
            yield at


def _solution(cell: NotebookNode) -> re.Match[str] | None:
    return _SOLUTION.search(cell.source)


def _unlike(stub: int, expected: str) -> DataError:
    return DataError(f"cell {stub} is the stub of an exercise: expected {expected}")


def _defined(code: str) -> set[str]:
    try:
        return {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
    except SyntaxError as error:
        raise DataError(f"expected Python, got {code!r}") from error


def participant_copy(notebook: NotebookNode) -> NotebookNode:
    """Give a copy to work in: nothing was run, and no solution can be unfolded; hints stay.

    Raises
    ------
    DataError
        If an exercise is not whole.

    Examples
    --------
    >>> import nbformat
    >>> import nbtools
    >>> series = Path(nbtools.__file__).parents[1] / "notebooks"
    >>> whole = nbformat.read(series / "00_start_here.ipynb", as_version=4)
    >>> text = nbformat.writes(participant_copy(whole))
    >>> "summary>Hint" in text, "summary>Solution" in text, "NotImplementedError" in text
    (True, False, True)
    """
    made = _not_run(notebook)
    for exercise in exercises(notebook):
        cell = made.cells[exercise.solution]
        cell.source = _SOLUTION.sub("", cell.source).strip("\n")
    made.cells = [cell for cell in made.cells if cell.source]
    return made


def solution_copy(notebook: NotebookNode) -> NotebookNode:
    """Give a copy in which each stub is solved; nothing was run.

    It differs from `participant_copy` in the stubs, and in the solutions that are folded away below them.

    Raises
    ------
    DataError
        If an exercise is not whole.

    Examples
    --------
    >>> import nbformat
    >>> import nbtools
    >>> series = Path(nbtools.__file__).parents[1] / "notebooks"
    >>> whole = nbformat.read(series / "00_start_here.ipynb", as_version=4)
    >>> "NotImplementedError" in nbformat.writes(solution_copy(whole))
    False
    """
    made = _not_run(notebook)
    for exercise in exercises(notebook):
        made.cells[exercise.stub].source = exercise.code
    return made


def _not_run(notebook: NotebookNode) -> NotebookNode:
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def write_copies(paths: Iterable[Path], folder: Path) -> dict[str, list[Exercise]]:
    """Write both copies of each notebook, into the folders ``participants`` and ``solutions``.

    Nothing that is there is written over: it may be somebody's work.

    Parameters
    ----------
    paths
        The notebooks.
    folder
        Where both folders are made.

    Returns
    -------
    dict
        For the name of each notebook its exercises.

    Raises
    ------
    InputError
        If a copy is there already, and is another one; then none is written.
    DataError
        If a notebook cannot be read or written, or an exercise is not whole.

    Examples
    --------
    >>> import tempfile
    >>> import nbtools
    >>> series = Path(nbtools.__file__).parents[1] / "notebooks"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = write_copies([series / "00_start_here.ipynb"], Path(folder))
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['participants', 'solutions']
    >>> [exercise.number for exercise in found["00_start_here.ipynb"]]
    ['0.1', '0.2', '0.3']
    """
    import nbformat

    found, made = {}, {}
    for path in paths:
        notebook = read_notebook(path)
        found[path.name] = exercises(notebook)
        for kind, make in (("participants", participant_copy), ("solutions", solution_copy)):
            made[folder / kind / path.name] = nbformat.writes(make(notebook)) + "\n"
    for path, text in made.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            msg = f"{path} is there and differs, so somebody may have worked in it: choose another folder, or move it"
            raise InputError(msg)
    try:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write below {folder}: {error}"
        raise DataError(msg) from error
    return found
