"""The benchmark's arms answer; what they measure is no matter of tests."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import picture

import tench
from tench.inference import normalised
from tench.networks.onnx_graph import onnx_model
from tench.records import Run

pytest_plugins = ["served_fixtures"]

ARM = Path(__file__).parents[2] / "bench" / "arms" / "serve.py"


@pytest.mark.slow
def test_both_arms_answer_the_same(served_run: Run, tmp_path: Path) -> None:
    found: Any = tench.load(served_run, threads=1)
    (tmp_path / "model.onnx").write_bytes(onnx_model(found.module))
    (tmp_path / "red.png").write_bytes(picture())
    task = [served_run.folder, tmp_path / "model.onnx", tmp_path / "red.png", "--size", "16", "--clients", "2", "--requests", "3"]
    answers = {}
    for engine in ("tench", "onnxruntime"):
        done = subprocess.run([sys.executable, ARM, engine, *map(str, task)], capture_output=True, text=True, check=True)
        answers[engine] = json.loads(done.stdout.splitlines()[-1])
        assert answers[engine]["requests"] == 6
        assert 0 < answers[engine]["p50_s"] <= answers[engine]["p99_s"]
    logits = found.look(found.pixels(picture())[None]).logits
    assert answers["onnxruntime"]["probability"] == pytest.approx(float(np.exp(normalised(logits).max())), rel=1e-4)
    assert answers["tench"]["probability"] == pytest.approx(found.predict(picture())[0].probability)
