"""Exhibits on disk: whole or not there, and damage is named together with what to do."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tench.errors import RecordError
from tench.records import Exhibits, HeatMap, LayerMaps, Run, Way, prune, save_exhibits
from test_records import record

ARRAYS: dict[str, Any] = {
    "filters": np.zeros((4, 3, 5, 5), dtype=np.float32),
    "picture/a": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
    "heat/a": np.ones((2, 2), dtype=np.uint8),
    "picture/b": np.zeros((4, 6, 3), dtype=np.uint8),
    "maps/b/1": np.zeros((4, 2, 2), dtype=np.uint8),
}
NAME = "val/żuraw/1.JPEG"
THUMBNAILS = {NAME: b"\xff\xd8 one of some length", "val/2.png": b"\xff\xd8 two"}


def exhibits() -> Exhibits:
    layer = LayerMaps(key="b/1", title="Conv, 5x5, 4", channels=4, height_px=2, width_px=2)
    return Exhibits(
        run_id="r",
        made="2024-05-01T10:00:00+00:00",
        heat_method="Grad-CAM",
        filters="Conv, 5x5, 4",
        heat_maps=(HeatMap(key="a", name=NAME, label=1, answer=0, target=0, probability=0.5),),
        ways=(Way(key="b", name="val/2.png", label=1, answer=1, probability=1.0, layers=(layer,)),),
        thumbnails=True,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with exhibits."""
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    save_exhibits(folder, exhibits(), ARRAYS, THUMBNAILS)
    (folder / "record.json").write_text(json.dumps(record().model_dump(mode="json")), encoding="utf-8")
    return Run.read(folder)


def test_what_was_written_is_read(run: Run) -> None:
    assert run.exhibits() == exhibits()
    arrays = run.exhibit_arrays()
    assert arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype for name, array in ARRAYS.items())
    assert run.thumbnails([NAME, "val/3.png"]) == {NAME: THUMBNAILS[NAME]}


def test_a_run_without_exhibits_has_none(tmp_path: Path) -> None:
    bare = Run(tmp_path, record())
    assert (bare.exhibits(), bare.exhibit_arrays(), bare.thumbnails([NAME])) == (None, {}, {})


def test_new_ones_take_the_place_of_the_old_also_where_there_are_no_thumbnails_any_more(run: Run) -> None:
    save_exhibits(run.folder, exhibits().model_copy(update={"thumbnails": False}), ARRAYS, {})
    assert run.thumbnails([NAME]) == {}
    assert sorted(path.name for path in run.exhibits_path.iterdir()) == ["arrays.npz", "exhibits.json"]


def test_a_writing_that_fails_leaves_no_exhibits_that_name_what_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    with pytest.raises(RecordError, match="No space left"):
        save_exhibits(run.folder, exhibits(), ARRAYS, THUMBNAILS)
    assert (run.exhibits(), run.exhibit_arrays(), run.thumbnails([NAME])) == (None, {}, {})


@pytest.mark.parametrize(
    ("name", "array"),
    [("filters", None), ("heat/a", np.ones((2, 2))), ("picture/b", np.zeros((4, 6), dtype=np.uint8)), ("maps/b/1", None)],
)
def test_arrays_that_do_not_fit_are_neither_written_nor_read(run: Run, name: str, array: Any) -> None:
    arrays = {key: value for key, value in (ARRAYS | {name: array}).items() if value is not None}
    with pytest.raises(RecordError, match=f"does not fit its exhibits.json: {name}"):
        save_exhibits(run.folder, exhibits(), arrays, {})
    assert run.exhibits() == exhibits(), "what was there is still there"
    np.savez(run.exhibits_path / "arrays.npz", **arrays)
    with pytest.raises(RecordError, match=f"does not fit its exhibits.json: {name}"):
        run.exhibit_arrays()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b'{"schema_version": 2}', "written by a newer tench: its schema is 2"),
        (b'{"run_id": "r"}', "made: Field required"),
    ],
)
def test_a_damaged_exhibits_json_is_named(run: Run, content: bytes, message: str) -> None:
    (run.exhibits_path / "exhibits.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"exhibits\.json .*") as raised:
        run.exhibits()
    assert message in str(raised.value)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "gone"])
@pytest.mark.parametrize("file", ["arrays.npz", "thumbnails.zip"])
def test_damaged_files_are_named(run: Run, file: str, damage: str) -> None:
    path = run.exhibits_path / file
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[0]
    name, extra = (int.from_bytes(content[first.header_offset + at :][:2], "little") for at in (26, 28))
    inside = first.header_offset + 30 + name + extra + 4
    spoilt = {"empty": b"", "cut": content[: len(content) // 2], "flipped": content[:inside] + b"\x55\xaa\x55\xaa" + content[inside + 4 :]}
    path.unlink() if damage == "gone" else path.write_bytes(spoilt[damage])
    with pytest.raises(RecordError, match=rf"{file} is missing or damaged: .* `tench explain RUN`"):
        run.exhibit_arrays() if file == "arrays.npz" else run.thumbnails([NAME])


def test_objects_are_not_unpickled(run: Run) -> None:
    np.savez(run.exhibits_path / "arrays.npz", **ARRAYS | {"filters": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(RecordError, match="damaged"):
        run.exhibit_arrays()


def test_pruning_takes_what_killed_writings_left(run: Run) -> None:
    left = run.exhibits_path / ".arrays.npz.1-abc.tmp"
    left.touch()
    assert left in prune(run.folder.parent, older_than_s=-1).paths
    assert run.exhibits() is not None and not left.exists()
