"""One large file over an unreliable network: found, resumed, checked, and put in place in one step."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nbtools.errors import ChecksumError, DataError, FetchError

if TYPE_CHECKING:
    pass

__all__ = ["check_space", "download", "explained", "find_url", "full_disk", "matches", "sha256"]

_CHUNK = 1 << 20
_ATTEMPTS = 4
_OFFLINE = "run `nbtools fetch` once with a network, or `nbtools fetch --from FILE` with a copy of {name}"


def find_url(package: str, version: str, *, name: str) -> str:
    """Ask pip where a wheel is, so that the user's own index, proxy and certificates are used.

    Raises
    ------
    FetchError
        If pip is missing, or finds no such wheel.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    command += ["--report", "-", f"{package}=={version}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        msg = f"could not find where to download {name}: {reason}. Next: " + _OFFLINE.format(name=name)
        raise FetchError(msg)
    return json.loads(answer.stdout)["install"][0]["download_info"]["url"]


def download(url: str, target: Path, *, size: int, digest: str, progress: bool) -> None:
    """Download `url` to `target`; what a broken attempt left in ``target.part`` is not fetched again.

    Raises
    ------
    FetchError
        If the connection keeps breaking; what arrived is kept.
    ChecksumError
        If the whole file is not the published one; it is removed.
    """
    part = target.with_name(target.name + ".part")
    if url.startswith("file:"):
        _copy(url, part)
    else:
        _fetch(url, part, size=size, progress=progress)
    if not matches(part, size, digest):
        found = sha256(part)
        part.unlink()
        msg = f"{target.name} has sha256 {found[:12]}…, expected {digest[:12]}…: it was removed; fetch it again"
        raise ChecksumError(msg)
    part.replace(target)


def _copy(url: str, part: Path) -> None:
    from urllib.parse import unquote, urlparse
    from urllib.request import url2pathname

    shutil.copyfile(url2pathname(unquote(urlparse(url).path)), part)


def _fetch(url: str, part: Path, *, size: int, progress: bool) -> None:
    import requests

    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        if have == size:
            return
        try:
            _continue(url, part, have, size=size, progress=progress)
        except requests.RequestException as error:
            problem = error
    if not part.exists() or part.stat().st_size != size:
        got = part.stat().st_size if part.exists() else 0
        msg = (
            f"the download of {part.stem} stopped at {got / 1e6:.0f} of {size / 1e6:.0f} MB "
            f"({type(problem).__name__ if problem else 'the server sent less'}); what arrived is kept. "
            f"Next: {_OFFLINE.format(name=part.stem)}"
        )
        raise FetchError(msg) from problem


def _continue(url: str, part: Path, have: int, *, size: int, progress: bool) -> None:
    import requests
    from tqdm import tqdm

    asked = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=asked, stream=True, timeout=60) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            return
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        bar = tqdm(total=size, initial=have if resumed else 0, unit="B", unit_scale=True, desc=part.stem, leave=False,
                   disable=not progress)  # fmt: skip
        with part.open("ab" if resumed else "wb") as file, bar:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(path: Path, size: int, digest: str) -> bool:
    """Whether a file is there, of this size and this sha256."""
    return path.is_file() and path.stat().st_size == size and sha256(path) == digest


def check_space(folder: Path, needed: int) -> None:
    """Raise a DataError if fewer bytes than `needed` are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(full_disk(folder, needed, free))


def full_disk(folder: Path, needed: int, free: int) -> str:
    """Say that the disk is full, and what to do."""
    return (
        f"not enough room in {folder}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free. "
        "Free some, or set NBTOOLS_CACHE to a folder on another disk"
    )


@contextmanager
def explained(folder: Path, needed: int) -> Iterator[None]:
    """Turn what the operating system says about disks and rights into a sentence."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(full_disk(folder, needed, shutil.disk_usage(folder).free)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            msg = f"cannot write in {folder} ({error.strerror}): set NBTOOLS_CACHE to a folder you may write to"
            raise DataError(msg) from error
        raise
