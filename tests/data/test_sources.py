"""Folders and archives to labelled pictures: layouts that work, layouts that cannot, and archives that mean harm."""

import gzip
import hashlib
import io
import os
import sys
import tarfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import folder, png, tarred, tree, zipped
from PIL import Image

from tench.data import imagenette, index, sources
from tench.data.files import MAX_FILE_BYTES, open_files
from tench.data.sources import Source, describe, open_source
from tench.errors import DataError, NotFoundError, UsageError

SPLIT = tree(train__cat=3, train__dog=2, val__cat=2, val__dog=1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def facts(source: Source) -> list[tuple[str, str, str]]:
    return [(p.name, source.classes[p.label].id, p.split) for p in source.pictures]


def contents(source: Source) -> dict[str, bytes]:
    return {source.pictures[i].name: content for i, content in source.stream()}


PACKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "folder": folder,
    "x.zip": zipped,
    "deflated.zip": lambda path, files: zipped(path, files, zipfile.ZIP_DEFLATED),
    "x.tgz": tarred,
    "x.tar": lambda path, files: tarred(path, files, ""),
    "x.tar.xz": lambda path, files: tarred(path, files, "xz"),
    "x.tar.bz2": lambda path, files: tarred(path, files, "bz2"),
    "no-extension": tarred,
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("prefix", ["", "imagenette2-160/", "a/b/"])
def test_every_container_holds_the_same_pictures(tmp_path: Path, kind: str, prefix: str) -> None:
    source = open_source(PACKERS[kind](tmp_path / kind, {prefix + name: content for name, content in SPLIT.items()}))
    assert facts(source) == [
        ("train/cat/0.png", "cat", "train"),
        ("train/cat/1.png", "cat", "train"),
        ("train/cat/2.png", "cat", "train"),
        ("train/dog/0.png", "dog", "train"),
        ("train/dog/1.png", "dog", "train"),
        ("val/cat/0.png", "cat", "val"),
        ("val/cat/1.png", "cat", "val"),
        ("val/dog/0.png", "dog", "val"),
    ]
    assert source.kind == "folder"
    assert not source.is_demo
    assert [p.sha256 for p in source.pictures] == [hashlib.sha256(SPLIT[p.name]).hexdigest() for p in source.pictures]
    assert {p.size_px for p in source.pictures} == {(6, 8)}
    assert contents(source) == SPLIT
    assert source.read(source.pictures[6]) == SPLIT["val/cat/1.png"]
    assert [i for i, _ in source.stream([5])] == [5]
    assert source.sha256 == open_source(folder(tmp_path / "plain", SPLIT)).sha256


def test_the_hash_changes_with_contents_names_and_split(tmp_path: Path) -> None:
    names = list(SPLIT)
    variants = [
        SPLIT,
        {**SPLIT, names[0]: png(999)},
        {("train/cat/new.png" if name == names[0] else name): content for name, content in SPLIT.items()},
        dict(list(SPLIT.items())[1:]),
    ]
    hashes = {open_source(folder(tmp_path / str(i), files)).sha256 for i, files in enumerate(variants)}
    assert len(hashes) == 4


def test_one_folder_of_class_folders_is_split_by_share_and_seed(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", tree(cat=20, dog=10))
    source = open_source(path, val_share=0.3, seed=1)
    assert Counter((c, s) for _, c, s in facts(source)) == {("cat", "train"): 14, ("cat", "val"): 6, ("dog", "train"): 7, ("dog", "val"): 3}
    assert source == open_source(path, val_share=0.3, seed=1)
    other = open_source(path, val_share=0.3, seed=2)
    assert [p.split for p in other.pictures] != [p.split for p in source.pictures]
    assert other.sha256 != source.sha256


def test_a_folder_that_is_only_to_be_scored(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path / "x", tree(cat=3, dog=1)), val_share=1)
    assert [s for *_, s in facts(source)] == ["val"] * 4


def test_copies_of_a_picture_stay_on_one_side_of_the_split(tmp_path: Path) -> None:
    files = {f"{name}/{i}-{copy}.png": png(i + 100 * (name == "b")) for name in "ab" for i in range(10) for copy in "xyz"}
    source = open_source(folder(tmp_path / "x", files))
    sides: dict[str, set[str]] = {}
    for picture in source.pictures:
        sides.setdefault(picture.sha256, set()).add(picture.split)
    assert all(len(side) == 1 for side in sides.values())


def test_what_is_not_a_picture_in_a_class_folder_is_passed_over(tmp_path: Path) -> None:
    litter = {
        "noisy_imagenette.csv": b"path,label",
        "README.txt": b"hello",
        "train/notes.txt": b"hello",
        ".git/x": b"1",
        "train/.DS_Store": b"1",
        "train/cat/.DS_Store": b"1",
        "train/cat/._0.png": b"1",
        "train/cat/Thumbs.db": b"1",
        "train/.ipynb_checkpoints/0.png": png(1),
        "__MACOSX/train/cat/._0.png": b"1",
    }
    source = open_source(zipped(tmp_path / "x.zip", {**SPLIT, **litter}))
    assert contents(source) == SPLIT


def test_other_names_for_val_and_folders_beside_it(tmp_path: Path) -> None:
    renamed = {name.replace("val/", "test/"): content for name, content in SPLIT.items()}
    assert Counter(s for *_, s in facts(open_source(folder(tmp_path / "a", renamed)))) == {"train": 5, "val": 3}
    both = open_source(folder(tmp_path / "b", SPLIT | renamed))
    assert {p.name.split("/")[0] for p in both.pictures} == {"train", "val"}
    assert both.notes == (("test", "is passed over"),)


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path / "x", tree(cat__indoors=2, cat__outdoors=2, dog=3)))
    assert [c.id for c in source.classes] == ["cat", "dog"]
    assert len(source.pictures) == 7


