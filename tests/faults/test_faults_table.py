"""docs/faults.md: every case has tests, and they exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
WANTED = ROOT.parent / "shared" / "faults.md"
"""The cases as they were asked for, where they lie beside the repository."""


def rows(page: Path) -> dict[str, list[str]]:
    """The cells behind each case of the page's table."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    found = {first: rest for first, *rest in cells if first != "case"}
    assert len(found) == len(cells) - 1, "a case stands there twice"
    return found


def held_by(cell: str) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py::\w+)`", cell)


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", rows(PAGE))
def test_a_case_has_tests_and_they_exist(case: str) -> None:
    does, tests = rows(PAGE)[case]
    assert does
    assert held_by(tests)
    assert " ".join(f"`{name}`" for name in held_by(tests)) == tests
    for test in held_by(tests):
        path, name = test.split("::")
        assert (ROOT / path).is_file(), test
        assert name in functions(ROOT / path), test


@pytest.mark.skipif(not WANTED.exists(), reason="the list of cases asked for does not lie beside the repository")
def test_no_case_that_was_asked_for_is_missing() -> None:
    assert set(rows(WANTED)) <= set(rows(PAGE))


def test_every_file_of_this_folder_holds_a_case() -> None:
    named = {test.split("::")[0] for cells in rows(PAGE).values() for test in held_by(cells[-1])}
    own = {path.relative_to(ROOT).as_posix() for path in Path(__file__).parent.glob("test_*.py")}
    assert own - named == {"tests/faults/test_faults_table.py"}
