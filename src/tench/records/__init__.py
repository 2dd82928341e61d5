"""Runs on disk: atomic, versioned, readable without torch; the only bridge between training and everything shown."""

from tench.records.exhibits import Exhibits, HeatMap, LayerMaps, Way, save_exhibits
from tench.records.files import append_line, make_folder, write_bytes_atomically, write_json_atomically, written_atomically
from tench.records.model import (
    SCHEMA_VERSION,
    ClassFacts,
    ClassScore,
    DataFacts,
    MachineFacts,
    NetworkFacts,
    Result,
    RunRecord,
    Score,
)
from tench.records.removal import Pruned, delete_run, prune
from tench.records.run import Predictions, Run
from tench.records.store import Listing, create_run, folder_of_runs, list_runs, load_run, load_runs, run_id, run_identity

__all__ = [
    "SCHEMA_VERSION",
    "ClassFacts",
    "ClassScore",
    "DataFacts",
    "Exhibits",
    "HeatMap",
    "LayerMaps",
    "Listing",
    "MachineFacts",
    "NetworkFacts",
    "Predictions",
    "Pruned",
    "Result",
    "Run",
    "RunRecord",
    "Score",
    "Way",
    "append_line",
    "create_run",
    "delete_run",
    "folder_of_runs",
    "list_runs",
    "load_run",
    "load_runs",
    "make_folder",
    "prune",
    "run_id",
    "run_identity",
    "save_exhibits",
    "write_bytes_atomically",
    "write_json_atomically",
    "written_atomically",
]
