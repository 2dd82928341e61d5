"""A folder and archives as people and attackers make them, through the command line, to the end of a training."""

import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nursery import nursery
from PIL import Image

from tench.data import files
from tench.data.sources import open_source
from tench.errors import DataError
from tench.records import list_runs

RNG = np.random.default_rng(3)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode: str = "RGB", px: int = 20) -> Image.Image:
    image = Image.fromarray(RNG.integers(0, 256, (px, px, 3), dtype=np.uint8))
    return image.convert(mode)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width: int, height: int) -> bytes:
    """A PNG of a size, of a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def frames(kind: str, **options: Any) -> bytes:
    first, *rest = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "green")]
    return saved(first, kind, save_all=True, append_images=rest, **options)


sixteen = Image.fromarray(RNG.integers(0, 65536, (20, 20), dtype=np.uint16))
GOOD: dict[str, bytes] = {
    "cmyk.jpg": saved(picture("CMYK"), "JPEG"),
    "grey.jpg": saved(picture("L"), "JPEG"),
    "palette.png": saved(picture("P"), "PNG"),
    "palette.gif": saved(picture("P"), "GIF", transparency=3),
    "alpha.png": saved(picture("RGBA"), "PNG"),
    "grey alpha.png": saved(picture("LA"), "PNG"),
    "one bit.png": saved(picture("1"), "PNG"),
    "16 bit.png": saved(sixteen, "PNG"),
    "16 bit.tif": saved(sixteen, "TIFF"),
    **{f"upright-{i}.jpg": saved(picture(), "JPEG", exif=exif(i)) for i in range(1, 9)},
    "broken exif.jpg": saved(picture(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(5)),
    "film.gif": frames("GIF"),
    "film.webp": frames("WEBP"),
    "two.mpo": frames("MPO"),
    "wrong name.jpg": saved(picture(), "PNG"),
    "no name at all": saved(picture(), "BMP"),
    "żółć ze spacją i 日本語 🐟.png": saved(picture(), "PNG"),
    "n" * 251 + ".png": saved(picture(), "PNG"),
    "'\"<b>&;$(touch x)%s\n.png": saved(picture(), "PNG"),
    "one pixel.png": saved(picture(px=1), "PNG"),
}
PASSED_OVER = {".DS_Store": b"x", ".hidden.png": b"x", "Thumbs.db": b"x", "__MACOSX/._a.png": b"x"}
WHOLE = saved(picture(px=64), "JPEG")
BAD: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "is empty (0 bytes)"),
    "text.jpg": (b"hello", "is no picture of a known format"),
    "truncated.jpg": (WHOLE[: len(WHOLE) // 2], "is damaged"),
    "truncated.png": (saved(picture(px=64), "PNG")[:4000], "is damaged"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no picture of a known format"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "is no picture of a known format"),
    "paper.pdf": (b"%PDF-1.7\n", "is no picture of a known format"),
    "bomb.png": (png_of(30_000, 30_000), "pixels"),
    "bomb.jpg": (png_of(9_500, 9_500), "pixels"),
}


def folder_of(path: Path, more: dict[str, bytes]) -> Path:
    """Two classes with plain pictures, and `more` in the first one's training pictures."""
    for split, count in {"train": 12, "val": 4}.items():
        for name in ("ryby i raki", "psy"):
            (path / split / name).mkdir(parents=True)
            for number in range(count):
                picture().save(path / split / name / f"{number}.png")
    for name, content in more.items():
        target = path / "train" / "psy" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    return path


def train(net: Path, data: Path, runs: Path, said: Path, *words: str, **request: Any) -> tuple[int, str]:
    command = ["train", str(net), "--data", str(data), "--epochs", "1", "--batch-size", "4", "--device", "cpu", "--threads", "1"]
    said.unlink(missing_ok=True)
    environment = {"TENCH_RUNS": str(runs), "TENCH_CACHE": str(runs.with_name("cache"))}
    code = nursery().run(words=[*command, *words], environment=environment, output=said, **request)
    return code, said.read_text(encoding="utf-8")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "two.net"
    path.write_text("ImageInput, 16x16\nConv, 3x3, 4\nGlobalAvgPool\nFullyConnected, 2\nClassOutput, 2\n")
    return path


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_kind_of_good_picture_is_trained_on_and_explained(net: Path, tmp_path: Path) -> None:
    data = folder_of(tmp_path / "zdjęcia moje", GOOD | PASSED_OVER)
    (data / "val" / "psy" / "same.png").write_bytes((data / "train" / "psy" / "3.png").read_bytes())
    code, text = train(net, data, tmp_path / "runs", tmp_path / "said")
    assert code == 0, text
    (run,) = list_runs(tmp_path / "runs").runs
    assert run.record.data.n_fit + run.record.data.n_select == 24 + len(GOOD)
    assert {entry.id for entry in run.record.data.classes} == {"ryby i raki", "psy"}
    assert run.exhibits() is not None
    for name in ("film.gif", "film.webp", "two.mpo"):
        assert f"train/psy/{name} is a " in text, "noted"
    assert "Warning: the same picture is in training and validation: train/psy/3.png = val/psy/same.png" in text
    assert not (Path.cwd() / "x").exists()


