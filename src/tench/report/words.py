"""The report's words and numbers in one language; all words are in texts/, one file a language."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tench.comparison import duration
from tench.errors import ConfigError

LANGUAGES = ("en", "pl")
NONE = "–"
TIMES = {"en": "×", "pl": "·"}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SPOKEN = ("names", "options", "notes", "changes", "changed", "claims", "remarks", "warnings", "methods", "engines", "differences", "terms")
"""Sections of the texts that only languages other than English have: what tench writes into records in English, by its words."""


def number(value: float, lang: str, digits: int = 0, sign: bool = False) -> str:
    """`value` with so many decimals: thousands set apart by a narrow space, a true minus, a decimal comma in Polish."""
    rounded = round(value, digits) + 0.0  # no minus before a zero
    text = f"{rounded:{'+' if sign else ''},.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")
    return text.replace(".", ",") if lang == "pl" else text


def kept_together(text: str) -> str:
    """`text` with spaces before % and around × at which no line ends."""
    return text.replace(" %", "\u00a0%").replace(" × ", "\u00a0×\u00a0")


@cache
def texts(lang: str) -> dict[str, dict[str, str]]:
    """All words in `lang` by section and key. Raises ConfigError for a language that is not there."""
    if lang not in LANGUAGES:
        raise ConfigError(f"The language '{lang}' is not known to the report; take one of {', '.join(LANGUAGES)}.")
    file = resources.files("tench").joinpath("report", "texts", f"{lang}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


@cache
def _phrases(lang: str, section: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """(what matches the English words, whose places in braces are its groups; the words in `lang`) of a section in SPOKEN."""
    return tuple((_pattern(english), said) for english, said in texts(lang)[section].items())


def _pattern(english: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", english)
    return re.compile("".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)))


@dataclass(frozen=True)
class Said:
    """Words from a record as the page says them; `foreign`: tench has no translation, since it did not write them itself."""

    text: str
    foreign: bool = False


@dataclass(frozen=True)
class Words:
    """Says things in `lang`, "en" or "pl"."""

    lang: str

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key`, such as "table.network", `values` in its braces: whole numbers are written as the language does."""
        section, _, name = key.partition(".")
        shown = {name: self.number(value) if isinstance(value, int) else value for name, value in values.items()}
        return kept_together(texts(self.lang)[section][name].format(**shown))

    def number(self, value: float | None, digits: int = 0, sign: bool = False) -> str:
        """`value` with so many decimals; a dash for None."""
        return NONE if value is None else number(value, self.lang, digits, sign)

    def percent(self, share: float | None, digits: int = 2) -> str:
        """A share, 0 to 1, as a number of per cent, without the sign."""
        return NONE if share is None else self.number(100 * share, digits)

    def plain(self, value: float | None) -> str:
        """A number as short as it is exact to six digits, such as a learning rate; what is very small by its power of ten."""
        if value is None:
            return NONE
        digits, _, power = f"{value:g}".replace(".", "," if self.lang == "pl" else ".").partition("e-")
        if not power:
            return digits
        tens = "10" + f"-{int(power)}".translate(RAISED)
        return tens if digits == "1" else f"{digits}\u00a0{TIMES[self.lang]}\u00a0{tens}"

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
        return self.plain(float(f"{p:.2g}")) if p else f"< {self.plain(1e-300)}"

    def said(self, section: str, english: str) -> Said:
        """What tench wrote into a record, in this language, by a section in SPOKEN; what is not there, users wrote: it stays as it is."""
        if self.lang == "en":
            return Said(english)
        for pattern, said in _phrases(self.lang, section):
            if found := pattern.fullmatch(english):
                places = {place: self._place(place, value) for place, value in found.groupdict().items()}
                return Said(kept_together(said.format(**places)))
        return Said(english, foreign=True)

    def _place(self, place: str, value: str) -> str:
        """What stands in a phrase's place: of one called like a section that section's phrases, of "name" itself, else a term."""
        if place in SPOKEN:
            return "; ".join(self.said(place, part).text for part in value.split("; "))
        return value if place == "name" else self.term(value)

    def term(self, english: str) -> str:
        """A rule, a value or a number as a record has it, in this language."""
        number = re.fullmatch(r"-?\d+(\.\d+|(\.\d+)?e-?\d+)", english)
        return self.plain(float(english)) if number else self.said("terms", english).text
