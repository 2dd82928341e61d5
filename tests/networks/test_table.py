"""The notation: what is brought along is what was published, what is written is what was read, and every slip is named."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_texts import EVERY_KIND, RESNET18, VGG16

from tench.errors import NotFoundError, TableError
from tench.networks import builtin_table, builtin_tables, load_table, parse, write
from tench.networks import layers as kinds
from tench.networks.rows import Row
from tench.networks.table import ORIGINS, Table

PUBLISHED_SHA256 = "fa297b32ee3f1a0e67ad08d0d0647448e71dd727341f0a42d7ec6d9f6cf7657c"
"""Of the twelve published tables, rows letter by letter in the report's order of names, each under its heading `[name]`."""
RECONSTRUCTED = ["network_64_0764", "network_65_6561", "network_71_6943"]


def rows_of(name: str) -> list[str]:
    return write(builtin_table(name)).splitlines()[1:]


def test_sixteen_networks_are_brought_along() -> None:
    by_origin: dict[str, list[str]] = {}
    for name in builtin_tables():
        by_origin.setdefault(builtin_table(name).origin, []).append(name)
    assert by_origin["classical"] == ["googlenet"]
    assert by_origin["reconstructed"] == RECONSTRUCTED
    assert len(by_origin["published"]) == 12


def test_published_tables_are_the_reports_letter_by_letter() -> None:
    files = [Path(builtin_table(name).source) for name in builtin_tables() if builtin_table(name).origin == "published"]
    text = "\n".join(file.read_text(encoding="utf-8").replace(", origin=published]", "]") for file in files)
    assert hashlib.sha256(text.encode()).hexdigest() == PUBLISHED_SHA256


@pytest.mark.parametrize("name", builtin_tables())
def test_every_file_is_written_back_as_it_is(name: str) -> None:
    table = builtin_table(name)
    file = Path(table.source).read_text(encoding="utf-8")
    assert write(table) == "".join(line for line in file.splitlines(keepends=True) if not line.startswith("#"))
    assert parse(write(table)) == table
    assert table.name == name
    assert table.published == (table.origin in ("published", "classical"))


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("network_84_8153", 24_629_962, 4_962_000_384),
        ("network_75_4395", 138_176_522, 4_475_363_328),
        ("googlenet", 6_998_552, 1_582_671_872),
    ],
)
def test_known_counts(name: str, parameters: int, macs: int) -> None:
    table = builtin_table(name)
    assert (table.parameters, table.macs) == (parameters, macs)


def test_the_best_networks_counts_by_hand() -> None:
    channels, sides = [3, 64, 64, 64, 64, 128, 128, 256, 256, 512, 512], [224, 224, 112, 112, 56, 56, 28, 28, 14, 14]
    weights = [9 * before * after for before, after in pairwise(channels)]
    convolutions = sum(weights) + 3 * sum(channels[1:])
    fully_connected = [512 * 7 * 7 * 768, 768 * 768, 768 * 10]
    table = builtin_table("network_84_8153")
    assert table.parameters == convolutions + sum(fully_connected) + 768 + 768 + 10
    assert table.macs == sum(w * side**2 for w, side in zip(weights, sides, strict=True)) + sum(fully_connected)


def test_reconstructed_tables_are_what_their_comments_say() -> None:
    def without_dropout(rows: list[str]) -> list[str]:
        return [row for row in rows if not row.startswith("Dropout")]

    shallow = rows_of("network_75_4395")
    at = shallow.index("FullyConnected, 4096")
    assert rows_of("network_64_0764") == [*shallow[:at], "FullyConnected, 4096", *shallow[at:]]
    assert rows_of("network_65_6561") == without_dropout(rows_of("network_74_1656"))
    narrow = without_dropout(rows_of("network_83_2611"))
    assert rows_of("network_71_6943") == [row.replace("FullyConnected, 512", "FullyConnected, 4096") for row in narrow]
    for name in RECONSTRUCTED:
        assert "# Reconstructed, not published" in Path(builtin_table(name).source).read_text(encoding="utf-8")


