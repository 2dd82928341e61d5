"""The commands of the report: what the command line reads, and no more than differs from the recipe or the study."""

import shlex
from pathlib import Path

from made_runs import made_run

from tench.config import asked_side_px, load_recipe, load_study, row_side_px
from tench.networks.reference import network
from tench.networks.table import write
from tench.report.provenance import command, facts
from tench.report.words import Words


def test_a_training_names_what_differs_from_its_recipe(tmp_path: Path) -> None:
    options = load_recipe("modern").resolve({"size_px": 32, "optimizer": "adam", "learn_rate": 0.0005, "augment": False}).model_dump()
    words = shlex.split(command(made_run(tmp_path, seed=3, options=options).record).text)
    assert words[:3] == ["tench", "train", "one.net"], "an own table is given as a file; the page shows what is in it"
    assert "--no-augment" in words
    for flag, value in (("--optimizer", "adam"), ("--learn-rate", "0.0005"), ("--size", "32"), ("--seed", "3"), ("--recipe", "modern")):
        assert words[words.index(flag) + 1] == value
    assert not {"--momentum", "--l2", "--batch-size"} & set(words)


def test_a_row_of_a_study_is_named_with_its_seed_and_precision_only(tmp_path: Path) -> None:
    study = load_study("conclusions")
    row = study.rows[0]
    options = load_recipe(study.recipe).resolve(study.options, row.options, {"size_px": study.size_px}).model_dump()
    engine = {"device": "cpu", "threads": 2}
    run = made_run(tmp_path, seed=2, study="conclusions", row=row.name, recipe=study.recipe, options=options, engine=engine)
    assert command(run.record).text == f"tench study conclusions --rows {row.name} --seeds 2 --precision float32 --data DATA"


def test_a_row_larger_than_the_studys_is_asked_for_by_the_studys_size_and_with_its_threads(tmp_path: Path) -> None:
    """In a study 64 makes 73 of a table of 256; asked for 73 it would make 83, another run."""
    study = load_study("study")
    row = next(row for row in study.rows if row.name == "network_75_4395")
    options = load_recipe("r2018b_small").resolve(study.options, row.options, {"size_px": 73}).model_dump()
    table = made_run(tmp_path).record.network.model_copy(update={"text": write(network(row.network).table), "input_px": 73})
    more = {"recipe": "r2018b_small", "options": options, "network": table, "engine": {"device": "cpu", "threads": 1}}
    words = shlex.split(command(made_run(tmp_path, "big", study="study", row=row.name, **more).record).text)
    assert words[words.index("--size") + 1] == "64"
    assert words[words.index("--threads") + 1] == "1"
    assert words[words.index("--recipe") + 1] == "r2018b_small"
    for own_px in (32, 224, 227, 256, 299, 512):
        assert all(asked_side_px(row_side_px(side, own_px), own_px) == side for side in range(8, 300))


def test_a_study_of_ones_own_is_named_as_a_file(tmp_path: Path) -> None:
    run = made_run(tmp_path, study="mine", row="a row")
    assert command(run.record).text.startswith("tench study mine.toml --rows 'a row' --seeds 0")


def test_a_row_that_was_also_scored_as_it_is_is_named_by_the_row(tmp_path: Path) -> None:
    run = made_run(tmp_path, study="quick", row="googlenet, untrained", kind="untrained")
    assert command(run.record).text == "tench study quick --rows googlenet --seeds 0 --data DATA --weights WEIGHTS"


def test_a_classical_network_from_scratch_is_named_as_tench_knows_it(tmp_path: Path) -> None:
    network = made_run(tmp_path).record.network.model_copy(update={"name": "googlenet from scratch", "origin": "classical"})
    assert shlex.split(command(made_run(tmp_path, seed=1, network=network).record).text)[:3] == ["tench", "train", "googlenet"]


def test_a_transfer_names_all_that_is_not_usual(tmp_path: Path) -> None:
    how = {"method": "fine_tune", "hold": 0.1, "head_rate_factor": 3.0, "freeze_until": "conv_1", "leave_unseen_out": False}
    options = load_recipe("fine_tune").resolve({"share": 0.5, "test_share": 0.2, "class_weights": "balanced"}).model_dump()
    text = command(made_run(tmp_path, kind="transfer", transfer=how, options=options | {"leave_unseen_out": True}).record).text
    words = shlex.split(text)
    assert {"--fine-tune", "--use-unseen"} <= set(words)
    asked = {"--hold": "0.1", "--head-rate-factor": "3.0", "--freeze-until": "conv_1", "--share": "0.5", "--test-share": "0.2"}
    assert all(words[words.index(flag) + 1] == value for flag, value in (asked | {"--class-weights": "balanced"}).items())
    frozen = {"transfer": {"method": "frozen"}, "options": load_recipe("transfer").resolve().model_dump()}
    usual = command(made_run(tmp_path, "usual", kind="transfer", **frozen).record)
    assert usual.text.endswith("--seed 0 --data DATA --weights WEIGHTS")
    assert "--hold" not in usual.text


def test_a_precision_that_the_rules_leave_open_is_named(tmp_path: Path) -> None:
    engine = {"device": "cpu", "threads": 2, "precision": "bfloat16"}
    for arithmetic, named in (("fastest", True), ("single", False)):
        run = made_run(tmp_path, arithmetic, rules={"arithmetic": arithmetic}, engine=engine)
        assert ("--precision bfloat16" in command(run.record).text) == named


def test_demo_pictures_are_named(tmp_path: Path) -> None:
    assert "--data pictograms" in command(made_run(tmp_path, data={"is_demo": True}).record).text


def test_facts_are_whole(tmp_path: Path) -> None:
    found = dict(facts(made_run(tmp_path), Words("en")))
    assert found["data sha256"] == "d" * 64
    assert found["pictures to fit / select / test"] == "90 / 10 / 60"
    assert found["finished"] == "2026-11-25 03:11"
    assert found["versions"] == "torch 2.14"
