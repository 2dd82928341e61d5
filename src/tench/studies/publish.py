"""What of a study may be committed: its table, and of every run the record, the history and the log-probabilities; no weights."""

from collections.abc import Sequence
from pathlib import Path

from tench.comparison import as_csv, as_json, as_markdown
from tench.records import Run, make_folder, write_bytes_atomically, write_json_atomically
from tench.studies.conclusions import findings
from tench.studies.run import Outcome

PUBLISHED = ("record.json", "history.jsonl", "predictions.npz")


def publish(outcome: Outcome, folder: Path) -> None:
    """Write the table as Markdown, CSV and JSON into `folder`, the verdicts where the study has conclusions,
    and the small files of every run below `folder/runs`."""
    make_folder(folder)
    table = outcome.table
    for name, text in (("table.md", as_markdown(table)), ("table.csv", as_csv(table)), ("table.json", as_json(table))):
        write_bytes_atomically(folder / name, (text.rstrip() + "\n").encode())
    if found := findings(outcome.study, outcome.runs):
        write_json_atomically(folder / "verdicts.json", [finding.as_dict() for finding in found])
    publish_runs(outcome.runs, folder / "runs")


def publish_runs(runs: Sequence[Run], folder: Path) -> None:
    """Copy the small files of `runs`, each into a folder of its name below `folder`."""
    for run in runs:
        target = folder / run.id
        make_folder(target)
        for name in PUBLISHED:
            if (run.folder / name).exists():
                write_bytes_atomically(target / name, (run.folder / name).read_bytes())
