"""Downloads, only when asked for: resumable, their hash checked, and with the steps by hand where the network does not reach."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tench.config import cache_folder
from tench.errors import DownloadError

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where the server does not say)."""

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0
MIB = 1 << 20


@dataclass(frozen=True)
class Download:
    """One public file: where it may be had (tried in this order) and the hash that decides whether it is the right one."""

    title: str
    file_name: str
    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    size_bytes: int | None = None

    def by_hand(self, path: Path) -> str:
        """What a person does instead, with a browser, to have the file at `path`."""
        name, value = _expected(self.sha256, self.md5)
        size = f" ({self.size_bytes:,} bytes)" if self.size_bytes else ""
        return (
            f"By hand: 1. fetch {' or '.join(self.urls)} on a machine that has network{size}; "
            f"2. check that `{name}sum {self.file_name}` prints {value}; 3. put it here as {path}."
        )


GOOGLENET_ONNX = Download(
    title="GoogLeNet's ImageNet weights (ONNX model zoo, BSD-3)",
    file_name="googlenet-12.onnx",
    urls=(
        "https://huggingface.co/onnxmodelzoo/googlenet-12/resolve/main/googlenet-12.onnx",
        "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/"
        "validated/vision/classification/inception_and_googlenet/googlenet/model/googlenet-12.onnx",
        "https://media.githubusercontent.com/media/onnx/models/main/"
        "validated/vision/classification/inception_and_googlenet/googlenet/model/googlenet-12.onnx",
    ),
    sha256="c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e",
    size_bytes=28_021_836,
)


def get_googlenet(progress: Progress | None = None) -> Path:
    """GoogLeNet's weights as the model zoo's ONNX file in `cache_folder()/weights`, downloaded unless they are there.

    The zoo's first home stopped serving large files in July 2025, and none of the addresses could be tried when this was
    written: the hash decides. Raises DownloadError with the steps by hand.
    """
    return obtain(GOOGLENET_ONNX, cache_folder() / "weights" / GOOGLENET_ONNX.file_name, progress)


def obtain(download: Download, path: Path, progress: Progress | None = None) -> Path:
    """`download` at `path`, from the first of its addresses that serves it. Raises DownloadError with the steps by hand."""
    failures = []
    for url in download.urls:
        try:
            return fetch(url, path, sha256=download.sha256, md5=download.md5, size_bytes=download.size_bytes, progress=progress)
        except DownloadError as error:
            failures.append(str(error))
    raise DownloadError(f"{download.title} could not be downloaded. {' '.join(failures)} {download.by_hand(path)}")


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size_bytes: int | None = None,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """The file at `url` as `path`: nothing is loaded when `path` already has the right hash, else what is missing of it.

    What has arrived lies in `<path>.part` until its size and hash are right; only then does it take its name. A partial
    file is kept when the connection breaks and the server can go on from there, and removed when its content is wrong.
    Give `sha256` or `md5` (hexadecimal). Raises DownloadError: no network, cut short, wrong size, wrong hash, disk full.
    """
    expected = _expected(sha256, md5)
    if path.is_file() and _hash(path, expected[0]) == expected[1]:
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (size_bytes and part.is_file() and part.stat().st_size == size_bytes):
            _load(url, part, size_bytes, progress, timeout_s)
        _check(part, expected, url)
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(_failure(url, path, part, error)) from error
    return path


def _expected(sha256: str | None, md5: str | None) -> tuple[str, str]:
    if sha256:
        return "sha256", sha256.lower()
    if md5:
        return "md5", md5.lower()
    raise ValueError("a download needs a sha256 or an md5 to be checked by")


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _check(part: Path, expected: tuple[str, str], url: str) -> None:
    found = _hash(part, expected[0])
    if found != expected[1]:
        part.unlink()
        raise DownloadError(
            f"What {url} serves is not the file that was expected: its {expected[0]} is {found} and should be {expected[1]}."
            " It was removed; try again later, or take the file from elsewhere."
        )


def _load(url: str, part: Path, size_bytes: int | None, progress: Progress | None, timeout_s: float) -> None:
    """Append to `part` what it lacks. Afterwards it is as long as the server (and `size_bytes`) say."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "tench", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if not (have and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        part.unlink()  # longer than what is served: none of ours
        _load(url, part, size_bytes, progress, timeout_s)
        return
    with response:
        have = have if _continues_at(response, have) else 0
        total = _total(response, have)
        _check_announced(url, part, have, total, size_bytes)
        with part.open("ab" if have else "wb") as file:
            done = _copy(response, file, have, total or size_bytes, progress)
        _check_length(url, part, response, done, size_bytes or total)


def _continues_at(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether the server sends the rest from byte `have` on, and not the whole file again."""
    return response.status == http.client.PARTIAL_CONTENT and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _total(response: http.client.HTTPResponse, have: int) -> int | None:
    length = response.headers.get("Content-Length")
    return have + int(length) if length and length.isdigit() else None


def _check_announced(url: str, part: Path, have: int, total: int | None, size_bytes: int | None) -> None:
    if size_bytes and total and total != size_bytes:
        raise DownloadError(f"{url} serves a file of {total:,} bytes where {size_bytes:,} were expected: it is another file.")
    needed, free = (total or size_bytes or 0) - have, shutil.disk_usage(part.parent).free
    if needed > free:
        raise DownloadError(
            f"{url} needs {needed / MIB:,.0f} MiB in {part.parent}, where {free / MIB:,.0f} MiB are free: make room, or set TENCH_CACHE."
        )


def _blocks(response: http.client.HTTPResponse, file: BinaryIO) -> Iterator[int]:
    while block := response.read(BLOCK_BYTES):
        file.write(block)
        yield len(block)
    file.flush()
    os.fsync(file.fileno())


def _copy(response: http.client.HTTPResponse, file: BinaryIO, have: int, total: int | None, progress: Progress | None) -> int:
    """Write what arrives and return the file's length; stops at the first block beyond `total`."""
    done = have
    for count in _blocks(response, file):
        done += count
        if progress:
            progress(done, total)
        if total and done > total:
            break
    return done


def _check_length(url: str, part: Path, response: http.client.HTTPResponse, done: int, wanted: int | None) -> None:
    if wanted is None or done == wanted:
        return
    if done > wanted:
        part.unlink()
        raise DownloadError(
            f"{url} sends more than the {wanted:,} bytes there should be: it is another file; what had arrived was removed."
        )
    resumable = response.status == http.client.PARTIAL_CONTENT or response.headers.get("Accept-Ranges") == "bytes"
    if not resumable:
        part.unlink()
    kept = (
        "do the same again: it goes on from there"
        if resumable
        else "the server cannot go on from there, so the part was removed; try again"
    )
    raise DownloadError(f"The download of {url} was cut short after {done:,} of {wanted:,} bytes; {kept}.")


def _failure(url: str, path: Path, part: Path, error: Exception) -> str:
    reason = error.reason if type(error) is urllib.error.URLError else error
    rest = f" {part.stat().st_size:,} bytes of it are kept: do the same again to go on from there." if part.is_file() else ""
    return f"{url} could not be downloaded to {path}: {reason or type(error).__name__}.{rest}"
