"""Hundreds of short trainings in one runs folder, many killed at random and resumed: nothing may be lost, and memory must stay flat.

Two processes train at a time, each killed (`kill -9`) at random moments and gone on with until it is finished. Beside them this process
looks at everything again and again, as a page or a notebook that is left open does: lists the runs, compares them, predicts, deletes old
ones. It ends by itself, with exit code 1 if a record, a line or a weight was lost, if what a killed run ended with is not what an
undisturbed one ends with, or if the memory of this process grew. Needs fork (Linux, macOS). Measures no speed: a busy machine will do.
"""

import argparse
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TENCH_NO_TUNING": "1"}  # before torch is imported; threads do not survive a fork

import numpy as np
import torch._dynamo
from PIL import Image
from safetensors.torch import load_file

import tench
from tench.comparison import results_table
from tench.config import Engine, load_recipe
from tench.data.sources import open_source
from tench.networks.pretrained import sha256_of
from tench.networks.reference import network
from tench.records import Run, delete_run, list_runs, prune
from tench.training import loop
from tench.training.plan import Plan
from tench.training.train import resume, train

AT_A_TIME = 2
KEPT = 40
"""Finished runs in the folder; older ones are deleted."""
UNDISTURBED_EVERY = 8
"""Of the finished runs one in so many is trained again, undisturbed, and compared."""
MOST_GROWTH_MIB = 48
TABLE = "ImageInput, 16x16\nConv, 3x3, 8\nMaxPool, 2x2\nConv, 3x3, 8\nGlobalAvgPool\nDropout, 0.2\nFullyConnected, 2\nClassOutput, 2\n"


@dataclass
class Job:
    """One training, through all its deaths."""

    seed: int
    runs: Path
    recipe: str
    options: dict[str, Any]
    blows: int
    """How often it is still to be killed."""
    pid: int = 0
    dies_at: float = 0.0

    def start(self, place: Path, draw: random.Random) -> None:
        """Begin or go on in a process of its own."""
        self.dies_at = time.monotonic() + draw.uniform(0.05, 0.8) if self.blows else float("inf")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _train(self, place)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)

    def run(self) -> Run | None:
        return next((run for run in list_runs(self.runs).runs if run.record.seed == self.seed), None)


def _train(job: Job, place: Path) -> None:
    loop.SAVE_EVERY_S = 0.0
    recipe = load_recipe(job.recipe)
    options = recipe.resolve(job.options, {"seed": job.seed})
    plan = Plan(network(place / "soak.net"), open_source(place / "pictures"), recipe, options, Engine(threads=1))
    begun = job.run()
    if begun is None:
        train(plan, job.runs, compiled=False, layout="channels_last", threads=1)
    elif begun.record.status != "finished":
        resume(begun, plan)


