"""The runs folder as the page shows it, read anew only where something has changed, so that it may be asked for every second."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tench.config import runs_folder
from tench.errors import RecordError
from tench.records import Run
from tench.records.run import RECORD
from tench.records.store import run_folders
from tench.serve import answers as said

Stamp = tuple[Any, ...]


@dataclass(frozen=True)
class Listing:
    """All runs as JSON, and what names this state of them (an HTTP ETag, quotes included)."""

    body: bytes
    etag: str


class Watch:
    """Watches one runs folder; None: the current one. May be asked by several threads."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or runs_folder()
        self._lock = Lock()
        self._known: dict[str, _Known] = {}
        self._listing: tuple[Stamp, Listing] | None = None

    def listing(self) -> Listing:
        """The runs as they are now. What cannot be read is left out, and there again once it can."""
        with self._lock:
            stamps = {folder.name: _stamp(folder) for folder in run_folders(self.folder)}
            state = tuple(stamps.items())
            if self._listing is None or self._listing[0] != state:
                self._listing = state, self._read(stamps)
            return self._listing[1]

    def _read(self, stamps: dict[str, Stamp]) -> Listing:
        known = {name: one for name, one in self._known.items() if stamps.get(name) == one.stamp}
        self._known = known | {name: _known(self.folder / name, stamps[name]) for name in stamps.keys() - known.keys()}
        sound = sorted(self._known.items(), key=lambda item: (item[1].created, item[0]), reverse=True)
        runs = [one.facts for _, one in sound if one.facts]
        body = said.Runs(title=self.folder.resolve().name, runs=runs).model_dump_json().encode()
        return Listing(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@dataclass(frozen=True)
class _Known:
    """One run as it was read; no facts: it could not be."""

    stamp: Stamp
    created: str = ""
    facts: said.RunFacts | None = None


def _known(folder: Path, stamp: Stamp) -> _Known:
    try:
        run = Run.read(folder)
        return _Known(stamp, run.record.created, _facts(run, run.history()))
    except (RecordError, OSError, ValueError):
        return _Known(stamp)


def _stamp(folder: Path) -> Stamp:
    """What changes when a run does. That a process holds it leaves no trace in files."""
    return *(_written(folder / name) for name in (RECORD, "history.jsonl")), Run.in_use_at(folder)


def _written(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _facts(run: Run, history: list[dict[str, Any]]) -> said.RunFacts:
    record, result = run.record, run.record.result
    return said.RunFacts(
        id=run.id,
        name=record.row or record.network.name,
        status="killed" if record.status == "running" and not run.in_use else record.status,
        data=record.data.name,
        is_demo=record.data.is_demo,
        top1=result.top1 if result else None,
        low=result.top1_low if result else None,
        high=result.top1_high if result else None,
        n=result.n if result else None,
        reported_top1=record.reported_accuracy,
        epochs=len(history) or (result.epochs if result else None),
        parameters=record.network.parameters,
        macs=record.network.macs,
        train_s=result.train_s if result else None,
        options=record.options,
        notes=[*([record.failure] if record.failure else []), *record.notes],
        history=[said.Epoch(**{name: entry.get(name) for name in said.Epoch.model_fields}) for entry in history],
    )
