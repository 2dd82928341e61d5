"""What must hold of any input: of tables, recipes, studies, records, statistics and schedules, drawn by hypothesis."""

import json
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tench.comparison.statistics import holm, mcnemar_exact, paired_interval, wilson
from tench.config import Options, Recipe, Rules, Study, StudyRow, checked, load_recipe, load_study
from tench.errors import ConfigError, TenchError, UsageError
from tench.networks.table import parse, write
from tench.records import (
    ClassFacts,
    DataFacts,
    MachineFacts,
    NetworkFacts,
    RunRecord,
    append_line,
    create_run,
    load_run,
    run_id,
    run_identity,
    write_json_atomically,
)
from tench.records.files import read_lines
from tench.training.schedule import learn_rate

ON_FILES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- tables ----------------------------------------------------------------------------------------------------------

ROWS = ["ImageInput, 16x16", "Conv, 3x3, 8", "Conv, 3x3", "MaxPool, 2x2", "AvgPool, 5", "FullyConnected, 3", "Dropout, 0.2", "SoftMax"]
ROWS += ["ClassOutput, 3", "Residual:", "  Conv, 3x3, 8, norm=none", "Concat:", "  Branch:", "    ReLU", "Inception, 1, 2, 3, 4, 5, 6"]
ROWS += [
    "Scale, 0.1",
    "GlobalAvgPool",
    "[name, origin=own]",
    "# words",
    "Cnov, 3x3, 8",
    "Conv, 0x0, 8",
    "Conv, 3x3, 1e9",
    "LocalResponseNorm, 5",
]
lines = st.sampled_from(ROWS) | st.text(st.sampled_from(string.ascii_letters + string.digits + " ,=x:.[]#-+\t\r\u2028é"), max_size=30)


@settings(max_examples=400, deadline=None)
@given(st.lists(lines, max_size=12))
def test_any_text_is_a_table_that_is_written_back_or_refused_with_its_place(rows: list[str]) -> None:
    try:
        table = parse("\n".join(rows), "my.net")
    except UsageError as error:
        assert str(error).startswith("my.net")
    else:
        assert parse(write(table), "my.net") == table


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_characters_are_refused_or_read_as_a_table(text: str) -> None:
    try:
        table = parse(text, "my.net")
    except UsageError:
        return
    assert parse(write(table), "my.net") == table


# --- recipes and studies ---------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def any_values(infinite: bool) -> st.SearchStrategy[Any]:
    numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=infinite)
    plain = st.none() | st.booleans() | numbers | texts
    return st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5)


values, finite_values = any_values(infinite=True), any_values(infinite=False)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "optimizer": st.sampled_from(["sgdm", "adam"]),
    "learn_rate": st.floats(1e-12, 100),
    "momentum": st.floats(0, 1, exclude_max=True),
    "l2": st.floats(0, 1),
    "patience": st.integers(1, 10**6),
    "epochs": st.integers(1, 10**6),
    "batch_size": st.integers(1, 10**6),
    "augment": st.booleans(),
    "share": st.floats(0, 1, exclude_min=True),
}
BAD: dict[str, st.SearchStrategy[Any]] = {
    "optimizer": texts.filter(lambda text: text not in ("sgdm", "adam", "muon")),
    "learn_rate": st.floats(max_value=0, allow_nan=False) | st.floats(100, exclude_min=True, allow_nan=False) | texts,
    "momentum": st.floats(1, allow_nan=False) | st.floats(max_value=0, exclude_max=True, allow_nan=False),
    "patience": st.integers(max_value=0),
    "epochs": st.integers(max_value=0) | st.floats(0.1, 0.9),
    "batch_size": st.integers(max_value=0),
    "share": st.floats(max_value=0, allow_nan=False) | st.floats(1, exclude_min=True, allow_nan=False),
    "drop_period": st.integers(max_value=0),
    "drop_rate_factor": st.floats(max_value=0, allow_nan=False),
}
good_options = st.fixed_dictionaries({}, optional=GOOD)


def numeric(text: object) -> bool:
    """Whether a lenient reader takes a text for a number."""
    try:
        float(str(text).replace("_", ""))
    except ValueError:
        return False
    return True


