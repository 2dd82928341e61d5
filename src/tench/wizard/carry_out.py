"""A proposal carried out: what is finished is found again, what was interrupted goes on, and a report ends it."""

from dataclasses import dataclass
from pathlib import Path

from tench.errors import TrainingError, UsageError
from tench.explain.exhibits import exhibit_or_say
from tench.records import Run, make_folder
from tench.report.write import write_report
from tench.training.curve import Point, learning_curve
from tench.training.loop import Watcher
from tench.training.train import resume, train
from tench.training.transfer import transfer
from tench.wizard.propose import Proposal, Step


@dataclass(frozen=True)
class Done:
    """The finished runs in the proposal's order, the learning curve of the new last layer (empty without one), and the report."""

    runs: tuple[Run, ...]
    curve: tuple[Point, ...]
    page: Path

    @property
    def first(self) -> Run:
        """The run to use: the new last layer, where there is one. Not chosen by the test pictures."""
        return self.runs[0]


def refuse_within(pictures: Path | None, output: Path, runs: Path) -> None:
    """Raise UsageError where the report or the runs would be written among the pictures, which nothing may change."""
    inside = {"--output": ("the report", output), "TENCH_RUNS": ("the folder of runs", runs)}
    for remedy, (what, path) in inside.items():
        if pictures and pictures.is_dir() and path.resolve().is_relative_to(pictures.resolve()):
            raise UsageError(
                f"{path} lies in the pictures' folder, and tench writes nothing there: start it in another folder, or name another"
                f" place for {what} by {remedy}."
            )


def carry_out(proposal: Proposal, output: Path, lang: str = "en", watcher: Watcher | None = None) -> Done:
    """Train what is not finished yet, draw the learning curve, and write the report as the HTML file `output`.

    A training that fails is told, and the others go on. Raises TrainingError where none is left, InterruptedTraining when stopped,
    UsageError where anything would be written into the pictures' folder.
    """
    watcher = watcher or Watcher()
    refuse_within(proposal.look.source.location, output, proposal.runs)
    runs, failures = [], []
    for step in proposal.steps:
        try:
            runs.append(_finished(step, proposal, watcher))
        except TrainingError as error:
            failures.append(str(error))
            watcher.say(f"The training of {step.plan.network.name} failed: {error}")
    if not runs:
        raise TrainingError(" ".join(failures))
    curve = next((_curve(step, proposal, watcher) for step in proposal.steps if step.how), ())
    written = write_report([run.id for run in runs], output, lang, folder=proposal.runs)
    return Done(tuple(runs), curve, written.page)


def _finished(step: Step, proposal: Proposal, watcher: Watcher) -> Run:
    if step.before and step.finished:
        return step.before
    make_folder(proposal.runs)
    if step.how:
        run = transfer(step.plan, step.how, proposal.runs, proposal.weights, watcher)
    elif step.before:
        run = resume(step.before, step.plan, watcher)
    else:
        run = train(step.plan, proposal.runs, watcher, threads=step.plan.engine.threads)
    exhibit_or_say(run, step.plan.source, step.plan.engine, watcher)
    return run


def _curve(step: Step, proposal: Proposal, watcher: Watcher) -> tuple[Point, ...]:
    assert step.how is not None
    watcher.say("The same with a quarter and a half of the pictures, on the features that are there already.")
    return learning_curve(step.plan, step.how, proposal.weights)
