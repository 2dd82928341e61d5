"""The runs folder: naming, making, finding and listing runs."""

import difflib
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tench.config import runs_folder
from tench.errors import NotFoundError, RecordError
from tench.records.files import TEMPORARY_SUFFIX, is_file, write_json_atomically
from tench.records.model import RunRecord, finite
from tench.records.run import RECORD, Run


def run_identity(parts: Mapping[str, Any]) -> str:
    """sha256, 64 hex digits, over canonical JSON (sorted keys, no spaces) of what defines a run; no order of keys matters."""
    text = json.dumps(finite(dict(parts)), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(network: str, px: int, recipe: str, seed: int, identity: str) -> str:
    """`<network>-<px>px-<recipe>-s<seed>-<8 hex digits>`, letters, digits, `_`, `.` and `-` only: a folder's name anywhere."""
    return f"{plain_name(network)}-{px}px-{plain_name(recipe)}-s{seed}-{identity[:8]}"


def plain_name(name: str) -> str:
    """`name` as a part of a folder's or file's name anywhere: letters, digits, `_`, `.` and `-` only."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", Path(name).name)[:60].strip("-.") or "unnamed"


def create_run(folder: Path, record: RunRecord, local: Mapping[str, str | Path] | None = None) -> Run:
    """Make the run's folder, with its record and what is `local` to this machine (`Run.local`), in the runs folder `folder`.

    The folder appears at once and complete, and only one of several processes gets it.
    Raises RecordError if a run of that id is there already.
    """
    target = folder / record.run_id
    new = folder / f".{record.run_id}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}"
    try:
        new.mkdir(parents=True)
        if local:
            Run(new, record).update_local(**local)
        write_json_atomically(new / RECORD, record.model_dump())
        new.rename(target)  # fails where `target` holds anything
    except OSError as error:
        if target.exists():
            raise RecordError(
                f"{target} is there already: this very run was begun before. See it by `tench runs show {record.run_id}`; if it is"
                f" finished, its result stands; if not, `tench resume` goes on with it. To train it anew, `tench runs delete` it first."
            ) from None
        raise RecordError(f"{target} could not be made: {error.strerror}. Mend the folder, or choose another by TENCH_RUNS.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Run(target, record)


@dataclass(frozen=True)
class Listing:
    """The runs of a folder, the newest first, and what is wrong with those that cannot be read."""

    runs: tuple[Run, ...]
    damaged: dict[str, str]
    """By the names of their folders."""


def list_runs(folder: Path | None = None) -> Listing:
    """All runs of a runs folder (none given: the current one). Folders without a record are passed over."""
    runs: list[Run] = []
    damaged: dict[str, str] = {}
    for entry in run_folders(folder or runs_folder()):
        try:
            runs.append(Run.read(entry))
        except RecordError as error:
            damaged[entry.name] = str(error)
    runs.sort(key=lambda run: (run.record.created, run.id), reverse=True)
    return Listing(tuple(runs), damaged)


def run_folders(folder: Path) -> list[Path]:
    """The folders in a runs folder that hold a record, sound or damaged, sorted by name."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [entry for entry in entries if not entry.name.startswith(".") and (entry / RECORD).is_file()]


def folder_of_runs(reference: str | Path) -> Path | None:
    """The folder that holds runs, itself or in its `runs`, where `reference` is one; None where it is something else."""
    with suppress(OSError):  # a name too long for a path
        places = [path for path in (Path(reference), Path(reference) / "runs") if path.is_dir()]
        return next((path for path in places if any(path.glob(f"*/{RECORD}"))), None)
    return None


def load_run(reference: str | Path, folder: Path | None = None) -> Run:
    """The run that `reference` names: the path of its folder, its id, or the beginning of an id that only one run has.

    Raises NotFoundError with near or available ids, RecordError if the run is there but cannot be read.
    """
    return Run.read(find_run(reference, folder or runs_folder()))


def load_runs(reference: str | Path, folder: Path | None = None) -> list[Run]:
    """The run that `reference` names, or, where it is a folder that holds runs, all finished ones in it.

    Raises as `load_run` does, and RecordError where a run in the folder is damaged.
    """
    if not (place := folder_of_runs(reference)):
        return [load_run(reference, folder)]
    listing = list_runs(place)
    for name, why in listing.damaged.items():
        raise RecordError(f"In {place} the run {name} cannot be read: {why}")
    return [run for run in listing.runs if run.record.result]


def find_run(reference: str | Path, runs: Path) -> Path:
    """The folder that `load_run` would read, also where its record is damaged. Raises NotFoundError."""
    for path in (Path(reference), runs / reference):
        if is_file(path / RECORD):
            return path
    ids = [entry.name for entry in run_folders(runs)]
    begun = [name for name in ids if name.startswith(str(reference))]
    if len(begun) == 1:
        return runs / begun[0]
    if begun:
        raise NotFoundError(f"More than one run begins with '{reference}': {', '.join(begun)}. Give more of the id.")
    raise NotFoundError(f"There is no run '{reference}' in {runs}; {_near(str(reference), ids)}")


def _near(reference: str, ids: list[str]) -> str:
    if not ids:
        return "no runs are there at all. Train one first, or set TENCH_RUNS to the folder that holds them."
    near = difflib.get_close_matches(reference, ids, n=5, cutoff=0.5)
    if near:
        return f"near it are {', '.join(near)}."
    more = f" and {len(ids) - 10} more (`tench runs`)" if len(ids) > 10 else ""
    return f"there are {', '.join(ids[:10])}{more}."
