"""The report's words and numbers in one language; all words are in texts/, one file a language."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tench.comparison import duration
from tench.errors import ConfigError
from tench.report.panels import number

LANGUAGES = ("en", "pl")
NONE = "–"


@cache
def texts(lang: str) -> dict[str, dict[str, str]]:
    """All words in `lang` by section and key. Raises ConfigError for a language that is not there."""
    if lang not in LANGUAGES:
        raise ConfigError(f"The language '{lang}' is not known to the report; take one of {', '.join(LANGUAGES)}.")
    file = resources.files("tench").joinpath("report", "texts", f"{lang}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Words:
    """Says things in `lang`, "en" or "pl"."""

    lang: str

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key`, such as "table.network", `values` in its braces: whole numbers are written as the language does."""
        section, _, name = key.partition(".")
        shown = {name: self.number(value) if isinstance(value, int) else value for name, value in values.items()}
        return texts(self.lang)[section][name].format(**shown).replace(" %", "\u00a0%")

    def number(self, value: float | None, digits: int = 0, sign: bool = False) -> str:
        """`value` with so many decimals; a dash for None."""
        return NONE if value is None else number(value, self.lang, digits, sign)

    def percent(self, share: float | None, digits: int = 2) -> str:
        """A share, 0 to 1, as a number of per cent, without the sign."""
        return NONE if share is None else self.number(100 * share, digits)

    def plain(self, value: float | None) -> str:
        """A number as short as it is exact to six digits, such as a learning rate."""
        text = NONE if value is None else f"{value:g}"
        return text.replace(".", ",") if self.lang == "pl" else text

    def large(self, count: float | None) -> str:
        """Millions or thousands of millions, as parameters and multiply-adds are given."""
        if count is None:
            return NONE
        scale, unit = (1e9, "giga") if count >= 1e9 else (1e6, "mega")
        return f"{self.number(count / scale, 2)}\u00a0{self(f'units.{unit}')}"

    def short(self, count: float) -> str:
        """The same as short as can be, such as "200 M", for an axis."""
        scale, unit = (1e9, "giga") if count >= 1e9 else (1e6, "mega")
        return f"{self.plain(count / scale)} {self(f'units.{unit}')}"

    def duration(self, seconds: float | None) -> str:
        """Seconds for reading, such as "3 min 05 s"."""
        text = NONE if seconds is None else duration(seconds)
        return text.replace(" h ", f" {self('units.hour')} ")

    def round_time(self, seconds: float) -> str:
        """Whole seconds, minutes or hours, for an axis."""
        for unit, long in ((self("units.hour"), 3600), ("min", 60)):
            if seconds >= long:
                return f"{seconds / long:g} {unit}"
        return f"{seconds:g} s"

    def p(self, p: float) -> str:
        """A probability to two digits; what is smaller than floating-point numbers go, as such."""
        return self.plain(float(f"{p:.2g}")) if p else "< 1e-300"

    def note(self, note: str) -> str | None:
        """A note of the records in this language; None where it is not one of tench's own."""
        return texts(self.lang)["notes"].get(note)

    def claim(self, claim: str) -> str | None:
        """A study's conclusion in this language; None where it is not one of the built-in study's."""
        return texts(self.lang)["claims"].get(claim)
