"""Which photographs paths, folders and patterns mean."""

from pathlib import Path

import pytest

from tench.data.photos import photographs
from tench.errors import NotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.PNG", "notes.txt", "sub/c.webp", ".hidden/d.jpg", "sub/.e.jpg", "[odd].jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(found: object, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]  # type: ignore[attr-defined]


def test_of_a_folder_all_pictures_below_it(folder: Path) -> None:
    assert names(photographs([folder]), folder) == ["[odd].jpg", "a.jpg", "b.PNG", "sub/c.webp"]


def test_of_a_pattern_all_that_match_whatever_they_are(folder: Path) -> None:
    assert names(photographs([str(folder / "*.txt"), str(folder / "**" / "c.*")]), folder) == ["notes.txt", "sub/c.webp"]


def test_a_file_is_taken_as_it_is(folder: Path) -> None:
    assert names(photographs([folder / "notes.txt", folder / "none.jpg", str(folder / "[odd].jpg")]), folder) == [
        "notes.txt",
        "none.jpg",
        "[odd].jpg",
    ]


def test_nothing_is_an_error(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="Nothing matches"):
        list(photographs([str(folder / "*.gif")]))
    (folder / "empty").mkdir()
    with pytest.raises(NotFoundError, match="holds no pictures"):
        list(photographs([folder / "empty"]))
