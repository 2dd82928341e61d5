"""A run given away as a bundle: the same answers, without torch; and what is damaged or hostile is refused."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import tench
from tench.bundle.read import load_bundle
from tench.errors import DataError, NotFoundError, RecordError, UsageError
from tench.records import Run


@pytest.fixture(scope="module")
def bundle(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip; the folder lies beside it."""
    return tench.export(trained, tmp_path_factory.mktemp("written") / "discs", threads=1)


def photographs(folder: Path) -> list[Path]:
    return sorted((folder / "val").rglob("*.png"))


def test_a_bundle_answers_as_its_run(trained: Run, bundle: Path, tiny_folder: Path) -> None:
    run, zipped, folder = tench.load(trained), tench.load(bundle), tench.load(bundle.with_suffix(""))
    for photo in photographs(tiny_folder)[::5]:
        expected = run.predict(photo)
        for found in (zipped.predict(photo), folder.predict(photo)):
            assert [guess.kind for guess in found] == [guess.kind for guess in expected]
            assert [guess.probability for guess in found] == pytest.approx([guess.probability for guess in expected], abs=1e-5)
            assert found.familiarity == pytest.approx(expected.familiarity, abs=1e-3)
    assert len(list(zipped.predict_many(photographs(tiny_folder) * 2))) == 60


def test_it_says_what_it_is(trained: Run, bundle: Path) -> None:
    facts = load_bundle(bundle).facts
    assert facts.run_id == trained.id
    assert facts.result == trained.record.result
    assert facts.parity.n == 60, "those that decided, and those it learnt from"
    assert facts.parity.agreed == 60
    assert facts.parity.correct == facts.parity.torch_correct > 40
    assert facts.parity.largest_difference < 1e-4
    assert [entry.english for entry in facts.classes] == ["blue", "green", "red"]
    card = (bundle.with_suffix("") / "README.md").read_text(encoding="utf-8")
    assert facts.data.sha256 in card
    assert "95 % interval" in card
    assert "| red | red |" in card
    assert "tench does not know" in card, "nobody knows the licence of a folder's pictures"
    assert str(Path.home()) not in json.dumps(facts.model_dump(mode="json"))


