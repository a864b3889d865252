"""Copies for a workshop: participants find no solution, solutions are whole, and nobody's work is written over."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from nbtools import lessons
from nbtools.errors import DataError, InputError

SERIES = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))
TITLE = "### Exercise 1.1: a half (easy, 2 minutes)\n\nGive half of it."
STUB = 'def half(x):\n    """Half of it."""\n    raise NotImplementedError'
CHECK = "nb.lessons.check(half, [2.0], inputs=[4])"
HINT = "<details><summary>Hint</summary>\n\nTwo of it are x.\n\n</details>"
SOLVED = "def half(x):\n    return x / 2"
FOLDED = f"<details><summary>Solution</summary>\n\n```python\n{SOLVED}\n```\n\nWords.\n\n</details>"


def notebook(*, title=TITLE, stub=STUB, check=CHECK, folded=f"{HINT}\n\n{FOLDED}\n\n## Next"):
    cells = [new_markdown_cell(title), new_code_cell(stub), new_code_cell(check), new_markdown_cell(folded)]
    cells[2].outputs, cells[2].execution_count = [nbformat.v4.new_output("stream", text="not attempted")], 3
    return new_notebook(cells=cells)


@pytest.mark.parametrize("path", SERIES, ids=[path.stem for path in SERIES])
def test_copies_of_the_series_differ_in_stubs_and_solutions_alone(path):
    whole = nbformat.read(path, as_version=4)
    found = lessons.exercises(whole)
    worked, solved = lessons.participant_copy(whole), lessons.solution_copy(whole)
    assert len(found) == sum("raise NotImplementedError" in cell.source for cell in whole.cells) >= 1
    assert [exercise.number.split(".")[0] for exercise in found] == [str(int(path.name[:2]))] * len(found)
    stubs, folded = ({getattr(exercise, part) for exercise in found} for part in ("stub", "solution"))
    for place, (left, right) in enumerate(zip(worked.cells, solved.cells, strict=True)):
        assert (left.source == right.source) == (place not in stubs | folded)
        if place in folded:
            parts = left.source.split("\n\n")
            assert "Solution</summary>" not in left.source and all(part in right.source for part in parts)
    assert not any("NotImplementedError" in cell.source for cell in solved.cells)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in (*worked.cells, *solved.cells))


@pytest.mark.parametrize("path", SERIES, ids=[path.stem for path in SERIES])
def test_every_solution_of_the_series_is_python_that_stands_by_itself(path):
    for exercise in lessons.exercises(nbformat.read(path, as_version=4)):
        compile(exercise.code, exercise.number, "exec")
        assert exercise.level in ("easy", "medium", "hard") and 1 <= exercise.minutes <= 15


def test_hints_and_what_follows_stay_with_participants_and_the_notebook_itself_is_not_touched():
    whole = notebook()
    before = copy.deepcopy(whole)
    worked = lessons.participant_copy(whole)
    assert worked.cells[3].source == f"{HINT}\n\n## Next" and whole == before
    assert lessons.solution_copy(whole).cells[1].source == SOLVED
    assert len(lessons.participant_copy(notebook(folded=FOLDED)).cells) == 3


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"title": "### Something else"}, "a heading above it"),
        ({"check": "print(half(4))"}, "a check after it"),
        ({"folded": HINT}, "a solution after it"),
        ({"folded": FOLDED.replace("def half", "def third")}, "a solution that defines half"),
        ({"folded": FOLDED.replace("return x / 2", "return x /")}, "expected Python"),
    ],
)
def test_an_exercise_that_is_not_whole_is_explained(parts, expected):
    with pytest.raises(DataError, match=expected):
        lessons.exercises(notebook(**parts))


def test_copies_are_written_and_never_written_over(tmp_path):
    source = tmp_path / "01_half.ipynb"
    nbformat.write(notebook(), source)
    found = lessons.write_copies([source], tmp_path / "day")
    assert [exercise.name for exercise in found["01_half.ipynb"]] == ["a half"]
    written = tmp_path / "day/participants/01_half.ipynb"
    nbformat.validate(nbformat.read(written, as_version=4))
    lessons.write_copies([source], tmp_path / "day")
    written.write_text(written.read_text().replace("raise NotImplementedError", "return x * 0.5"))
    with pytest.raises(InputError, match="somebody may have worked in it"):
        lessons.write_copies([source], tmp_path / "day")
    assert "return x * 0.5" in written.read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write below"):
        lessons.write_copies([source], tmp_path / "file")
