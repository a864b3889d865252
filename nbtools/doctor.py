"""What nbtools needs, looked at one by one."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "examine"]

_LAB_EXTENSIONS = ("anywidget", "@jupyter-widgets/jupyterlab-manager")
_PACKAGES = ("torch", "transformer-lens", "transformers", "xarray", "matplotlib", "ipywidgets", "anywidget")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do if it is wrong."""

    name: str
    found: str
    advice: str = ""

    @property
    def wrong(self) -> bool:
        """Whether something has to be done."""
        return bool(self.advice)

    def __str__(self) -> str:
        mark = "✗" if self.wrong else "✓"
        return f"{mark} {self.name:<10} {self.found}" + (f"\n    → {self.advice}" if self.wrong else "")


def examine() -> list[Finding]:
    """Look at everything; a check that breaks is itself a finding."""
    checks = (_python, _packages, _device, _model, _widgets, _lab)
    return [_safely(check) for check in checks]


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        name = check.__name__.strip("_")
        return Finding(name, f"{type(error).__name__}: {error}", "run `make lab` again, or reinstall nbtools")


def _python() -> Finding:
    version = platform.python_version()
    fine = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", version, "" if fine else "use Python 3.11, 3.12 or 3.13")


def _packages() -> Finding:
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in importlib.metadata.requires("nbtools") or () if "extra ==" not in text]
    problems = [problem for requirement in needed if (problem := _unmet(requirement.name, requirement.specifier))]
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return Finding("packages", found, "; ".join(problems) and f"pip install --upgrade nbtools ({'; '.join(problems)})")


def _unmet(name: str, specifier: object) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is missing"
    return "" if specifier.contains(version, prereleases=True) else f"{name} {version} is not {specifier}"


def _device() -> Finding:
    import torch

    from nbtools.runs.threads import settle_threads

    if torch.cuda.is_available():
        return Finding("device", f"CUDA: {torch.cuda.get_device_name()}")
    threads = settle_threads()
    return Finding("device", f"CPU, {os.cpu_count()} cores, torch uses {threads} thread{'s' if threads > 1 else ''}")


def _model() -> Finding:
    from nbtools.models import embedded

    state = embedded.status(deep=True)
    if not state.present:
        return Finding("model", f"not in {state.folder}", state.advice or "run `nbtools fetch` once, with a network")
    found = f"{state.bytes / 1e6:.0f} MB in {state.folder}, {'intact' if state.intact else state.problem}"
    return Finding("model", found, "" if state.intact else state.advice)


def _widgets() -> Finding:
    from nbtools.views import head_grid

    bundle, _ = head_grid([[0.0, 1.0]])._repr_mimebundle_()
    fine = "application/vnd.jupyter.widget-view+json" in bundle and len(bundle.get("image/png", b"")) > 1000
    return Finding(
        "widgets", "a view draws live and still", "" if fine else "pip install --upgrade anywidget ipywidgets"
    )


def _lab() -> Finding:
    from jupyter_core.paths import jupyter_path

    version = importlib.metadata.version("jupyterlab")
    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    missing = [name for name in _LAB_EXTENSIONS if not any((folder / name).is_dir() for folder in folders)]
    advice = f"JupyterLab lacks {', '.join(missing)}: pip install --force-reinstall anywidget jupyterlab_widgets"
    return Finding("lab", f"JupyterLab {version} with widget support", advice if missing else "")
