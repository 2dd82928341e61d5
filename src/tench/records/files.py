"""Files that are whole or not there: unique temporary file in the same folder, fsync, rename."""

import json
import lzma
import os
import struct
import time
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tench.errors import RecordError
from tench.records.model import finite

try:
    import fcntl
except ImportError:  # Windows has no flock; there two processes in one run folder are not told apart
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".tmp"
TRIES = 5
TRY_AGAIN_S = 0.02
"""How often a lock is tried for, and the pause between."""

ARCHIVE_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, RuntimeError, MemoryError, SyntaxError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What numpy and zipfile raise where an .npz or .zip was damaged: each of these came up when bytes of one were changed at random."""


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """The path of a temporary file to write; it becomes `path` when the block ends without an exception.

    Whatever was at `path` stays as it was until then, and for good if the block fails or the process is killed.
    Raises RecordError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}-{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder `path`, and those above it, unless it is there. Raises RecordError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files in `folder`; only for who holds it, so that nobody else is writing there."""
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        path.unlink(missing_ok=True)


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either all of it or what it held before. Raises RecordError."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, NaN and infinities as null; see `write_bytes_atomically`."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes_atomically(path, (text + "\n").encode())


def append_line(path: Path, value: Any) -> None:
    """Add `value` as one line of JSON. A line that a killed process left unfinished is cut off first. Raises RecordError."""
    line = json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    try:
        with path.open("a+b", buffering=0) as file:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
            _cut_unfinished_line(path, file.fileno())
            if file.write(line) != len(line):
                raise OSError("only a part of the line could be written; is the disk full?")
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def _cut_unfinished_line(path: Path, descriptor: int) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def is_file(path: Path) -> bool:
    """Whether there is such a file; no path that cannot be, a name too long for one, is an error."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The values of a file that `append_line` wrote; an unfinished last line is passed over, no file is no lines.

    Raises RecordError with file and line number where a whole line is damaged.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if isinstance(value, dict):
            return value
        reason = "it is no JSON object"
    except ValueError as error:
        reason = str(error)
    raise RecordError(f"{path}, line {number}, is damaged: {reason}. Restore the file from a copy, or delete that line.")


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold `path` as a lock for the time of the block; the system lets go of it when the process ends, however it ends.

    Raises RecordError if another process holds it, unless it is to `wait` for that one to let go.
    """
    try:
        file = path.open("a+b")
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        if fcntl and not _locked(file, wait):
            raise RecordError(f"{path.parent} is in use by another process; wait until it has ended, or stop it first.")
        yield


def _locked(file: IO[bytes], wait: bool) -> bool:
    """Whether the lock was had. It is tried for a few times: whoever only asks (`is_held`) has one too, for as long as asking takes."""
    for _ in range(1 if wait else TRIES):
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(TRY_AGAIN_S)
    return False


def is_held(path: Path) -> bool:
    """Whether a process (this one included) holds `path` by `held`. Changes nothing."""
    try:
        file = path.open("rb")
    except OSError:  # it is not there, or no longer
        return False
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> RecordError:
    reason = error.strerror or str(error)
    return RecordError(
        f"{path} could not be written: {reason}. What was there before is unchanged; make room or mend the folder, then try again."
    )
