"""Folders, tar and zip archives as trees of files that are only ever read: nothing is extracted, hostile archives are refused."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from tench.errors import DataError, NotFoundError
from tench.records.files import ARCHIVE_ERRORS

MIB = 1 << 20
MAX_FILE_BYTES = 256 * MIB
"""A larger single file is refused before it is read."""
MAX_EXPANSION = 100
"""An archive that holds more than this times its own size (and more than MAX_FILE_BYTES) is refused as a bomb."""

_LITTER = {"__macosx", "thumbs.db", "desktop.ini"}
_LIBRARY_ERRORS = (tarfile.TarError, *ARCHIVE_ERRORS)


class Files(Protocol):
    """A tree of files. Names are POSIX paths within it; hidden files and what systems litter folders with do not appear."""

    path: Path

    def stamp(self) -> str:
        """Changes when sizes or times of change do: what contents can be remembered by without reading them."""
        ...

    def walk(self) -> Iterator[tuple[str, bytes | None]]:
        """Every file with its content and every folder with None, in one pass."""
        ...

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The files `names` with their contents in one pass, in the order that is cheapest. Raises DataError if one is missing."""
        ...


def open_files(path: Path) -> Files:
    """The folder or archive (decided by content) at `path`. Raises NotFoundError, or DataError if it is neither."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise NotFoundError(f"There are no pictures at {path}: there is no such folder or archive. Check --data and TENCH_DATA.")
    with _reading(path):
        if zipfile.is_zipfile(path):
            return Zip(path)
        with _decompressed(path) as stream:
            is_tar = stream.read(512)[257:262] == b"ustar"
    if is_tar:
        return Tar(path)
    raise DataError(f"{path} is neither a folder nor a tar or zip archive by its content. Give a folder, .tgz, .tar or .zip of pictures.")


class Folder:
    """A folder on disk. Links are followed: whoever made the folder chose them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> str:
        with _reading(self.path):
            facts = [(name, file.stat() if file.exists() else file.lstat()) for name, file in self._entries() if not file.is_dir()]
        lines = sorted(f"{name}\0{s.st_size}\0{s.st_mtime_ns}" for name, s in facts)
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()

    def walk(self) -> Iterator[tuple[str, bytes | None]]:
        for name, path in self._entries():
            yield name, None if path.is_dir() else self._content(path)

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield name, self._content(self.path / name)

    def _entries(self) -> Iterator[tuple[str, Path]]:
        seen: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(self.path, followlinks=True, onerror=_raise):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above or beside: once is enough
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if _is_visible(name))
            for name in [*folders, *sorted(name for name in files if _is_visible(name))]:
                path = Path(folder, name)
                yield path.relative_to(self.path).as_posix(), path

    def _content(self, path: Path) -> bytes:
        with _reading(path):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path} is no regular file. Remove it from the pictures.")
            _check_size(path, path.name, status.st_size)
            return path.read_bytes()


class _Archive:
    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> str:
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def stream(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        missing = set(names)
        for name, content in self._contents(missing):
            if content is not None:
                missing.discard(name)
                yield name, content
            if not missing:
                return
        if missing:
            raise DataError(f"{self.path} no longer holds {min(missing)}. Open the data again.")

    def walk(self) -> Iterator[tuple[str, bytes | None]]:
        seen: set[str] = set()
        for name, content in self._contents(None):
            if content is not None and name in seen:
                raise DataError(f"{self.path} holds {name} twice. Pack it anew.")
            seen.add(name)
            yield name, content

    def _contents(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes | None]]:
        """What is wanted (None: all files, and the folders with None) in the order of the archive."""
        raise NotImplementedError


