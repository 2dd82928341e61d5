"""The benchmarks start, say what they measure, and refuse a busy machine; what they measure is no matter of tests."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench"
SCRIPTS = sorted(path for path in BENCH.glob("*.py") if path.name != "harness.py")


@pytest.fixture
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", BENCH / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_says_what_it_does(script: Path) -> None:
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    assert "how often each arm is run, in turn" in done.stdout


def test_a_busy_machine_is_refused(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "busy_share", lambda: 0.6)
    with pytest.raises(SystemExit, match="Other work uses 60% of this machine"):
        harness.refuse_if_busy(False)
    assert harness.refuse_if_busy(True) == 0.6


def test_arms_are_run_in_turn_and_the_table_has_medians_spread_and_paired_gain(harness: ModuleType, tmp_path: Path) -> None:
    note = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    code = note + "; print('chatter'); print('{\"rate\": %s}')"
    notes = tmp_path / "order"
    arms = {name: [sys.executable, "-c", code % rate, str(notes), name] for name, rate in (("A", 6.0), ("B", 2.0))}
    found = harness.alternate(arms, 3)
    assert notes.read_text() == "ABABAB"
    assert harness.table(found, "rate", "pictures/s").splitlines()[2:] == ["| A | 6 | 6 to 6 |  |", "| B | 2 | 2 to 2 | 3.00 x faster |"]
    assert "| 0.33 x smaller |" in harness.table(found, "rate", "MiB", higher_is_better=False)
