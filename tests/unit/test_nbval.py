"""nbval, as the series is run, really compares: an altered result, a failing cell and a failing callback are caught."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATTERN = r"(\w+)::ipynb::Cell (\d+) (PASSED|FAILED|SKIPPED)"
CALLBACK = """
import ipywidgets
slider = ipywidgets.IntSlider()
slider.observe(lambda change: {0}, "value")
slider.value = 3
slider
"""


def stored(source: str, text: str | None = None, *, compared: bool = False):
    cell = nbformat.v4.new_code_cell(source.strip(), execution_count=1)
    if text is not None:
        cell.outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": text}, execution_count=1)]
    cell.metadata["tags"] = ["nbval-check-output"] if compared else []
    return cell


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """Run several small notebooks with nbval as the Makefile does, and tell how each ended."""
    folder = tmp_path_factory.mktemp("nbval")
    for name in ("conftest.py", "sanitize.cfg"):
        shutil.copy(NOTEBOOKS / name, folder)
    notebooks = {
        "true": [stored("1 + 1", "2", compared=True), stored(CALLBACK.format("None"))],
        "altered": [stored("1 + 1", "3", compared=True)],
        "raising": [stored("1 / 0"), stored("2", "2", compared=True)],
        "callback": [stored(CALLBACK.format("1 / 0"))],
        "address": [stored("print(object())", None), stored("object()", "<object at 0x12345678>", compared=True)],
    }
    for name, cells in notebooks.items():
        made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P"}})
        nbformat.write(made, folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-v"]
    command += ["--nbval-sanitize-with=sanitize.cfg", "--nbval-cell-timeout=60", "--rootdir=.", "-o", "addopts=", "."]
    text = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    return {f"{name} {cell}": end for name, cell, end in re.findall(PATTERN, text)}


def test_what_is_true_passes(outcomes):
    assert outcomes["true 0"] == outcomes["true 1"] == "PASSED"


def test_an_altered_result_fails(outcomes):
    assert outcomes["altered 0"] == "FAILED"


def test_a_raising_cell_fails_and_the_cells_after_it_are_skipped(outcomes):
    assert outcomes["raising 0"] == "FAILED"
    assert outcomes["raising 1"] == "SKIPPED"


def test_an_exception_in_a_widget_callback_fails(outcomes):
    assert outcomes["callback 0"] == "FAILED"


def test_an_address_is_not_compared(outcomes):
    assert outcomes["address 1"] == "PASSED"
