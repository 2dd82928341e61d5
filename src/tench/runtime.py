"""The process and the machine: memory settings, engine, seeds, and the facts that every record names."""

import ctypes
import datetime
import hashlib
import importlib.metadata
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tench.config import Engine, Precision
from tench.errors import UsageError
from tench.records import MachineFacts

if TYPE_CHECKING:
    import torch

# glibc's mallopt parameters (malloc.h): keep freed memory instead of handing it back to the kernel and faulting it in again.
M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD = -4, -1, -2
TOP_PAD_BYTES = 100 * 2**20
SPINS = "1000"
"""How often a thread of libgomp's looks whether the others are ready before it sleeps (GOMP_SPINCOUNT; by itself 300,000). It costs
nothing on a quiet machine, and beside other work a step waits less for a thread that waits for nothing: docs/speed.md."""

_LAUNCH = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_CODE_FOLDERS = ("networks", "data", "training")
_RECORDED_PACKAGES = ("tench", "torch", "torchvision", "numpy", "pillow", "safetensors")


def tune_process() -> bool:
    """Make this process keep its memory and use huge pages (Linux with glibc only), and its threads wait for each other without
    keeping the processor for long; returns whether the memory's settings were taken.

    A training step then spends no time on page faults (docs/LOG.md has the measurement). Call it before torch is imported: huge
    pages and waiting are read from the environment at that moment. `TENCH_NO_TUNING=1` turns it off.
    """
    if sys.platform != "linux" or os.environ.get("TENCH_NO_TUNING") or platform.libc_ver()[0] != "glibc":
        return False
    if "torch" not in sys.modules:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    libc = ctypes.CDLL("libc.so.6")
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD_BYTES))
    accepted = [libc.mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)


def cpu_count() -> int:
    """Processors this process may use."""
    return len(_usable()) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def used_by_others(seconds: float = 0.25) -> float:
    """Share of the processors in use, 0 to 1, while this thread sleeps for `seconds`; 0 where the system does not tell (not Linux)."""

    def idle_and_all() -> tuple[int, int]:
        times = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return times[3] + times[4], sum(times)  # idle, and waiting for a disk: proc_stat(5)

    if not Path("/proc/stat").exists():
        return 0.0
    idle, everything = idle_and_all()
    time.sleep(seconds)
    idle_after, everything_after = idle_and_all()
    return 1 - (idle_after - idle) / max(everything_after - everything, 1)


@contextmanager
def stop_signals(remember: Callable[[int], None]) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end nothing: `remember` is called with the signal's number. (Only the main thread may listen.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda got, frame: remember(got)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def core_count() -> int:
    """Cores this process may use: processors that share one (hyper-threads) count once, where Linux tells which do."""
    siblings = [Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") for number in _usable()]
    try:
        return len({path.read_text() for path in siblings}) or cpu_count()
    except OSError:
        return cpu_count()


def _usable() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True)
class Launch:
    """This process among those of one training: its number and theirs, in all and on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launch:
    """What `torchrun` says of this process; alone where it said nothing."""
    if any(name not in os.environ for name in _LAUNCH):
        return Launch()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return Launch(rank, size, int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def own_threads() -> int:
    """Threads of this process: one a core, of the cores it shares with the other processes of its training.

    torchrun sets OMP_NUM_THREADS to 1 where the user did not set it, so only another number is the user's.
    """
    launch = launched()
    asked = os.environ.get("OMP_NUM_THREADS", "1")
    if launch.size > 1 and asked.isdecimal() and int(asked) > 1:
        return int(asked)
    return max(1, core_count() // launch.local_size)


def own_device(device: str) -> str:
    """`device`, and of several cards that of this process, where it is one of several."""
    launch = launched()
    if launch.size > 1 and device == "mps":
        raise UsageError("Several processes cannot share this machine's GPU (mps); take --device cpu, or start one process.")
    return f"cuda:{launch.local_rank}" if launch.size > 1 and device.startswith("cuda") else device


BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16"}
"""Processor flags, in the words of Linux: either is there for products of bfloat16 numbers."""


def choose_engine(device: str = "auto", threads: int | None = None, precision: Precision | None = None) -> Engine:
    """The engine for this machine. `device` is auto, cpu, cuda[:n] or mps; raises UsageError where it is not there.

    Where no `precision` is given it is bfloat16 on hardware that has units for its products: AMX, AVX-512 with BF16, or a card that
    says so. A step is then 1.7 times as fast or more (docs/speed.md). The CUDA and MPS choices were not run on a GPU here.
    """
    import torch

    found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = found if device == "auto" else device
    kind = name.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise UsageError(f"The device '{device}' is not known; take auto, cpu, cuda, cuda:N or mps.")
    if not there[kind]:
        raise UsageError(f"The device '{device}' was asked for, but torch finds none here; take --device cpu, or see `tench doctor`.")
    bfloat16 = (kind == "cuda" and torch.cuda.is_bf16_supported()) or (kind == "cpu" and bool(processor_flags() & BFLOAT16_UNITS))
    chosen = precision or ("bfloat16" if bfloat16 else "float32")
    return Engine(device=own_device(name), threads=threads or own_threads(), precision=chosen, processes=launched().size)


def apply_engine(engine: Engine) -> None:
    """Set what is process-wide for `engine`: threads, denormals (which can cost 20-50x on a CPU), deterministic kernels."""
    import torch

    torch.set_num_threads(engine.threads)
    torch.set_flush_denormal(True)
    if engine.compiled and engine.device == "cpu":
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns that there is no CUDA
    if engine.device.startswith("cuda"):
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


@contextmanager
def autocast(engine: Engine) -> Iterator[None]:
    """The precision of `engine` for what is computed inside."""
    import torch

    kind = engine.device.split(":")[0]
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=engine.precision == "bfloat16"):
        yield


def place(module: "torch.nn.Module", engine: Engine) -> None:
    """Move `module` to the engine's device, its kernels laid out as the engine wants them."""
    import torch

    channels_last = engine.layout == "channels_last"
    module.to(engine.device)
    module.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def derived_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all `parts` (numbers and words) and on nothing else."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def memory_available_mib() -> float | None:
    """Memory that can be had without swapping, in MiB; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("MemAvailable:")), None)


def machine_facts(engine: Engine) -> MachineFacts:
    """What a record says of the machine."""
    import torch

    return MachineFacts(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor_name(),
        cores=cpu_count(),
        memory_mib=_total_memory_mib(),
        load_average_at_start=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        accelerator=torch.cuda.get_device_name(engine.device) if engine.device.startswith("cuda") else None,
    )


def processor_flags() -> frozenset[str]:
    """What the processor says it can do, in the words of Linux ("avx2", "amx_bf16"); empty where the system does not tell."""
    return frozenset(_cpuinfo("flags").split())


def _processor_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def _total_memory_mib() -> int:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0  # a system that does not tell, such as Windows
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        found[package] = importlib.metadata.version(package)
    return found


def code_identity() -> str:
    """sha256 over the sources that decide what a training computes: `networks`, `data` and `training`.

    Other work on tench leaves it as it is, so that it does not break a resume.
    """
    root = Path(str(resources.files("tench")))
    digest = hashlib.sha256()
    for folder in _CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def now() -> str:
    """This moment in ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
