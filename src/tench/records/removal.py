"""Deleting runs, and pruning what is no longer needed: only folders with a record, only directly inside the runs folder."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tench.config import runs_folder
from tench.errors import RecordError
from tench.records.exhibits import FOLDER as EXHIBITS_FOLDER
from tench.records.files import TEMPORARY_SUFFIX
from tench.records.run import RECORD, Run
from tench.records.store import find_run, list_runs, run_folders

WEEK_S = 7 * 24 * 3600.0


def delete_run(reference: str | Path, folder: Path | None = None) -> Path:
    """Delete a run with all it holds, its record sound or damaged; returns where it was. `reference` as in `load_run`.

    Raises NotFoundError; RecordError where it lies outside the runs folder or another process is at work on it.
    """
    runs = folder or runs_folder()
    target = find_run(reference, runs)
    if target.is_symlink() or target.resolve().parent != runs.resolve():
        raise RecordError(
            f"{target} is not directly inside {runs}, and tench deletes nothing elsewhere. Set TENCH_RUNS, or delete it by hand."
        )
    if Run.in_use_at(target):
        raise RecordError(f"{target} is in use by another process; wait until it has ended, or stop it first.")
    _remove(target)
    return target


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would remove."""

    paths: tuple[Path, ...]
    freed_mib: float
    dry_run: bool


def prune(folder: Path | None = None, older_than_s: float = WEEK_S, dry_run: bool = False) -> Pruned:
    """Remove checkpoints of finished runs; failed runs, and files left by killed processes, unchanged for `older_than_s` seconds.

    Runs that another process is at work on are passed over. With `dry_run` nothing is removed, and the same is returned.
    """
    runs = folder or runs_folder()
    paths = tuple(_superfluous(runs, time.time() - older_than_s))
    freed_mib = sum(_size(path) for path in paths) / 2**20
    for path in () if dry_run else paths:
        _remove(path)
    return Pruned(paths, freed_mib, dry_run)


def _superfluous(runs: Path, before: float) -> Iterator[Path]:
    idle = [run for run in list_runs(runs).runs if not run.in_use]
    failed = [run.folder for run in idle if run.record.status == "failed" and _changed(run.folder / RECORD) < before]
    yield from failed
    yield from (run.checkpoints for run in idle if run.record.status == "finished" and run.checkpoints.is_dir())
    kept = [entry for entry in run_folders(runs) if entry not in failed]
    for parent in (runs, *kept, *(entry / EXHIBITS_FOLDER for entry in kept)):
        yield from (path for path in parent.glob(f".*{TEMPORARY_SUFFIX}") if _changed(path) < before)


def _changed(path: Path) -> float:
    return path.lstat().st_mtime


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _remove(path: Path) -> None:
    """Delete a file or folder; a record last, so that what a killed deletion leaves is still known as a run."""
    try:
        if not path.is_dir() or path.is_symlink():
            path.unlink()
            return
        for entry in path.iterdir():
            if entry.name != RECORD:
                _remove(entry)
        (path / RECORD).unlink(missing_ok=True)
        path.rmdir()
    except OSError as error:
        raise RecordError(f"{path} could not be deleted: {error.strerror}. Mend its permissions, then try again.") from error
