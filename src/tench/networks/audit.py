"""GoogLeNet's published counts (the report's copy of Szegedy et al. 2015, table 1) against what a table's rows really hold."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from math import prod
from typing import Literal

from tench.errors import UsageError
from tench.networks.layers import (
    AvgPool,
    ClassOutput,
    Concat,
    Conv,
    Dropout,
    FullyConnected,
    GlobalAvgPool,
    ImageInput,
    Inception,
    LocalResponseNorm,
    MaxPool,
    SoftMax,
)
from tench.networks.rows import Row, Shape
from tench.networks.table import Table

PUBLISHED_KINDS: dict[str, tuple[type[Row], ...]] = {
    "convolution": (Conv,),
    "max pool": (MaxPool,),
    "inception": (Inception, Concat),
    "avg pool": (AvgPool, GlobalAvgPool),
    "dropout": (Dropout,),
    "linear": (FullyConnected,),
    "softmax": (SoftMax,),
}
UNPUBLISHED_KINDS = (ImageInput, LocalResponseNorm, ClassOutput)
"""Rows that the published table does not print."""

FINDINGS = {
    "convolution 7x7/2": "as if 7x1 + 1x7 had been counted: 14 * 3 * 64 = 2,688",
    "inception (4c)": "unexplained",
    "inception (5a)": "54M fits #5x5 reduce 48; 1072K fits no single column",
}

Verdict = Literal["agrees", "differs", ""]


@dataclass(frozen=True)
class AuditRow:
    """A row of the published table beside what was counted. Figures as the report prints them: K = 1,024 weights, M = 10^6."""

    row: str
    report_output: str
    counted_output: str
    report_params: str
    counted_params: str
    report_ops: str
    counted_ops: str
    weights: int
    """Counted kernel and matrix weights, without biases."""
    macs: int
    """Counted multiply-adds."""
    verdict: Verdict
    """`agrees`: the output size is the same, weights are within 1 % and operations within 1M. Empty for the total."""
    note: str = ""


def audit(table: Table) -> list[AuditRow]:
    """The report's GoogLeNet table beside `table`, row by row, and the totals (which the report does not print).

    Raises UsageError for a table whose rows are not GoogLeNet's.
    """
    counted = _counted(table)
    rows = [_compared(published, counted) for published in _published()]
    weights, macs = sum(row.weights for row in rows), sum(row.macs for row in rows)
    note = f"and {table.parameters - weights:,} biases"
    return [*rows, AuditRow("total", "", "", "", _kilo(weights), "", _mega(macs), weights, macs, "", note)]


def _published() -> list[dict[str, str]]:
    text = resources.files("tench.networks").joinpath("tables", "googlenet_published.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _counted(table: Table) -> Iterator[tuple[Row, Shape]]:
    """Every row that the published table prints, with the shape of its input."""
    shape: Shape = (0, 0, 0)
    for row in table.rows:
        if not isinstance(row, UNPUBLISHED_KINDS):
            yield row, shape
        shape = row.output_shape(shape)


def _compared(published: dict[str, str], counted: Iterator[tuple[Row, Shape]]) -> AuditRow:
    """One published row; a convolution of depth 2 stands for two rows of the table, its 1x1 reduction and itself."""
    weights, macs = 0, 0
    shape: Shape = (0, 0, 0)
    for _ in range(int(published["depth"]) if published["type"] == "convolution" else 1):
        row, before = _next_of_kind(published, counted)
        weights, macs, shape = weights + _weights(row, before), macs + row.macs(before), row.output_shape(before)
    name = f"{published['type']} {published['patch_stride']}".strip()
    output = f"{shape[1]}x{shape[2]}x{shape[0]}"
    verdict = _verdict(published, output, weights, macs)
    figures = bool(published["params"])
    return AuditRow(
        row=name,
        report_output=published["output"],
        counted_output=output,
        report_params=published["params"],
        counted_params=_kilo(weights) if figures else "",
        report_ops=published["ops"],
        counted_ops=_mega(macs) if figures else "",
        weights=weights,
        macs=macs,
        verdict=verdict,
        note=FINDINGS.get(name, "") if verdict == "differs" else "",
    )


def _next_of_kind(published: dict[str, str], counted: Iterator[tuple[Row, Shape]]) -> tuple[Row, Shape]:
    name = published["type"]
    kinds = PUBLISHED_KINDS[name.partition(" (")[0]]
    row, shape = next(counted, (None, (0, 0, 0)))
    if not isinstance(row, kinds):
        found = row.text() if row else "the end of the table"
        raise UsageError(
            f"The published counts are GoogLeNet's: where they have '{name}', this table has '{found}'."
            " Audit googlenet, or a table with its rows."
        )
    return row, shape


def _weights(row: Row, shape: Shape) -> int:
    """Weights of convolutions and fully connected layers in `row`, without biases and batch norm."""
    if isinstance(row, Conv):
        return row.weights(shape)
    if isinstance(row, FullyConnected):
        return row.units * prod(shape)
    total = 0
    for path in row.paths(shape):
        at = shape
        for _, inner in path:
            total, at = total + _weights(inner, at), inner.output_shape(at)
    return total


def _verdict(published: dict[str, str], output: str, weights: int, macs: int) -> Verdict:
    same = output == published["output"]
    if published["params"]:
        weights_published = float(published["params"].removesuffix("K")) * 1024
        macs_published = float(published["ops"].removesuffix("M")) * 1e6
        same = same and abs(weights - weights_published) <= 0.01 * weights_published and abs(macs - macs_published) <= 1e6
    return "agrees" if same else "differs"


def _kilo(weights: int) -> str:
    return f"{weights / 1024:.1f}K"


def _mega(macs: int) -> str:
    return f"{macs / 1e6:.1f}M"
