"""The processes of one training, which `torchrun` starts: each takes its share of every batch, and what they add up is everybody's.

A process that was started alone is a group of one, and nothing here does anything then. Gloo carries what is on the CPU, NCCL what is
on GPUs (not run on a GPU here).
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from tench.errors import LostProcess, UsageError
from tench.runtime import launched

TIMEOUT_S = 1800.0
"""How long a process that is there, but does not answer, is waited for; TENCH_TIMEOUT_S is another number. One that ended is noticed
at once."""
GRACE_S = 3.0
"""How long the others have to show that they are still there, when one seems gone."""
BEAT_S = 0.3
"""Between two signs of life."""


class Group:
    """A process alone."""

    rank, size = 0, 1
    launcher = ""
    """What stands before `tench` in the command that starts such a group."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def stream(self) -> tuple[int, ...]:
        """What sets this process's random numbers apart from those of the others; nothing for the first, or alone."""
        return (self.rank,) if self.rank else ()

    def share(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of a batch: parts differ by one picture at most, and in their order they are the batch."""
        return batch

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put into each of `tensors` (all of one dtype and device) its sum over the processes."""

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The sums of `numbers` over the processes."""
        return numbers

    def highest(self, number: int) -> int:
        """The highest `number` of any process."""
        return number

    def copy(self, tensors: Iterable[Tensor]) -> None:
        """Put the first process's values into `tensors`."""

    def meet(self) -> None:
        """Wait, however long it takes, until all processes are here."""

    def agree(self, what: str) -> None:
        """Raise UsageError unless all processes say the same."""

    @contextmanager
    def one_before_others(self, on_each_machine: bool = False) -> Iterator[None]:
        """A block that the first process (of each machine) goes through before the others, which then find what it left behind."""
        yield


class Processes(Group):
    """This process as one of several. Where another has gone, whatever waits for it raises LostProcess."""

    launcher = "torchrun ... -m "

    def __init__(self) -> None:
        launch = launched()
        if cards := torch.cuda.is_available():
            torch.cuda.set_device(launch.local_rank)
        timeout = timedelta(seconds=float(os.environ.get("TENCH_TIMEOUT_S", TIMEOUT_S)))
        store, self.rank, self.size = next(rendezvous("env://", timeout=timeout))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cards else "gloo", store=store, rank=self.rank, world_size=self.size, timeout=timeout
        )
        # torchrun keeps the store, so that it is still there when processes are not.
        self.store, self.local_rank, self.meetings = PrefixStore("tench", store.clone()), launch.local_rank, 0
        self.left = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    def share(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array_split(batch, self.size)[self.rank]

    @torch.no_grad()
    def add(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._all_there():
            dist.all_reduce(flat)
        for tensor, piece in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(piece.view(tensor.shape))

    def total(self, *numbers: float) -> tuple[float, ...]:
        sums = torch.tensor(numbers, dtype=torch.float64)
        self.add([sums])
        return tuple(sums.tolist())

    def highest(self, number: int) -> int:
        found = torch.tensor(number)
        with self._all_there():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def copy(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            with self._all_there():
                dist.broadcast(whole, 0)
            tensor.detach().copy_(whole)

    def meet(self) -> None:
        self.meetings += 1
        name = f"meeting {self.meetings}"
        with self._all_there():
            self.store.add(name, 1)
            while not self._all_at(name):
                time.sleep(0.02)

    def _beat(self) -> None:
        """Signs of life, also while this process waits for another one."""
        while not self.left.wait(BEAT_S):
            with suppress(RuntimeError):
                self.store.add(f"beat {self.rank}", 1)

    def _all_at(self, meeting: str) -> bool:
        ended = self.store.add("ended", 0)  # asked for first: who was here may go on, and end, before the others have seen it
        if self.store.add(meeting, 0) == self.size:
            return True
        if ended:
            raise RuntimeError("a process has ended")
        return False

    def agree(self, what: str) -> None:
        with self._all_there():
            self.store.set(f"{self.meetings} {self.rank}", what)
            meeting = self.meetings
            self.meet()
            said = [self.store.get(f"{meeting} {rank}") for rank in range(self.size)]
        others = [str(rank) for rank in range(self.size) if said[rank] != said[0]]
        if others:
            raise UsageError(
                f"The processes of this training do not begin alike: number {', '.join(others)} has other pictures, options, code or"
                " checkpoints than number 0. Give all machines the same command, the same tench, the same pictures and one runs folder."
            )

    @contextmanager
    def one_before_others(self, on_each_machine: bool = False) -> Iterator[None]:
        goes_first = (self.local_rank if on_each_machine else self.rank) == 0
        if not goes_first:
            self.meet()
        yield
        if goes_first:
            self.meet()

    # --- the end, good or bad ------------------------------------------------------------------------------------

    def leave(self, why: str = "") -> None:
        """End this process's part, once; the others learn of it at once, and can read `why`."""
        if self.left.is_set():
            return
        self.left.set()
        self.heart.join(GRACE_S)  # Python must not end while it speaks with the store
        with suppress(RuntimeError):
            self.store.set(f"ended {self.rank}", why)
            self.store.add("ended", 1)
        dist.destroy_process_group()

    def close(self) -> None:
        """The good end, after which nothing more is waited for: the first process goes last, for without torchrun it keeps the store."""
        if not self.left.is_set():
            self.leave()
            with suppress(RuntimeError):
                _until(lambda: not self.leads or self.store.add("ended", 0) == self.size)

    def speaks(self, error: Exception) -> bool:
        """Whether it is this process that shows the error all end with: the first one, or if it is gone, whichever asks first."""
        self.leave(str(error))
        with suppress(RuntimeError):
            if not self.leads:
                _until(lambda: bool(self.store.add("spoken", 0)))
            return self.store.add("spoken", 1) == 1
        return True

    @contextmanager
    def _all_there(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of torch.distributed: a connection was closed, or nothing came in time
            raise LostProcess(self._what_became_of_them(error)) from error

    def _what_became_of_them(self, error: RuntimeError) -> str:
        """What the others say their end was, or which of them neither say anything nor show a sign of life."""
        self.leave()
        with suppress(RuntimeError):
            ended, silent = self._heard_of([rank for rank in range(self.size) if rank != self.rank])
            reasons = {rank: self.store.get(f"ended {rank}").decode() for rank in sorted(ended)}
            if told := [f"process {rank} of this training ended: {why}" for rank, why in reasons.items() if why]:
                return "; ".join(told)
            if silent:
                return (
                    f"Of the {self.size} processes of this training number {', '.join(map(str, sorted(silent)))} seems gone: killed, out"
                    " of memory, or on a machine that cannot be reached. The others have ended with it."
                )
        return f"The {self.size} processes of this training lost each other ({str(error).splitlines()[0]})."

    def _heard_of(self, others: Sequence[int]) -> tuple[set[int], set[int]]:
        """Which of the others have ended, and of which nothing was heard in GRACE_S."""
        beats = {rank: self.store.add(f"beat {rank}", 0) for rank in others}
        ended, silent = set[int](), set(others)

        def all_were_heard_of() -> bool:
            ended.update(rank for rank in others if self.store.check([f"ended {rank}"]))
            silent.difference_update(ended, [rank for rank in others if self.store.add(f"beat {rank}", 0) > beats[rank]])
            return not silent

        _until(all_were_heard_of)
        return ended, silent


def _until(holds: Callable[[], bool]) -> None:
    """Wait until it holds, for GRACE_S at most."""
    deadline = time.monotonic() + GRACE_S
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


_joined: list[Processes] = []
"""The group this process is in, if it is in one."""


@contextmanager
def joined() -> Iterator[Group]:
    """This process's group, for a block that all processes of the group go through; within such a block the same one.

    An error ends all of them, and is raised in one: the others exit without a word, with its exit code.
    """
    if _joined or launched().size == 1:
        yield _joined[0] if _joined else Group()
        return
    group = Processes()
    _joined.append(group)
    try:
        yield group
    except Exception as error:
        if group.speaks(error):
            raise
        sys.exit(getattr(error, "exit_code", 1))
    finally:
        _joined.remove(group)
        group.close()
