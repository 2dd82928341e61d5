"""A bundle opened and used: ONNX Runtime alone computes, torch is not needed."""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tench.answering import Answering, Seen
from tench.bundle.facts import FACTS, GOLDEN, MODEL, BundleFacts
from tench.confidence.score import ARRAYS, Trust, trust_of
from tench.confidence.score import FACTS as CONFIDENCE
from tench.config import Preprocessing
from tench.errors import NotFoundError, RecordError
from tench.inference import BATCH, Session, session
from tench.records import ClassFacts
from tench.records.files import ARCHIVE_ERRORS, is_file

GOLDEN_TOLERANCE = 1e-3
"""Largest difference of golden outputs, as a share of the largest of them: processors add in different orders."""
MOST_BYTES = {FACTS: 16 * 2**20, CONFIDENCE: 2**20}
MOST_BYTES_ELSE = 2**31
"""Of one file in a bundle; a larger one is refused before it is read."""

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Bundle(Answering):
    """A bundle in use."""

    name: str
    preprocessing: Preprocessing
    classes: tuple[ClassFacts, ...]
    trust: Trust | None
    pretrained_on: str | None
    learnt_from_drawings: bool
    facts: BundleFacts
    compute: Session

    def look(self, pixels: NDArray[np.uint8], features: bool = False) -> Seen:
        """See `Answering.look`."""
        outputs = ["logits", "features"] if features else ["logits"]
        parts = [self.compute(outputs, pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
        logits, *rest = (np.concatenate(values) for values in zip(*parts, strict=True))
        return Seen(logits, rest[0] if rest else None)


def is_bundle(path: Path) -> bool:
    """Whether a folder or zip looks like a bundle."""
    return is_file(path / FACTS) or (is_file(path) and path.suffix.lower() == ".zip")


def load_bundle(path: str | Path, threads: int | None = None) -> Bundle:
    """The bundle in a folder or zip, its files checked by hash, its answers to the golden pictures by GOLDEN_TOLERANCE.

    Nothing is unpacked and no code is run. Raises NotFoundError where there is none, RecordError for what is damaged, changed or
    answers otherwise than when it was written.
    """
    where = Path(path)
    if not where.exists():
        raise NotFoundError(f"There is no bundle at {where}; `tench export RUN` writes one.")
    read = _from_zip(where) if where.is_file() else _from_folder(where)
    facts = _facts(read, where)
    checked = {name: _checked(read, name, sha256, where) for name, sha256 in facts.files.items()}
    try:
        compute = session(checked[MODEL], threads or os.cpu_count() or 1)
        trust = trust_of(checked[CONFIDENCE], checked[ARRAYS])
        with np.load(io.BytesIO(checked[GOLDEN]), allow_pickle=False) as golden:
            pictures, logits = golden["pictures"], golden["logits"]
        origin = facts.network.pretrained_on, facts.data.is_demo
        bundle = Bundle(facts.run_id, facts.preprocessing, facts.classes, trust, *origin, facts, compute)
        difference = _difference(bundle.look(pictures).logits, logits)
    except Exception as error:  # ONNX Runtime raises its own kinds, and damaged arrays nearly every other
        raise RecordError(f"{where} cannot be used: {type(error).__name__}: {error} Get the bundle again, or export it anew.") from error
    if not difference <= GOLDEN_TOLERANCE:
        raise RecordError(
            f"{where} answers otherwise than when it was written: its logits for the golden pictures differ by"
            f" {difference:.1e} of the largest. Another version of ONNX Runtime may bring the right ones back; else export it anew."
        )
    return bundle


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        raise ValueError(f"it gives {found.shape} and not {expected.shape} numbers.")
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30))


def _facts(read: Read, where: Path) -> BundleFacts:
    try:
        facts = BundleFacts.model_validate_json(read(FACTS))
    except (ValidationError, ValueError, OSError) as error:
        raise RecordError(f"{where} is no bundle that tench can use: {FACTS}: {error} Get it again, or export it anew.") from error
    if missing := {MODEL, GOLDEN, CONFIDENCE, ARRAYS} - facts.files.keys():
        raise RecordError(
            f"{where} is no whole bundle: {FACTS} does not name {', '.join(sorted(missing))}. Get it again, or export it anew."
        )
    return facts


def _checked(read: Read, name: str, sha256: str, where: Path) -> bytes:
    try:
        content = read(name)
    except (OSError, ValueError) as error:
        raise RecordError(f"{where} is damaged: {name}: {error} Get it again, or export it anew.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RecordError(f"{where} is damaged: {name} is not the file that {FACTS} names. Get it again, or export it anew.")
    return content


def _from_folder(folder: Path) -> Read:
    def read(name: str) -> bytes:
        path = _plain(name, folder)
        _refuse_large(name, path.stat().st_size)
        return path.read_bytes()

    return read


def _plain(name: str, folder: Path) -> Path:
    if Path(name).name != name:
        raise ValueError(f"'{name}' leads out of the bundle.")
    return folder / name


def _from_zip(path: Path) -> Read:
    """Files are found by their name in the one folder that holds bundle.json, or beside it at the top."""

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                places = [entry for entry in archive.infolist() if entry.filename.split("/")[-1] == FACTS and entry.filename.count("/") < 2]
                if len(places) != 1:
                    raise ValueError(f"it holds {len(places)} files {FACTS} where one is wanted.")
                entry = archive.getinfo(places[0].filename.removesuffix(FACTS) + _plain(name, path).name)
                _refuse_large(name, entry.file_size)
                with archive.open(entry) as file:
                    return file.read(entry.file_size + 1)[: entry.file_size]
        except KeyError:
            raise ValueError(f"there is no {name} in it.") from None
        except (OSError, ValueError):
            raise
        except ARCHIVE_ERRORS as error:
            raise ValueError(f"it is no zip that can be read ({error}).") from None

    return read


def _refuse_large(name: str, size: int) -> None:
    if size > MOST_BYTES.get(name, MOST_BYTES_ELSE):
        raise ValueError(f"{name} has {size:,} bytes, more than a bundle's may have.")
