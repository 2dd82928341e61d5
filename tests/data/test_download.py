"""Downloads, against a server on 127.0.0.1 that behaves well or badly."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from tench.data import download, imagenette
from tench.data.download import Download, fetch, obtain
from tench.errors import DownloadError

CONTENT = bytes(range(256)) * 12_000  # 3,072,000 bytes: three blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Served:
    """What the server sends, and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    announce: bool = True
    cut_after: int | None = None
    requests: list[str | None] = field(default_factory=list)


def _answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    wanted = handler.headers.get("Range")
    served.requests.append(wanted)
    if handler.path != "/file":
        handler.send_error(404)
        return
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges else 0
    if start >= len(served.content):
        handler.send_error(416)
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
    if served.ranges:
        handler.send_header("Accept-Ranges", "bytes")
    if served.announce:
        handler.send_header("Content-Length", str(len(served.content) - start))
    handler.end_headers()
    handler.wfile.write(served.content[start : served.cut_after])


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                _answer(self, state)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/file"
    yield state
    server.shutdown()
    server.server_close()


def left(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_file_is_fetched_checked_and_reported(served: Served, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(
        served.url,
        tmp_path / "new" / "f.bin",
        sha256=SHA256,
        size_bytes=len(CONTENT),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path.read_bytes() == CONTENT
    assert left(path) == ["f.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    fetch(served.url, path, md5=hashlib.md5(CONTENT).hexdigest().upper())
    assert served.requests == []
    path.write_bytes(CONTENT[:-1])
    fetch(served.url, path, md5=hashlib.md5(CONTENT).hexdigest())
    assert served.requests == [None]
    assert path.read_bytes() == CONTENT


def test_cut_short_and_resumed(served: Served, tmp_path: Path) -> None:
    path, served.cut_after = tmp_path / "f.bin", 2_000_000
    with pytest.raises(DownloadError, match=r"cut short after 2,000,000 of 3,072,000 bytes; do the same again"):
        fetch(served.url, path, sha256=SHA256)
    assert left(path) == ["f.bin.part"]
    served.cut_after = None
    fetch(served.url, path, sha256=SHA256)
    assert served.requests == [None, "bytes=2000000-"]
    assert path.read_bytes() == CONTENT
    assert left(path) == ["f.bin"]


def test_cut_short_by_a_server_that_cannot_go_on(served: Served, tmp_path: Path) -> None:
    path, served.cut_after, served.ranges = tmp_path / "f.bin", 1_000, False
    with pytest.raises(DownloadError, match="the part was removed"):
        fetch(served.url, path, sha256=SHA256)
    assert left(path) == []


def test_a_server_without_range_sends_everything_again(served: Served, tmp_path: Path) -> None:
    path, served.ranges = tmp_path / "f.bin", False
    path.with_name("f.bin.part").write_bytes(b"x" * 5_000)
    fetch(served.url, path, sha256=SHA256)
    assert served.requests == ["bytes=5000-"]
    assert path.read_bytes() == CONTENT


def test_wrong_hash_removes_the_part(served: Served, tmp_path: Path) -> None:
    path, served.content = tmp_path / "f.bin", b"not what was expected"
    with pytest.raises(DownloadError, match=f"sha256 is {hashlib.sha256(served.content).hexdigest()} and should be {SHA256}"):
        fetch(served.url, path, sha256=SHA256)
    assert left(path) == []


def test_a_part_of_another_file_is_found_out_and_removed(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.with_name("f.bin.part").write_bytes(b"x" * 5_000)
    with pytest.raises(DownloadError, match="not the file that was expected"):
        fetch(served.url, path, sha256=SHA256)
    assert left(path) == []
    assert fetch(served.url, path, sha256=SHA256).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_anew(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.with_name("f.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(served.url, path, sha256=SHA256).read_bytes() == CONTENT
    assert served.requests == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_whole_part_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.with_name("f.bin.part").write_bytes(CONTENT)
    fetch("http://127.0.0.1:9/none", path, sha256=SHA256, size_bytes=len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_another_size_is_refused_before_anything_is_loaded(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    with pytest.raises(DownloadError, match=r"3,072,000 bytes where 77 were expected"):
        fetch(served.url, path, sha256=SHA256, size_bytes=77)
    assert left(path) == []


def test_a_server_that_never_stops_is_stopped(served: Served, tmp_path: Path) -> None:
    path, served.announce = tmp_path / "f.bin", False
    with pytest.raises(DownloadError, match="more than the 1,000 bytes"):
        fetch(served.url, path, sha256=SHA256, size_bytes=1_000)
    assert left(path) == []


def test_a_full_disk_is_foreseen(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(DownloadError, match=r"needs 3 MiB in .*, where 1 MiB are free"):
        fetch(served.url, tmp_path / "f.bin", sha256=SHA256)


def test_no_network_keeps_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.with_name("f.bin.part").write_bytes(b"x" * 5_000)
    with pytest.raises(DownloadError, match=r"Connection refused.* 5,000 bytes of it are kept"):
        fetch("http://127.0.0.1:9/none", path, sha256=SHA256)
    assert left(path) == ["f.bin.part"]


def test_a_download_without_a_hash_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sha256 or an md5"):
        fetch("http://127.0.0.1:9/none", tmp_path / "f.bin")


def test_addresses_are_tried_in_turn(served: Served, tmp_path: Path) -> None:
    gone = served.url.replace("/file", "/gone")
    item = Download("A file", "f.bin", (gone, served.url), sha256=SHA256)
    assert obtain(item, tmp_path / "f.bin").read_bytes() == CONTENT
    assert len(served.requests) == 2


def test_the_steps_by_hand_name_address_hash_and_place(served: Served, tmp_path: Path) -> None:
    gone = served.url.replace("/file", "/gone")
    item = Download("A file", "f.bin", (gone, gone + "2"), md5="0" * 32, size_bytes=5)
    with pytest.raises(DownloadError) as caught:
        obtain(item, tmp_path / "f.bin")
    message = str(caught.value)
    assert message.startswith("A file could not be downloaded. ")
    assert "HTTP Error 404" in message
    assert f"fetch {gone} or {gone}2" in message
    assert f"`md5sum f.bin` prints {'0' * 32}; 3. put it here as {tmp_path / 'f.bin'}" in message


@pytest.mark.parametrize("form", ["160", "320", "full"])
def test_imagenette_is_kept_in_the_cache(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: imagenette.Form) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path))
    name = imagenette.ARCHIVES[form].file_name
    ours = Download("Imagenette", name, (served.url,), md5=hashlib.md5(CONTENT).hexdigest())
    monkeypatch.setitem(imagenette.ARCHIVES, form, ours)
    assert imagenette.get(form) == tmp_path / "data" / name
    assert imagenette.cached() == tmp_path / "data" / name


def test_googlenet_is_kept_in_the_cache(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path))
    assert download.GOOGLENET_ONNX.sha256 == "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e"
    monkeypatch.setattr(download, "GOOGLENET_ONNX", Download("GoogLeNet", "googlenet-12.onnx", (served.url,), sha256=SHA256))
    assert download.get_googlenet() == tmp_path / "weights" / "googlenet-12.onnx"
