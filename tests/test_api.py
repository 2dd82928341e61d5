"""The public functions: all there, documented, without torch until it is needed."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tench
from tench.errors import ConfigError, NotFoundError
from tench.studies.entries import Choices


def test_all_is_what_was_promised() -> None:
    promised = {
        "network",
        "train",
        "transfer",
        "evaluate",
        "exhibit",
        "export",
        "study",
        "sweep",
        "runs",
        "compare",
        "load",
        "resume",
        "tune_process",
        "write_report",
    }
    assert promised | {"TenchError", "__version__"} == set(tench.__all__)
    assert dir(tench) == sorted(tench.__all__)


@pytest.mark.parametrize("name", sorted(set(tench.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(tench, name)
    assert callable(found)
    assert inspect.getdoc(found)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        tench.trian  # noqa: B018


def test_importing_tench_imports_no_torch_and_changes_no_process() -> None:
    script = "import os, sys; before = dict(os.environ); import tench; tench.__version__\n"
    script += "assert 'torch' not in sys.modules and dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_networks_and_their_counts() -> None:
    table = tench.network("network_84_8153").table
    assert table is not None
    assert (table.parameters, table.macs) == (24_629_962, 4_962_000_384)


def test_wrong_arguments_raise_tenchs_own_exceptions(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="network_84_8153"):
        tench.network("network_84_8154")
    with pytest.raises(ConfigError, match="the key 'epoch' is not known; allowed are optimizer"):
        tench.train("network_84_8153", tiny_folder, epoch=3)
    with pytest.raises(ConfigError, match="computes in float32 throughout"):
        tench.train("network_84_8153", tiny_folder, recipe="r2018b", precision="bfloat16")
    with pytest.raises(ConfigError, match="computes in float32 throughout"):
        tench.study("study", tiny_folder, choices=Choices(recipe="r2018b"), precision="bfloat16")
    with pytest.raises(ConfigError, match="fine-tune the whole network"):
        tench.transfer("googlenet", tiny_folder, learn_rate=0.1)
    with pytest.raises(ConfigError, match="take 'test' or 'unseen'"):
        tench.compare("a", "b", among="all")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{", encoding="utf-8")
    with pytest.raises(tench.TenchError, match="the run damaged cannot be read"):
        tench.compare(tmp_path)
    assert issubclass(ConfigError, tench.TenchError)