class Zip(_Archive):
    """A zip archive."""

    def _contents(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes | None]]:
        with _reading(self.path), zipfile.ZipFile(self.path) as archive:
            members = [(_checked_name(self.path, member.filename), member) for member in archive.infolist()]
            for name, member in members:
                self._check(name, member)
            _check_expansion(self.path, sum(member.file_size for _, member in members))
            for name, member in members:
                if _is_visible(name) and (wanted is None or name in wanted):
                    yield name, None if member.is_dir() else _member(archive, member)

    def _check(self, name: str, member: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(self.path, f"{name} is a link or a special file")
        if member.flag_bits & 1:
            raise _refused(self.path, f"{name} is encrypted")
        _check_size(self.path, name, member.file_size)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The file, decompressed no further than the size it is said to have: `ZipFile.read` would go on to the end, and then cut."""
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) < member.file_size:
        raise EOFError(f"{member.filename} is cut short")
    return content


class Tar(_Archive):
    """A tar archive, plain or compressed with gzip, bzip2 or xz: read from its beginning to its end."""

    def _contents(self, wanted: Collection[str] | None) -> Iterator[tuple[str, bytes | None]]:
        with _reading(self.path), _decompressed(self.path) as raw:
            stream = _Guarded(raw, self.path)
            tar = tarfile.TarFile(fileobj=cast(BinaryIO, stream), encoding="utf-8", errors="surrogateescape")
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else all headers ever read stay in memory
                name = self._check(member)
                if _is_visible(name) and (wanted is None or name in wanted):
                    yield name, None if member.isdir() else stream.content(member)
            stream.check_end()

    def _check(self, member: tarfile.TarInfo) -> str:
        name = _checked_name(self.path, member.name)
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise _refused(self.path, f"{name} is a link or a special file")
        _check_size(self.path, name, member.size)
        return name


class _Guarded:
    """What tarfile reads from: never more than may be in memory at once, nor more in all than an honest archive holds."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path, self._last = stream, path, b""
        self.name, self.mode = str(path), "rb"

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        _check_expansion(self._path, offset)
        return self._stream.seek(offset, whence)

    def read(self, size: int) -> bytes:
        _check_size(self._path, "a part of it", size)
        _check_expansion(self._path, self.tell() + size)
        self._last = self._stream.read(size)
        return self._last

    def content(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a file whose header was just read."""
        self.seek(member.offset_data)
        content = self.read(member.size)
        if len(content) < member.size:
            raise EOFError(f"{member.name} is cut short")
        return content

    def check_end(self) -> None:
        """tarfile takes a damaged header for the end; a whole archive ends with a block of zeros, and its checksum fits."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise EOFError("its end is missing")
        while self.read(MIB):
            pass


def _decompressed(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        start = file.read(6)
    openers: dict[bytes, Callable[..., object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    opener = next((opener for magic, opener in openers.items() if start.startswith(magic)), open)
    return cast(BinaryIO, opener(path, "rb"))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what the libraries raise on damaged or unreadable files into DataError."""
    try:
        yield
    except _LIBRARY_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read: {reason}. If it is damaged or cut short, fetch or pack it anew.") from error


def _raise(error: OSError) -> None:
    raise error


def _is_visible(name: str) -> bool:
    return not any(part.startswith(".") or part.lower() in _LITTER for part in PurePosixPath(name).parts)


def _checked_name(path: Path, name: str) -> str:
    """The member's name without `./` and a closing slash. Raises DataError for names that lead out of the archive."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if "\0" in name or ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        raise _refused(path, f"the name {name!r} leads out of it")
    return PurePosixPath(name).as_posix()


def _check_size(path: Path, name: str, size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise _refused(path, f"{name} has {size_bytes / MIB:,.0f} MiB, and at most {MAX_FILE_BYTES // MIB} are allowed")


def _check_expansion(path: Path, total_bytes: int) -> None:
    if total_bytes > max(MAX_FILE_BYTES, MAX_EXPANSION * path.stat().st_size):
        raise _refused(path, f"it unpacks to more than {MAX_EXPANSION} times its size, as archive bombs do")


def _refused(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is refused: {reason}. Nothing of it was unpacked; get the pictures from a source you trust.")