def test_googlenets_sizes_are_the_papers() -> None:
    sizes = {facts.path: facts.output_shape for facts in builtin_table("googlenet").layers()}
    assert sizes["conv1/7x7_s2"] == (64, 112, 112)
    assert sizes["conv2/3x3"] == (192, 56, 56)
    channels = {"3a": 256, "3b": 480, "4a": 512, "4b": 512, "4c": 512, "4d": 528, "4e": 832, "5a": 832, "5b": 1024}
    side = {"3": 28, "4": 14, "5": 7}
    assert {m: sizes[f"inception_{m}"] for m in channels} == {m: (c, side[m[0]], side[m[0]]) for m, c in channels.items()}


def test_other_sizes_and_classes() -> None:
    table = builtin_table("googlenet").with_classes(10)
    assert (table.n_classes, table.head.units, table.parameters) == (10, 10, 5_983_802)
    small = table.resized(64)
    assert small.input_px == (64, 64)
    assert small.parameters == table.parameters
    assert builtin_table("network_84_8153").resized(64).parameters == 24_629_962 - 768 * 512 * (49 - 4)


def test_facts_list_nested_rows_below_their_block() -> None:
    facts = parse(EVERY_KIND).layers()
    assert [f.index for f in facts] == list(range(1, len(facts) + 1))
    for i, block in enumerate(facts):
        inside = [f for f in facts[i + 1 :] if f.path.startswith(block.path + ".") and f.depth == block.depth + 1]
        if inside:
            assert block.parameters == sum(f.parameters for f in inside)
            assert block.macs == sum(f.macs for f in inside)
    shortcut = next(f for f in facts if f.path == "residual_2.shortcut")
    assert shortcut.text == "Conv, 1x1, 10, stride=2, bias=no, activation=none"


def test_fully_connected_rows_have_relu_unless_they_are_the_last() -> None:
    rows = ["FullyConnected, 9", "Dropout, 0.5", "FullyConnected, 8, activation=none", "FullyConnected, 4", "Scale, 0.1", "SoftMax"]
    table = parse("\n".join(["ImageInput, 8x8", *rows, "ClassOutput, 4"]))
    assert [row.activation for row in table.rows if isinstance(row, kinds.FullyConnected)] == ["relu", "none", "none"]
    assert write(table).splitlines()[2:-1] == rows


def test_comments_blank_lines_and_spaces_do_not_matter() -> None:
    plain = "[mine]\nImageInput, 8x8\nConv, 3x3, 4, stride=2\nFullyConnected, 2\nClassOutput, 2\n"
    spaced = "# mine\n\n[ mine ]\r\nImageInput,8x8x3   # RGB\n\nConv ,  3x3,4 , stride = 2\nFullyConnected, 2\nClassOutput, 2"
    assert parse(spaced) == parse(plain)


def test_a_table_without_heading_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mój własny.net"
    path.write_text("ImageInput, 8x8\nFullyConnected, 2\nClassOutput, 2\n", encoding="utf-8")
    table = load_table(path)
    assert (table.name, table.origin, table.published) == ("mój własny", "own", False)
    assert parse(write(table)) == table


def wrapped(*rows: str) -> str:
    return "\n".join(["ImageInput, 8x8", *rows, "FullyConnected, 2", "SoftMax", "ClassOutput, 2"])


