"""The published GoogLeNet counts against the counted ones: figures worked out by hand from the paper's filter numbers."""

from dataclasses import replace

import pytest

from tench.errors import UsageError
from tench.networks.audit import audit
from tench.networks.layers import Inception
from tench.networks.table import Table, builtin_table

INCEPTIONS = {  # input channels, side, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    "inception (3a)": (192, 28, 64, 96, 128, 16, 32, 32),
    "inception (3b)": (256, 28, 128, 128, 192, 32, 96, 64),
    "inception (4a)": (480, 14, 192, 96, 208, 16, 48, 64),
    "inception (4c)": (512, 14, 128, 128, 256, 24, 64, 64),
    "inception (5b)": (832, 7, 384, 192, 384, 48, 128, 128),
}

VERDICTS = {
    "convolution 7x7/2": ("9.2K", "118.0M", "differs"),
    "convolution 3x3/1": ("112.0K", "359.7M", "agrees"),
    "inception (3a)": ("159.5K", "128.0M", "agrees"),
    "inception (3b)": ("379.0K", "304.3M", "agrees"),
    "inception (4a)": ("366.8K", "73.6M", "agrees"),
    "inception (4b)": ("438.0K", "87.9M", "agrees"),
    "inception (4c)": ("497.5K", "99.9M", "differs"),
    "inception (4d)": ("590.5K", "118.5M", "differs"),
    "inception (4e)": ("847.0K", "170.0M", "agrees"),
    "inception (5a)": ("1018.0K", "51.1M", "differs"),
    "inception (5b)": ("1409.0K", "70.7M", "differs"),
    "linear": ("1000.0K", "1.0M", "agrees"),
}


@pytest.fixture(scope="module")
def googlenet() -> Table:
    return builtin_table("googlenet")


@pytest.mark.parametrize(("row", "expected"), VERDICTS.items())
def test_every_row_with_figures_has_its_counts_and_verdict(googlenet: Table, row: str, expected: tuple[str, str, str]) -> None:
    found = {r.row: r for r in audit(googlenet)}[row]
    assert (found.counted_params, found.counted_ops, found.verdict) == expected


@pytest.mark.parametrize("name", INCEPTIONS)
def test_inception_weights_are_those_of_six_convolutions(googlenet: Table, name: str) -> None:
    channels, side, n1, r3, n3, r5, n5, pool = INCEPTIONS[name]
    weights = channels * (n1 + r3 + r5 + pool) + 9 * r3 * n3 + 25 * r5 * n5
    found = {row.row: row for row in audit(googlenet)}[name]
    assert (found.weights, found.macs) == (weights, weights * side * side)


def test_totals_are_weights_biases_and_operations_of_the_whole_network(googlenet: Table) -> None:
    total = audit(googlenet)[-1]
    assert (total.row, total.weights, total.note) == ("total", 6_990_272, "and 8,280 biases")
    assert (total.counted_params, total.counted_ops) == ("6826.4K", "1582.7M")
    assert total.macs == googlenet.macs


def test_the_report_is_quoted_letter_by_letter_and_all_output_sizes_agree(googlenet: Table) -> None:
    rows = audit(googlenet)
    assert len(rows) == 19 + 1
    first = rows[0]
    assert (first.row, first.report_params, first.report_ops, first.report_output) == ("convolution 7x7/2", "2.7K", "34M", "112x112x64")
    assert [row.row for row in rows if row.report_output != row.counted_output] == []
    assert [row.verdict for row in rows if not row.report_params] == ["agrees"] * 7 + [""]


def test_notes_explain_the_rows_that_differ_only(googlenet: Table) -> None:
    notes = {row.row: row.note for row in audit(googlenet)[:-1] if row.note}
    assert set(notes) == {"convolution 7x7/2", "inception (4c)", "inception (5a)"}
    assert "2,688" in notes["convolution 7x7/2"]


def test_reduce_48_in_5a_explains_the_published_operations(googlenet: Table) -> None:
    rows = tuple(replace(row, n5x5_reduce=48) if isinstance(row, Inception) and row.name.endswith("5a") else row for row in googlenet.rows)
    found = {row.row: row for row in audit(replace(googlenet, rows=rows))}["inception (5a)"]
    assert abs(found.macs - 54e6) <= 1e6


def test_ten_classes_differ_in_the_last_rows(googlenet: Table) -> None:
    verdicts = {row.row: row.verdict for row in audit(googlenet.with_classes(10))}
    assert verdicts["linear"] == "differs"
    assert verdicts["inception (3a)"] == "agrees"


def test_another_network_is_refused_with_the_row_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"where they have 'convolution'|where they have 'max pool'"):
        audit(builtin_table("network_84_8153"))