def test_unusual_names_work(tmp_path: Path) -> None:
    names = ["train/żółw morski/zdjęcie nr 1.png", "train/犬/" + "l" * 200 + ".png", "val/żółw morski/<b>&.png", "val/犬/a\nb.png"]
    files = {name: png(i) for i, name in enumerate(names)}
    for kind in ("folder", "x.zip", "x.tgz"):
        source = open_source(PACKERS[kind](tmp_path / kind, files))
        assert contents(source) == files
        assert {c.english for c in source.classes} == {"żółw morski", "犬"}


def test_classes_are_matched_by_name_however_accents_are_composed(tmp_path: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "żółw"), unicodedata.normalize("NFD", "żółw")
    files = {f"train/{composed}/1.png": png(1), f"val/{decomposed}/2.png": png(2), "train/ant/3.png": png(3), "val/ant/4.png": png(4)}
    source = open_source(zipped(tmp_path / "x.zip", files))
    assert facts(source)[1:3] == [(f"train/{composed}/1.png", composed, "train"), ("val/ant/4.png", "ant", "val")]
    assert [c.id for c in source.classes] == ["ant", composed]


@pytest.mark.skipif(sys.platform == "win32", reason="names are bytes only on POSIX")
def test_a_name_that_is_not_utf8_is_listed(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", SPLIT)
    Path(os.fsdecode(os.fsencode(path / "train" / "cat") + b"/\xff.png")).write_bytes(png(0))
    with pytest.raises(DataError, match=r"cat/\\xff\.png has a name that is not UTF-8"):
        open_source(path)
    assert len(open_source(path, skip_bad=True).pictures) == len(SPLIT)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (tree(train__cat=2, train__dog=2, val__cat=2), r"lacks pictures of these classes: dog \(none to score\)"),
        (tree(train__cat=2, val__dog=2, val__cat=2), r"dog \(none to train with\)"),
        (tree(train__Cat=2, train__dog=1, val__dog=2, val__cat=2), r"Cat \(none to score\), cat \(none to train with\)"),
        (tree(cat=5, dog=1), r"dog \(none to score\)"),
        (tree(cat=5), "no two class folders"),
        (tree(train__cat=5, val__cat=3), "only one class folder, cat"),
        ({"1.png": png(1)}, "no two class folders"),
        ({}, "no two class folders"),
        (tree(data__train__cat=2, data__val__cat=2, docs=1), "train/ lies in data"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=message):
        open_source(folder(tmp_path / "x", files))


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", tree(cat=4, dog=4))
    (path / "ant").mkdir()
    (path / "ant" / ".DS_Store").write_bytes(b"1")
    with pytest.raises(DataError, match=r"classes: ant \(none to train with\), ant \(none to score\)"):
        open_source(path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in SPLIT.items():
            archive.writestr(name, content)
        archive.mkdir("val/ant")
    with pytest.raises(DataError, match="ant"):
        open_source(tmp_path / "x.zip")


def bad_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return {"train/cat/empty.jpg": b"", "train/dog/text.jpg": b"hello", "val/cat/cut.jpg": buffer.getvalue()[:-300]}


@pytest.mark.parametrize("kind", ["folder", "x.zip", "x.tgz"])
def test_bad_pictures_are_all_listed_or_left_out_and_recorded(tmp_path: Path, kind: str) -> None:
    path = PACKERS[kind](tmp_path / kind, SPLIT | bad_files())
    with pytest.raises(DataError) as error:
        open_source(path)
    message = str(error.value)
    assert str(path) in message
    assert "2 pictures cannot be used" in message
    assert "train/cat/empty.jpg is empty (0 bytes)" in message
    assert "train/dog/text.jpg is no picture" in message
    assert "--skip-bad" in message
    source = open_source(path, skip_bad=True)
    assert contents(source) == SPLIT
    assert [name for name, _ in source.skipped] == ["train/cat/empty.jpg", "train/dog/text.jpg", "val/cat/cut.jpg"]
    assert "damaged" in source.skipped[2][1]
    assert "3 unusable left out" in describe(source)
    assert source.sha256 == open_source(folder(tmp_path / "good", SPLIT)).sha256


def test_a_class_that_skipping_leaves_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dog \(none to score\)"):
        open_source(folder(tmp_path / "x", {**SPLIT, "val/dog/0.png": b"no picture"}), skip_bad=True)


def test_pictures_of_which_only_a_part_is_used_are_noted(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    source = open_source(folder(tmp_path / "x", SPLIT | {"train/cat/film.gif": buffer.getvalue()}))
    assert source.notes == (("train/cat/film.gif", "is a GIF of several pictures; the first is used"),)


def test_the_second_opening_reads_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("folder", "x.tgz"):
        path = PACKERS[kind](tmp_path / kind, SPLIT)
        first = open_source(path)
        with monkeypatch.context() as patched:
            patched.setattr(index, "inspect", lambda *_: pytest.fail("a picture was looked at again"))
            assert open_source(path) == first
        if kind == "folder":
            (path / "train/cat/0.png").write_bytes(png(500))
            assert open_source(path).sha256 != first.sha256


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", SPLIT)
    first = open_source(path)
    for file in (Path(os.environ["TENCH_CACHE"]) / "index").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert open_source(path) == first


def test_a_picture_that_changed_after_opening_is_noticed(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", SPLIT)
    source = open_source(path)
    (path / "val/dog/0.png").write_bytes(png(500))
    with pytest.raises(DataError, match=r"val/dog/0\.png has changed"):
        contents(source)
    (path / "val/dog/0.png").unlink()
    with pytest.raises(DataError, match=r"val/dog/0\.png cannot be read: No such file"):
        source.read(source.pictures[-1])
    zip_path = zipped(tmp_path / "x.zip", SPLIT)
    source = open_source(zip_path)
    zipped(zip_path, dict(list(SPLIT.items())[:-1]))
    with pytest.raises(DataError, match=r"no longer holds val/dog/0\.png"):
        contents(source)


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "train/../../evil.png", "C:/evil.png", "..\\evil.png", "\\evil.png"])
@pytest.mark.parametrize("kind", ["x.zip", "x.tgz"])
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(DataError, match=r"is refused: the name .* leads out of it"):
        open_source(PACKERS[kind](tmp_path / kind, {**SPLIT, name: png(0)}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_special_files_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tarred(tmp_path / "x.tar", SPLIT, "")
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("train/cat/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"refused: train/cat/link\.png is a link or a special file"):
        open_source(path)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", SPLIT)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("train/cat/link.png")
        member.create_system, member.external_attr = 3, 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        open_source(path)


def test_a_huge_member_is_refused_before_it_is_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("train/cat/huge.png")
    member.size = MAX_FILE_BYTES + 1
    with gzip.open(tmp_path / "x.tgz", "wb") as file:
        file.write(member.tobuf() + bytes(4096))
    with pytest.raises(DataError, match="256 MiB, and at most 256 are allowed"):
        open_source(tmp_path / "x.tgz")


def test_a_huge_extended_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 10 * MAX_FILE_BYTES
    with gzip.open(tmp_path / "x.tgz", "wb") as file:
        file.write(member.tobuf() + bytes(4096))
    with pytest.raises(DataError, match="are allowed"):
        open_source(tmp_path / "x.tgz")


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tench.data.files.MAX_FILE_BYTES", 1 << 20)
    zeros = {f"train/cat/{i}.png": bytes(1 << 19) for i in range(8)}
    path = tmp_path / f"x.{kind}"
    _ = zipped(path, zeros, zipfile.ZIP_DEFLATED) if kind == "zip" else tarred(path, zeros)
    with pytest.raises(DataError, match="archive bombs"):
        open_source(path)


@pytest.mark.parametrize("kind", ["x.zip", "x.tgz", "x.tar", "x.tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_an_archive_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = PACKERS[kind](tmp_path / kind, SPLIT)
    content = path.read_bytes()
    if kind == "x.tar":  # without its padding, which may well be missing
        content = content.rstrip(b"\0")
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"fetch or pack it anew|neither a folder nor"):
        open_source(path)


def test_a_tar_that_ends_between_two_files_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", SPLIT, "")
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])
    with pytest.raises(DataError, match="its end is missing"):
        open_source(path)


def test_a_damaged_header_within_a_tar_does_not_pass_for_its_end(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", SPLIT, "")
    with tarfile.open(path) as archive:
        header = archive.getmembers()[3].offset
    content = bytearray(path.read_bytes())
    content[header + 5] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read"):
        open_source(path)


def test_wrong_checksums_within_archives_are_noticed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", SPLIT)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="CRC"):
        open_source(path)
    path = tarred(tmp_path / "x.tgz", SPLIT)
    path.write_bytes(path.read_bytes()[:-8] + b"\0\0\0\0" + path.read_bytes()[-4:])
    with pytest.raises(DataError, match="CRC"):
        open_source(path)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", SPLIT, "")
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("./train/cat/0.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match=r"holds train/cat/0\.png twice"):
        open_source(path)


def test_what_is_no_archive_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.tgz").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(DataError, match="neither a folder nor a tar or zip archive"):
        open_source(tmp_path / "x.tgz")
    with pytest.raises(NotFoundError, match="no such folder or archive"):
        open_source(tmp_path / "nowhere")
    for val_share in (0, -0.1, 1.1):
        with pytest.raises(UsageError, match=f"val_share is {val_share}"):
            open_source(tmp_path, val_share=val_share)
    with pytest.raises(NotFoundError, match="tench data get imagenette"):
        open_source("imagenette")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_in_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", {name: content for name, content in SPLIT.items() if not name.startswith("train/dog")})
    folder(tmp_path / "elsewhere", {"0.png": png(50)})
    (path / "train/dog").symlink_to(tmp_path / "elsewhere")
    (path / "train/cat/loop").symlink_to(path)
    assert "train/dog/0.png" in contents(open_source(path))
    (path / "train/cat/broken.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"broken\.png cannot be read: No such file"):
        open_source(path)


def wnids() -> list[str]:
    return [kind.wnid for kind in imagenette.classes()]


def test_pictures_in_imagenettes_classes_get_its_names_but_not_its_name(tmp_path: Path) -> None:
    source = open_source(
        folder(tmp_path / "mine", {f"{s}/{w}/{s}{i}.png": png(i) for s in ("train", "val") for i, w in enumerate(wnids())})
    )
    assert source.kind == "imagenette"
    assert source.name == "mine (Imagenette's classes)"
    assert (source.classes[3].english, source.classes[3].polish, source.classes[3].imagenet_index) == ("chain saw", "piła", 491)


@pytest.fixture
def small_pictograms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PICTOGRAMS_PER_CLASS", {"train": 2, "val": 1})
    monkeypatch.setattr(sources, "PICTOGRAMS_PX", 16)


@pytest.mark.usefixtures("small_pictograms")
def test_demo_pictures_are_what_there_is_without_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = open_source()
    assert (source.kind, source.is_demo, source.name) == ("pictograms", True, "demo pictures (pictograms)")
    assert [c.id for c in source.classes] == wnids()
    assert [c.english for c in source.classes][:3] == ["fish", "dog", "radio"]
    assert Counter(p.split for p in source.pictures) == {"train": 20, "val": 10}
    assert "say nothing about photographs" in describe(source)
    assert open_source("pictograms") == source
    assert open_source("pictograms", seed=1).sha256 != source.sha256
    monkeypatch.setenv("TENCH_DATA", str(folder(tmp_path / "mine", SPLIT)))
    assert open_source().name == "mine"
    assert open_source("pictograms").is_demo


@pytest.mark.usefixtures("small_pictograms")
def test_demo_pictures_never_pass_for_photographs_wherever_they_lie(tmp_path: Path) -> None:
    drawn = open_source("pictograms")
    assert drawn.location is not None
    copy = tmp_path / "imagenette2.zip"
    copy.write_bytes(drawn.location.read_bytes())
    assert open_source(copy).is_demo


def test_imagenette_in_the_cache_comes_before_the_demo_pictures() -> None:
    path = imagenette.archive_path("160")
    path.parent.mkdir(parents=True)
    tarred(path, {f"imagenette2-160/{s}/{w}/{s}{i}.png": png(i) for s in ("train", "val") for i, w in enumerate(wnids())})
    assert open_source().location == path
    assert open_source("imagenette").location == path


def test_describe_names_data_counts_and_hash(tmp_path: Path) -> None:
    source = open_source(folder(tmp_path / "mine", SPLIT))
    assert describe(source) == f"mine: 5 training and 3 validation pictures in 2 classes, sha256 {source.sha256[:12]}"


def test_an_archive_is_streamed_without_being_opened_for_nothing(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tgz", SPLIT)
    assert list(open_files(path).stream({"val/dog/0.png"})) == [("val/dog/0.png", SPLIT["val/dog/0.png"])]
    source = open_source(path)
    path.unlink()
    assert list(source.stream([])) == []


@pytest.mark.shared
def test_the_whole_of_imagenette(shared_data: Path) -> None:
    source = open_source(shared_data)
    assert (source.kind, source.name, source.is_demo) == ("imagenette", "Imagenette", False)
    assert Counter((source.classes[p.label].id, p.split) for p in source.pictures) == {
        (kind.wnid, split): n for kind in imagenette.classes() for split, n in (("train", kind.n_train), ("val", kind.n_val))
    }
    assert len({p.sha256 for p in source.pictures}) == 13_394
