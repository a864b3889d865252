"""The house rules that a machine can check: arrows between rooms, light imports, safe views, documented names."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbtools

PACKAGE = Path(nbtools.__file__).parent
HOSTS = tuple(".".join(parts) for parts in (("registry", "npmjs"), ("files", "pythonhosted"), ("pypi", "org")))
ROOMS = (
    "errors",
    "naming",
    "models",
    "tasks",
    "runs",
    "measures",
    "patching",
    "training",
    "views",
    "explorers",
    "lessons",
)
MAY_IMPORT = {
    "errors": set(),
    "naming": {"errors"},
    "models": {"errors", "naming"},
    "tasks": {"errors", "naming", "models"},
    "runs": {"errors", "naming", "models"},
    "measures": {"errors", "naming", "models", "tasks", "runs"},
    "patching": {"errors", "naming", "models", "tasks", "runs", "measures"},
    "training": {"errors", "naming", "models", "tasks", "runs"},
    "views": {"errors", "naming"},
    "explorers": {"errors", "naming", "models", "tasks", "runs", "measures", "patching", "training", "views"},
    "lessons": {"errors", "naming", "models", "runs", "measures", "training"},
}


def files_of(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


def imports_of(path: Path) -> set[str]:
    """Names of all modules imported anywhere in a file, also under `if TYPE_CHECKING` and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms_run_one_way(room):
    for path in files_of(room):
        used = {name.split(".")[1] for name in imports_of(path) if name.startswith("nbtools.")} & set(ROOMS)
        assert used <= MAY_IMPORT[room] | {room}, f"{path.name} imports {used - MAY_IMPORT[room] - {room}}"


def test_views_know_nothing_of_models():
    for path in files_of("views"):
        heavy = {name.split(".")[0] for name in imports_of(path)} & {"torch", "transformers", "transformer_lens"}
        assert not heavy, f"{path} imports {heavy}"


def test_no_import_at_module_level_is_relative():
    for path in PACKAGE.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level], path


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_nbtools_loads_nothing_heavy():
    assert not loaded_by("import nbtools") & {"torch", "numpy", "matplotlib", "anywidget", "transformer_lens", "xarray"}


def test_views_load_neither_torch_nor_transformer_lens():
    assert not loaded_by("import nbtools.views") & {"torch", "transformer_lens", "transformers"}


def test_importing_nbtools_takes_less_than_a_third_of_a_second_beyond_python_itself():
    def seconds(statement: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds("import nbtools") - seconds("pass") < 0.3


def test_each_shortcut_and_room_is_there_and_an_unknown_name_lists_them():
    for name in nbtools.__all__:
        assert getattr(nbtools, name) is not None
    with pytest.raises(AttributeError, match="it has errors, explorers"):
        _ = nbtools.patchng
    assert set(nbtools.__all__) == set(dir(nbtools))


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_documented_and_annotated(room):
    module = importlib.import_module(f"nbtools.{room}")
    for name in getattr(module, "__all__", []):
        member = getattr(module, name)
        if inspect.isfunction(member):
            assert inspect.getdoc(member), name
            assert "return" in member.__annotations__, f"{name} does not say what it returns"
            unannotated = set(inspect.signature(member).parameters) - set(member.__annotations__)
            assert not unannotated, f"{name}: {unannotated}"
        elif inspect.isclass(member):
            assert inspect.getdoc(member), name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.js")), ids=lambda path: path.name)
def test_view_modules_put_no_markup_on_the_page_and_fetch_nothing(path):
    text = path.read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http:",
        "https:",
        "fetch(",
    ):
        assert word not in text, word


def test_the_package_never_prints_never_pickles_and_never_uses_interact():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for pattern in (
            r"\btorch\.load\(",
            r"\bpickle\b(?!s)",
            r"\binteract\(",
            r"\bOutput\(",
            r"\bimport uuid",
            r"pyplot",
        ):
            found = [line for line in text.splitlines() if re.search(pattern, line) and "never" not in line]
            assert not [line for line in found if not line.strip().startswith(("#", '"')) and "import" in line], path


def test_modules_stay_readable():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 330, path


def test_no_file_names_a_machine_or_a_host():
    root = PACKAGE.parent
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        path = root / name
        if path.suffix in {".py", ".js", ".md", ".toml", ".yml", ".json", ".cfg", ".txt", ".ipynb"} and path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])/(?:root|home|work)/\w", text), name
            assert not [host for host in HOSTS if host in text], name
