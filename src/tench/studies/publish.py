"""What of a study may be committed: its table, and of every run the record, the history and the log-probabilities; no weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tench.comparison import as_csv, as_json, as_markdown
from tench.errors import UsageError
from tench.records import Run, make_folder, write_bytes_atomically, write_json_atomically
from tench.records.run import RECORD
from tench.studies.conclusions import findings
from tench.studies.outcome import Outcome

BESIDE_RECORD = ("history.jsonl", "predictions.npz")


def publish(outcome: Outcome, folder: Path) -> None:
    """Write the table as Markdown, CSV and JSON into `folder`, the verdicts where the study has conclusions,
    and the small files of every run below `folder/runs`.

    Raises UsageError where runs published there before are not among these: the table would be without them.
    """
    refuse_to_lose(folder, [run.record.identity for run in outcome.runs])
    make_folder(folder)
    table = outcome.table
    for name, text in (("table.md", as_markdown(table)), ("table.csv", as_csv(table)), ("table.json", as_json(table))):
        write_bytes_atomically(folder / name, (text.rstrip() + "\n").encode())
    if found := findings(outcome.study, outcome.runs):
        write_json_atomically(folder / "verdicts.json", [finding.as_dict() for finding in found])
    publish_runs(outcome.runs, folder / "runs")


def refuse_to_lose(folder: Path, identities: Iterable[str]) -> None:
    """Raise UsageError where a run published in `folder` is none of those `identities`: their table would be without it.

    A study asks before it trains too: hours later is late to say so.
    """
    there = sorted(record.parent.name for record in (folder / "runs").glob(f"*/{RECORD}"))
    ends = tuple(f"-{identity[:8]}" for identity in identities)
    if lost := [name for name in there if not name.endswith(ends)]:
        record = Run.read(folder / "runs" / lost[0]).record
        raise UsageError(
            f"Of the {len(there)} runs published in {folder} this study, as it was asked for now, does not have {len(lost)} (for one"
            f" {lost[0]}, row '{record.row}', seed {record.seed}): its table would be without them, so nothing was written there. Ask for"
            " their rows, seeds and pictures too, or name another folder; what is finished is not run again."
        )


def publish_runs(runs: Sequence[Run], folder: Path) -> None:
    """Write the small files of `runs`, each into a folder of its name below `folder`.

    A run that another study or command made is a run of this study here: its record names the row that it stands for, so that
    whoever reads the folder, `tench report` for one, finds what the study found. Where one run stands for several rows, the first.
    """
    for run in {run.id: run for run in reversed(runs)}.values():
        target = folder / run.id
        make_folder(target)
        write_json_atomically(target / RECORD, run.record.model_dump())
        for name in BESIDE_RECORD:
            if (run.folder / name).exists():
                write_bytes_atomically(target / name, (run.folder / name).read_bytes())
