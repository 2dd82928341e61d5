"""Files of a run, a bundle or the cache that were damaged at random or made to run code when unpickled: refused by tench's own errors."""

import io
import json
import os
import pickle
import random
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tench
from tench.confidence.score import read_trust
from tench.config import Preprocessing
from tench.data.cache import decoded
from tench.data.files import open_files
from tench.data.sources import open_source
from tench.errors import RecordError, TenchError, WeightsError
from tench.networks.pretrained import load_googlenet, read_weights
from tench.records import Run, list_runs, load_run
from tench.records.guide import read_guide_arrays
from tench.training.plan import plan_of


@pytest.fixture(scope="module")
def trained(tiny_net: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("hostile") / "runs"
    how: dict[str, Any] = {"epochs": 1, "batch_size": 8, "learn_rate": 1e-5, "device": "cpu", "threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tench.confidence.fit.ENOUGH", 6)
        return tench.train(tiny_net, tiny_folder, runs=runs, **how)


@pytest.fixture(scope="module")
def bundle(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tench.export(trained, tmp_path_factory.mktemp("bundles") / "discs", threads=1)


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy to be damaged."""
    return Run.read(Path(shutil.copytree(trained.folder, tmp_path / "runs" / trained.id)))


class Bad:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def pickled(mark: Path) -> bytes:
    return pickle.dumps(Bad(mark))


def pickled_npy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bad(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def pickled_npz(mark: Path) -> bytes:
    buffer = io.BytesIO()
    names = ("log_probabilities", "labels", "names", "test", "means", "whitening", "filters")
    np.savez(buffer, **{name: np.array([Bad(mark)], dtype=object) for name in names})
    return buffer.getvalue()


def pickled_torch(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": Bad(mark)}, buffer)
    return buffer.getvalue()


PICKLES = {"pickle": pickled, "npy": pickled_npy, "npz": pickled_npz, "torch": pickled_torch}
FILES = ("weights.safetensors", "predictions.npz", "confidence.npz", "confidence.json", "record.json", "history.jsonl")
FILES += ("exhibits/exhibits.json", "exhibits/arrays.npz", "exhibits/thumbnails.zip")


def use(folder: Path) -> None:
    """Everything that reads a run."""
    run = load_run(folder)
    run.history()
    run.local()
    run.predictions()
    run.exhibits()
    run.exhibit_arrays()
    run.thumbnails(["val/red/000.png"])
    read_trust(run.folder)
    tench.load(run)


def test_the_files_are_those_of_a_run(trained: Run) -> None:
    there = {path.relative_to(trained.folder).as_posix() for path in trained.folder.rglob("*") if path.is_file()}
    assert there - set(FILES) <= {"lock", "local.json"}
    use(trained.folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "predictions.npz", "record.json", "exhibits/exhibits.json", "exhibits/arrays.npz"])
def test_what_is_needed_and_something_else_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    (run.folder / name).write_bytes(pickled_npz(tmp_path / "mark"))
    with pytest.raises(TenchError, match=r"damaged|cannot be read|not a record"):
        use(run.folder)


@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_run_is_ever_unpickled(run: Run, tmp_path: Path, name: str, kind: str) -> None:
    mark = tmp_path / "pickle was run"
    (run.folder / name).write_bytes(PICKLES[kind](mark))
    with suppress(TenchError):
        use(run.folder)
    assert not mark.exists()
    pickle.loads(pickled(mark))
    assert mark.exists(), "it would have been seen"


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_damaged_at_random_is_refused_by_tenchs_own_errors(run: Run, name: str) -> None:
    """Bits flipped, cut short, filled up, pieces doubled: nothing but a TenchError comes out, or the file still reads."""
    path, draw, refused = run.folder / name, random.Random(name), 0
    if not path.exists():
        pytest.skip(f"this run has no {name}")
    whole = path.read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 20])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        if draw.random() < 0.2:
            at = draw.randrange(len(content) + 1)
            content[at:at] = content[: draw.randrange(len(content) + 1)]
        path.write_bytes(bytes(content))
        try:
            use(run.folder)
        except TenchError as error:
            refused += 1
            assert str(run.folder) in str(error)
    assert refused > 20


@pytest.mark.parametrize("part", ["rules", "options", "engine", "preprocessing"])
def test_a_record_whose_parts_do_not_hold_together_is_damaged(run: Run, tiny_folder: Path, part: str) -> None:
    """Found by chance: one letter of a key changed, and pydantic's own error came out."""
    path = run.record_path
    record = json.loads(path.read_bytes())
    record[part] = {f"0{key}": value for key, value in record[part].items()}
    path.write_text(json.dumps(record), encoding="utf-8")
    damaged = load_run(run.folder)
    with pytest.raises(RecordError, match=rf"^{re.escape(str(path))} is damaged: the {part} in it: .* Restore it from a copy"):
        _ = tench.load(damaged) if part == "preprocessing" else plan_of(damaged, open_source(tiny_folder))


def test_a_damaged_guide_or_cache_is_refused_or_made_anew(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import resources

    demo = resources.files("tench").joinpath("report", "guide_demo.npz").read_bytes()
    draw, path = random.Random(4), tmp_path / "guide.npz"
    for _ in range(60):
        content = bytearray(demo)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            read_guide_arrays(path)
        except RecordError as error:
            assert str(path) in str(error)
    monkeypatch.setenv("TENCH_CACHE", str(tmp_path / "cache"))
    source, size = open_source(tiny_folder), Preprocessing(height_px=8, width_px=8)
    expected = np.array(decoded(source, size))
    (kept,) = (tmp_path / "cache" / "decoded").glob("*.npy")
    header = kept.read_bytes()
    for at in range(128):
        damaged = bytearray(header)
        damaged[at] ^= 1 << draw.randrange(8)
        kept.write_bytes(damaged)
        assert decoded(source, size).shape == expected.shape
    kept.write_bytes(pickled_npy(tmp_path / "pickle was run"))
    assert np.array_equal(decoded(source, size), expected)
    assert not (tmp_path / "pickle was run").exists()
    for index in (tmp_path / "cache" / "index").iterdir():
        index.write_bytes(b"[" * 100_000)
    assert open_source(tiny_folder) == source


@pytest.mark.parametrize("kind", PICKLES)
def test_weights_that_are_pickles_are_never_opened(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "pickle was run"
    for name in ("w.pt", "w.pth", "w.safetensors", "w.bin"):
        (tmp_path / name).write_bytes(PICKLES[kind](mark))
        with pytest.raises(WeightsError, match="cannot be read as safetensors"):
            read_weights(tmp_path / name)
    (tmp_path / "w.onnx").write_bytes(PICKLES[kind](mark))
    with pytest.raises(WeightsError):
        load_googlenet(tmp_path / "w.onnx")
    assert not mark.exists()


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


CONV = "conv_1.conv.weight"
WRONG: dict[str, tuple[Callable[[dict[str, torch.Tensor]], None], str]] = {
    "missing": (lambda tensors: tensors.pop(CONV), f"1 missing: {CONV}"),
    "foreign": (lambda tensors: tensors.update(strange=torch.zeros(3)), "1 foreign: strange"),
    "shape": (lambda tensors: tensors.update({CONV: torch.zeros(8, 3, 5, 5)}), f"1 of another shape: {CONV} is 8x3x5x5, needed 8x3x3x3"),
    "type": (
        lambda tensors: tensors.update({CONV: torch.zeros(8, 3, 3, 3, dtype=torch.int64)}),
        f"1 of another type: {CONV} is torch.int64",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_tensors_that_do_not_fit_are_named(run: Run, what: str) -> None:
    change, message = WRONG[what]
    rewritten(run.weights_path, change)
    with pytest.raises(WeightsError) as error:
        tench.load(run)
    assert message in str(error.value)
    assert str(run.weights_path) in str(error.value)


def test_weights_cut_short_anywhere_are_refused(run: Run) -> None:
    whole = run.weights_path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        run.weights_path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="cut short, damaged"):
            tench.load(run)
    for declared in (0, 1, 2**31, 2**63 - 1, 2**64 - 1):
        run.weights_path.write_bytes(declared.to_bytes(8, "little") + whole[8:])
        with pytest.raises(WeightsError, match="cut short, damaged"):
            tench.load(run)


def test_a_bundle_damaged_at_random_is_refused(bundle: Path, tmp_path: Path) -> None:
    whole, draw = bundle.read_bytes(), random.Random(6)
    path = tmp_path / "damaged.zip"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 3])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content[: draw.choice([len(content), len(content), draw.randrange(len(content))])])
        try:
            tench.load(path)
        except TenchError as error:
            assert str(path) in str(error)


def test_a_folder_of_runs_with_one_of_every_damage_is_still_listed(run: Run) -> None:
    """What is sound is found; what is not is named."""
    runs = run.folder.parent
    for name, content in {"empty": b"", "list": b"[]", "deep": b"[" * 100_000, "utf": b"\xff\xfe", "zip": zipped()}.items():
        (runs / name).mkdir()
        (runs / name / "record.json").write_bytes(content)
    (runs / "newer").mkdir()
    values = json.loads((run.folder / "record.json").read_text()) | {"schema_version": 99}
    (runs / "newer" / "record.json").write_text(json.dumps(values))
    listing = list_runs(runs)
    assert [one.id for one in listing.runs] == [run.id]
    assert set(listing.damaged) == {"empty", "list", "deep", "utf", "zip", "newer"}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("record.json", "{}")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "deflated.zip", "tar", "tgz", "tar.xz", "tar.bz2"])
def test_an_archive_damaged_at_random_is_refused_or_still_reads(tmp_path: Path, tiny_folder: Path, kind: str) -> None:
    path, draw = tmp_path / f"x.{kind}", random.Random(kind)
    if kind.endswith("zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED) as archive:
            for file in sorted(tiny_folder.rglob("00[01].png")):
                archive.write(file, file.relative_to(tiny_folder))
    else:
        with tarfile.open(path, f"w:{ {'tar': '', 'tgz': 'gz'}.get(kind, kind.removeprefix('tar.')) }") as packed:  # type: ignore[call-overload]
            for file in sorted(tiny_folder.rglob("00[01].png")):
                packed.add(file, file.relative_to(tiny_folder))
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 2, 20])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice([len(content), len(content), draw.randrange(len(content))])])
        with suppress(TenchError):
            list(open_files(path).walk())
