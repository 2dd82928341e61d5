"""The process and the machine: what is recorded, and that nothing process-wide happens by importing."""

import subprocess
import sys

import pytest

from tench.config import Engine
from tench.errors import UsageError
from tench.runtime import (
    choose_engine,
    code_identity,
    core_count,
    cpu_count,
    derived_seed,
    machine_facts,
    tune_process,
    used_by_others,
    versions,
)


def test_derived_seeds_depend_on_every_part_and_fit_torchs_generator() -> None:
    seeds = [derived_seed(0, "dropout", 1), derived_seed(0, "dropout", 2), derived_seed(1, "dropout", 1), derived_seed(0, "head", 1)]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "dropout", 1) == seeds[0]


def test_the_engine_of_a_machine_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.runtime.processor_flags", lambda: frozenset({"avx2"}))
    engine = choose_engine("cpu")
    assert engine == Engine(device="cpu", threads=core_count(), layout="channels_last", precision="float32", compiled=False)
    assert choose_engine("cpu", threads=1).threads == 1
    assert choose_engine("cpu", precision="bfloat16").precision == "bfloat16"


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_a_processor_with_units_for_bfloat16_uses_them(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.runtime.processor_flags", lambda: frozenset({"avx2", "avx512f", flag}))
    assert choose_engine("cpu").precision == "bfloat16"
    assert choose_engine("cpu", precision="float32").precision == "float32"


@pytest.mark.parametrize("device", ["tpu", "gpu"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="take auto, cpu, cuda, cuda:N or mps"):
        choose_engine(device)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="torch finds none here; take --device cpu"):
        choose_engine("cuda:1")


def test_a_card_with_bfloat16_gets_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.runtime.processor_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert choose_engine("auto").device == "cuda"
    assert choose_engine("auto").precision == "bfloat16"
    assert choose_engine("cpu").precision == "float32"


def test_tuning_is_linux_with_glibc_only_and_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_NO_TUNING", "1")
    assert tune_process() is False
    monkeypatch.delenv("TENCH_NO_TUNING")
    monkeypatch.setattr("sys.platform", "darwin")
    assert tune_process() is False


@pytest.mark.skipif(sys.platform != "linux", reason="the memory settings are glibc's: this test needs Linux")
def test_tuning_works_here_in_a_process_of_its_own() -> None:
    script = "import os; from tench.runtime import tune_process; print(tune_process(), os.environ.get('THP_MEM_ALLOC_ENABLE'))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == ["True", "1"]


@pytest.mark.skipif(sys.platform != "linux", reason="read from Linux's /proc/stat")
def test_processors_used_by_others_are_seen() -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert 0 < used_by_others() <= 1
    finally:
        other.kill()
        other.wait()


def test_what_a_record_says_of_machine_and_code() -> None:
    facts = machine_facts(Engine())
    assert facts.cores >= 1
    assert facts.processor
    assert {"python", "tench", "torch", "torchvision", "numpy", "pillow", "safetensors"} <= set(versions())
    assert len(code_identity()) == 64


def test_cores_are_no_more_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= core_count() <= cpu_count()
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: "0-1" if "cpu0" in str(path) or "cpu1" in str(path) else "2-3")
    monkeypatch.setattr("tench.runtime._usable", lambda: [0, 1, 2])
    assert core_count() == 2
