"""Solve every exercise of the series in a kernel, and see that its check says so: ``make solutions``.

``python notebooks/solutions.py`` takes all notebooks, or those that are named. The notebooks stay as they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from execute import CELL_SECONDS, HERE, QUIET
from nbclient import NotebookClient

from nbtools.lessons import Exercise, exercises, solution_copy


def solve(path: Path) -> list[Exercise]:
    """Execute the copy in which all exercises are solved, and give those whose check does not say that it is right."""
    whole = nbformat.read(path, as_version=4)
    solved = solution_copy(whole)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(solved, timeout=CELL_SECONDS, kernel_name="python3", resources=where).execute()
    return [exercise for exercise in exercises(whole) if "✓" not in said(solved.cells[exercise.check])]


def said(cell: nbformat.NotebookNode) -> str:
    """Give what a cell put out, as text."""
    return "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs)


def main() -> None:
    os.environ.update(QUIET)
    wrong = 0
    for path in map(Path, sys.argv[1:] or sorted(HERE.glob("[0-9]*.ipynb"))):
        missed = solve(path)
        wrong += len(missed)
        count = len(exercises(nbformat.read(path, as_version=4)))
        names = "".join(f"\n  not right: {exercise.number} {exercise.name}" for exercise in missed)
        print(f"{path.name}: {count - len(missed)} of {count} solutions are right{names}", flush=True)
    sys.exit(min(wrong, 1))


if __name__ == "__main__":
    main()
