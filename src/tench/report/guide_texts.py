"""The words of the guide and of the drawings, one file a language."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from tench.errors import ConfigError

LANGUAGES = ("en", "pl")


@cache
def guide_texts(lang: str) -> dict[str, Any]:
    """The words in `lang`, by section and key; numbers go into their braces. Raises ConfigError for a language that is not there."""
    if lang not in LANGUAGES:
        raise ConfigError(f"The language {lang!r} is not known to the guide; take one of {', '.join(LANGUAGES)}.")
    file = resources.files("tench").joinpath("report", "texts", f"guide_{lang}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))