MISTAKES = {
    "typo": (wrapped("MaxPol, 2x2"), 2, "the kind 'MaxPol' is not known (did you mean MaxPool?); allowed are ImageInput, Conv,"),
    "lower case": (wrapped("conv, 3x3, 4"), 2, "(did you mean Conv?)"),
    "unknown key": (
        wrapped("Conv, 3x3, 4, strid=2"),
        2,
        "the key 'strid' is not known (did you mean stride?); allowed is: Conv, kernel",
    ),
    "key twice": (wrapped("Conv, 3x3, 4, stride=2, stride=1"), 2, "stride is given twice"),
    "too few": (wrapped("Conv, 3x3"), 2, "2 values without a key are needed, 1 given; allowed is: Conv, kernel, channels [stride=,"),
    "too many": (wrapped("MaxPool, 2x2, 2"), 2, "1 values without a key are needed, 2 given"),
    "order": (wrapped("Conv, stride=2, 3x3, 4"), 2, "values without a key come before"),
    "missing key": (wrapped("Inception, 1x1=4, 3x3=4, 5x5_reduce=1, 5x5=1, pool=1"), 2, "3x3_reduce must be given"),
    "kernel": (wrapped("Conv, 3, 4"), 2, "kernel is '3'; allowed is HEIGHTxWIDTH"),
    "zero": (wrapped("Conv, 3x3, 0"), 2, "channels is '0'; allowed is a whole number of at least 1"),
    "huge": (wrapped("Conv, 3x3, 99999999999"), 2, "channels is"),
    "foreign digits": (wrapped("Conv, 3x3, ٣"), 2, "channels is"),
    "share": (wrapped("Dropout, 1.5"), 2, "share is '1.5'; allowed is a share of at least 0 and below 1"),
    "choice": (wrapped("Conv, 3x3, 4, norm=group"), 2, "norm is 'group'; allowed is batch or none"),
    "not finite": (wrapped("Scale, nan"), 2, "allowed is a finite number"),
    "grey": ("ImageInput, 8x8x1\nFullyConnected, 2\nClassOutput, 2", 1, "pictures have three channels"),
    "pool": (wrapped(*["MaxPool, 2x2"] * 4), 5, "less than 1 pixel would remain"),
    "pool in a branch": (wrapped("Concat:", "  Branch:", "    Conv, 3x3, 4", "    AvgPool, 9x9"), 5, "does not fit into the 8x8"),
    "even kernel": (wrapped("Conv, 2x2, 4"), 2, "padding=same needs a kernel of odd height and width"),
    "no FullyConnected": ("ImageInput, 8x8\nSoftMax\nClassOutput, 10", 3, "write 'FullyConnected, 10'"),
    "counts differ": ("ImageInput, 8x8\nFullyConnected, 12\nSoftMax\nClassOutput, 10", 2, "gives 12 values, but ClassOutput says 10"),
    "ReLU on logits": ("ImageInput, 8x8\nFullyConnected, 2, activation=relu\nClassOutput, 2", 2, "takes no ReLU"),
    "row after the head": ("ImageInput, 8x8\nFullyConnected, 2\nConv, 1x1, 2\nClassOutput, 2", 3, "only Dropout, Scale, SoftMax"),
    "no input": ("Conv, 3x3, 4\nFullyConnected, 2\nClassOutput, 2", 1, "begins with ImageInput"),
    "no output": ("ImageInput, 8x8\nFullyConnected, 2\nSoftMax", 3, "ends with ClassOutput"),
    "two inputs": (wrapped("ImageInput, 8x8"), 2, "ImageInput is the first row"),
    "early SoftMax": (wrapped("SoftMax"), 2, "directly before ClassOutput"),
    "SoftMax, then Scale": ("ImageInput, 8x8\nFullyConnected, 2\nSoftMax\nScale, 2\nClassOutput, 2", 3, "directly before"),
    "name twice": (wrapped("Conv, 3x3, 4, name=a", "Conv, 3x3, 4, name=a"), 3, "the name a is already taken"),
    "name of another": (wrapped("Conv, 3x3, 4, name=conv_2", "Conv, 3x3, 4"), 3, "the name conv_2 is already taken"),
    "name with a dot": (wrapped("Conv, 3x3, 4, name=a.b"), 2, "name is 'a.b'; allowed is letters, digits"),
    "sum": (wrapped("Residual:", "  Conv, 3x3, 8"), 2, "8x8x8 and 8x8x3, which cannot be added"),
    "sides": (wrapped("Concat:", "  MaxPool, 2x2", "  ReLU"), 2, "4x4x3 and 8x8x3"),
    "groups": (wrapped("Conv, 3x3, 4, groups=2"), 2, "3 channels that come in"),
    "no colon": (wrapped("Residual", "  Conv, 3x3, 3"), 2, "end the line with a colon"),
    "a colon": (wrapped("ReLU:", "  Conv, 3x3, 3"), 2, "leave out the colon"),
    "empty block": (wrapped("Residual:"), 2, "Residual is empty"),
    "indented": (wrapped("  Conv, 3x3, 3"), 2, "indented further than the row above"),
    "half-indented": (wrapped("Residual:", "    Conv, 3x3, 3", "  ReLU"), 4, "its indentation fits no row above"),
    "tab": (wrapped("Residual:", "\tConv, 3x3, 3"), 3, "indent with spaces"),
    "branch alone": (wrapped("Branch:", "  Conv, 3x3, 3"), 2, "directly inside a Concat"),
    "SoftMax inside": (wrapped("Concat:", "  SoftMax"), 3, "not inside a block"),
    "two headings": ("[a]\n[b]\n" + wrapped(), 2, "a file holds one network"),
    "heading": ("[a, source=me]\n" + wrapped(), 1, "allowed is [name] or [name, origin=published]"),
    "deep": (wrapped(*[" " * i + "Residual:" for i in range(8)], " " * 8 + "ReLU"), 8, "nested deeper than the 6 levels"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_with_file_line_and_row(mistake: str) -> None:
    text, line, says = MISTAKES[mistake]
    with pytest.raises(TableError) as error:
        parse(text, "nets/my.net")
    message = str(error.value)
    assert message.startswith(f"nets/my.net, line {line}, row '{text.splitlines()[line - 1].strip().removesuffix(':')}")
    assert says in message
    assert message.endswith(".")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="not there"):
        load_table(tmp_path / "none.net")
    (tmp_path / "empty.net").write_text("# nothing\n")
    with pytest.raises(TableError, match=re.escape(f"{tmp_path / 'empty.net'}: the table is empty")):
        load_table(tmp_path / "empty.net")
    (tmp_path / "binary.net").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match=r"binary\.net is no text"):
        load_table(tmp_path / "binary.net")
    with pytest.raises(TableError, match="origin 'mine' is not known; allowed are own, published"):
        parse("[a, origin=mine]\n" + wrapped())
    with pytest.raises(NotFoundError, match="googlenet"):
        builtin_table("google")


