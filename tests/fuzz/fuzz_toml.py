"""The readers of studies and recipes."""

import tempfile
from contextlib import suppress
from importlib import resources
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tench.config", "tench.errors", "tomllib"]):
    from tench.config import builtin_names, load_recipe, load_study
    from tench.errors import TenchError

from fuzzing import fuzz

PATH = Path(tempfile.gettempdir(), "tench-fuzzed.toml")


def one(data: bytes) -> None:
    PATH.write_bytes(data)
    with suppress(TenchError):
        load_recipe(str(PATH))
    load_study(str(PATH))


if __name__ == "__main__":
    kinds = [(folder, name) for folder in ("studies", "recipes") for name in builtin_names(folder, ".toml")]
    fuzz(one, [resources.files("tench").joinpath(folder, f"{name}.toml").read_bytes() for folder, name in kinds])
