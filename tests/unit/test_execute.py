"""What is stored of an executed notebook is the same each time, and nothing is lost when a cell fails."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nbformat
import pytest

FILE = Path(__file__).parents[2] / "notebooks" / "execute.py"
FIGURE = """
import matplotlib.pyplot as plt
plt.plot([1, 3, 2]);
"""
VIEW = """
from nbtools import views
views.head_grid([[0.1, 0.9]])
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("execute", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_executing_twice_gives_the_same_bytes_with_counts_pictures_and_no_live_view(script, tmp_path):
    path = written(tmp_path / "a.ipynb", FIGURE, VIEW, "import sys; print('warning', file=sys.stderr)")
    script.execute(path)
    first = path.read_bytes()
    script.execute(path)
    assert path.read_bytes() == first
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert "widgets" not in notebook.metadata
    assert set(notebook.cells[1].outputs[0].data) == {"image/png", "text/html", "text/plain"}
    assert notebook.cells[2].outputs == []


def test_a_failing_cell_leaves_the_file_as_it_was(script, tmp_path, capsys):
    path = written(tmp_path / "b.ipynb", "1 + 1", "1 / 0")
    before = path.read_bytes()
    assert script.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "b.ipynb: a cell failed, the file is unchanged" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
