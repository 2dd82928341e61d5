"""Every kind of picture file to upright RGB, and every kind of file that is none to an error that says why."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tench.data.decode import PictureError, decode, inspect, resize
from tench.errors import DataError

RNG = np.random.default_rng(0)
UPRIGHT = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
"""Different in every place, so that any turn shows."""
SMOOTH = np.kron(RNG.integers(0, 256, (2, 3, 3)), np.ones((16, 16, 1))).astype(np.uint8)
"""Blocks of 16 pixels, which JPEG keeps nearly as they are."""


def saved(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG put together by hand from its specification."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def stored_as(orientation: int, upright: np.ndarray) -> np.ndarray:
    """How a camera stores the picture, from the definition: which side of the scene its row 0 and column 0 show."""
    sideways = upright.transpose(1, 0, 2)
    return {
        1: upright,
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: sideways,  # left, top
        6: sideways[::-1],  # right, top
        7: sideways[::-1, ::-1],  # right, bottom
        8: sideways[:, ::-1],  # left, bottom
    }[orientation]


def exif(orientation: Any) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(np.ascontiguousarray(stored_as(orientation, UPRIGHT)), kind, exif=exif(orientation), **options)
    assert np.array_equal(decode(data, "x"), UPRIGHT)
    facts = inspect(data, "x")
    assert (facts.height_px, facts.width_px) == (3, 5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_jpeg(orientation: int) -> None:
    data = saved(np.ascontiguousarray(stored_as(orientation, SMOOTH)), "JPEG", quality=95, subsampling=0, exif=exif(orientation))
    assert np.abs(decode(data, "x").astype(int) - SMOOTH).max() < 8


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_leaves_the_picture_as_it_is() -> None:
    for broken in (b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(5)):
        data = saved(SMOOTH, "JPEG", quality=95, subsampling=0, exif=broken)
        assert np.abs(decode(data, "x").astype(int) - SMOOTH).max() < 8
    assert np.array_equal(decode(saved(UPRIGHT, "PNG", exif=exif(99)), "x"), UPRIGHT)


def test_cmyk_jpeg_has_the_right_colours() -> None:
    cmyk = np.zeros((16, 64, 4), dtype=np.uint8)
    cmyk[:, 16:32] = (0, 255, 255, 0)  # magenta and yellow ink: red
    cmyk[:, 32:48] = (255, 0, 0, 0)  # cyan
    cmyk[:, 48:] = (0, 0, 0, 255)  # black
    pixels = decode(saved(Image.frombytes("CMYK", (64, 16), cmyk.tobytes()), "JPEG", quality=98), "x")
    expected = [(255, 255, 255), (255, 0, 0), (0, 255, 255), (0, 0, 0)]
    assert np.abs(pixels[8, 8::16].astype(int) - expected).max() < 6


def test_greyscale_jpeg_has_three_equal_channels() -> None:
    pixels = decode(saved(Image.fromarray(SMOOTH[:, :, 0]), "JPEG", quality=98), "x")
    assert pixels.shape == SMOOTH.shape
    assert np.ptp(pixels, axis=2).max() == 0
    assert np.abs(pixels[:, :, 0].astype(int) - SMOOTH[:, :, 0]).max() < 4


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    values = [0, 256, 257, 32768, 65535]
    data = png(5, 1, 16, 0, b"\0" + struct.pack(">5H", *values))
    assert decode(data, "x")[0, :, 1].tolist() == [0, 1, 1, 128, 255]
    tiff = saved(Image.fromarray(np.array([values], dtype=np.uint16)), "TIFF")
    assert decode(tiff, "x")[0, :, 0].tolist() == [0, 1, 1, 128, 255]


def test_16_bit_colour_is_scaled_not_clipped() -> None:
    data = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 65535, 32768, 0, 300, 65535, 20000))
    assert np.abs(decode(data, "x").astype(int)[0] - [[255, 128, 0], [1, 255, 78]]).max() <= 1


def test_16_bit_grey_with_alpha() -> None:
    data = png(2, 1, 16, 4, b"\0" + struct.pack(">4H", 20000, 65535, 20000, 0))
    assert np.abs(decode(data, "x").astype(int)[0, :, 0] - [78, 255]).max() <= 1


def test_transparency_is_laid_on_white() -> None:
    rgba = np.array([[(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 51)]], dtype=np.uint8)
    expected = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]  # 0.2 * 200 + 0.8 * 255 = 244
    assert decode(saved(rgba, "PNG"), "x")[0].tolist() == expected
    assert decode(saved(rgba, "WEBP", lossless=True, exact=True), "x")[0].tolist() == expected
    grey = Image.frombytes("LA", (2, 1), bytes([100, 255, 100, 0]))
    assert decode(saved(grey, "PNG"), "x")[0, :, 0].tolist() == [100, 255]


def test_palette_with_and_without_a_transparent_colour() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    assert decode(saved(image, "PNG"), "x")[0].tolist() == [[10, 20, 30], [200, 100, 0], [0, 0, 255]]
    for kind in ("PNG", "GIF"):
        assert decode(saved(image, kind, transparency=1), "x")[0].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 255]]


def test_a_transparent_colour_without_palette() -> None:
    rows = b"\0" + bytes([1, 2, 3, 9, 9, 9])
    data = png(2, 1, 8, 2, rows, extra=chunk(b"tRNS", struct.pack(">3H", 9, 9, 9)))
    assert decode(data, "x")[0].tolist() == [[1, 2, 3], [255, 255, 255]]


def test_one_bit_is_black_and_white() -> None:
    bits = np.array([[True, False, True]])
    for kind in ("PNG", "BMP", "TIFF"):
        assert decode(saved(Image.fromarray(bits), kind), "x")[0, :, 2].tolist() == [255, 0, 255]


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("MPO", {"quality": 95})]
)
def test_of_several_pictures_in_a_file_the_first_is_taken_and_noted(kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], quality=95)
    assert np.abs(decode(data, "x").astype(int) - (250, 0, 0)).max() < 4
    note = inspect(data, "x").note
    assert note is not None
    assert "the first is used" in note
    assert inspect(saved(frames[0], "PNG"), "x").note is None


def test_the_content_decides_not_the_extension() -> None:
    assert np.array_equal(decode(saved(UPRIGHT, "PNG"), "photo.jpg"), UPRIGHT)


@pytest.mark.parametrize(
    "data",
    [
        b"just text",
        b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        b"%PDF-1.7\n",
        b"\x80\x04K\x01.",
        b"P6 1 1 255\nabc",
    ],
)
def test_what_is_not_on_the_list_of_formats_is_refused(data: bytes) -> None:
    for look in (inspect, decode):
        with pytest.raises(PictureError, match=r"a\.jpg cannot be used: it is no picture of a known format"):
            look(data, "a.jpg")


def test_empty_file() -> None:
    with pytest.raises(DataError, match=r"a\.jpg cannot be used: it is empty \(0 bytes\)"):
        decode(b"", "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_refused(kind: str) -> None:
    data = saved(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    for share in (0.9, 0.5):
        with pytest.raises(PictureError, match="cannot be used: it is"):
            decode(data[: int(len(data) * share)], "x")


def test_damaged_pixels_are_refused() -> None:
    data = bytearray(saved(UPRIGHT, "PNG"))
    data[data.index(b"IDAT") + 8] ^= 0xFF
    with pytest.raises(PictureError, match="is damaged"):
        decode(bytes(data), "x")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (9_000, 9_000), (80_000_001, 1)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    bomb = png(width, height, 8, 0, b"")  # no pixels at all: to decode it would be another error
    for look in (inspect, decode):
        with pytest.raises(PictureError, match="pixels"):
            look(bomb, "x")


def test_32_bit_numbers_are_refused() -> None:
    for kind in (np.int32, np.float32):
        with pytest.raises(PictureError, match="32-bit"):
            decode(saved(Image.fromarray(np.ones((2, 2), dtype=kind)), "TIFF"), "x")


def test_squash_brings_the_whole_picture_to_the_size() -> None:
    pixels = np.kron(np.array([[0, 90], [120, 210]]), np.ones((8, 16))).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    small = resize(pixels, 1, 1, "squash")
    assert small.shape == (1, 1, 3)
    assert small[0, 0].tolist() == [105, 105, 105]


def test_squash_is_an_antialiased_triangle() -> None:
    """Against the formula: weights max(0, 1 - |x - centre| / scale) on the source, normalised."""
    row = RNG.integers(0, 256, 12)
    small = resize(np.broadcast_to(row[None, :, None], (4, 12, 3)).astype(np.uint8), 4, 3)[0, :, 0]
    for i in range(3):
        weights = np.maximum(0, 1 - np.abs(np.arange(12) + 0.5 - (i + 0.5) * 4) / 4)
        assert small[i] == pytest.approx(weights @ row / weights.sum(), abs=1)


def test_crop_brings_the_shorter_side_to_the_size_and_takes_the_centre() -> None:
    wide = RNG.integers(0, 256, (10, 30, 3), dtype=np.uint8)
    assert np.array_equal(resize(wide, 5, 5, "crop"), resize(wide, 5, 15)[:, 5:10])
    tall = wide.transpose(1, 0, 2).copy()
    assert np.array_equal(resize(tall, 5, 5, "crop"), resize(tall, 15, 5)[5:10])
    assert np.array_equal(resize(wide, 10, 20, "crop"), wide[:, 5:25])


def test_same_size_changes_nothing() -> None:
    assert np.array_equal(resize(UPRIGHT, 3, 5), UPRIGHT)
    assert np.array_equal(resize(UPRIGHT, 3, 5, "crop"), UPRIGHT)
