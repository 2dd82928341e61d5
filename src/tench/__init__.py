"""A test bench for picture recognisers: networks are tables, trainings are records, comparisons are honest.

What the command line does, from Python; `import tench` is quick, and torch is imported by the first function that needs it:

    import tench
    run = tench.train("network_84_8153", "photographs/", size_px=64, epochs=10)
    print(tench.compare(run, tench.transfer("googlenet", "photographs/")))
    tench.load(run).predict("dog.jpg")
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tench.errors import TenchError

if TYPE_CHECKING:
    from tench.api import compare, evaluate, exhibit, export, load, network, resume, runs, study, sweep, train, transfer, write_report
    from tench.runtime import tune_process

__version__ = version("tench")

__all__ = [
    "TenchError",
    "__version__",
    "compare",
    "evaluate",
    "exhibit",
    "export",
    "load",
    "network",
    "resume",
    "runs",
    "study",
    "sweep",
    "train",
    "transfer",
    "tune_process",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Public functions, imported when they are first asked for."""
    if name == "tune_process":
        from tench.runtime import tune_process

        return tune_process
    if name in __all__:
        from tench import api

        return getattr(api, name)
    raise AttributeError(f"module 'tench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
