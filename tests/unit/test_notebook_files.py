"""The series keeps the rules, and each rule catches what it is there for."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
import pytest

from tests import notebook_rules
from tests.notebook_rules import problems, read

SERIES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PNG = {"image/png": "iVBORw0KGgo=", "text/plain": "HeadGrid(layers=1, heads=1, selected=[])"}


def test_there_is_a_series():
    assert {"00_start_here.ipynb", "TEMPLATE.ipynb"} <= {path.name for path in SERIES}


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.name)
def test_a_notebook_of_the_series_keeps_the_rules(path):
    notebook, size = read(path)
    assert problems(notebook, size=size) == []


def md(text: str):
    return nbformat.v4.new_markdown_cell(text)


def code(text: str, *outputs, tags=()):
    cell = nbformat.v4.new_code_cell(text, outputs=list(outputs))
    cell.metadata["tags"] = list(tags)
    return cell


def result(data: dict):
    return nbformat.v4.new_output("execute_result", data=data, execution_count=1)


@pytest.fixture
def notebook():
    """The smallest notebook that keeps all rules."""
    table = {notebook_rules.CLAIMS: {"claims": []}, "text/plain": "claims"}
    made = nbformat.v4.new_notebook(
        cells=[
            md("# Title\n\n**You will** see. **Time** 1 min. **Needs** a CPU. **Before this** none."),
            code("import nbtools as nb"),
            md("## 0.1 A section"),
            code("grid", result(PNG)),
            code("1 + 1", result({"text/plain": "2"}), tags=["nbval-check-output"]),
            code("assert 1 + 1 == 2\n2", result({"text/plain": "2"}), tags=["nbval-check-output"]),
            md("## 0.2 Claims"),
            code("nb.lessons.claims_table([nb.lessons.claim(...)])", result(table)),
            md("## Summary\n\n<details>folded</details>\n\n## References"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    made.nbformat_minor = 5
    for number, cell in enumerate(cell for cell in made.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
    return made


def test_the_smallest_notebook_keeps_all_rules(notebook):
    assert problems(notebook) == []


def cell_of(notebook, source: str):
    return next(cell for cell in notebook.cells if cell.source.startswith(source))


def null_count(notebook):
    cell_of(notebook, "grid").execution_count = None


def counts_out_of_order(notebook):
    cell_of(notebook, "grid").execution_count = 7


def saved_state(notebook):
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}


def stored_error(notebook):
    cell_of(notebook, "grid").outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])
    )


def other_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-laptop"


def repeated_id(notebook):
    notebook.cells[0]["id"] = notebook.cells[1]["id"]


def old_format(notebook):
    notebook.nbformat_minor = 4


def no_picture_at_all(notebook):
    cell_of(notebook, "grid").outputs = [result({"text/plain": "nothing to see"})]


def large_picture(notebook):
    cell_of(notebook, "grid").outputs[0].data["image/png"] = "x" * 60_001


def live_view(notebook):
    cell_of(notebook, "grid").outputs[0].data[notebook_rules.LIVE] = {"model_id": "x"}


def no_title(notebook):
    notebook.cells[0].source = "Hello"


def two_titles(notebook):
    notebook.cells[2].source += "\n\n# Another"


def no_time(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("**Time**", "Time")


def long_setup(notebook):
    cell_of(notebook, "import").source += "\nx = 1" * 8


def long_cell(notebook):
    cell_of(notebook, "grid").source += "\nx = 1" * 15


def long_cells(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source += "\nx = 1" * 5


def few_cells(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("# Title", "# 0 · Title")


def installs(notebook):
    cell_of(notebook, "grid").source = "!pip install x"


def uses_interact(notebook):
    cell_of(notebook, "grid").source = "interact(f)"


def semicolon(notebook):
    cell_of(notebook, "grid").source = "grid;"


def address(notebook):
    cell_of(notebook, "1 + 1").outputs[0].data["text/plain"] = "<object at 0x7f3a2b1c>"


def home_folder(notebook):
    cell_of(notebook, "1 + 1").outputs[0].data["text/plain"] = "/home" + "/ada/model"


def moment(notebook):
    cell_of(notebook, "1 + 1").outputs[0].data["text/plain"] = "2020-01-02 03:04"


def wrong_number(notebook):
    notebook.cells[2].source = "## 0.3 A section"


def no_assertion(notebook):
    cell_of(notebook, "assert").source = "2"


def no_summary(notebook):
    notebook.cells[-1].source = "## References"


def no_references(notebook):
    notebook.cells[-1].source = "## Summary"


def no_claims(notebook):
    cell_of(notebook, "nb.lessons").outputs = []


def nothing_compared(notebook):
    cell_of(notebook, "1 + 1").metadata["tags"] = []


def nothing_to_compare(notebook):
    cell_of(notebook, "1 + 1").outputs = []


def open_fold(notebook):
    notebook.cells[-1].source += "\n<details>"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (null_count, "execution counts are [1, None, 3, 4, 5], expected 1 to 5"),
        (counts_out_of_order, "execution counts are [1, 7, 3, 4, 5]"),
        (saved_state, "widget state is saved"),
        (stored_error, "cell 3 stores the error ValueError"),
        (other_kernel, "the kernel is not python3"),
        (repeated_id, "cell ids are missing or not unique"),
        (old_format, "the format is 4.4, expected 4.5"),
        (no_picture_at_all, "not one picture is visible"),
        (large_picture, "the picture of cell 3 has 60,001 characters"),
        (live_view, "cell 3 stores a live view"),
        (no_title, "the first cell must be markdown that begins with one title"),
        (two_titles, "expected one title"),
        (no_time, "the first cell must say **Time**"),
        (long_setup, "the first code cell must be the setup"),
        (long_cell, "cell 3 has 16 lines"),
        (long_cells, "the median code cell has 6 lines"),
        (few_cells, "there are 5 code cells, expected 25 to 40"),
        (installs, "cell 3 uses '!'"),
        (uses_interact, "cell 3 uses 'interact('"),
        (semicolon, "cell 3 ends with a semicolon"),
        (address, "cell 4 stores '0x7f3a2b1c'"),
        (home_folder, "cell 4 stores '/home" + "/a'"),
        (moment, "cell 4 stores '2020-01-02 03:04'"),
        (wrong_number, "sections are numbered ['0.3', '0.2']"),
        (no_assertion, "section '0.1 A section' asserts nothing"),
        (no_summary, "the section '## Summary' is missing"),
        (no_references, "the section '## References' is missing"),
        (no_claims, "there is no claims table"),
        (nothing_compared, "1 cells have the tag nbval-check-output"),
        (nothing_to_compare, "cell 4 has the tag nbval-check-output but stores no text"),
        (open_fold, "cell 8 opens 2 folds and closes 1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_rule_catches_its_fault_and_nothing_else(notebook, fault, sentence):
    broken = copy.deepcopy(notebook)
    fault(broken)
    found = problems(broken)
    assert len(found) == 1, found
    assert found[0].startswith(sentence)


def test_a_view_without_its_picture_is_caught(notebook):
    cell_of(notebook, "grid").outputs.append(result({"text/plain": PNG["text/plain"]}))
    assert problems(notebook) == ["cell 3 shows a view without a picture: its mime bundle must hold image/png"]


def test_a_file_that_is_too_large_is_caught(notebook):
    assert problems(notebook, size=300_001)[0].startswith("the file has 300,001 bytes")
