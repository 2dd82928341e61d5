"""The report's words: the same in both languages but for the language, and numbers as each writes them."""

import re
from importlib import resources
from string import Formatter

import pytest

from tench.errors import ConfigError
from tench.report.words import LANGUAGES, SPOKEN, Words, texts

ENGLISH, POLISH = texts("en"), texts("pl")
KEYS = [(section, key) for section in ENGLISH for key in ENGLISH[section]]


def test_the_languages_have_the_same_keys() -> None:
    own = {section: words for section, words in POLISH.items() if section not in SPOKEN}
    assert {section: set(words) for section, words in ENGLISH.items()} == {section: set(words) for section, words in own.items()}
    assert POLISH.keys() - ENGLISH.keys() == set(SPOKEN)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_the_languages_have_the_same_places_to_fill(section: str, key: str) -> None:
    places = [{name for _, name, _, _ in Formatter().parse(words[section][key]) if name} for words in (ENGLISH, POLISH)]
    assert places[0] == places[1]


def test_polish_is_not_english() -> None:
    alike = {f"{section}.{key}" for section, key in KEYS if ENGLISH[section][key] == POLISH[section][key]}
    assert alike <= {"classes.heading_plain", "classes.f1", "seeing.certainty", "verdicts.p"}


def test_no_text_is_without_use() -> None:
    """Each is named as section.key, or by its key alone where the section is put before it."""
    package = resources.files("tench").joinpath("report")
    files = [*package.iterdir(), *package.joinpath("templates").iterdir()]
    code = "".join(file.read_text(encoding="utf-8") for file in files if file.name.endswith((".py", ".html")))
    assert [key for _, key in KEYS if not re.search(rf"[.\"]{key}\"", code)] == []


def test_numbers_are_written_as_the_language_does() -> None:
    english, polish = Words("en"), Words("pl")
    assert (english.percent(0.89204), polish.percent(0.89204)) == ("89.20", "89,20")
    assert (english.number(3925), polish.number(None)) == ("3\u202f925", "–")
    assert (english.large(193096192), polish.large(1.58e9)) == ("193.10\u00a0M", "1,58\u00a0mld")
    assert (english.duration(7620), polish.duration(7620)) == ("2 h 07 min", "2 godz. 07 min")
    assert (english.plain(0.0001), polish.plain(0.65)) == ("0.0001", "0,65")
    assert (english.plain(3.2e-7), polish.plain(3.2e-7), polish.plain(1e-6)) == ("3.2\u00a0×\u00a010⁻⁷", "3,2\u00a0·\u00a010⁻⁷", "10⁻⁶")
    assert english.p(0) == "< 10⁻³⁰⁰"


def test_another_language_is_refused() -> None:
    assert LANGUAGES == ("en", "pl")
    with pytest.raises(ConfigError, match="'de' is not known"):
        texts("de")