@dataclass
class Soak:
    """What was done and found."""

    place: Path
    draw: random.Random
    started: int = 0
    kills: int = 0
    finished: int = 0
    compared: int = 0
    deleted: int = 0
    looks: int = 0
    memory_mib: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    """sha256 of the weights of all finished runs that were not deleted, by their ids."""

    @property
    def runs(self) -> Path:
        return self.place / "runs"

    def go(self, minutes: float) -> None:
        end, jobs = time.monotonic() + 60 * minutes, [self._job() for _ in range(AT_A_TIME)]
        for job in jobs:
            job.start(self.place, self.draw)
        while jobs:
            for job in list(jobs):
                if not self._goes_on(job):
                    jobs.remove(job)
                    if time.monotonic() < end:
                        jobs.append(self._job())
                        jobs[-1].start(self.place, self.draw)
            time.sleep(0.01)
        self._look()

    def _job(self) -> Job:
        self.started += 1
        optimizer = self.draw.choice(["sgdm", "adam"])
        options = {"optimizer": optimizer, "learn_rate": 0.05 if optimizer == "sgdm" else 0.01, "batch_size": 8}
        options |= {"epochs": self.draw.randint(1, 6), "mirror": True}
        recipe = self.draw.choice(["modern", "r2018b"])
        return Job(self.started, self.runs, recipe, options, blows=self.draw.choice([0, 0, 1, 2, 4]))

    def _goes_on(self, job: Job) -> bool:
        """Kill, start again or take leave of a job; False when it is done."""
        if time.monotonic() > job.dies_at:
            os.kill(job.pid, signal.SIGKILL)
            job.dies_at = float("inf")
        pid, status = os.waitpid(job.pid, os.WNOHANG)
        if pid == 0:
            return True
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            self.kills += 1
            job.blows -= 1
            job.start(self.place, self.draw)
            return True
        self._take(job, code)
        return False

    def _take(self, job: Job, code: int) -> None:
        run = job.run()
        if code or run is None or run.record.status != "finished" or run.record.result is None:
            self.wrong.append(f"seed {job.seed} ended with {code}: {run}")
            return
        self.finished += 1
        self.known[run.id] = run.record.result.weights_sha256 or ""
        if [line["epoch"] for line in run.history()] != list(range(1, run.record.result.epochs + 1)):
            self.wrong.append(f"{run.id} has lost lines of its history")
        if self.finished % UNDISTURBED_EVERY == 1:
            self._compare(job, run)
        self._look()

    def _compare(self, job: Job, run: Run) -> None:
        again = Job(job.seed, self.place / f"undisturbed-{job.seed}", job.recipe, job.options, blows=0)
        again.start(self.place, self.draw)
        os.waitpid(again.pid, 0)
        whole = again.run()
        if whole is None:
            self.wrong.append(f"seed {job.seed} did not end undisturbed")
            return
        ours, theirs = load_file(run.weights_path), load_file(whole.weights_path)
        if any(not torch.equal(ours[name], theirs[name]) for name in theirs):
            self.wrong.append(f"{run.id} ended with other weights than undisturbed")
        self.compared += 1
        delete_run(whole.id, again.runs)

    def _look(self) -> None:
        """All that a process does that is left open, and whether everything is still there."""
        listing = list_runs(self.runs)
        if listing.damaged:
            self.wrong.append(f"damaged: {listing.damaged}")
        there = {run.id: run for run in listing.runs if run.record.status == "finished"}
        for lost in set(self.known) - set(there):
            self.wrong.append(f"{lost} is gone")
        for run in there.values():
            run.predictions()
            run.history()
        if there:
            results_table(list(there.values()))
            last = next(iter(there.values()))
            tench.load(last).predict(self.place / "pictures" / "val" / "a" / "0.png")
        prune(self.runs)
        for old in list(self.known)[:-KEPT]:
            delete_run(old, self.runs)
            del self.known[old]
            self.deleted += 1
        self.looks += 1
        gc.collect()
        self.memory_mib.append(resident_mib())

    def check_in_the_end(self) -> None:
        for run_id, sha256 in self.known.items():
            run = Run.read(self.runs / run_id)
            if sha256_of(run.weights_path) != sha256:
                self.wrong.append(f"{run_id}: its weights have changed")
            if list(run.folder.rglob("checkpoints")):
                self.wrong.append(f"{run_id}: checkpoints are left")
        looks = len(self.memory_mib)
        grown = max(self.memory_mib[3 * looks // 4 :]) - max(self.memory_mib[looks // 4 : looks // 2 + 1])
        if grown > MOST_GROWTH_MIB:
            self.wrong.append(f"the memory of this process grew by {grown:.0f} MiB from the second to the last quarter of {looks} looks")
        if not self.finished:
            self.wrong.append("no training ended in the time")

    def report(self) -> str:
        facts = {
            "trainings": self.started,
            "finished": self.finished,
            "killed": self.kills,
            "compared with undisturbed ones": self.compared,
            "deleted": self.deleted,
            "looks": self.looks,
            "memory of this process, MiB": [round(self.memory_mib[0]), round(max(self.memory_mib)), round(self.memory_mib[-1])]
            if self.memory_mib
            else [],
            "wrong": self.wrong,
        }
        return json.dumps(facts, indent=2)


def resident_mib() -> float:
    """Memory of this process now; where /proc is not there, its peak."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def draw_pictures(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for split, count in {"train": 16, "val": 8}.items():
        for name, level in {"a": 60, "b": 160}.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.normal(level, 50, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


def main() -> None:
    """Soak for a while; prints what was done, and exits with 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="after which no new training begins (10)")
    parser.add_argument("--seed", type=int, default=0, help="of what is trained, and when it is killed (0)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tench-soak-") as folder:
        place = Path(folder)
        os.environ["TENCH_CACHE"] = str(place / "cache")
        draw_pictures(place / "pictures")
        (place / "soak.net").write_text(TABLE, encoding="utf-8")
        soak = Soak(place, random.Random(asked.seed))
        soak.go(asked.minutes)
        soak.check_in_the_end()
        print(soak.report())
    sys.exit(bool(soak.wrong))


if __name__ == "__main__":
    main()
