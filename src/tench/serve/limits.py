"""What one server takes on at most, so that no visitor can fill its memory or keep it from the others."""

from dataclasses import dataclass

from tench.data.decode import MAX_PIXELS

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Every bound of a server; what is beyond is refused, with a sentence."""

    max_bytes: int = 20 * MIB
    """Of one request's body, pictures and all."""
    max_pixels: int = 50_000_000
    """Of one picture, checked by its header, before it is decoded."""
    max_photos: int = 16
    """Pictures of one request."""
    max_scans: int = 100
    """Of a progressive JPEG. Usual ones have about ten; a small file of thousands takes minutes to decode."""
    decoders: int = 2
    """Pictures that are decoded at the same time."""
    large_pixels: int = 12_000_000
    """From here on pictures are decoded one at a time: they may need 20 bytes a pixel."""
    waiting: int = 64
    """Requests that wait for a decoder or a model; those beyond are asked to come again."""
    bodies: int = 8
    """How many bodies of `max_bytes` may be held in memory at once, whole or half received."""
    upload_s: float = 60.0
    """For a whole body to arrive."""
    answer_s: float = 60.0
    """For each step of answering: decoding, and each model."""
    linger_s: float = 2.0
    """How long what is too large is still read, and thrown away, so that its sender hears why it was refused."""

    def __post_init__(self) -> None:
        assert 0 < self.max_pixels <= MAX_PIXELS
