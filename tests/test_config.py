"""Options, rules, recipes and studies: checked when they are read, and the same after writing and reading them again."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tench.config import Options, Preprocessing, Recipe, Study, builtin_names, checked, load_recipe, load_study
from tench.errors import ConfigError, NotFoundError


@pytest.mark.parametrize("name", builtin_names("recipes", ".toml"))
def test_every_built_in_recipe_reads_and_describes_itself(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_the_faithful_rules_differ_from_the_modern_ones_in_every_rule_of_r2018b() -> None:
    faithful, modern = load_recipe("r2018b").rules.model_dump(), load_recipe("modern").rules.model_dump()
    same = {rule for rule in faithful if faithful[rule] == modern[rule]}
    assert same == {"label_smoothing", "nesterov", "schedule", "last_partial_batch", "improvement", "select_share"}


def test_the_rules_for_a_small_size_differ_from_the_faithful_ones_in_what_the_size_and_honesty_ask_for() -> None:
    small, faithful = load_recipe("r2018b_small"), load_recipe("r2018b")
    differ = {rule for rule, value in small.rules.model_dump().items() if value != faithful.rules.model_dump()[rule]}
    assert differ == {"initial_weights", "select_from", "arithmetic"}
    assert {key for key, value in small.options.items() if value != faithful.options[key]} == {"batch_size"}
    assert small.learn_rate == faithful.learn_rate


def test_flags_win_over_the_row_and_the_row_over_the_recipe() -> None:
    recipe = Recipe(name="r", options={"epochs": 3, "batch_size": 10, "l2": 0.5}, learn_rate={"sgdm": 0.1, "adam": 0.2})
    options = recipe.resolve({"epochs": 4, "batch_size": 20}, {"batch_size": 30, "epochs": None})
    assert (options.epochs, options.batch_size, options.l2, options.learn_rate) == (4, 30, 0.5, 0.1)
    assert recipe.resolve({"optimizer": "adam"}).learn_rate == 0.2
    assert recipe.resolve({"optimizer": "adam", "learn_rate": 0.7}).learn_rate == 0.7


def test_an_option_the_rules_do_not_look_at_is_refused() -> None:
    with pytest.raises(ConfigError, match="drop_period has no effect under the one_cycle schedule"):
        load_recipe("quick").resolve({"drop_period": 2})
    with pytest.raises(ConfigError, match="drop_rate_factor has no effect"):
        load_recipe("quick").resolve({"drop_rate_factor": 0.5})


def test_an_optimizer_whose_rate_a_recipe_does_not_name_takes_r2018bs() -> None:
    recipe = Recipe(name="r", learn_rate={"sgdm": 0.05})
    assert recipe.resolve({}).learn_rate == 0.05
    assert recipe.resolve({"optimizer": "adam"}).learn_rate == 0.001


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learn_rate": -1}, "learn_rate is -1: input should be greater than 0"),
        ({"learn_rate": 0}, "learn_rate is 0: input should be greater than 0"),
        ({"patience": 0}, "patience is 0: input should be greater than or equal to 1"),
        ({"lerning_rate": 1}, "the key 'lerning_rate' is not known; allowed are optimizer, learn_rate"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd': input should be 'sgdm', 'adam' or 'muon'"),
        ({"scale_range": (1.2, 0.8)}, "scale_range is 1.2 to 0.8; allowed is"),
    ],
)
def test_wrong_options_name_key_value_and_what_is_allowed(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked(Options, wrong, "my.toml")
    assert str(raised.value).startswith("my.toml: ")
    assert message in str(raised.value)


def study_file(folder: Path, row: str, head: str = "") -> Path:
    path = folder / "mine.toml"
    path.write_text(f'title = "Mine"\n{head}\n[[row]]\nname = "a"\nnetwork = "network_84_8153"\n{row}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("learn_rate = -0.1", "row a: learn_rate is -0.1"),
        ("patience = 0", "row a: patience is 0"),
        ("seed = 3", "row a: a row has no seed of its own"),
        ("colour = 3", "row a: the key 'colour' is not known; allowed are name, network"),
        ('recipe = "quick"\ndrop_period = 3', "row a: drop_period has no effect"),
        ('[[row]]\nname = "a"\nnetwork = "googlenet"', "the row name a is given more than once"),
        ("learn_rate = ", "cannot be read as TOML"),
    ],
)
def test_a_study_file_with_a_fault_is_refused_before_anything_is_trained(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml") as raised:
        load_study(str(study_file(tmp_path, row)))
    assert message in str(raised.value)


def test_the_built_in_study_is_the_reports() -> None:
    study = load_study("study")
    assert len(study.rows) == 16
    assert study.recipe == "r2018b"
    best = next(row for row in study.rows if row.name == "network_84_8153")
    assert best.options == {
        "optimizer": "sgdm",
        "learn_rate": 0.001,
        "patience": 4,
        "drop_period": 4,
        "drop_rate_factor": 0.65,
        "augment": True,
    }
    assert (best.reported_accuracy, best.reported_correct) == (0.8482, 3329)
    reported = [(row.reported_accuracy, row.reported_correct) for row in study.rows if row.reported_correct]
    # The report cuts after the fourth decimal here and there, so half a unit more than rounding is allowed.
    assert all(accuracy is not None and abs(correct / 3925 - accuracy) < 1e-4 for accuracy, correct in reported)
    assert study.rows[-1].method == "transfer"


def test_names_that_are_not_there_list_those_that_are() -> None:
    with pytest.raises(NotFoundError, match=r"no recipe 'modren'; take one of .*modern"):
        load_recipe("modren")
    with pytest.raises(NotFoundError, match=r"nothing\.toml is not there"):
        load_study("nothing.toml")


@pytest.mark.parametrize("name", ["study", "quick"])
def test_a_study_is_the_same_after_writing_and_reading_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "again.toml"
    path.write_text(tomli_w.dumps(load_study(name).model_dump(exclude_none=True, by_alias=True)), encoding="utf-8")
    assert load_study(str(path)) == load_study(name)


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Preprocessing(height_px=1, width_px=1).width_px = 3  # type: ignore[misc]


def test_a_study_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="row"):
        checked(Study, {"name": "x", "title": "x", "row": []}, "x.toml")