@ON_FILES
@given(texts, good_options, st.dictionaries(st.sampled_from(["sgdm", "adam"]), st.floats(1e-9, 100)), st.floats(0, 0.9))
def test_a_recipe_is_the_same_after_writing_and_reading_it(
    tmp_path: Path, description: str, options: dict[str, Any], rates: dict[Any, float], smoothing: float
) -> None:
    recipe = Recipe(name="mine", description=description, rules=Rules(label_smoothing=smoothing), options=options, learn_rate=rates)
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(recipe.model_dump(exclude_none=True)), encoding="utf-8", newline="")
    assert load_recipe(str(path)) == recipe


@ON_FILES
@given(
    st.lists(
        st.tuples(texts, good_options, st.dictionaries(texts, texts, max_size=2), texts),
        min_size=1,
        max_size=3,
        unique_by=lambda row: row[0],
    ),
    texts,
    good_options,
)
def test_a_study_is_the_same_after_writing_and_reading_it(
    tmp_path: Path, rows: list[tuple[str, dict[str, Any], dict[str, str], str]], title: str, options: dict[str, Any]
) -> None:
    made = [StudyRow(name=name, network="n", options=own, replace=replace, note=note) for name, own, replace, note in rows]
    study = Study(name="mine", title=title, options=options, row=tuple(made))  # type: ignore[call-arg]
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(study.model_dump(exclude_none=True, by_alias=True)), encoding="utf-8", newline="")
    assert load_study(str(path)) == study


@pytest.mark.parametrize("key", BAD)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(key: str, data: st.DataObject) -> None:
    value = data.draw(BAD[key].filter(lambda value: not (isinstance(value, str) and numeric(value))))
    with pytest.raises(ConfigError) as error:
        checked(Options, {key: value}, "my.toml")
    assert f"my.toml: {key} is {value!r}: input should be " in str(error.value)


@settings(max_examples=60, deadline=None)
@given(texts.filter(lambda text: text not in Options.model_fields), values)
def test_an_unknown_key_is_refused_with_those_there_are(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        checked(Options, {key: value}, "my.toml")
    assert f"the key '{key}' is not known; allowed are optimizer, learn_rate" in str(error.value)


KEYS = st.sampled_from(["name", "title", "recipe", "row", "options", "size_px", "conclusion", "description"]) | texts
ROW_KEYS = st.sampled_from(["name", "network", "method", "options", "recipe", "replace", "learn_rate", "patience", "seed"]) | texts
without_none = values.filter(lambda value: "null" not in json.dumps(value))
rows_of_any_kind = st.lists(st.dictionaries(ROW_KEYS, without_none, max_size=4), max_size=3)


@settings(ON_FILES, max_examples=200)
@given(st.dictionaries(KEYS, without_none | rows_of_any_kind, max_size=4), rows_of_any_kind)
def test_a_study_of_any_shape_is_read_or_refused(tmp_path: Path, content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({"row": rows} | content), encoding="utf-8", newline="")
    for load in (load_study, load_recipe):
        try:
            load(str(path))
        except TenchError as error:
            assert str(error)


@settings(ON_FILES, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TenchError, match=r"mine\.toml"):
        load_study(str(path))


def test_what_is_no_file_or_too_deep_is_refused_as_a_study(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    for name in ("folder.toml", "deep.toml", "n" * 300 + ".toml", "nul\0.toml"):
        with pytest.raises(TenchError):
            load_study(str(tmp_path / name))


# --- records ---------------------------------------------------------------------------------------------------------


@ON_FILES
@given(texts, texts, st.dictionaries(texts, finite_values, max_size=3), st.lists(texts, max_size=3), st.integers(0, 2**63))
def test_a_record_is_the_same_after_writing_and_reading_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, note: str, options: dict[str, Any], classes: list[str], seed: int
) -> None:
    identity = run_identity({"name": name, "seed": seed})
    record = RunRecord(
        run_id=run_id(name, 16, "modern", seed, identity),
        identity=identity,
        kind="train",
        created="2026-01-01T00:00:00+00:00",
        network=NetworkFacts(name=name, origin="own", kind="table", text=note, parameters=1, macs=2, counted="table", input_px=16),
        data=DataFacts(
            name=name,
            kind="folder",
            sha256="0" * 64,
            is_demo=False,
            classes=tuple(ClassFacts(id=one, english=one, polish=one) for one in classes),
            skipped={note: name},
        ),
        recipe="modern",
        rules={},
        options=json.loads(json.dumps(options)),
        engine={},
        preprocessing={},
        machine=MachineFacts(system=name, processor=note, cores=1, memory_mib=1),
        versions={},
        code_sha256="0" * 64,
        seed=seed,
        notes=(note,),
    )
    runs = tmp_path_factory.mktemp("runs")
    run = create_run(runs, record, {"data": "somewhere"})
    assert load_run(record.run_id, runs).record == record
    assert set(record.run_id) <= set(string.ascii_letters + string.digits + "_.-")
    run.append_history({"epoch": 1, "loss": math.nan, "words": note})
    assert run.history() == [{"epoch": 1, "loss": None, "words": note}]


@ON_FILES
@given(st.lists(st.dictionaries(texts, finite_values, max_size=3), max_size=5), st.binary(max_size=20).filter(lambda end: b"\n" not in end))
def test_lines_survive_whatever_a_killed_process_left_behind_them(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]], unfinished: bytes
) -> None:
    path = tmp_path_factory.mktemp("lines") / "history.jsonl"
    for entry in entries:
        append_line(path, entry)
    with path.open("ab") as file:
        file.write(unfinished)
    assert read_lines(path) == [json.loads(json.dumps(entry)) for entry in entries]
    append_line(path, {"last": 1})
    assert read_lines(path)[-1] == {"last": 1}
    assert len(read_lines(path)) == len(entries) + 1


