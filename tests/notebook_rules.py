"""What every notebook of the series must look like, as rules that give sentences.

nbval compares what a cell gives with what was stored, but only if the stored cell has an execution count, and never
pictures. These rules close the gaps: a notebook that passes them is one that nbval really checks and a reader without a
kernel can really see.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

__all__ = ["RULES", "problems"]

MOST_BYTES = 300_000
MOST_PICTURE = 60_000  # characters of base64
LIVE = "application/vnd.jupyter.widget-view+json"
CLAIMS = "application/vnd.nbtools.claims+json"
VIEW = re.compile(
    r"^((TokenStrip|HeadGrid|Attention|LensGrid|Bars|PatchGrid|Direction|Scrubber|Norms|Landscape|Compare|Group|\w+Explorer)\("
    r"|Circuit\(nodes=\d+, edges=\d+,)"  # and not a circuit as data, which goes on with a colon
)
FORBIDDEN = re.compile(r"pip install|^\s*!|sys\.path|google\.colab|\bwget\b|\binteract\(|\bOutput\(", re.MULTILINE)
PRIVATE = re.compile(r"0x[0-9a-f]{6,}|(?<![\w.])/(?:root|home|Users|tmp|work)/\w|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d")

Rule = Callable[[NotebookNode], Iterator[str]]


def problems(notebook: NotebookNode, *, size: int = 0) -> list[str]:
    """Give all that is wrong with a notebook, a sentence each."""
    found = [sentence for rule in RULES for sentence in rule(notebook)]
    if size > MOST_BYTES:
        found.append(f"the file has {size:,} bytes, expected at most {MOST_BYTES:,}: show fewer or smaller pictures")
    return found


def read(path: Path) -> tuple[NotebookNode, int]:
    """Read a notebook and the size of its file."""
    return nbformat.read(path, as_version=4), path.stat().st_size


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Give the code cells with their place among all cells."""
    return [(place, cell) for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Give all outputs with the place of their cell."""
    return ((place, output) for place, cell in code_cells(notebook) for output in cell.outputs)


def text_of(output: NotebookNode) -> str:
    """Give what an output says in plain text."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def lines_of(cell: NotebookNode) -> int:
    """Count the lines of a cell that are not blank."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def is_numbered(notebook: NotebookNode) -> bool:
    """Whether this is a notebook of the series and not the template."""
    return bool(notebook.cells) and re.match(r"# \d+ · ", notebook.cells[0].source) is not None


def counts(notebook: NotebookNode) -> Iterator[str]:
    """nbval compares nothing in a cell whose stored count is null."""
    found = [cell.execution_count for _, cell in code_cells(notebook)]
    if found != list(range(1, len(found) + 1)):
        yield f"execution counts are {found}, expected 1 to {len(found)} in order: run `make notebooks`"


def no_widget_state(notebook: NotebookNode) -> Iterator[str]:
    """Saved widget state is large, and some hosts refuse to show a notebook that has it."""
    if "widgets" in notebook.metadata:
        yield "widget state is saved in the notebook's metadata: run `make notebooks`"


def no_errors(notebook: NotebookNode) -> Iterator[str]:
    """A stored error would be the expected result."""
    for place, output in outputs(notebook):
        if output.output_type == "error":
            yield f"cell {place} stores the error {output.ename}: mend the cell and run `make notebooks`"


def form(notebook: NotebookNode) -> Iterator[str]:
    """The format, the kernel and the cell ids are the same in all notebooks."""
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield f"the format is {notebook.nbformat}.{notebook.nbformat_minor}, expected 4.5: run `make notebooks`"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3: run `make notebooks`"
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) != len(ids) or None in ids:
        yield "cell ids are missing or not unique: run `make notebooks`"


def pictures(notebook: NotebookNode) -> Iterator[str]:
    """What a reader without a kernel sees: a PNG wherever a view is shown."""
    seen = 0
    for place, output in outputs(notebook):
        data = output.get("data", {})
        picture = data.get("image/png", "")
        seen += bool(picture)
        if (LIVE in data or VIEW.match(data.get("text/plain", ""))) and not picture:
            yield f"cell {place} shows a view without a picture: its mime bundle must hold image/png"
        if len(picture) > MOST_PICTURE:
            yield f"the picture of cell {place} has {len(picture):,} characters, expected at most {MOST_PICTURE:,}"
    if not seen:
        yield "not one picture is visible without a kernel: show at least one view or figure"


def no_live_views(notebook: NotebookNode) -> Iterator[str]:
    """Without saved state a stored live view is shown as an error message."""
    for place, output in outputs(notebook):
        if LIVE in output.get("data", {}):
            yield f"cell {place} stores a live view: run `make notebooks`, which keeps its picture"


def opening(notebook: NotebookNode) -> Iterator[str]:
    """Title, what you will do, time and needs come first; then one setup cell."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not re.match(r"# \S", first.source):
        yield "the first cell must be markdown that begins with one title, `# 3 · …`"
        return
    titles = [line for _, text in markdown(notebook) for line in without_code(text) if re.match(r"# ", line)]
    if len(titles) != 1:
        yield f"expected one title (`# …`), found {len(titles)}: use `## 0.1 …` for sections"
    for word in ("**You will**", "**Time**", "**Needs**", "**Before this**"):
        if word not in first.source:
            yield f"the first cell must say {word}"
    setup = code_cells(notebook)[:1]
    if setup and (lines_of(setup[0][1]) > 8 or "import nbtools as nb" not in setup[0][1].source):
        yield "the first code cell must be the setup: `import nbtools as nb` and at most 8 lines"


def markdown(notebook: NotebookNode) -> list[tuple[int, str]]:
    """Give the text of the markdown cells with their places."""
    return [(place, cell.source) for place, cell in enumerate(notebook.cells) if cell.cell_type == "markdown"]


def without_code(text: str) -> list[str]:
    """Give the lines of a text outside its code blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines()


def length(notebook: NotebookNode) -> Iterator[str]:
    """Short cells, and not too many."""
    cells = code_cells(notebook)
    sizes = [lines_of(cell) for _, cell in cells]
    for place, cell in cells:
        lines = len(cell.source.splitlines())
        if not 1 <= lines <= 15:
            yield f"cell {place} has {lines} lines, expected 1 to 15: move it into nbtools, with a test"
    if sizes and statistics.median(sizes) > 4:
        yield f"the median code cell has {statistics.median(sizes):g} lines, expected at most 4: split cells"
    if is_numbered(notebook) and not 25 <= len(cells) <= 40:
        yield f"there are {len(cells)} code cells, expected 25 to 40"


def clean_source(notebook: NotebookNode) -> Iterator[str]:
    """No installation, no shell, nothing that nbval or a reader's machine cannot follow."""
    for place, cell in code_cells(notebook):
        if found := FORBIDDEN.search(cell.source):
            yield f"cell {place} uses {found[0].strip()!r}: installation and widgets belong to the package"
        if cell.source.rstrip().endswith(";"):
            yield f"cell {place} ends with a semicolon, which nbval does not honour: write `_ = …`"


def clean_outputs(notebook: NotebookNode) -> Iterator[str]:
    """Nothing in an output differs from run to run or tells of a machine."""
    for place, output in outputs(notebook):
        if found := PRIVATE.search(text_of(output)):
            yield f"cell {place} stores {found[0]!r}, which is different elsewhere: give the object a plain repr"


def sections(notebook: NotebookNode) -> Iterator[str]:
    """Sections are numbered in order, each with code asserts something; the end sums up and names its sources."""
    number = re.match(r"# (\d+) · ", notebook.cells[0].source) if notebook.cells else None
    current, found, asserting = None, [], {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and current and not current.startswith(("Summary", "References")):
            asserting[current] = asserting.get(current, False) or asserts(cell)
        headings = [line[3:] for line in without_code(cell.source) if line.startswith("## ")]
        if cell.cell_type == "markdown" and headings:
            found += headings
            current = headings[-1]
    numbered = [heading.split(" ")[0] for heading in found if heading[0].isdigit()]
    prefix = number[1] if number else "0"
    if numbered != [f"{prefix}.{place}" for place in range(1, len(numbered) + 1)] or not numbered:
        yield f"sections are numbered {numbered}, expected {prefix}.1, {prefix}.2, … in order"
    for heading in [heading for heading, fine in asserting.items() if not fine]:
        yield f"section {heading!r} asserts nothing: assert what its text states"
    for heading in {"Summary", "References"} - set(found):
        yield f"the section '## {heading}' is missing"


def asserts(cell: NotebookNode) -> bool:
    """Whether a cell fails if a statement is not true; a claim does so by itself."""
    return re.search(r"^\s*assert\b|lessons\.claim\(", cell.source, re.MULTILINE) is not None


def claims(notebook: NotebookNode) -> Iterator[str]:
    """Each notebook ends with what was claimed and what was found."""
    if not any(CLAIMS in output.get("data", {}) for _, output in outputs(notebook)):
        yield "there is no claims table: end with nb.lessons.claims_table([...])"


def compared(notebook: NotebookNode) -> Iterator[str]:
    """A few cells are compared to the letter, and have something to compare."""
    tagged = [
        (place, cell) for place, cell in code_cells(notebook) if "nbval-check-output" in cell.metadata.get("tags", [])
    ]
    if not 2 <= len(tagged) <= 6:
        yield f"{len(tagged)} cells have the tag nbval-check-output, expected 2 to 6"
    for place, cell in tagged:
        if not any(text_of(output) for output in cell.outputs):
            yield f"cell {place} has the tag nbval-check-output but stores no text"


def folds(notebook: NotebookNode) -> Iterator[str]:
    """Hints and solutions are folded, and every fold is closed."""
    for place, text in markdown(notebook):
        if text.count("<details>") != text.count("</details>"):
            yield f"cell {place} opens {text.count('<details>')} folds and closes {text.count('</details>')}"


RULES: tuple[Rule, ...] = (
    counts,
    no_widget_state,
    no_errors,
    form,
    pictures,
    no_live_views,
    opening,
    length,
    clean_source,
    clean_outputs,
    sections,
    claims,
    compared,
    folds,
)