def test_resizing_names_the_row_that_no_longer_fits() -> None:
    with pytest.raises(TableError, match=r"network_84_8153\.net, line 17, row 'AvgPool, 2x2': .*less than 1 pixel"):
        builtin_table("network_84_8153").resized(16)


def test_the_notation_needs_no_torch() -> None:
    code = "import sys; from tench.networks import builtin_table; builtin_table('googlenet').layers(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", [EVERY_KIND, VGG16, RESNET18], ids=["every kind", "vgg16", "resnet18"])
def test_examples_are_written_back(text: str) -> None:
    assert parse(write(parse(text))) == parse(text)


def test_every_kind_is_in_the_example() -> None:
    assert {facts.kind for facts in parse(EVERY_KIND).layers()} == set(kinds.KINDS)


# Tables at random: rows that keep 16x16 pixels, so that any order of them fits.
small = st.integers(1, 12)
numbers = st.floats(1e-6, 1e6)
activations = st.sampled_from(["relu", "none"])
odd = st.sampled_from([(1, 1), (3, 3), (1, 5)])
plain_rows = st.one_of(
    st.builds(kinds.Conv, odd, small, bias=st.booleans(), norm=st.sampled_from(["batch", "none"]), activation=activations),
    st.builds(kinds.Conv, st.just((2, 2)), small, padding=st.just((1, 1))),
    st.builds(kinds.MaxPool, st.just((3, 3)), st.just((1, 1)), st.just((1, 1)), st.booleans()),
    st.builds(kinds.AvgPool, st.sampled_from([(1, 1), (2, 2)]), st.just((1, 1))),
    st.builds(kinds.Dropout, st.floats(0, 1, exclude_max=True)),
    st.builds(kinds.LocalResponseNorm, small, numbers, numbers, numbers),
    st.builds(kinds.Scale, st.floats(-1e9, 1e9)),
    st.builds(kinds.Inception, small, small, small, small, small, small),
    st.sampled_from([kinds.BatchNorm(), kinds.ReLU()]),
)
branch_rows = st.lists(st.sampled_from([kinds.ReLU(), kinds.Conv((1, 1), 3), kinds.FullyConnected(4)]), min_size=1, max_size=3).map(tuple)
blocks = st.one_of(
    st.builds(kinds.Residual, st.just((kinds.ReLU(), kinds.Dropout(0.5)))),
    st.builds(kinds.Residual, st.just((kinds.Conv((3, 3), 4), kinds.Residual((kinds.ReLU(),)))), st.just("projection")),
    st.builds(kinds.Concat, st.lists(st.just((kinds.ReLU(),)).map(kinds.Branch), min_size=1, max_size=3).map(tuple)),
)
dense_rows = st.one_of(
    st.builds(kinds.FullyConnected, small, st.booleans(), activations),
    st.builds(kinds.Concat, branch_rows.map(lambda rows: (kinds.Branch(rows),))),
)
ends = st.sampled_from([[], [kinds.Dropout(0.1)], [kinds.Scale(0.1)], [kinds.SoftMax()], [kinds.Scale(2.0), kinds.SoftMax()]])


