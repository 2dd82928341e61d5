"""What accuracy a new last layer on GoogLeNet had from few pictures a class, as it was measured once on Imagenette (bench/few.py)."""

from importlib import resources
from pathlib import Path

from tench.config import Frozen, checked, read_toml


class Expectation(Frozen):
    """Top-1 (0 to 1) with so many training pictures a class: the mean over seeds, and the lowest and highest of them."""

    pictures: int
    top1: float
    low: float
    high: float


class Provenance(Frozen):
    """What was measured, on what, and when."""

    network: str
    weights_sha256: str
    data: str
    data_sha256: str
    classes: int
    scored: int
    """Photographs that GoogLeNet had not seen in pretraining; only those were scored."""
    seeds: tuple[int, ...]
    head_start: str
    tench: str
    date: str


def expectations() -> tuple[tuple[Expectation, ...], Provenance]:
    """All that was measured, the fewest pictures first."""
    path = Path(str(resources.files("tench").joinpath("wizard", "expected.toml")))
    values = read_toml(path)
    rows = tuple(checked(Expectation, row, str(path)) for row in values["row"])
    return rows, checked(Provenance, values["provenance"], str(path))


def nearest(pictures: float) -> Expectation:
    """What was measured with no more training pictures a class than these (with the fewest, where these are fewer still)."""
    rows, _ = expectations()
    return max((row for row in rows if row.pictures <= pictures), key=lambda row: row.pictures, default=rows[0])
