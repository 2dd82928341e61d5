"""The soak (`make soak`), for seconds instead of minutes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "bench" / "soak.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_short_soak() -> None:
    done = subprocess.run([sys.executable, SOAK, "--minutes", "0.2", "--seed", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["finished"] == found["trainings"] > 2
    assert found["compared with undisturbed ones"] > 0
    assert found["killed"] > 0