@ON_FILES
@given(finite_values)
def test_json_is_written_whole(tmp_path: Path, value: Any) -> None:
    write_json_atomically(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_bytes()) == value
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


# --- statistics ------------------------------------------------------------------------------------------------------

counts = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.floats(0.5, 0.999))
def test_wilsons_interval_lies_within_0_and_1_holds_the_share_and_is_symmetric(count: tuple[int, int], confidence: float) -> None:
    correct, n = count
    low, high = wilson(correct, n, confidence)
    assert 0 <= low <= correct / n <= high <= 1
    assert (1 - high, 1 - low) == pytest.approx(wilson(n - correct, n, confidence), abs=1e-9)
    wider = wilson(correct, n, (1 + confidence) / 2)
    assert wider[0] <= low + 1e-12 and wider[1] >= high - 1e-12


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)
    assert holm(p_values[:1]) == p_values[:1]
    assert max(corrected, default=0) <= min(1, len(p_values) * max(p_values, default=0))


pairs = st.integers(1, 3000).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda a: st.tuples(st.just(a), st.integers(0, n - a), st.just(n)))
)


@settings(deadline=None)
@given(pairs)
def test_the_paired_interval_turns_round_with_the_pair_and_holds_the_difference(pair: tuple[int, int, int]) -> None:
    only_a, only_b, n = pair
    low, high = paired_interval(only_a, only_b, n)
    assert -1 <= low <= (only_a - only_b) / n + 1e-9
    assert (only_a - only_b) / n - 1e-9 <= high <= 1
    assert paired_interval(only_b, only_a, n) == pytest.approx((-high, -low), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_does_not_ask_which_is_the_first(answers: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(column) for column in zip(*answers, strict=True))
    found, turned = mcnemar_exact(a, b), mcnemar_exact(b, a)
    assert found.p == turned.p
    assert (found.only_a, found.only_b) == (turned.only_b, turned.only_a)
    assert 0 < found.p <= 1


# --- the rate --------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["piecewise", "one_cycle", "cosine"]),
    st.floats(1e-12, 100),
    st.integers(1, 40),
    st.integers(1, 20),
    st.none() | st.integers(1, 5),
    st.floats(0, 1, exclude_min=True),
)
def test_the_rate_is_never_negative_nor_above_what_was_asked_and_goes_one_way_in_each_piece(
    schedule: Any, rate: float, epochs: int, steps: int, period: int | None, factor: float
) -> None:
    options = Options(learn_rate=rate, epochs=epochs, drop_period=period, drop_rate_factor=factor)
    rates = [learn_rate(Rules(schedule=schedule), options, step, steps) for step in range(epochs * steps)]
    assert all(0 <= one <= rate * (1 + 1e-12) for one in rates)
    top = rates.index(max(rates)) if schedule == "one_cycle" else 0
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if schedule == "piecewise":
        changes = [step for step in range(1, len(rates)) if rates[step] != rates[step - 1]]
        assert all(period is not None and step % (period * steps) == 0 for step in changes)
