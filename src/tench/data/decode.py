"""One picture file to upright RGB pixels: decided by content, within an allowlist of formats, refused before it can do harm."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import (  # the plugins register themselves: asked for by `formats`, they need not be looked for by several threads at once
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from tench.errors import DataError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
"""Pillow's names; its JPEG includes MPO."""
MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded (240 MB as RGB); Pillow itself warns at 89 million."""
BACKGROUND = (255, 255, 255)
"""What lies behind transparent pixels."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}


class PictureError(DataError):
    """One picture that cannot be used; `reason` says why, without its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be used: it {reason}. Mend, replace or remove it.")
        self.reason = reason


class TooLargeError(PictureError):
    """One picture with more pixels than are decoded."""


@dataclass(frozen=True)
class Facts:
    """What the header says: the size of the upright picture, and a note where only part of the file is used."""

    height_px: int
    width_px: int
    note: str | None


def decode(data: bytes, name: str) -> NDArray[np.uint8]:
    """The picture upright, as uint8 RGB array of shape (height_px, width_px, 3). Raises PictureError (a DataError)."""
    return np.array(decode_image(data, name))


def decode_image(data: bytes, name: str) -> Image.Image:
    """As `decode`, but as a Pillow image of mode RGB."""
    image = _opened(data, name)
    try:
        image.load()
        return _upright(image, _rgb(image, name))
    except PictureError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every kind of exception on damaged bytes
        raise PictureError(name, f"is damaged ({error})") from None


def inspect(data: bytes, name: str) -> Facts:
    """Check format and size by the header alone, without decoding.

    Raises PictureError for what `decode` would refuse before decoding: empty, foreign or far too large files.
    """
    image = _opened(data, name)
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception as error:  # as in decode_image
        raise PictureError(name, f"is damaged ({error})") from None
    height_px, width_px = (image.width, image.height) if _lies(image) else (image.height, image.width)
    return Facts(height_px, width_px, f"is a {image.format} of several pictures; the first is used" if animated else None)


def resize(
    picture: Image.Image | NDArray[np.uint8], height_px: int, width_px: int, way: Literal["squash", "crop"] = "squash"
) -> NDArray[np.uint8]:
    """The RGB picture at another size: uint8 array of shape (height_px, width_px, 3), bilinear with antialiasing.

    `squash` brings both sides to the size; `crop` takes the largest centred part of the right proportions.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    box = _centre(image.width, image.height, width_px / height_px) if way == "crop" else (0.0, 0.0, float(image.width), float(image.height))
    return np.array(image.resize((width_px, height_px), Image.Resampling.BILINEAR, box=box))


def _centre(width: int, height: int, proportion: float) -> tuple[float, float, float, float]:
    """The largest centred box (left, top, right, bottom) with width / height = `proportion`."""
    box_width, box_height = min(width, height * proportion), min(height, width / proportion)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height


def _opened(data: bytes, name: str) -> Image.Image:
    """The picture with its header read, its pixels not yet decoded."""
    if not data:
        raise PictureError(name, "is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLargeError(name, f"has more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise PictureError(name, f"is no picture of a known format by its content ({', '.join(FORMATS)})") from None
    except Exception as error:  # as in decode_image
        raise PictureError(name, f"is damaged ({error})") from None
    if image.width * image.height > MAX_PIXELS:
        raise TooLargeError(name, f"has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} are allowed")
    return image


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """Three channels of 8 bits: 16-bit grey is scaled, transparency laid on BACKGROUND, CMYK and palettes converted."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise PictureError(name, "holds 32-bit numbers, of which none is known to be white; save it with 8 or 16 bits")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (*BACKGROUND, 255)), pixels).convert("RGB")
    return image.convert("RGB")


def _lies(image: Image.Image) -> bool:
    """Whether `image`, not decoded yet, gives the width of the upright picture as its height."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return False  # Pillow turns TIFFs itself, and would decode the whole PNG to look for EXIF behind its pixels
    return _turn(image) in _SIDEWAYS


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    turn = _turn(image)
    return pixels if turn is None else pixels.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the picture upright by its EXIF orientation; None where there is nothing usable to go by."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF says nothing about the pixels
        return None
