"""Epochs by tench, from JPEG files: everything is decoded in the first; the engine's trial is made before them."""

import argparse
import os
import tempfile
import time

import task

LONG_RUN_EPOCHS, LONG_RUN_PHOTOGRAPHS = 30, 9_469
"""The training that the engine's trial is made for: a short one, as these are, would have none."""


def parser() -> argparse.ArgumentParser:
    """The task, and what is particular to tench."""
    found = task.parser(__doc__ or "")
    found.add_argument("--precision", choices=("float32", "bfloat16"), help="without it the machine's own")
    found.add_argument("--untuned", action="store_true", help="without memory settings")
    return found


def main() -> None:
    """Train and report; the memory settings come before torch is imported."""
    options = parser().parse_args()
    if not options.untuned:
        from tench.runtime import tune_process

        tune_process()
    import tench
    from tench.config import load_recipe
    from tench.data.sources import open_source
    from tench.runtime import choose_engine
    from tench.training import plan as plans
    from tench.training.feed import Feed
    from tench.training.loop import Watcher
    from tench.training.trial import proposed

    class Clock(Watcher):
        """Seconds of every epoch's steps, from the start or from the last epoch's validation, and how long they waited for pictures."""

        def __init__(self) -> None:
            self.epoch_s: list[float] = []
            self.waited_s = self.last_wait_s = 0.0
            self.since = self.last_step = time.perf_counter()

        def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
            self.last_step = time.perf_counter()

        def epoch_ended(self, line: dict[str, object]) -> None:
            self.epoch_s.append(self.last_step - self.since)
            self.last_wait_s, self.waited_s = self.waited_s, 0.0
            self.since = time.perf_counter()

    class TimedFeed(Feed):
        """Notes the time its batches take."""

        def augmented(self, *given: object) -> object:
            began = time.perf_counter()
            found = super().augmented(*given)  # type: ignore[arg-type]
            clock.waited_s += time.perf_counter() - began
            return found

    chosen = {"size_px": options.size, "batch_size": options.batch, "epochs": options.epochs, "learn_rate": task.RATE}
    recipe = load_recipe("modern")
    plan = plans.Plan(
        tench.network(options.network),
        open_source(options.folder),
        recipe,
        recipe.resolve(chosen),
        choose_engine("cpu", precision=options.precision),
    )
    began = time.perf_counter()
    # Compiling is left out: it takes a minute, and is tried in trainings of 20 minutes and more only.
    engine = proposed(plan, ("layout", "threads"), LONG_RUN_EPOCHS * LONG_RUN_PHOTOGRAPHS // options.batch)
    trial_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TENCH_CACHE"] = f"{scratch}/cache"  # nothing is decoded yet, whatever arms have run before
        plans.Feed = TimedFeed  # type: ignore[misc]
        clock = Clock()
        run = tench.train(
            options.network,
            options.folder,
            recipe="modern",
            device="cpu",
            precision=options.precision,
            layout=engine.layout,
            compiled=False,
            exhibits=False,
            threads=engine.threads,
            runs=f"{scratch}/runs",
            watcher=clock,
            **chosen,
        )
    taken = run.record.engine
    task.report(
        clock.epoch_s,
        run.record.data.n_fit // options.batch * options.batch,
        waiting_share=clock.last_wait_s / clock.epoch_s[-1],
        trial_s=trial_s,
        engine=f"{taken['precision']}, {taken['layout']}, {taken['threads']} threads",
    )


if __name__ == "__main__":
    main()
