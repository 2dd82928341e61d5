"""Sweeps: what is drawn, what is trained and never twice, what stops, and what the ranking goes by."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._base import BaseJournalSnapshot
from typer.testing import CliRunner

import tench
import tench.cli.sweeping  # adds the verb
from stopping import StopAfter
from tench.cli.app import app
from tench.errors import ConfigError, InterruptedTraining, RecordError
from tench.records import list_runs
from tench.studies.forecast import Forecast
from tench.sweeping import journal, run
from tench.sweeping.journal import Journal, drawing
from tench.sweeping.outcome import Outcome
from tench.sweeping.space import Range, space

Sweep = Callable[..., Outcome]
RATES = (0.01, 0.003)


@pytest.fixture
def sweep(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> Sweep:
    """`tench.sweep` of the tiny network, one short epoch a trial, into a folder of this test."""
    return partial(tench.sweep, tiny_net, tiny_folder, runs=tmp_path, threads=1, epochs=1, batch_size=16)


def drawn(folder: Path, count: int, sampler: str, seed: int = 0, parts: int = 1, **options: Any) -> list[dict[str, Any]]:
    """The first trials of a sweep, by `parts` processes one after the other; the loss of each is a function of its rate."""
    found, varied = [], space(options)
    for part in range(1, parts + 1):
        opened = Journal(
            folder / f"{sampler}{seed}{parts}.journal", "drawn", varied, drawing(varied, sampler, seed, count * part // parts, False)
        )
        while True:
            with opened.next_trial() as trial:
                if trial is None:
                    break
                opened.study.tell(trial, abs(math.log10(trial.params["learn_rate"]) + 3))
                found.append(trial.params)
    return found


# --- what is drawn -----------------------------------------------------------------------------------------------


def test_what_options_describe() -> None:
    found = space({"learn_rate": "1e-4..1e-2", "drop_period": "3, 4,5", "optimizer": "adam", "augment": [True, False], "l2": None})
    assert found.axes == {"learn_rate": Range(1e-4, 1e-2, whole=False, log=True), "drop_period": (3, 4, 5), "augment": (True, False)}
    assert (found.fixed, found.size) == ({"optimizer": "adam"}, None)
    stepped = space({"momentum": "0.1..0.4/0.1", "epochs": "2..4", "l2": "0,1e-4"})
    assert stepped.axes == {"momentum": (0.1, 0.2, 0.3, 0.4), "epochs": Range(2, 4, whole=True), "l2": (0.0, 1e-4)}
    assert stepped.size == 24
    assert len({tuple(stepped.combination(index).values()) for index in range(24)}) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn_rate": "0.1..1000"}, r"learn_rate is 1000.0: input should be less than or equal to 100"),
        ({"learn_rate": "0.1,much"}, r"learn_rate is 'much': input should be a valid number"),
        ({"learn_rate": "0.1..much"}, r"learn_rate is '0.1..much', which is no range; write low..high"),
        ({"learn_rate": "0.1..0.01"}, r"learn_rate is '0.1..0.01': a range goes from a lower to a higher"),
        ({"l2": "0..0.1"}, r"l2 is '0..0.1': its range is on a log scale and needs a low above 0; or write a list"),
        ({"epochs": "1.5..3"}, r"epochs is '1.5': input should be a valid integer"),
        ({"optimizer": "adam..sgdm"}, r"optimizer has no range, for it is no number: write a list"),
        ({"optimizer": "adam,sgd"}, r"optimizer is 'sgd': input should be 'sgdm', 'adam' or 'muon'"),
        ({"learning_rate": "0.1..1"}, r"the key 'learning_rate' is not known; allowed are optimizer, learn_rate"),
        ({"seed": [0, 1]}, r"seed takes a single value in a sweep: it decides which pictures are in `select`"),
        ({"learn_rate": 0.1}, r"nothing to try out: give at least one option a list or a range"),
        (
            {"learn_rate": "1e-4..1e-2", "sampler": "grid"},
            r"learn_rate is the range 0.0001..0.01 on a log scale, and a grid has none: write",
        ),
        ({"learn_rate": RATES, "sampler": "best"}, r"sampler is 'best'; take grid, random, tpe"),
        ({"learn_rate": RATES, "sampler_seed": 1}, r"sampler_seed is 1, but a grid draws nothing"),
        ({"learn_rate": RATES, "trials": 0}, r"trials is 0; take 1 or more"),
        ({"size_px": [16, 20], "crop_px": [0, 18]}, r"crop_px is 18, but the pictures are 16 pixels wide"),
        (
            {"optimizer": ["sgdm", "muon"], "kernel_rate": 0.1},
            r"the trial with optimizer sgdm: kernel_rate is an option of the optimizer muon",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(sweep: Sweep, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(**options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_draws_keep_to_the_bounds_on_a_log_scale_and_follow_from_the_seed(tmp_path: Path, sampler: str) -> None:
    options = {"learn_rate": "1e-5..1e-1", "drop_period": "3..5", "optimizer": "sgdm,adam"}
    trials = drawn(tmp_path, 20, sampler, **options)
    assert all(1e-5 <= trial["learn_rate"] <= 1e-1 and trial["drop_period"] in (3, 4, 5) for trial in trials)
    assert isinstance(trials[0]["drop_period"], int)
    below = sum(trial["learn_rate"] < 1e-3 for trial in trials)
    assert 3 <= below <= 17, "evenly drawn, one in a hundred would be below a thousandth"
    assert drawn(tmp_path, 20, sampler, parts=2, **options) == trials, "going on later draws what going on at once would have drawn"
    assert drawn(tmp_path, 20, sampler, seed=1, **options) != trials


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_of_countable_trainings_each_is_drawn_once(tmp_path: Path, sampler: str) -> None:
    trials = drawn(tmp_path, 50, sampler, learn_rate="0.1,0.01,0.001", drop_period="3,4", augment="yes,no")
    every = set(product((0.1, 0.01, 0.001), (3, 4), (True, False)))
    assert (len(trials), {tuple(trial[name] for name in ("learn_rate", "drop_period", "augment")) for trial in trials}) == (12, every)


def test_a_trial_that_was_broken_off_is_drawn_again_and_a_held_one_is_not(tmp_path: Path) -> None:
    varied = space({"learn_rate": RATES})
    one, other = (Journal(tmp_path / "a.journal", "a", varied, drawing(varied, "grid", 0, None, False)) for _ in range(2))
    with one.next_trial() as trial, other.next_trial() as second:
        assert (trial.params["learn_rate"], second.params["learn_rate"]) == RATES
        with other.next_trial() as third:
            assert third is None, "both are being worked on"
    with other.next_trial() as again:
        assert again.params["learn_rate"] in RATES, "nobody told how it ended"
        assert len(other.trials()) == 2


def test_the_journal_pickles_nothing() -> None:
    assert not issubclass(JournalFileBackend, BaseJournalSnapshot), "Optuna pickles snapshots, of storages that have them"


# --- what is trained ---------------------------------------------------------------------------------------------


def test_a_grid_is_trained_once_ranked_by_select_and_found_again(sweep: Sweep, tmp_path: Path) -> None:
    options = {"learn_rate": RATES, "optimizer": "sgdm,adam"}
    outcome = sweep(**options)
    combinations = {(trial.options["learn_rate"], trial.options["optimizer"]) for trial in outcome.trials}
    assert (len(outcome.trials), combinations) == (4, set(product(RATES, ("sgdm", "adam"))))
    runs = {found.id: found.record for found in list_runs(tmp_path).runs}
    assert sorted(runs) == sorted(str(trial.run_id) for trial in outcome.trials)
    losses = [runs[str(trial.run_id)].result.select_loss for trial in outcome.trials]  # type: ignore[union-attr]
    assert losses == sorted(losses) == [trial.select_loss for trial in outcome.trials]
    assert outcome.best == outcome.trials[0]
    assert outcome.best_options == {"epochs": 1, "batch_size": 16, **outcome.trials[0].options}
    assert sweep(**options) == outcome, "nothing is trained again"
    elsewhere = sweep(**options, storage=tmp_path / "elsewhere.journal")
    assert [trial.run_id for trial in elsewhere.trials] == [trial.run_id for trial in outcome.trials], "nor in another sweep of the same"
    assert {found.id: found.record for found in list_runs(tmp_path).runs} == runs


def test_stopped_it_goes_on_with_the_training_in_progress(sweep: Sweep, tmp_path: Path) -> None:
    options = {"learn_rate": RATES, "epochs": 2}
    with pytest.raises(InterruptedTraining):
        sweep(**options, watcher=StopAfter(2))
    (stopped,) = list_runs(tmp_path).runs
    assert stopped.record.status == "interrupted"
    outcome = sweep(**options)
    assert [trial.status for trial in outcome.trials] == ["finished"] * 2
    assert stopped.id in {trial.run_id for trial in outcome.trials}
    assert len(list_runs(tmp_path).runs) == 2


def test_processes_share_a_storage_and_no_trial(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    script = (
        "import sys, tench; net, data, runs, storage = sys.argv[1:]\n"
        "tench.sweep(net, data, learn_rate='0.01,0.003,0.001', optimizer='sgdm,adam', epochs=4, batch_size=16, threads=1, runs=runs,"
        " storage=storage)"
    )
    places = [tmp_path / "one", tmp_path / "two"]
    arguments = [sys.executable, "-c", script, str(tiny_net), str(tiny_folder)]
    processes = [subprocess.Popen([*arguments, str(place), str(tmp_path / "shared.journal")]) for place in places]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    identities = [[found.record.identity for found in list_runs(place).runs] for place in places]
    assert len(identities[0] + identities[1]) == len({*identities[0], *identities[1]}) == 6


def test_a_hopeless_training_is_pruned_and_kept(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "TRIALS_BEFORE_PRUNING", 2)
    outcome = sweep(learn_rate=[0.01, 0.012, 20.0], epochs=5, prune=True)
    assert [trial.status for trial in outcome.trials] == ["finished", "finished", "pruned"]
    (pruned,) = [found for found in list_runs(tmp_path).runs if found.id == outcome.trials[2].run_id]
    assert (pruned.record.status, pruned.record.result, len(pruned.history())) == ("interrupted", None, 2)
    assert f"stopped after epoch 2 by the sweep {outcome.name}" in pruned.record.notes[-1]
    assert sweep(learn_rate=[0.01, 0.012, 20.0], epochs=5, prune=True) == outcome
    assert tench.resume(pruned, exhibits=False).record.status == "finished", "it can be gone on with all the same"


def test_a_training_that_fails_is_a_trial_and_the_others_go_on(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run.train

    def failing(plan: Any, *places: Any, **more: Any) -> Any:
        if plan.options.learn_rate == RATES[0]:
            raise tench.errors.TrainingError("The loss became nan.")
        return honest(plan, *places, **more)

    monkeypatch.setattr(run, "train", failing)
    outcome = sweep(learn_rate=RATES)
    assert [(trial.status, trial.reason) for trial in outcome.trials] == [("finished", None), ("failed", "The loss became nan.")]


def test_the_budget_stops_before_a_trial_that_does_not_fit(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "forecast", lambda entries: Forecast((1.0 if entries[0].plan.options.learn_rate == RATES[0] else 1e9,), 1.0))
    outcome = sweep(learn_rate=RATES, budget_s=60)
    assert [(trial.status, trial.options["learn_rate"]) for trial in outcome.trials] == [("finished", RATES[0]), ("waiting", RATES[1])]
    assert len(list_runs(tmp_path).runs) == 1
    assert [trial.status for trial in sweep(learn_rate=RATES).trials] == ["finished"] * 2, "without a budget it goes on"


@pytest.mark.parametrize("text", ["milk, bread\n", "milk, bread", '{"milk": 1}\n'])
def test_a_file_that_is_no_journal_is_left_alone(sweep: Sweep, tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(RecordError, match=r"notes\.txt cannot be used as the storage of a sweep"):
        sweep(learn_rate=RATES, storage=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == text


def test_a_line_that_a_killed_process_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    trials = drawn(tmp_path, 4, "random", learn_rate="1e-4..1e-2")
    with (tmp_path / "random01.journal").open("a") as file:
        file.write('{"op_co')
    assert drawn(tmp_path, 5, "random", learn_rate="1e-4..1e-2") == [drawn(tmp_path, 5, "random", parts=2, learn_rate="1e-4..1e-2")[4]]
    assert len(trials) == 4


# --- the command line --------------------------------------------------------------------------------------------


def test_the_verb(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    words = ["sweep", str(tiny_net), "--data", str(tiny_folder), "--learn-rate", "0.01,0.003", "--augment", "no", "--epochs", "1"]
    words += ["--batch-size", "16", "--threads", "1", "--quiet", "--storage", str(tmp_path / "a.journal")]
    told = json.loads(CliRunner().invoke(app, [*words, "--format", "json"], catch_exceptions=False).stdout)
    assert [trial["status"] for trial in told["trials"]] == ["finished"] * 2
    assert not any("test" in key or key == "top1" for trial in told["trials"] for key in trial)
    best = told["trials"][0]
    assert (told["best"], told["chosen_by"]) == (best["run"], "select_loss")
    given = {"--learn-rate": str(best["learn_rate"]), "--epochs": "1", "--batch-size": "16", "--seed": "1", "--data": str(tiny_folder)}
    assert set(told["command"].split()) == {"tench", "train", str(tiny_net), "--no-augment", *given, *given.values()}
    shown = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "Test scores are left out on purpose" in shown
    assert f"The best is {best['run']}" in shown
    table = CliRunner().invoke(app, [*words, "--format", "csv"], catch_exceptions=False).stdout.splitlines()
    assert table[0] == "trial,status,learn_rate,run,select_loss,select_top1,epochs,seconds"
    assert len(table) == 3
