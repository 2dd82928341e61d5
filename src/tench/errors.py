"""tench's exceptions: one tree, and every message says what failed, why, and what to do next."""


class TenchError(Exception):
    """Anything tench refuses or fails to do. The command line prints it and exits with `exit_code`."""

    exit_code = 1


class UsageError(TenchError):
    """What was asked for cannot be meant: a wrong name, value or combination."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe, study or option with an unknown key or a value that is not allowed."""


class TableError(UsageError):
    """A network table that cannot be read or cannot work; names file, line and row."""


class NotFoundError(UsageError):
    """A network, run, recipe, picture or folder that is not where it was looked for."""


class DataError(TenchError):
    """Pictures, archives or folders of pictures that cannot be used."""


class WeightsError(TenchError):
    """A weights file that is damaged, foreign, or does not fit the network."""


class DownloadError(TenchError):
    """A download that failed or whose content is not what it must be."""


class RecordError(TenchError):
    """A run folder, record or checkpoint that is damaged, missing or written by another version."""


class ResumeError(RecordError):
    """A run that cannot go on because what it rests on has changed; lists the differences."""


class TrainingError(TenchError):
    """A training that cannot go on: a loss that is not finite, or memory that does not suffice."""


class LostProcess(TenchError):  # noqa: N818 (named as what happened)
    """A process of a training in several is gone, and all end; what was saved is kept."""


class InterruptedTraining(TenchError):  # noqa: N818 (an interruption is no error)
    """The user (Ctrl-C) or the system (SIGTERM) stopped the training; its state is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
