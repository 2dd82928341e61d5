"""Coverage-guided fuzzing of what reads files of others: 20 seconds each; for hours by hand (tests/fuzz/fuzzing.py)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "fuzz"
SECONDS = 20


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="ATHERIS IS MISSING, so nothing is fuzzed: pip install 'tench[fuzz]'"
)
@pytest.mark.parametrize("what", ["table", "toml", "bundle"])
def test_fuzzed(what: str, tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / f"fuzz_{what}.py", f"-max_total_time={SECONDS}", "-seed=1"]
    environment = os.environ | {"TENCH_CACHE": str(tmp_path), "TENCH_NO_TUNING": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False)
    said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-6000:]
    assert "Done " in said
    runs = int(said.rsplit("Done ", 1)[1].split()[0])
    assert runs > 50
