"""Uploads to pixels: a few at a time, checked by their headers before they are decoded."""

import asyncio
import ctypes
import platform
import re
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.config import Preprocessing
from tench.data.decode import PictureError, TooLargeError, decode_image, inspect, resize
from tench.serve.forms import Upload
from tench.serve.limits import Limits
from tench.serve.refusals import Refusal

T = TypeVar("T")
NAME = "The picture"

_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
"""How a scan of a JPEG begins; by chance these bytes hardly ever stand together."""


class Decoder:
    """Decodes pictures in `limits.decoders` threads; what more comes waits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = ThreadPoolExecutor(limits.decoders, "tench-decoder")
        self._large = Lock()

    async def pixels(self, upload: Upload, wanted: Sequence[Preprocessing]) -> list[NDArray[np.uint8]]:
        """The picture as each of `wanted` asks for it, uint8 RGB (height_px, width_px, 3). Raises Refusal for what cannot be used."""
        return await within(self.limits.answer_s, self.pool.submit(self._pixels, bytes(upload.data), wanted))

    def close(self) -> None:
        """Begin nothing more."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _pixels(self, data: bytes, wanted: Sequence[Preprocessing]) -> list[NDArray[np.uint8]]:
        try:
            size = self._checked(data)
            if size < self.limits.large_pixels:
                return _resized(decode_image(data, NAME), wanted)
            with self._large:
                try:
                    return _resized(decode_image(data, NAME), wanted)
                finally:
                    _give_memory_back()
        except TooLargeError as error:
            raise Refusal(413, "too_many_pixels", str(error)) from None
        except PictureError as error:
            raise Refusal(415, "not_a_picture", str(error)) from None
        except MemoryError:
            raise Refusal(503, "busy", "There is no memory for this picture just now; try again, or send a smaller one.") from None

    def _checked(self, data: bytes) -> int:
        """How many pixels it has, by its header. Raises PictureError for what is not to be decoded."""
        facts = inspect(data, NAME)
        n = facts.height_px * facts.width_px
        if n > self.limits.max_pixels:
            raise TooLargeError(NAME, f"has {n:,} pixels; at most {self.limits.max_pixels:,} are taken here")
        if data.startswith(b"\xff\xd8") and sum(1 for _ in _SCAN.finditer(data)) > self.limits.max_scans:
            raise PictureError(NAME, f"is a JPEG of more than {self.limits.max_scans} scans")
        return n


def _give_memory_back() -> None:
    """To the system (Linux with glibc only): a large picture leaves a gigabyte behind, which each decoder's thread would keep."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resized(image: Image.Image, wanted: Sequence[Preprocessing]) -> list[NDArray[np.uint8]]:
    return [resize(image, one.height_px, one.width_px, one.resize) for one in wanted]


async def within(seconds: float, work: "Future[T]") -> T:
    """What `work` gives, waited for no longer than `seconds`: then it is called off if it has not begun, and a Refusal raised."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(work), seconds)
    except TimeoutError:
        message = f"This took longer than {seconds:g} seconds; try again later, or send a smaller picture."
        raise Refusal(503, "took_too_long", message, {"Retry-After": "10"}) from None
