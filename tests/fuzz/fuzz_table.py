"""The reader of network tables."""

import atheris

with atheris.instrument_imports(include=["tench.networks", "tench.errors"]):
    from tench.networks.table import builtin_table, builtin_tables, parse, write

from fuzzing import fuzz


def one(data: bytes) -> None:
    table = parse(data.decode(errors="replace"), "fuzzed.net")
    assert parse(write(table), "fuzzed.net") == table
    if table.input_px[0] <= 256:
        table.resized(64)


if __name__ == "__main__":
    fuzz(one, [write(builtin_table(name)).encode() for name in builtin_tables()])