@st.composite
def tables(draw: st.DrawFn) -> Table:
    middle: list[Row] = draw(st.lists(st.one_of(plain_rows, blocks), max_size=6))
    middle = [replace(row, name=f"żółw-{i}/3x3") if draw(st.booleans()) else row for i, row in enumerate(middle)]
    dense: list[Row] = [kinds.GlobalAvgPool(), *draw(st.lists(dense_rows, max_size=3))] if draw(st.booleans()) else []
    classes = draw(small)
    end: list[Row] = [kinds.FullyConnected(classes), *draw(ends), kinds.ClassOutput(classes)]
    name = draw(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8))
    return Table(name, draw(st.sampled_from(ORIGINS)), (kinds.ImageInput((16, 16)), *middle, *dense, *end))


@settings(max_examples=150, deadline=None)
@given(tables())
def test_what_is_written_reads_back_the_same(table: Table) -> None:
    assert parse(write(table)) == table


def test_every_block_and_error_of_the_guide_page_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    residual, concat = (block for block in re.findall(r"```\n(.*?)```", page, re.DOTALL) if block.startswith(("Residual", "Concat")))
    head = "GlobalAvgPool\nFullyConnected, 2\nClassOutput, 2\n"
    assert [facts.path for facts in parse("ImageInput, 9x9\nConv, 1x1, 64\n" + residual + head).layers() if "shortcut" in facts.path]
    by_hand = parse("ImageInput, 28x28\n" + concat + head)
    short = parse("ImageInput, 28x28\nInception, 1x1=64, 3x3_reduce=96, 3x3=128, 5x5_reduce=16, 5x5=32, pool=32\n" + head)
    assert (by_hand.parameters, by_hand.macs) == (short.parameters, short.macs)
    for kind in kinds.KINDS:
        assert f"`{kind}" in page or f"**{kind}**" in page


@pytest.mark.parametrize(
    ("rows", "after"),
    [
        ("Dropout, 0.3\nConv, 3x3, 8", True),
        ("Conv, 3x3, 8\nDropout, 0.3", False),
        ("Dropout, 0.3\nConv, 3x3, 8, norm=none", False),
        ("Dropout, 0.3\nConv, 3x3, 8, norm=none\nResidual:\n    Conv, 3x3, 8", True),
        ("Residual:\n    Conv, 3x3, 3\n    Dropout, 0.3\nBatchNorm", True),
        ("Conv, 3x3, 8", False),
    ],
)
def test_batch_norm_after_dropout_is_known(rows: str, after: bool) -> None:
    table = parse(f"ImageInput, 8x8\n{rows}\nGlobalAvgPool\nFullyConnected, 4\nSoftMax\nClassOutput, 4\n")
    assert table.norm_after_dropout == after
