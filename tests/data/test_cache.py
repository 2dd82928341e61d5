"""Decoded once, in the order of the pictures, kept by content, and never half."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from pictures import folder, png, tarred, tree

from tench.config import Preprocessing
from tench.data import cache
from tench.data.cache import decoded
from tench.data.decode import decode, resize
from tench.data.sources import open_source
from tench.errors import DataError, RecordError

FILES = tree(train__cat=3, train__dog=2, val__cat=2, val__dog=1)
SMALL = Preprocessing(height_px=4, width_px=5)


@pytest.fixture(autouse=True)
def cache_path(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TENCH_CACHE", str(path))
    return path


def expected(p: Preprocessing) -> np.ndarray:
    return np.stack([resize(decode(FILES[name], name), p.height_px, p.width_px, p.resize) for name in sorted(FILES)])


@pytest.mark.parametrize("kind", ["folder", "tgz"])
@pytest.mark.parametrize("way", ["squash", "crop"])
def test_pictures_are_decoded_in_the_order_of_the_source(tmp_path: Path, kind: str, way: str) -> None:
    backwards = dict(reversed(FILES.items()))
    source = open_source(folder(tmp_path / "x", backwards) if kind == "folder" else tarred(tmp_path / "x.tgz", backwards))
    preprocessing = Preprocessing(height_px=4, width_px=5, resize=way)
    pixels = decoded(source, preprocessing)
    assert isinstance(pixels, np.memmap)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (8, 4, 5, 3))
    assert np.array_equal(pixels, expected(preprocessing))
    assert not pixels.flags.writeable


def test_the_second_time_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = decoded(open_source(folder(tmp_path / "x", FILES)), SMALL)
    monkeypatch.setattr(cache, "decode_image", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(decoded(open_source(folder(tmp_path / "x", FILES)), SMALL), pixels)
    elsewhere = open_source(tarred(tmp_path / "x.tgz", FILES))
    assert np.array_equal(decoded(elsewhere, SMALL.model_copy(update={"mean": (1.0, 2.0, 3.0), "channels": "BGR"})), pixels)


def test_other_sizes_ways_and_contents_are_other_caches(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path / "x", FILES))
    changed = open_source(folder(tmp_path / "y", {**FILES, "val/dog/0.png": png(99)}))
    files = {
        str(decoded(s, p).filename)
        for s in (source, changed)
        for p in (SMALL, Preprocessing(height_px=5, width_px=4), SMALL.model_copy(update={"resize": "crop"}))
    }
    assert len(files) == 6


def test_all_bad_pictures_are_listed_and_nothing_stays(tmp_path: Path, cache_path: Path) -> None:
    cut = png(1, 40, 40)[:2000]
    source = open_source(folder(tmp_path / "x", {**FILES, "train/cat/cut.png": cut, "val/dog/cut too.png": cut}))
    with pytest.raises(DataError) as error:
        decoded(source, SMALL)
    assert "2 pictures cannot be used" in str(error.value)
    assert "train/cat/cut.png is damaged" in str(error.value)
    assert "val/dog/cut too.png is damaged" in str(error.value)
    assert list((cache_path / "decoded").iterdir()) == []
    good = open_source(tmp_path / "x", skip_bad=True)
    assert np.array_equal(decoded(good, SMALL), expected(SMALL))


def test_a_cache_that_was_cut_short_or_is_foreign_is_made_anew(tmp_path: Path, cache_path: Path) -> None:
    source = open_source(folder(tmp_path / "x", FILES))
    decoded(source, SMALL)
    (path,) = (cache_path / "decoded").iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:20], b"", b"rubbish" * 100):
        path.write_bytes(damaged)
        assert np.array_equal(decoded(source, SMALL), expected(SMALL))
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert np.array_equal(decoded(source, SMALL), expected(SMALL))
    assert path.read_bytes() == whole


def test_two_writers_at_the_same_time(tmp_path: Path, cache_path: Path) -> None:
    source = open_source(folder(tmp_path / "x", FILES))
    results: list[np.ndarray] = []
    writers = [threading.Thread(target=lambda: results.append(decoded(source, SMALL))) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(results) == 4
    assert all(np.array_equal(pixels, expected(SMALL)) for pixels in results)
    assert len(list((cache_path / "decoded").iterdir())) == 1


def test_only_what_was_abandoned_long_ago_is_removed(tmp_path: Path, cache_path: Path) -> None:
    (cache_path / "decoded").mkdir()
    old, new = cache_path / "decoded" / ".a.npy.1-2.tmp", cache_path / "decoded" / ".b.npy.1-2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    decoded(open_source(folder(tmp_path / "x", FILES)), SMALL)
    assert not old.exists()
    assert new.exists()


def test_progress_is_told_picture_by_picture(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    decoded(open_source(folder(tmp_path / "x", FILES)), SMALL, lambda done, total: told.append((done, total)))
    assert told == [(i, 8) for i in range(1, 9)]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(folder(tmp_path / "x", FILES))
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set TENCH_CACHE"):
        decoded(source, SMALL)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(folder(tmp_path / "x", FILES))

    def full(file: object, *_: object) -> None:
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")

    monkeypatch.setattr(cache, "_write_pictures", full)
    with pytest.raises(RecordError, match="No space left on device"):
        decoded(source, SMALL)
    assert list((cache_path / "decoded").iterdir()) == []
