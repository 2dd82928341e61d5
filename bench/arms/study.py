"""A study of several seeds of one network on the demo pictures, here or as tasks of a Ray cluster with so many cores."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import tench
from tench.config import Study
from tench.studies.entries import Choices

CLUSTER = """
import sys, ray
ray.init(num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


def main() -> None:
    """Run the study and print its seconds; those of making the cluster do not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workers", type=int, help="cores of the cluster; 0: no cluster")
    for name in ("threads", "seeds", "epochs", "size"):
        parser.add_argument(name, type=int)
    parser.add_argument("network")
    options = parser.parse_args()
    values = {"batch_size": 32, "epochs": options.epochs}
    row = {"name": options.network, "network": options.network}
    study = Study.model_validate({"name": "scaling", "title": "Scaling", "size_px": options.size, "options": values, "row": [row]})
    with ExitStack() as stack:
        on = None
        if options.workers:
            command = [sys.executable, "-c", CLUSTER, str(options.workers)]
            cluster = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(cluster.communicate)  # its standard input ends, and so does it
            assert cluster.stdout is not None
            on = f"ray:{cluster.stdout.readline().strip()}"
        runs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        how = {"threads": options.threads, "device": "cpu", "exhibits": False, "on": on}
        began = time.perf_counter()
        done = tench.study(study, "pictograms", choices=Choices(seeds=tuple(range(options.seeds))), runs=runs, **how)
        study_s = time.perf_counter() - began
        assert len(done.runs) == options.seeds, done.not_run
        kept = sum(path.stat().st_size for path in runs.rglob("*") if path.is_file())
        epochs_s = sum(line["epoch_s"] for run in done.runs for line in run.history())
        print(json.dumps({"study_s": study_s, "epochs_s": epochs_s, "kept_mib": kept / 2**20}))


if __name__ == "__main__":
    main()
