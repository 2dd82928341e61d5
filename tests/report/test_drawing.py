"""Drawings of networks hold every row of the table, its sizes, and nothing that lies on something else."""

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from tench.networks.table import Table, builtin_table, builtin_tables, parse
from tench.report.canvas import text_width, wrapped
from tench.report.drawing import network_drawing
from tench.report.modules import TONES, size_text

SVG = "{http://www.w3.org/2000/svg}"

NESTED = """
ImageInput, 64x64
Conv, 3x3, 32, name=a-name-that-is-far-too-long-for-one-line-and-has-no-space-to-break-it-at
Residual, shortcut=projection:
  Conv, 3x3, 64, stride=2
  Residual:
    Conv, 3x3, 64, activation=none
Concat:
  Conv, 1x1, 16
  Branch:
    Conv, 1x1, 24, groups=2, bias=no, norm=none, activation=none
    LocalResponseNorm, 5
  Branch:
    Residual, shortcut=projection:
      Conv, 3x3, 48
    Concat:
      Conv, 1x1, 8
      Conv, 3x3, 8
Inception, 1x1=64, 3x3_reduce=96, 3x3=128, 5x5_reduce=16, 5x5=32, pool=32
GlobalAvgPool
FullyConnected, 5
SoftMax
ClassOutput, 5
"""
NAMES = [*builtin_tables(), "nested"]


def table_of(name: str) -> Table:
    return parse(NESTED, "nested") if name == "nested" else builtin_table(name)


def texts(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}text"))


def box_of(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) by the estimate."""
    x, y, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
    width = text_width(str(text.text), size)
    left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.attrib["text-anchor"]]
    return left, y - 0.8 * size, left + width, y + 0.2 * size


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lang", ["en", "pl"])
def test_every_row_is_in_the_drawing(name: str, lang: str) -> None:
    table = table_of(name)
    words = "".join(str(text.text) for text in texts(network_drawing(table, lang).svg())).replace(" ", "")
    for facts in table.layers():
        inside_inception = facts.depth > 0 and "inception" in facts.path
        if not inside_inception and facts.kind != "Branch":  # which is the column itself
            for part in facts.text.split(", "):
                assert part.replace(" ", "") in words, f"{facts.text} is missing"


@pytest.mark.parametrize("name", NAMES)
def test_the_sizes_stand_in_the_order_of_the_table(name: str) -> None:
    table = table_of(name)
    found = [str(text.text) for text in texts(network_drawing(table).svg())]
    for facts in table.layers():
        if facts.depth == 0:
            assert size_text(facts.output_shape) in found
            found = found[found.index(size_text(facts.output_shape)) + 1 :]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lang", ["en", "pl"])
def test_no_text_lies_on_another_or_leaves_the_drawing(name: str, lang: str) -> None:
    svg = network_drawing(table_of(name), lang).svg()
    boxes = [box_of(text) for text in texts(svg)]
    for (left, top, right, bottom), (left_2, top_2, right_2, bottom_2) in combinations(boxes, 2):
        assert right <= left_2 or right_2 <= left or bottom <= top_2 or bottom_2 <= top
    width, height = map(float, ElementTree.fromstring(svg).attrib["viewBox"].split()[2:])
    assert all(left >= 0 and top >= 0 and bottom <= height and right <= width for left, top, right, bottom in boxes)


def test_blocks_show_maps_by_their_width_and_channels_by_their_height() -> None:
    def blocks(rows: str) -> list[tuple[float, float]]:
        svg = network_drawing(parse(f"ImageInput, 64x64\n{rows}\nGlobalAvgPool\nFullyConnected, 5\nSoftMax\nClassOutput, 5", "x")).svg()
        polygons = [p for p in ElementTree.fromstring(svg).iter(f"{SVG}polygon") if "--blue" in p.attrib["style"]]
        points = [np.array([point.split(",") for point in p.attrib["points"].split()], float) for p in polygons]
        return [tuple(np.ptp(corners, axis=0)) for corners in points]

    (wide, low), (narrow, high) = blocks("Conv, 3x3, 16\nMaxPool, 4x4\nConv, 3x3, 64")
    assert wide - 10 == pytest.approx(2 * (narrow - 10), abs=0.2)  # a quarter of the side, by the square root
    assert high - 6 == pytest.approx(2 * (low - 6), abs=0.3)


def test_an_inception_is_drawn_in_full_with_its_four_branches() -> None:
    words = [str(text.text) for text in texts(network_drawing(builtin_table("googlenet")).svg())]
    at = words.index("inception_3a in full")
    module = " ".join(words[at:])
    for part in ("Conv, 1x1, 64", "Conv, 1x1, 96", "Conv, 3x3, 128", "Conv, 1x1, 16", "Conv, 5x5, 32", "MaxPool, 3x3", "Conv, 1x1, 32"):
        assert part in module
    assert [word for word in words[at:] if word.startswith("Concat")] == ["Concat  28 × 28 × 256"]


def test_a_drawing_is_described_for_those_who_cannot_see_it_and_colours_come_from_the_page() -> None:
    root = ElementTree.fromstring(network_drawing(builtin_table("network_84_8153"), "pl").svg())
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title") == "Sieć network_84_8153"
    assert "224 × 224" in str(root.findtext(f"{SVG}desc"))
    assert all("var(--ink" in text.attrib["style"] or "var(--muted" in text.attrib["style"] for text in root.iter(f"{SVG}text"))


def test_a_hostile_name_stays_text() -> None:
    table = parse("[<script>alert(1)</script>&]\n" + NESTED.strip(), "x")
    assert "<script>" not in network_drawing(table).svg()
    assert ElementTree.fromstring(network_drawing(table).svg()).findtext(f"{SVG}title") == "The network <script>alert(1)</script>&"


def test_every_kind_has_a_colour() -> None:
    from tench.networks.layers import KINDS

    assert set(TONES) == set(KINDS)


def test_lines_are_broken_at_spaces_and_fit() -> None:
    lines = wrapped("one two three four five six", 11, 60)
    assert " ".join(lines) == "one two three four five six"
    lines += wrapped("a word-without-any-space", 11, 60)
    assert "".join(lines[-4:]).replace(" ", "").endswith("word-without-any-space")
    assert all(text_width(line, 11) <= 60 for line in lines)
