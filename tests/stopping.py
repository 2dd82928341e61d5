"""A watcher that does what Ctrl-C does."""

import signal

from tench.training.loop import Watcher


class StopAfter(Watcher):
    """Sends this process SIGINT after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def stepped(self, epoch: int, step: int, pictures_per_s: float) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
