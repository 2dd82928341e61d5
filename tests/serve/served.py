"""What the server's tests ask of, and send to it."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tench.answering import Answering, Seen
from tench.config import Preprocessing
from tench.records import ClassFacts

BASE = "http://127.0.0.1:8765"


class Colours(Answering):
    """Answers which colour the middle of a picture has most of. It cannot be looked into, as a bundle cannot."""

    name = "colours"
    preprocessing = Preprocessing(height_px=24, width_px=36)
    classes = tuple(ClassFacts(id=word, english=word, polish=word) for word in ("red", "green", "blue"))
    trust = None

    def look(self, pixels: NDArray[np.uint8], features: bool = False) -> Seen:
        """See `Answering.look`."""
        return Seen(pixels[:, 8:16, 12:24].mean((1, 2)).astype(np.float32) / 16, None)


def picture(colour: tuple[int, int, int] = (200, 50, 40), size: tuple[int, int] = (60, 40), form: str = "PNG") -> bytes:
    """A file of one colour; `size` is (width, height)."""
    content = BytesIO()
    Image.new("RGB", size, colour).save(content, form)
    return content.getvalue()
