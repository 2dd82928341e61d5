"""Which pictures a network saw in its pretraining, from a list of hashes that the user supplies."""

import re
from collections.abc import Iterable
from pathlib import Path

from tench.errors import DataError, NotFoundError

_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s.*)?")


def seen_among(hashes: Iterable[str], path: Path) -> frozenset[str]:
    """Those of `hashes` (sha256 of files, hex) that the list at `path` has; of a long list no more is kept in memory.

    The list is what `sha256sum` prints: a hash a line, anything behind it; lines that begin with # and empty ones are passed over.
    Raises NotFoundError where it is not there, DataError for a line that is no sha256 and for a list without any.
    """
    wanted, found, lines = frozenset(hashes), set(), 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                match = _LINE.fullmatch(text)
                if match is None:
                    raise DataError(f"{path}, line {number}: '{text[:40]}' does not begin with a sha256 of 64 hexadecimal digits.")
                lines += 1
                if (sha256 := match[1].lower()) in wanted:
                    found.add(sha256)
    except FileNotFoundError:
        raise NotFoundError(f"{path}, the list of pictures seen in pretraining, is not there; give its path (--seen-hashes).") from None
    except OSError as error:
        raise DataError(f"{path}, the list of pictures seen in pretraining, cannot be read: {error.strerror}.") from error
    if not lines:
        raise DataError(f"{path} has no hash in it; `sha256sum` of the pictures that the pretraining saw writes such a list.")
    return frozenset(found)
