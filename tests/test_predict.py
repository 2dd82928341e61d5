"""A trained network in use: its classes, its preprocessing, its answers, in Python and on other pictures."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tench
from conftest import draw_tiny_folder
from tench.errors import DataError, NotFoundError, RecordError, UsageError
from tench.inference import normalised
from tench.predict import recogniser
from tench.records import Run


def test_whether_it_learnt_from_drawings_is_known(trained: Run, tiny_net: Path, tmp_path: Path) -> None:
    drawn = tench.train(tiny_net, "pictograms", runs=tmp_path, epochs=1, share=0.02, batch_size=8, device="cpu", threads=1, exhibits=False)
    assert tench.load(drawn).learnt_from_drawings
    assert not tench.load(trained).learnt_from_drawings


def test_what_is_predicted_is_what_the_run_scored(trained: Run, tiny_folder: Path) -> None:
    used, found = tench.load(trained), trained.predictions()
    for row in range(0, 30, 7):
        guesses = used.predict(tiny_folder / str(found.names[row]), top=3)
        probabilities = {guess.kind.id: guess.probability for guess in guesses}
        assert used.trust is not None
        expected = np.exp(normalised(found.log_probabilities[row : row + 1] / used.trust.facts.temperature)[0])
        assert [probabilities[kind.id] for kind in used.classes] == pytest.approx(expected.tolist(), abs=1e-5)
        assert [guess.probability for guess in guesses] == sorted(probabilities.values(), reverse=True)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_photograph_may_be_a_path_bytes_or_an_image(trained: Run, tiny_folder: Path) -> None:
    path = next(iter(sorted((tiny_folder / "val" / "red").iterdir())))
    used = tench.load(trained.folder)
    by_path = used.predict(path, top=1)
    assert by_path[0].kind.id == "red"
    assert used.predict(path.read_bytes(), top=1) == by_path
    with Image.open(path) as image:
        assert used.predict(image, top=1) == by_path


def test_what_cannot_be_predicted_says_why(trained: Run, tmp_path: Path) -> None:
    used = tench.load(trained)
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    with pytest.raises(DataError, match=r"text\.jpg"):
        used.predict(text)
    with pytest.raises(NotFoundError, match=r"no picture at .*nothing\.jpg"):
        used.predict(tmp_path / "nothing.jpg")
    with pytest.raises(UsageError, match="take 1 or more"):
        used.predict(text, top=0)
    with pytest.raises(NotFoundError, match="googlenet, timm:NAME"):
        tench.load("no-such-run", runs=tmp_path)


def test_many_photographs_are_answered_in_order_and_a_bad_one_stands_in_its_place(trained: Run, tiny_folder: Path, tmp_path: Path) -> None:
    used, files = tench.load(trained), sorted((tiny_folder / "val").rglob("*.png"))
    bad = tmp_path / "text.jpg"
    bad.write_text("not a picture")
    photos = [*files, bad, *files, tmp_path / "nothing.jpg"]  # more than a batch
    found = list(used.predict_many(iter(photos), top=3))
    assert isinstance(found[30], DataError)
    assert isinstance(found[61], NotFoundError)
    for photo, guesses in zip(photos, found, strict=True):
        if photo in files:
            assert not isinstance(guesses, tench.TenchError)
            assert [guess.kind for guess in guesses] == [guess.kind for guess in used.predict(photo, top=3)]
    with pytest.raises(UsageError, match="take 1 or more"):
        next(used.predict_many(photos, top=0))
    assert list(used.predict_many([])) == []


def test_a_run_without_final_weights_is_refused(trained: Run, tmp_path: Path) -> None:
    copy = Run.read(Path(shutil.copytree(trained.folder, tmp_path / "copy")))
    copy.update(status="interrupted", result=None)
    with pytest.raises(RecordError, match="tench resume"):
        recogniser(copy)


def test_scores_on_other_pictures_with_classes_in_another_order(trained: Run, tmp_path: Path) -> None:
    """The folder has two of the three classes under the words in another case; they are matched by name."""
    folder = draw_tiny_folder(tmp_path / "other", {"val": 6})
    shutil.rmtree(folder / "val" / "blue")
    (folder / "val" / "red").rename(folder / "val" / "RED")
    found = tench.evaluate(trained, folder / "val")
    assert found.metrics.n == 12
    assert found.metrics.top1 > 0.8
    assert found.metrics.confusion[0].sum() == 0, "no picture is of the first class, blue"
    assert any("2 of the 3 classes" in note for note in found.notes)
    assert found.shared_with_training == ()
    assert found.as_dict()["n"] == 12


def test_pictures_it_was_trained_on_are_found_and_said(trained: Run, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(tiny_folder / "val", folder)
    names = [f"{number:03d}.png" for number in (3, 4)]
    for name in names:
        shutil.copy(tiny_folder / "train" / "red" / name, folder / "red" / f"again-{name}")
    found = tench.evaluate(trained, folder)
    assert found.shared_with_training is not None
    assert [shared.first for shared in found.shared_with_training] == [f"train/red/{name}" for name in names]
    assert any("2 of the 32 pictures were also in the run's training" in note for note in found.notes)


def test_whether_it_was_trained_on_them_is_not_known_when_its_pictures_are_gone(trained: Run, tiny_folder: Path, tmp_path: Path) -> None:
    copy = Run.read(Path(shutil.copytree(trained.folder, tmp_path / "copy")))
    copy.update_local(data=tmp_path / "gone")
    found = tench.evaluate(copy, tiny_folder / "val")
    assert found.shared_with_training is None
    assert any("is not known" in note for note in found.notes)


def test_classes_it_does_not_know_are_refused(trained: Run, tmp_path: Path) -> None:
    folder = draw_tiny_folder(tmp_path / "strange", {"val": 2}, {"red": (200, 50, 40), "violet": (130, 0, 200)})
    with pytest.raises(UsageError, match="does not know the classes violet"):
        tench.evaluate(trained, folder / "val")


def test_a_users_own_module_is_trained_and_used_through_its_callable(tiny_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from torch import nn\n"
        "def make(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes))\n"
    )
    run = tench.train(
        f"{source}:make", tiny_folder, size_px=16, epochs=8, batch_size=8, learn_rate=0.05, device="cpu", threads=1, runs=tmp_path / "runs"
    )
    assert run.record.network.counted == "module"
    assert run.record.network.parameters == 8 * 27 + 8 + 128 * 3 + 3
    assert run.record.result is not None
    assert run.record.result.top1 > 0.6
    guesses = tench.load(run).predict(tiny_folder / "val" / "red" / "000.png")
    assert len(guesses) == 3
    source.write_text(source.read_text() + "# another version\n")
    with pytest.raises(RecordError, match="has changed since"):
        tench.load(run)


@pytest.mark.shared
def test_googlenet_predicts_without_any_training(shared_data: Path, shared_weights: Path) -> None:
    from tench.data.sources import open_source

    source = open_source(shared_data)
    position = next(i for i, picture in enumerate(source.pictures) if picture.split == "val" and picture.label == 8)
    photo = source.read(source.pictures[position])
    ten = tench.load("googlenet", weights=shared_weights).predict(photo, top=10)
    assert ten[0].kind.english == "golf ball"
    assert ten[0].kind.polish == "piłka golfowa"
    assert sum(guess.probability for guess in ten) == pytest.approx(1, abs=1e-4)
    thousand = tench.load("googlenet", weights=shared_weights, classes="all").predict(photo, top=1000)
    assert len(thousand) == 1000
    assert thousand[0].kind.imagenet_index == 574
    assert torch.is_inference_mode_enabled() is False