def test_the_cards_own_program_runs(bundle: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """By ONNX Runtime, numpy and Pillow alone, as someone without tench would."""
    folder = Path(shutil.copytree(bundle.with_suffix(""), tmp_path / "given"))
    shutil.copy(tiny_folder / "val" / "red" / "003.png", folder / "photo.jpg")
    program = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "red", done.stderr


def test_it_is_used_without_torch(bundle: Path, tiny_folder: Path) -> None:
    photo = tiny_folder / "val" / "green" / "004.png"
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None; sys.modules['sklearn'] = None\n"
        f"import tench; print(tench.load({str(bundle)!r}).predict({str(photo)!r})[0].kind.id)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "green", done.stderr


def test_the_models_second_output_are_the_last_maps(bundle: Path, tiny_folder: Path) -> None:
    session = onnxruntime.InferenceSession(str(bundle.with_suffix("") / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "maps", "features"]
    pixels = load_bundle(bundle).pixels(photographs(tiny_folder)[0])[None]
    logits, maps, features = session.run(None, {"pictures": pixels})
    assert logits.shape == (1, 3)
    assert maps.ndim == 4
    assert maps.shape[2] > 1
    assert features.ndim == 2


def test_a_bundle_is_scored_like_its_run(trained: Run, bundle: Path, tiny_folder: Path) -> None:
    by_run, by_bundle = (tench.evaluate(what, tiny_folder / "val") for what in (trained, bundle))
    assert by_bundle.metrics.correct == by_run.metrics.correct
    assert by_bundle.metrics.nll == pytest.approx(by_run.metrics.nll, abs=1e-5)


def test_the_same_run_gives_the_same_model(trained: Run, bundle: Path, tmp_path: Path) -> None:
    again = tench.export(trained, tmp_path / "again", threads=1)
    assert load_bundle(again).facts.files["model.onnx"] == load_bundle(bundle).facts.files["model.onnx"]
    assert tench.export(trained, tmp_path / "again", threads=1) == again, "a bundle may be written anew in its place"


def test_in_8_bit_integers_it_is_smaller_and_hardly_worse(trained: Run, bundle: Path, tiny_folder: Path, tmp_path: Path) -> None:
    small = load_bundle(tench.export(trained, tmp_path / "small", int8=True, threads=1))
    parity = small.facts.parity
    assert small.facts.numbers == "int8"
    assert parity.torch_correct - parity.correct <= 0.01 * parity.n
    assert 1e-4 < parity.largest_difference < 0.2, "it is not the same network, and near it"
    photos = photographs(tiny_folder)
    whole = tench.load(bundle)
    same = [small.predict(photo)[0].kind == whole.predict(photo)[0].kind for photo in photos]
    assert np.mean(same) > 0.9
    assert "8-bit integers" in (tmp_path / "small" / "README.md").read_text(encoding="utf-8")


def test_integers_that_lose_answers_are_refused(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers one class whatever it sees, in place of the quantised one."""
    import onnx

    def broken(model: bytes, pictures: np.ndarray) -> bytes:
        graph = onnx.load_from_string(model)
        for tensor in graph.graph.initializer:
            if tensor.dims == [3]:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([1e6, 0, 0], np.float32), tensor.name))
        return bytes(graph.SerializeToString())

    monkeypatch.setattr("tench.bundle.write.in_integers", broken)
    with pytest.raises(RecordError, match="without --int8"):
        tench.export(trained, tmp_path / "small", int8=True, threads=1)
    assert not (tmp_path / "small").exists()


def test_other_places_and_pictures_are_refused(trained: Run, tmp_path: Path, tiny_net: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no bundle"):
        tench.export(trained, tmp_path / "full")
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photos/red/1.jpg", b"mine")
    before = (tmp_path / "photos.zip").read_bytes()
    with pytest.raises(UsageError, match=r"photos.zip, where the bundle's zip would go, is there already"):
        tench.export(trained, tmp_path / "photos")
    assert (tmp_path / "photos.zip").read_bytes() == before
    with pytest.raises(DataError, match="give the run's own pictures"):
        tench.export(trained, tmp_path / "other", data="pictograms")
    copy = Run.read(Path(shutil.copytree(trained.folder, tmp_path / "copy")))
    copy.update(status="interrupted", result=None)
    with pytest.raises(RecordError, match="tench resume"):
        tench.export(copy, tmp_path / "unfinished")


def test_a_module_that_is_no_table_is_refused_with_the_reason(tiny_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from torch import nn\ndef make(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes))\n"
    )
    run = tench.train(f"{source}:make", tiny_folder, size_px=16, epochs=1, batch_size=8, threads=1, runs=tmp_path / "runs")
    with pytest.raises(UsageError, match="from tables only"):
        tench.export(run, tmp_path / "mine")


# --- damaged and hostile ---------------------------------------------------------------------------------------------


def changed(bundle: Path, to: Path, name: str, content: bytes) -> Path:
    """A copy of the bundle's folder in which one file holds something else."""
    folder = Path(shutil.copytree(bundle.with_suffix(""), to))
    (folder / name).write_bytes(content)
    return folder


def with_hash(folder: Path, name: str) -> Path:
    """The same with a bundle.json that takes the new content for right."""
    facts = json.loads((folder / "bundle.json").read_bytes())
    facts["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "confidence.json", "confidence.npz"])
def test_a_changed_file_is_named(bundle: Path, tmp_path: Path, name: str) -> None:
    folder = changed(bundle, tmp_path / "b", name, (bundle.with_suffix("") / name).read_bytes()[:-1] + b"?")
    with pytest.raises(RecordError, match=f"{name} is not the file"):
        load_bundle(folder)


def test_a_card_may_be_completed_by_hand(bundle: Path, tmp_path: Path) -> None:
    """Its maker is told to say what may be done with the pictures."""
    folder = changed(bundle, tmp_path / "b", "README.md", b"# Mine")
    assert load_bundle(folder).facts == load_bundle(bundle).facts


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "confidence.json", "confidence.npz"])
@pytest.mark.parametrize("content", [b"", b"no such thing", b"\x80\x04\x95\x00."])
def test_a_file_that_is_something_else_is_refused_though_its_hash_fits(bundle: Path, tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(RecordError, match="cannot be used"):
        load_bundle(with_hash(changed(bundle, tmp_path / "b", name, content), name))


def test_other_answers_to_the_golden_pictures_are_refused(bundle: Path, tmp_path: Path) -> None:
    with np.load(bundle.with_suffix("") / "golden.npz") as golden:
        pictures, logits = golden["pictures"], golden["logits"]
    content = io.BytesIO()
    np.savez(content, pictures=pictures, logits=logits + 0.01 * np.abs(logits).max())
    with pytest.raises(RecordError, match="answers otherwise than when it was written"):
        load_bundle(with_hash(changed(bundle, tmp_path / "b", "golden.npz", content.getvalue()), "golden.npz"))


def test_pickled_arrays_are_never_unpickled(bundle: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path(tmp_path / "exploded").touch, ())

    content = io.BytesIO()
    np.savez(content, pictures=np.array([Bomb()], dtype=object), logits=np.zeros(1))
    with pytest.raises(RecordError, match="cannot be used"):
        load_bundle(with_hash(changed(bundle, tmp_path / "b", "golden.npz", content.getvalue()), "golden.npz"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("facts", [b"", b"[]", b"{}", b'{"schema_version": 2}'])
def test_facts_that_are_none_are_refused(bundle: Path, tmp_path: Path, facts: bytes) -> None:
    with pytest.raises(RecordError, match=r"bundle\.json"):
        load_bundle(changed(bundle, tmp_path / "b", "bundle.json", facts))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/model.onnx"])
def test_names_that_lead_out_are_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    folder = changed(bundle, tmp_path / "b", "extra", b"")
    (tmp_path / "outside").write_bytes(b"")
    facts = json.loads((folder / "bundle.json").read_bytes())
    facts["files"][name] = hashlib.sha256(b"").hexdigest()
    (folder / "bundle.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(RecordError, match="leads out of the bundle"):
        load_bundle(folder)


def test_zips_that_are_none_are_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(bundle.read_bytes()[:5_000])
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("letter.txt", "nothing")
    for name in ("cut.zip", "text.zip", "empty.zip"):
        with pytest.raises(RecordError, match=name):
            load_bundle(tmp_path / name)
    with pytest.raises(NotFoundError, match="tench export"):
        load_bundle(tmp_path / "none.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(bundle: Path, tmp_path: Path) -> None:
    """17 MiB of spaces as bundle.json, in a zip of some kilobytes."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/bundle.json", b" " * (17 * 2**20))
    with pytest.raises(RecordError, match="more than a bundle's may have"):
        load_bundle(tmp_path / "bomb.zip")


@pytest.mark.shared
def test_googlenet_with_a_new_head_as_a_bundle(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    run = tench.transfer("googlenet", shared_data, weights=shared_weights, share=0.01, test_share=0.01, threads=2, runs=tmp_path / "runs")
    facts = load_bundle(tench.export(run, tmp_path / "bundle", threads=2)).facts
    assert facts.network.pretrained_on == "ImageNet-1k"
    assert facts.parity.agreed == facts.parity.n
    assert "pretrained on ImageNet-1k" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