def test_every_kind_of_bad_picture_is_listed_or_left_out_and_recorded(net: Path, tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", {name: content for name, (content, _) in BAD.items()})
    code, text = train(net, data, tmp_path / "runs", tmp_path / "said")
    assert code == 1, text
    assert list_runs(tmp_path / "runs").runs == ()
    truncated = [name for name in BAD if name.startswith("truncated")]  # whole by their headers: found when they are decoded
    for name, (_, reason) in BAD.items():
        if name not in truncated:
            assert any(f"train/psy/{name}" in line and reason in line for line in text.splitlines()), (name, text)
    assert "--skip-bad" in text
    for name in set(BAD) - set(truncated):
        (data / "train" / "psy" / name).unlink()
    code, text = train(net, data, tmp_path / "runs", tmp_path / "said")
    assert code == 1
    assert all(f"train/psy/{name} is damaged" in text for name in truncated), text
    for name, (content, _) in BAD.items():
        (data / "train" / "psy" / name).write_bytes(content)
    code, text = train(net, data, tmp_path / "runs", tmp_path / "said", "--skip-bad")
    assert code == 0, text
    assert f"{len(BAD)} unusable left out" in text
    (run,) = list_runs(tmp_path / "runs").runs
    assert set(run.record.data.skipped) == {f"train/psy/{name}" for name in BAD}
    assert all(BAD[Path(name).name][1] in reason for name, reason in run.record.data.skipped.items())


ZEROS = bytes(40 << 20)


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(8):  # 320 MiB
            archive.writestr(f"train/psy/{number}.png", ZEROS)


def tar_bomb(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for number in range(8):
            member = tarfile.TarInfo(f"train/psy/{number}.png")
            member.size = len(ZEROS)
            archive.addfile(member, io.BytesIO(ZEROS))


def zip_that_lies(path: Path) -> None:
    """Every file says that it has 100 bytes, and unpacks to 400 MiB."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = b"".join(deflated.compress(ZEROS) for _ in range(10)) + deflated.flush()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("train/psy/0.png", content)
    data = bytearray(path.read_bytes())
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    for at, offset in ((local, 8), (central, 10)):
        data[at + offset : at + offset + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    for at, offset in ((local, 22), (central, 24)):
        data[at + offset : at + offset + 4] = struct.pack("<I", 100)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("made", [zip_bomb, tar_bomb, zip_that_lies])
def test_a_real_bomb_is_refused_and_memory_stays_flat(made: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "bomb.bin"
    made(path)
    assert path.stat().st_size < 3 << 20
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"archive bombs|cannot be read"):
            open_source(path)
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


def test_no_archive_writes_outside_or_at_all(tmp_path: Path) -> None:
    """Through the verb itself, in a folder whose every change would show."""
    hostile: dict[str, bytes] = {}
    for name in ("../evil.png", "/evil.png", "train/psy/../../../evil.png", "C:\\evil.png", "..\\evil.png"):
        path = tmp_path / f"{len(hostile)}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, saved(picture(), "PNG"))
        hostile[name] = path.read_bytes()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        path = tmp_path / f"{len(hostile)}.tgz"
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("train/psy/link.png")
            member.type, member.linkname = kind, str(tmp_path / "target")
            archive.addfile(member)
        hostile[str(kind)] = path.read_bytes()
    before = sorted(tmp_path.rglob("*"))
    for path in [path for path in before if path.suffix in (".zip", ".tgz")]:
        with pytest.raises(DataError, match="is refused"):
            open_source(path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/evil.png").exists()


def test_a_file_larger_than_what_may_be_read_is_refused_unread(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", {})
    with (data / "train" / "psy" / "huge.png").open("wb") as file:
        os.ftruncate(file.fileno(), files.MAX_FILE_BYTES + 1)
    with pytest.raises(DataError, match=r"huge\.png has 256 MiB, and at most 256 are allowed"):
        open_source(data)
