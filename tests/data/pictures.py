"""Small pictures, folders and archives for the tests of this folder."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(number: int, height_px: int = 6, width_px: int = 8) -> bytes:
    """A picture that differs from every other `number`'s."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tree(**per_class: int) -> dict[str, bytes]:
    """{"train/a/0.png": ...}: `train__a=3` is three pictures in train/a; all different."""
    names = [f"{folder.replace('__', '/')}/{i}.png" for folder, n in per_class.items() for i in range(n)]
    return {name: png(number) for number, name in enumerate(names)}


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zipped(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: Mapping[str, bytes], compression: str = "gz") -> Path:
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
