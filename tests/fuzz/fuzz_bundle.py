"""The loader of bundles: a zip of any bytes, and a bundle of which one file is any bytes and its hash right; the model stays as it is."""

import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tench.bundle.read", "tench.bundle.facts", "tench.confidence.score", "tench.errors"]):
    from tench.bundle.read import load_bundle

from fuzzing import fuzz

import tench

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import TINY_TABLE, draw_tiny_folder

PATH = Path(tempfile.gettempdir(), "tench-fuzzed.zip")
PARTS = ("confidence.json", "confidence.npz", "golden.npz")


def made_bundle(folder: Path) -> Path:
    """A small one."""
    os.environ["TENCH_CACHE"] = str(folder / "cache")
    net = folder / "tiny.net"
    net.write_text(TINY_TABLE)
    data = draw_tiny_folder(folder / "discs", {"train": 8, "val": 4})
    run = tench.train(net, data, runs=folder / "runs", epochs=1, batch_size=8, device="cpu", threads=1, exhibits=True)
    return tench.export(run, folder / "bundle", threads=1)


def packed(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle = made_bundle(Path(folder))
        parts = {path.name: path.read_bytes() for path in bundle.with_suffix("").iterdir()}
    facts = json.loads(parts["bundle.json"])

    def one(data: bytes) -> None:
        kind, content = data[:1], data[1:]
        which = kind[0] % (len(PARTS) + 2) if kind else 0
        if which == 0:
            PATH.write_bytes(content)
        elif which == 1:
            PATH.write_bytes(packed(parts | {"bundle.json": content}))
        else:
            name = PARTS[which - 2]
            hashes = facts["files"] | {name: hashlib.sha256(content).hexdigest()}
            PATH.write_bytes(packed(parts | {name: content, "bundle.json": json.dumps(facts | {"files": hashes}).encode()}))
        load_bundle(PATH, threads=1)

    start = [b"\0" + packed(parts), b"\1" + parts["bundle.json"], *(bytes([2 + i]) + parts[name] for i, name in enumerate(PARTS))]
    fuzz(one, start)


if __name__ == "__main__":
    main()
