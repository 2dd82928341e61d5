"""The benchmarks start, say what they measure, refuse a busy machine and make their pages; what they measure is no matter of tests."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tench.records import DataFacts, MachineFacts, NetworkFacts, Result, RunRecord, write_json_atomically

BENCH = Path(__file__).parents[1] / "bench"
SCRIPTS = sorted(path for path in BENCH.glob("*.py") if path.name != "harness.py")
TASK = ["photographs", "googlenet", "64", "8", "2"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports one of the benchmarks, or of their arms, by its name; nothing of them stays imported."""
    names = [path.stem for path in BENCH.rglob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    monkeypatch.syspath_prepend(BENCH / "arms")
    monkeypatch.syspath_prepend(BENCH)
    yield import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)


@pytest.fixture
def harness(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("harness")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_says_what_it_does(script: Path) -> None:
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    of_records = {
        "few": "draws of the pictures",
        "frontier": "with records of runs",
        "mirrored": "its mirror image averaged",
        "screenshots": "of demo pictures alone",
        "soak": "many killed at random and resumed",
    }
    expected = of_records.get(script.stem, "how often each arm is run, in turn")
    assert expected in done.stdout


# --- the harness -----------------------------------------------------------------------------------------------------


def test_a_busy_machine_is_refused(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "used_by_others", lambda seconds: 0.6)
    with pytest.raises(SystemExit, match="Other work uses 60% of this machine"):
        harness.refuse_if_busy(False)
    assert harness.refuse_if_busy(True) == 0.6


def test_arms_are_run_in_turn_each_with_its_own_threads(harness: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    note = "import os, sys; open(sys.argv[1], 'a').write(sys.argv[2] + str('OMP_NUM_THREADS' in os.environ))"
    code = note + "; print('chatter'); print('{\"rate\": %s}'); print('more')"
    notes = tmp_path / "order"
    arms = {name: [sys.executable, "-c", code % rate, str(notes), name] for name, rate in (("A", 6.0), ("B", 2.0))}
    found = harness.alternate(arms, 2)
    assert notes.read_text() == "AFalseBFalse" * 2
    assert [[line["rate"] for line in lines] for lines in found.values()] == [[6, 6], [2, 2]]
    assert all(line["process_s"] > 0 for lines in found.values() for line in lines)


def test_an_arm_that_fails_is_named(harness: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"(?s)broken failed:.*no such thing"):
        harness.alternate({"broken": [sys.executable, "-c", "raise ValueError('no such thing')"]}, 1)


@pytest.mark.parametrize(
    ("key", "beside"), [("pictures_per_s", "3.00 x as fast"), ("start_s", "0.33 x as fast"), ("peak_mib", "3.00 x as much")]
)
def test_a_table_has_median_spread_and_paired_ratio(harness: ModuleType, key: str, beside: str) -> None:
    found = {"A": [{key: 6.0}, {key: 12.0}, {key: 3.0}], "B": [{key: 2.0}, {key: 3.0}, {key: 1.0}]}
    lines = harness.table(found, key, "unit").splitlines()
    assert lines[2:] == ["| A | 6 | 3 to 12 |  |", f"| B | 2 | 1 to 3 | {beside} |"]


# --- training --------------------------------------------------------------------------------------------------------


def test_every_arm_of_training_understands_its_command(bench: Callable[[str], ModuleType]) -> None:
    ways = bench("training").arms(bfloat16=True, keras="other/python")
    understood = {}
    for name, way in ways.items():
        script = Path(way.command[1])
        assert script.exists()
        if script.stem != "train_keras":  # it runs where Keras is
            understood[name] = bench(script.stem).parser().parse_args([*TASK, *way.flags])
    assert ways["Keras on TensorFlow"].command[0] == "other/python"
    assert {(options.size, options.batch, options.epochs) for options in understood.values()} == {(64, 8, 2)}
    assert understood["tench"].precision is None
    assert understood["tench, float32"].precision == "float32"
    assert not understood["tench, float32"].untuned
    assert understood["tench, float32, without memory settings"].untuned
    plain = {name: (options.channels_last, options.bfloat16, options.timm) for name, options in understood.items() if "tench" not in name}
    assert plain == {
        "plain torch": (False, False, False),
        "plain torch, channels_last": (True, False, False),
        "plain torch, channels_last, bfloat16 autocast": (True, True, False),
        "timm's loop": (False, False, True),
    }


def test_without_units_for_bfloat16_everything_is_measured_in_float32(bench: Callable[[str], ModuleType]) -> None:
    ways = bench("training").arms(bfloat16=False, keras=None)
    assert {way.precision for way in ways.values()} == {"float32"}
    assert list(ways) == [
        "tench",
        "tench, float32, without memory settings",
        "plain torch",
        "plain torch, channels_last",
        "timm's loop",
    ]


def test_both_networks_are_measured_at_sizes_that_their_tables_accept(bench: Callable[[str], ModuleType]) -> None:
    from tench.data.order import drawn
    from tench.networks.table import builtin_table

    options = bench("training").options_of(["--data", "photographs"])
    networks = options.network.split(",")
    assert [builtin_table(name).name for name in networks] == ["network_84_8153", "googlenet"]
    assert [size for size, _, _ in options.sizes] == [64, 128, 224]
    for size, batch, n in options.sizes:
        assert [builtin_table(name).resized(size).input_px for name in networks] == [(size, size)] * 2
        of_a_class = [[f"{label}, {number}" for number in range(label, n, 10)] for label in range(10)]
        select = sum(int(drawn(names, 0.1, 0, "select", leave=1).sum()) for names in of_a_class)
        assert (n - select) // batch == n // batch, "tench holds a tenth out to select by, and would have fewer steps an epoch"


@pytest.mark.parametrize(("words", "message"), [([], "--data"), (["--data", "x", "--epochs", "1"], "2 or more")])
def test_what_training_cannot_measure_is_refused(
    bench: Callable[[str], ModuleType], words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENCH_DATA", raising=False)
    with pytest.raises(SystemExit):
        bench("training").options_of(words)
    assert message in capsys.readouterr().err


def test_operations_are_compared_with_a_product_in_the_same_precision(bench: Callable[[str], ModuleType]) -> None:
    training = bench("training")

    def line(rate: float, **more: object) -> dict[str, object]:
        return {"photographs_per_s": rate, "all_epochs_photographs_per_s": rate / 2, "process_s": 9.0} | more

    ways = {name: way for name, way in training.arms(True, None).items() if name in ("tench", "tench, float32", "plain torch")}
    found = {
        training.PRODUCT: [{"float32": 200.0, "bfloat16": 1000.0, "process_s": 1.0}],
        "tench": [line(50.0, engine="bfloat16, channels_last", trial_s=7.0, waiting_share=0.002)],
        "tench, float32": [line(20.0, engine="float32, channels_first", trial_s=0.0, waiting_share=0.001)],
        "plain torch": [line(10.0, waiting_share=0.25, first_wait_share=0.125)],
    }
    assert training.rates(found, ways, macs=10**9).splitlines()[2:] == [
        "| tench | 50 | 50 to 50 | 25 | 9 | 300 | 30% of bfloat16 |  | 0.40 x as fast |",
        "| tench, float32 | 20 | 20 to 20 | 10 | 9 | 120 | 60% of float32 | 2.50 x as fast |  |",
        "| plain torch | 10 | 10 to 10 | 5 | 9 | 60 | 30% of float32 | 5.00 x as fast | 2.00 x as fast |",
    ]
    text = training.words(found)
    assert "Engines: tench: bfloat16, channels_last; tench, float32: float32, channels_first." in text
    assert "took 7 s more" in text
    assert "plain torch 25.0%" in text
    assert "at most 12.5%" in text
    assert "200 in float32, 1000 in bfloat16" in text


def test_arms_report_the_fastest_later_epoch_and_all_together(
    bench: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    bench("task").report([10.0, 2.0, 4.0], 8, engine="fast")
    assert json.loads(capsys.readouterr().out) == {"photographs_per_s": 4.0, "all_epochs_photographs_per_s": 1.5, "engine": "fast"}


# --- inference -------------------------------------------------------------------------------------------------------


def test_answers_are_compared_with_those_of_torch(bench: Callable[[str], ModuleType]) -> None:
    inference = bench("inference")
    found = {"tench": [{"answers": [0.5, 0.75]}], inference.REFERENCE: [{"answers": [0.5, 0.5]}]}
    assert inference.differences(found) == "Largest difference from torch eager in the highest probability of 2 photographs: tench 2e-01."


# --- the frontier ----------------------------------------------------------------------------------------------------


def record(seed: int = 0, top1: float = 0.8, pflop: float | None = 0.1, recipe: str = "sprint", **changes: Any) -> RunRecord:
    """A finished run of `recipe`; `changes` are of the record, or of its options."""
    options = {"seed": seed, "epochs": 16, "share": 1.0, "test_share": 1.0}
    values: dict[str, Any] = {
        "run_id": f"{recipe}-{seed}-{sorted(changes)}",
        "identity": "0" * 64,
        "status": "finished",
        "kind": "train",
        "created": "2026-11-25T10:00:00+00:00",
        "network": NetworkFacts(
            name="sprint", origin="tench", kind="table", text="ImageInput, 64x64", parameters=7, macs=9, counted="table", input_px=64
        ),
        "data": DataFacts(name="Imagenette", kind="imagenette", sha256="d" * 64, is_demo=False, classes=(), n_test=3925),
        "recipe": recipe,
        "rules": {"nesterov": True},
        "options": options | {key: value for key, value in changes.items() if key in options},
        "engine": {"precision": "bfloat16"},
        "preprocessing": {},
        "machine": MachineFacts(system="Linux", processor="CPU", cores=2),
        "versions": {"torch": "2.14.1"},
        "code_sha256": "c" * 64,
        "seed": seed,
        "result": Result(
            correct=1, n=3925, top1=top1, top1_low=0, top1_high=1, training_flop=pflop and pflop * 1e15, solver_flop=1e13, wall_s=90.0
        ),
    }
    return RunRecord(**(values | {key: value for key, value in changes.items() if key not in options}))


def test_runs_that_differ_in_their_seeds_only_are_one_point(bench: Callable[[str], ModuleType]) -> None:
    frontier = bench("frontier")
    runs = [record(0, 0.80), record(1, 0.82), record(0, 0.85, 0.2, epochs=32), record(0, 0.7, recipe="modern")]
    found = frontier.points(runs)
    assert {point.label: point.top1 for point in found} == {
        "sprint, epochs 16": (80.0, 82.0),
        "sprint, epochs 32": (85.0,),
        "sprint, modern": (70.0,),
    }
    first = found[0]
    assert (first.mean, first.pflop, first.solver_pflop, first.minutes, first.precision) == (81.0, 0.1, 0.01, 1.5, "bfloat16")


def test_the_frontier_is_what_nothing_of_its_cost_reaches(bench: Callable[[str], ModuleType]) -> None:
    frontier = bench("frontier")
    costs = {"b": (0.2, 85.0), "a": (0.1, 80.0), "same cost as a": (0.1, 79.0), "dearer and worse": (0.3, 84.0), "c": (0.4, 86.0)}
    found = [frontier.Point(label, "float32", pflop, 0, 1 / pflop, (top1,)) for label, (pflop, top1) in costs.items()]
    assert [point.label for point in frontier.frontier(found, frontier.by_operations)] == ["a", "b", "c"]
    assert [point.label for point in frontier.frontier(found, frontier.by_minutes)] == ["c"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"kind": "transfer"}, "not trained from scratch"),
        ({"status": "interrupted"}, "not finished"),
        ({"result": None}, "not finished"),
        ({"test_share": 0.25}, "on a part of the photographs"),
        ({"share": 0.5}, "on a part of the photographs"),
        ({"pflop": None}, "operations or time not recorded"),
        ({"data": DataFacts(name="demo", kind="demo", sha256="e" * 64, is_demo=True, classes=())}, "trained on demo pictures"),
    ],
)
def test_only_whole_trainings_on_all_photographs_count(bench: Callable[[str], ModuleType], changes: dict[str, Any], reason: str) -> None:
    assert bench("frontier").why_not(record(**changes)) == reason


def test_runs_scored_on_different_photographs_are_refused(bench: Callable[[str], ModuleType]) -> None:
    other = DataFacts(name="Imagenette", kind="imagenette", sha256="e" * 64, is_demo=False, classes=(), n_test=3925)
    with pytest.raises(SystemExit, match="different photographs"):
        bench("frontier").points([record(), record(1, data=other)])


def test_the_page_of_the_frontier_has_recipes_and_anchors(bench: Callable[[str], ModuleType], tmp_path: Path) -> None:
    frontier = bench("frontier")
    for folder, run in (("a", record(0, 0.80)), ("b", record(1, 0.82)), ("again", record(0, 0.80))):
        (tmp_path / folder).mkdir()
        write_json_atomically(tmp_path / folder / "record.json", run.model_dump())
    used = frontier.records_below([tmp_path])
    text = frontier.page(frontier.points(used), used, ["not finished", "not finished"])
    assert "| **sprint** | 2 | bfloat16 | 0.1 | 0.01 | 1.5 | 81.00 | 1.41 | 80.00 to 82.00 |" in text
    assert "| not known | 84.82 | the study's report" in text
    assert "Runs left out: 2 not finished." in text
    assert all(0 < anchor.top1 < 100 and (anchor.pflop is None or anchor.pflop > 0) for anchor in frontier.ANCHORS)


def test_the_figure_is_drawn(bench: Callable[[str], ModuleType], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs matplotlib, which tench does not")
    frontier = bench("frontier")
    frontier.draw(frontier.points([record(0, 0.80), record(1, 0.82), record(0, 0.85, 0.2, epochs=32)]), tmp_path)
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    drawing = (tmp_path / "frontier.svg").read_text(encoding="utf-8")
    for label in ("sprint, epochs 16", "sprint, epochs 32", "ReXNet 1.0x", "the study's best, 84.82 % (cost not known)"):
        assert drawing.count(f"<!-- {label} -->") == 2 - (label == "ReXNet 1.0x"), label
