"""Which pictures pretraining saw: by the user's list of hashes, by Imagenette's file names, else not known."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tench.config import Options, Rules
from tench.data.roles import roles, unseen_training_pictures
from tench.data.seen import seen_among
from tench.data.sources import open_source
from tench.errors import DataError, NotFoundError


def listed(folder: Path, to: Path, but: int = 0) -> Path:
    """A list as `sha256sum` prints it of all pictures of `folder` but the first `but` of each class folder."""
    lines = ["# what the pretraining saw", ""]
    for kind in sorted({path.parent for path in folder.rglob("*.png")}):
        lines += [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(kind.glob("*.png"))[but:]]
    to.write_text("\n".join(lines), encoding="utf-8")
    return to


def test_pictures_that_are_not_in_the_list_were_never_seen(tiny_folder: Path, tmp_path: Path) -> None:
    assert open_source(tiny_folder).unseen is None, "nothing is known of other pictures than Imagenette's"
    source = open_source(tiny_folder, seen_hashes=listed(tiny_folder, tmp_path / "seen.txt", but=1))
    assert source.unseen is not None
    names = [source.pictures[i].name for i in np.flatnonzero(source.unseen)]
    assert names == [f"{split}/{kind}/000.png" for split in ("train", "val") for kind in ("blue", "green", "red")]
    left_out = unseen_training_pictures(source)
    assert left_out is not None
    found = roles(source, Rules(), Options(), left_out)
    assert [source.pictures[i].name for i in found.unseen if found.unseen is not None] == names
    assert len(found.fit) + len(found.select) == 57
    assert source.sha256 == open_source(tiny_folder).sha256, "the pictures are the same"


def test_capitals_and_order_of_the_list_do_not_matter(tiny_folder: Path, tmp_path: Path) -> None:
    first = listed(tiny_folder, tmp_path / "seen.txt", but=1)
    second = tmp_path / "again.txt"
    second.write_text("\n".join(reversed(first.read_text(encoding="utf-8").upper().splitlines())), encoding="utf-8")
    a, b = (open_source(tiny_folder, seen_hashes=path) for path in (first, second))
    assert a.seen_sha256 == b.seen_sha256
    assert a.seen_sha256 != open_source(tiny_folder, seen_hashes=listed(tiny_folder, tmp_path / "more.txt", but=2)).seen_sha256


def test_where_most_pictures_were_never_seen_none_is_kept_out(tiny_folder: Path, tmp_path: Path) -> None:
    """Pictures of one's own: all are new to the network, and training must have them."""
    (tmp_path / "seen.txt").write_text("0" * 64 + "\n", encoding="utf-8")
    source = open_source(tiny_folder, seen_hashes=tmp_path / "seen.txt")
    assert source.unseen is not None
    assert source.unseen.all()
    assert unseen_training_pictures(source) is None
    found = roles(source, Rules(), Options(leave_unseen_out=True))
    assert len(found.fit) + len(found.select) == 60
    assert found.unseen is not None
    assert found.unseen.tolist() == found.test.tolist()


@pytest.mark.parametrize("text", ["no hash", "abc", "0" * 63, "0" * 64 + "x"])
def test_a_line_that_is_no_hash_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.txt"
    path.write_text("# list\n" + text + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"seen\.txt, line 2"):
        seen_among([], path)


def test_a_list_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not there"):
        seen_among([], tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError, match="no hash in it"):
        seen_among([], tmp_path / "empty.txt")
    with pytest.raises(DataError, match="cannot be read"):
        seen_among([], tmp_path)
