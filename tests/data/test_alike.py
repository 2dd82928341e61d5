"""Pictures that are the same but for their files: made here as pictures of soft and fine spots."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import folder
from PIL import Image, ImageEnhance

from tench.data import alike, pictograms
from tench.data.alike import Alike, near_duplicates
from tench.data.sources import open_source

PX = 120


def spots(number: int) -> Image.Image:
    """A picture with detail of every size, another one for every `number`."""
    rng = np.random.default_rng(number)
    layers = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((PX, PX), Image.Resampling.BICUBIC) for n in (4, 9, 20)
    ]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3)


def coded(image: Image.Image, quality: int | None = None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG") if quality is None else image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def found(path: Path, **pictures: Image.Image | bytes) -> list[Alike]:
    """What is found among `split__class__name` = picture, beside two pictures that are like no other."""
    given = {name.replace("__", "/"): content if isinstance(content, bytes) else coded(content) for name, content in pictures.items()}
    others = {
        "train/a/o.png": coded(spots(901)),
        "train/b/o.png": coded(spots(902)),
        "val/a/o.png": coded(spots(903)),
        "val/b/o.png": coded(spots(904)),
    }
    return near_duplicates(open_source(folder(path, others | given)))


def test_only_other_pictures(tmp_path: Path) -> None:
    assert found(tmp_path, **{f"train__a__{i}": spots(i) for i in range(40)}) == []


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: coded(image, 30),
        lambda image: coded(image, 70),
        lambda image: coded(image.resize((PX // 2, PX // 2))),
        lambda image: coded(image.resize((PX, PX * 3 // 4))),
        lambda image: coded(image.crop((6, 0, PX, PX - 6)), 85),
        lambda image: coded(image.crop((0, 3, PX - 3, PX))),
        lambda image: coded(ImageEnhance.Brightness(image).enhance(0.7)),
    ],
    ids=["quality 30", "quality 70", "half the size", "squashed", "5 % off", "2.5 % off", "darker"],
)
def test_a_changed_copy_is_found(changed: Callable[[Image.Image], bytes], tmp_path: Path) -> None:
    pairs = found(tmp_path, val__a__copy=changed(spots(1)), train__b__it=spots(1))
    assert [(pair.first, pair.second, pair.mirrored) for pair in pairs] == [("train/b/it", "val/a/copy", False)]
    assert alike.LEAST <= pairs[0].likeness <= 1


def test_mirrored_copies_and_the_order(tmp_path: Path) -> None:
    mirrored = spots(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pairs = found(tmp_path, train__a__0=spots(1), train__a__1=coded(spots(1), 20), val__a__2=mirrored)
    assert {(pair.first[-1], pair.second[-1], pair.mirrored) for pair in pairs} == {("0", "2", True), ("0", "1", False), ("1", "2", True)}
    assert pairs[0].second == "val/a/2"
    assert [pair.likeness for pair in pairs] == sorted((pair.likeness for pair in pairs), reverse=True)
    assert pairs[0].likeness == pytest.approx(1, abs=1e-3)


def test_a_symmetric_picture_is_one_pair(tmp_path: Path) -> None:
    both = Image.blend(spots(1), spots(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5)
    assert len(found(tmp_path, train__a__0=both, train__a__1=coded(both, 60))) == 1


def test_identical_files_are_no_pairs(tmp_path: Path) -> None:
    assert found(tmp_path, train__a__0=spots(1), val__a__1=spots(1)) == []


def test_plain_colours_and_even_shades_are_like_no_other(tmp_path: Path) -> None:
    plain = {f"train__a__{grey}": Image.new("RGB", (PX, PX), (grey, grey, 90)) for grey in (0, 100, 101, 255)}
    shade = np.broadcast_to(np.linspace(0, 255, PX)[:, None, None], (PX, PX, 3)).astype(np.uint8)
    shades = {"train__b__0": Image.fromarray(shade), "val__b__0": Image.fromarray(shade // 2)}
    assert found(tmp_path, **plain, **shades) == []


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {f"val__a__{i}": coded(spots(i), 50) for i in range(9)} | {f"train__a__{i}": spots(i) for i in range(9)}
    whole = found(tmp_path, **copies)
    monkeypatch.setattr(alike, "BLOCK", 5)
    monkeypatch.setattr(alike, "PAIRS", 1)
    in_blocks = near_duplicates(open_source(tmp_path))
    assert [(pair.first, pair.second) for pair in in_blocks] == [(pair.first, pair.second) for pair in whole]
    assert {(pair.first[-1], pair.second[-1]) for pair in whole} == {(str(i), str(i)) for i in range(9)}


def test_demo_pictures_are_not_alike(tmp_path: Path) -> None:
    """Though those of a class show the same thing."""
    drawn = {name: content for name, _, content in pictograms.generate(0, {"train": 10, "val": 4}, 64)}
    assert near_duplicates(open_source(folder(tmp_path, drawn))) == []


def test_two_pictures(tmp_path: Path) -> None:
    files = {"a/0.png": coded(spots(1)), "b/0.png": coded(spots(1), 60)}
    source = open_source(folder(tmp_path, files), val_share=1.0)
    assert [(pair.first, pair.second) for pair in near_duplicates(source)] == [("a/0.png", "b/0.png")]
