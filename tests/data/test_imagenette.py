"""Imagenette's class table, official split and archives."""

import csv
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from tench.data import imagenette
from tench.data.imagenette import ARCHIVES, archive_path, cached, classes, unseen_by_imagenet


def test_the_ten_classes_in_the_order_of_their_wnids() -> None:
    wnids = [kind.wnid for kind in classes()]
    assert wnids == sorted(wnids)
    assert len(set(wnids)) == 10
    assert [kind.noun for kind in classes()] == [
        "fish", "dog", "radio", "saw", "church", "French horn", "garbage truck", "petrol pump", "golf ball", "parachute",
    ]  # fmt: skip
    assert classes()[3].polish == "piła"
    assert (classes()[1].english, classes()[1].imagenet_index) == ("English springer", 217)


def test_the_official_split_adds_up() -> None:
    assert sum(kind.n_train for kind in classes()) == imagenette.N_TRAIN == 9_469
    assert sum(kind.n_val for kind in classes()) == imagenette.N_VAL == 3_925
    assert imagenette.N_UNSEEN_TRAIN + imagenette.N_UNSEEN_VAL == 500


def test_unseen_is_what_bears_the_name_of_an_imagenet_validation_file() -> None:
    assert unseen_by_imagenet("val/n01440764/ILSVRC2012_val_00009111.JPEG")
    assert unseen_by_imagenet("ILSVRC2012_val_00009111.JPEG")
    assert not unseen_by_imagenet("val/n01440764/n01440764_9931.JPEG")
    assert not unseen_by_imagenet("ILSVRC2012_val_copies/n01440764_9931.JPEG")


def test_archives_agree_with_torchvision() -> None:
    from torchvision.datasets import Imagenette

    theirs = dict(Imagenette._ARCHIVES.values())
    assert {archive.urls[0]: archive.md5 for archive in ARCHIVES.values()} == theirs


def test_the_cached_archive_is_found_320_before_full_before_160(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path))
    assert cached() is None
    archive_path("160").parent.mkdir(parents=True)
    for form in ("160", "full", "320"):
        archive_path(form).touch()
        assert cached() == archive_path(form)
    archive_path("160").with_suffix(".tgz.part").touch()
    assert cached() == tmp_path / "data" / "imagenette2-320.tgz"


def test_no_torch_is_imported() -> None:
    modules = ("imagenette", "download", "overlap", "pictograms")
    code = f"import sys; {'; '.join(f'import tench.data.{m}' for m in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
def test_the_shared_photographs_are_the_official_split(shared_data: Path) -> None:
    names = _names(shared_data)
    counts = Counter(PurePosixPath(name).parts[-3:-1] for name in names)
    expected = {("train", kind.wnid): kind.n_train for kind in classes()} | {("val", kind.wnid): kind.n_val for kind in classes()}
    assert counts == expected
    unseen = Counter(PurePosixPath(name).parts[-3] for name in names if unseen_by_imagenet(name))
    assert unseen == {"train": imagenette.N_UNSEEN_TRAIN, "val": imagenette.N_UNSEEN_VAL}


@pytest.mark.shared
def test_the_class_table_agrees_with_the_one_beside_the_photographs(shared_data: Path) -> None:
    table = (shared_data if shared_data.is_dir() else shared_data.parent) / "classes.csv"
    if not table.is_file():
        pytest.skip(f"there is no {table}")
    rows = [tuple(row.values()) for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())]
    assert rows == [(str(i), k.wnid, str(k.imagenet_index), k.english, k.polish) for i, k in enumerate(classes())]


def _names(data: Path) -> list[str]:
    if data.is_dir():
        return [path.as_posix() for path in data.rglob("*.JPEG")]
    with tarfile.open(data) as archive:
        return [member.name for member in archive if member.isfile() and member.name.endswith(".JPEG")]
