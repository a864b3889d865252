"""Execute the series from clean kernels and store it in a form whose differences mean something.

``python notebooks/execute.py`` takes all notebooks, or those that are named. A notebook whose cell fails is left as it
was. What is stored: counts 1..n, no widget state, no times, and for each view its picture and its plain text.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
CELL_SECONDS = 120
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
LIVE = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> float:
    """Execute one notebook in place and give the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    seconds = time.perf_counter() - start
    write(normalise(notebook), path)
    return seconds


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Keep what a reader sees and a test compares; drop what differs from run to run or from machine to machine."""
    notebook.nbformat_minor = 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
        if cell.cell_type == "code":
            count += 1
            _normalise_code(cell, count)
    return notebook


def _normalise_code(cell: nbformat.NotebookNode, count: int) -> None:
    cell.execution_count = count
    cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = count
        output.get("data", {}).pop(LIVE, None)  # without its state a stored live view is an error message
        if "metadata" in output:
            output.metadata = nbformat.from_dict({})


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook in one step, so that an interrupted run leaves the old one."""
    nbformat.validate(notebook)
    new = path.with_suffix(".new")
    new.write_text(nbformat.writes(notebook, indent=1).rstrip("\n") + "\n", encoding="utf-8")
    new.replace(path)


def main(names: list[str]) -> int:
    """Execute the named notebooks, or all; say what failed and where."""
    os.environ.update(QUIET)
    paths = [Path(name) for name in names] or sorted(HERE.glob("*.ipynb"))
    failed = 0
    for path in paths:
        try:
            seconds = execute(path)
        except CellExecutionError as error:
            failed += 1
            sys.stderr.write(f"{path.name}: a cell failed, the file is unchanged\n{error}\n")
        else:
            sys.stdout.write(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1e3:.0f} kB\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
