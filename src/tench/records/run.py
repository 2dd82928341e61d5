"""A run's folder: record.json, history.jsonl, predictions.npz, weights.safetensors, local.json, checkpoints/, exhibits/."""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tench.errors import RecordError
from tench.records.exhibits import FOLDER as EXHIBITS_FOLDER
from tench.records.exhibits import Exhibits, read_arrays, read_exhibits, read_thumbnails
from tench.records.files import (
    ARCHIVE_ERRORS,
    append_line,
    held,
    is_held,
    read_lines,
    write_bytes_atomically,
    write_json_atomically,
    written_atomically,
)
from tench.records.model import SCHEMA_VERSION, RunRecord

RECORD = "record.json"


@dataclass(frozen=True)
class Predictions:
    """What a network answered, a row a scored picture.

    log_probabilities: float32 (n, n_classes), natural logarithms; labels: int64 (n,); names: unicode (n,), relative and
    posix; test: bool (n,), False for pictures scored beside the test; unseen: bool (n,), True where the pretraining never
    saw the picture, or None where nothing was pretrained or it is not known. Raises RecordError where they do not fit.
    """

    log_probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    test: NDArray[np.bool_]
    unseen: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n, classes = self.log_probabilities.shape if self.log_probabilities.ndim == 2 else (-1, -1)
        kinds = {"log_probabilities": "f", "labels": "i", "names": "U", "test": "b", "unseen": "b"}
        for name, array in self.arrays().items():
            if len(array) != n or array.dtype.kind != kinds[name] or (name != "log_probabilities" and array.ndim != 1):
                raise RecordError(f"The predictions do not fit together: {name} is {array.dtype} {array.shape}, for {n} pictures.")
        if n and (self.labels.min() < 0 or self.labels.max() >= classes):
            raise RecordError(f"The predictions have labels outside 0 to {classes - 1}.")
        if np.isnan(self.log_probabilities).any():
            raise RecordError("The predictions hold values that are no numbers (NaN).")

    @property
    def answers(self) -> NDArray[np.int64]:
        """The likeliest class of every picture, (n,); of equals the first."""
        return np.asarray(self.log_probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the right one, (n,)."""
        return np.asarray(self.answers == self.labels)

    def only(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where `mask`, bool (n,), is True."""
        return type(self)(**{name: array[mask] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by their names."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in values.items() if array is not None}


class Run:
    """One run's folder. `record` is what record.json says; `update` is the only way to change it."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The run in `folder`. Raises RecordError if its record is missing, damaged or of a newer tench."""
        return cls(folder, read_record(folder / RECORD))

    def __repr__(self) -> str:
        return f"Run({self.record.run_id!r}, {self.record.status})"

    @property
    def id(self) -> str:
        return self.record.run_id

    @property
    def record_path(self) -> Path:
        """Where the record is."""
        return self.folder / RECORD

    @property
    def weights_path(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints; the training makes it."""
        return self.folder / "checkpoints"

    def update(self, **changes: Any) -> RunRecord:
        """Change fields of the record and write it atomically. Raises RecordError for a value the record does not allow."""
        values = {name: getattr(self.record, name) for name in type(self.record).model_fields}
        record = checked_record(values | changes, self.record_path)
        write_json_atomically(self.record_path, record.model_dump())
        self.record = record
        return record

    def held(self) -> AbstractContextManager[None]:
        """Hold the run for the time of a block: no other process trains, resumes or deletes it. RecordError if one does."""
        return self.held_at(self.folder)

    @staticmethod
    def held_at(folder: Path) -> AbstractContextManager[None]:
        """The same of a run's folder, which may have no record yet."""
        return held(folder / "lock")

    @property
    def in_use(self) -> bool:
        """Whether a process holds the run now. A run with status "running" that is not in use was killed."""
        return self.in_use_at(self.folder)

    @staticmethod
    def in_use_at(folder: Path) -> bool:
        """The same of a run's folder, whose record may be damaged."""
        return is_held(folder / "lock")

    def history(self) -> list[dict[str, Any]]:
        """One entry an epoch, in order; what was not finite is None. Raises RecordError where a line is damaged."""
        return read_lines(self.folder / "history.jsonl")

    def append_history(self, line: Mapping[str, Any]) -> None:
        """Add an epoch's line; its `epoch` counts from 1."""
        append_line(self.folder / "history.jsonl", dict(line))

    def truncate_history(self, to_epoch: int) -> None:
        """Keep the lines up to and including `to_epoch`: what a run that goes on from its checkpoint does first."""
        kept = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.history() if entry["epoch"] <= to_epoch]
        write_bytes_atomically(self.folder / "history.jsonl", "".join(kept).encode())

    def save_predictions(self, predictions: Predictions) -> None:
        """Write predictions.npz atomically."""
        with written_atomically(self.folder / "predictions.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **predictions.arrays())

    def predictions(self) -> Predictions:
        """What predictions.npz holds. Raises RecordError if it is missing or damaged."""
        path = self.folder / "predictions.npz"
        try:
            with np.load(path, allow_pickle=False) as archive:
                return Predictions(**{name: archive[name] for name in archive.files})
        except FileNotFoundError:
            raise RecordError(f"{path} is not there: the run is {self.record.status} and has scored no pictures yet.") from None
        except (*ARCHIVE_ERRORS, RecordError) as error:
            raise RecordError(f"{path} is damaged: {error} Restore it from a copy, or train the run again.") from error

    @property
    def exhibits_path(self) -> Path:
        """The folder of exhibits; `explain` makes it."""
        return self.folder / EXHIBITS_FOLDER

    def exhibits(self) -> Exhibits | None:
        """What there is to see of the run; None where `explain` has made nothing. Raises RecordError if it is damaged."""
        return read_exhibits(self.folder)

    def exhibit_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays its exhibits name, checked to be there; none without exhibits. Raises RecordError if they are damaged."""
        return read_arrays(self.folder)

    def thumbnails(self, names: Iterable[str]) -> dict[str, bytes]:
        """JPEG files of those pictures in `names`, as its predictions have them, that have a thumbnail. Raises RecordError."""
        return read_thumbnails(self.folder, names)

    def local(self) -> dict[str, str]:
        """Paths of this machine (the data, the weights), which belong in no record; empty if there are none."""
        path = self.folder / "local.json"
        return {str(key): str(value) for key, value in read_json(path).items()} if path.exists() else {}

    def update_local(self, **paths: str | Path) -> None:
        """Add to local.json."""
        write_json_atomically(self.folder / "local.json", self.local() | {key: str(path) for key, path in paths.items()})


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises RecordError if it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path} is not there, so {path.parent} is no run.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged: {error}. Restore it from a copy, or delete the run's folder.") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} is damaged: it holds no JSON object. Restore it from a copy, or delete the run's folder.")
    return value


def read_record(path: Path) -> RunRecord:
    """A run's record. Raises RecordError if it is missing, damaged or written by a newer tench."""
    values = read_json(path)
    version = values.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecordError(
            f"{path} was written by a newer tench: its schema is {version}, this one reads up to {SCHEMA_VERSION}. Update tench."
        )
    return checked_record(values, path)


def checked_record(values: dict[str, Any], path: Path) -> RunRecord:
    """`values` as a record. Raises RecordError that names the file and every field that is wrong."""
    try:
        return RunRecord.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise RecordError(
            f"{path} is not a record that tench can use: {wrong}. Restore it from a copy, or delete the run's folder."
        ) from None
