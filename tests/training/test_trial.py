"""The engine's trial: what is faster is taken and remembered, what gains nothing is not tried."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from tench.config import Engine, cache_folder, load_recipe
from tench.data.sources import open_source
from tench.networks.reference import network
from tench.training import trial
from tench.training.plan import Plan
from tench.training.trial import Stepper, proposed, remembered

LONG = 10**9
SHORT = 3


@pytest.fixture
def plan(tiny_net: Any, tiny_folder: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    recipe = load_recipe("modern")
    return Plan(network(tiny_net), open_source(tiny_folder), recipe, recipe.resolve({"batch_size": 8, "epochs": 2}), Engine(threads=1))


class Timed:
    """A stepper whose step takes as long as `seconds` says of its engine; one that fails, where that is None."""

    seconds: dict[tuple[str, bool], float | None] = {}  # noqa: RUF012 (set by each test)
    threads_factor = 1.0
    made = 0

    def __init__(self, plan: Plan, engine: Engine) -> None:
        type(self).made += 1
        self.engine, self.batch = engine, 8

    def step_s(self) -> float:
        found = self.seconds[self.engine.layout, self.engine.compiled]
        if found and self.engine.threads > 1:
            found *= self.threads_factor
        if found is None:
            raise RuntimeError("no compiler\nand a long story")
        return found


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> type[Timed]:
    monkeypatch.setattr(trial, "Stepper", Timed)
    monkeypatch.setattr(trial, "_can_compile", lambda engine: True)
    Timed.made = 0
    Timed.seconds = {
        ("channels_last", False): 1.0,
        ("channels_first", False): 0.9,
        ("channels_last", True): 0.7,
        ("channels_first", True): 0.8,
    }
    return Timed


def test_the_fastest_is_taken_said_and_remembered(plan: Plan, timed: type[Timed]) -> None:
    said: list[str] = []
    engine = proposed(plan, ("layout", "compiled"), LONG, said.append)
    assert (engine.layout, engine.compiled) == ("channels_last", True)
    assert said[0] == "Engine: trying which way of computing is the fastest here"
    assert "channels_last, compiled 11.4 pictures/s" in said[-1]
    made = timed.made
    assert proposed(plan, ("layout", "compiled"), LONG) == engine
    assert timed.made == made, "a remembered trial is not made again"
    (entry,) = remembered().values()
    assert entry.step_s["channels_first"] == 0.9
    assert "at 16 px, batches of 8, sgdm" in entry.what


def test_of_two_runs_at_once_one_tries_and_the_other_takes_the_same(
    plan: Plan, timed: type[Timed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either would choose for itself by its own times, which differ while both try."""
    own_step = Timed.step_s

    def slow_and_fickle(stepper: Timed) -> float:
        time.sleep(0.02)
        Timed.seconds["channels_first", True] = 0.5 if Timed.made > 4 else 0.8
        return own_step(stepper)

    monkeypatch.setattr(Timed, "step_s", slow_and_fickle)
    said: list[list[str]] = [[], []]
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(proposed, plan, ["layout", "compiled"], LONG, said[i].append) for i in range(2))
        assert first.result() == second.result()
    assert timed.made == 4
    assert sorted(len(lines) for lines in said) in ([0, 2], [1, 2]), "one tries and says what it took; the other may have to wait"
    if waited := min(said, key=len):
        assert waited == ["Engine: waiting for another run, which tries ways of computing just now"]


@pytest.mark.parametrize(("factor", "threads"), [(0.9, 2), (1.1, 1), (0.98, 1)])
def test_threads_that_share_a_core_are_used_where_they_help(
    plan: Plan, timed: type[Timed], monkeypatch: pytest.MonkeyPatch, factor: float, threads: int
) -> None:
    monkeypatch.setattr(trial, "core_count", lambda: 1)
    monkeypatch.setattr(trial, "cpu_count", lambda: 2)
    monkeypatch.setattr(timed, "threads_factor", factor)
    engine = proposed(plan, ("layout", "compiled", "threads"), LONG)
    assert (engine.layout, engine.compiled, engine.threads) == ("channels_last", True, threads)
    assert proposed(plan, ("layout", "compiled", "threads"), LONG) == engine
    made = timed.made
    assert proposed(plan, ("layout", "compiled"), LONG).threads == 1, "threads the user fixed stay"
    assert timed.made == made + 4


def test_what_the_user_fixed_is_not_tried(plan: Plan, timed: type[Timed]) -> None:
    assert proposed(plan, ("layout",), LONG).layout == "channels_first"
    assert timed.made == 2
    assert proposed(plan, (), LONG) == plan.engine
    assert timed.made == 2


def test_a_short_run_is_not_held_up(plan: Plan, timed: type[Timed]) -> None:
    assert proposed(plan, ("layout", "compiled"), SHORT) == plan.engine
    assert timed.made == 0
    assert remembered() == {}
    long = proposed(plan, ("layout", "compiled"), LONG)
    assert proposed(plan, ("layout", "compiled"), SHORT) == long != plan.engine, "what is known costs nothing"


def test_compiling_is_tried_only_where_the_run_can_earn_it_back(plan: Plan, timed: type[Timed]) -> None:
    assert not proposed(plan, ("layout", "compiled"), 1000).compiled  # 1,000 s
    assert timed.made == 2


def test_a_difference_within_the_noise_changes_nothing(plan: Plan, timed: type[Timed]) -> None:
    timed.seconds["channels_first", False] = 0.98
    assert proposed(plan, ("layout",), LONG).layout == "channels_last"


def test_an_engine_that_fails_is_left_out_and_said(plan: Plan, timed: type[Timed]) -> None:
    timed.seconds["channels_last", True] = timed.seconds["channels_first", True] = None
    said: list[str] = []
    assert not proposed(plan, ("layout", "compiled"), LONG, said.append).compiled
    assert "Engine: channels_last, compiled cannot be used here: no compiler" in said


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"k": {"what": 1}}'])
def test_a_damaged_memory_is_made_anew(plan: Plan, timed: type[Timed], content: bytes) -> None:
    cache_folder().mkdir(parents=True, exist_ok=True)
    (cache_folder() / "engines.json").write_bytes(content)
    assert proposed(plan, ("layout",), LONG).layout == "channels_first"
    assert len(json.loads((cache_folder() / "engines.json").read_bytes())) == 1


def test_a_real_trial_leaves_random_numbers_alone(plan: Plan) -> None:
    before = torch.random.get_rng_state()
    assert proposed(plan, ("layout",), LONG).layout in ("channels_last", "channels_first")
    assert len(remembered()) == 1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_a_compiled_step_is_a_step(plan: Plan) -> None:
    torch.compiler.reset()  # another test of this process may have compiled the same network
    stepper = Stepper(plan, Engine(threads=1, compiled=True))
    assert stepper.step_s() > stepper.step_s() > 0, "the first one compiles"
