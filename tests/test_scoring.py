"""Scores of networks on other pictures: which pictures count, how classes are matched, what a pretrained network never saw."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import draw_tiny_folder
from tench.answering import as_json
from tench.config import Engine, Preprocessing
from tench.data import imagenette
from tench.data.sources import open_source
from tench.errors import UsageError
from tench.networks.build import build
from tench.networks.table import load_table
from tench.predict import Recogniser
from tench.records import ClassFacts
from tench.scoring import evaluate

PREPROCESSING = Preprocessing(height_px=16, width_px=16, mean=(100.0, 100.0, 100.0), std=(60.0, 60.0, 60.0))
TEN = tuple(ClassFacts(id=k.wnid, english=k.english, polish=k.polish, imagenet_index=k.imagenet_index) for k in imagenette.classes())
COLOURS = {kind.id: (40 + 200 * (n & 1), 40 + 200 * (n >> 1 & 1), 40 + 100 * (n >> 2)) for n, kind in enumerate(TEN)}


@pytest.fixture(scope="module")
def pretrained(tiny_net: Path) -> Recogniser:
    """Stands for a network pretrained on ImageNet: a thousand outputs, of which Imagenette's ten count."""
    module = build(load_table(tiny_net).with_classes(1000), PREPROCESSING, "he", seed=11).eval()
    outputs = tuple(kind.imagenet_index for kind in imagenette.classes())
    return Recogniser("stand-in", module, PREPROCESSING, TEN, Engine(threads=1), outputs=outputs, pretrained_on="ImageNet-1k")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagenette's classes, 2 and 4 pictures of each; the first of each class is named as those of ImageNet's validation set are."""
    folder = draw_tiny_folder(tmp_path_factory.mktemp("scoring") / "drawn", {"train": 2, "val": 4}, COLOURS)
    for path in sorted(folder.rglob("*.png")):
        number = int(path.stem)
        path.rename(path.with_name(f"ILSVRC2012_val_{number:08d}.png" if number == 0 else f"{path.parent.name}_{number}.png"))
    return folder


def answer(recogniser: Recogniser, path: Path) -> str:
    return recogniser.predict(path, top=1)[0].kind.id


def test_the_val_part_is_scored_and_what_was_never_seen_apart(pretrained: Recogniser, photographs: Path) -> None:
    found = evaluate(pretrained, open_source(photographs, val_share=1.0))
    right = {path: answer(pretrained, path) == path.parent.name for path in (photographs / "val").rglob("*.png")}
    assert len(right) == 40
    assert (found.metrics.n, found.metrics.correct) == (40, sum(right.values()))
    assert found.unseen is not None
    unseen = [was_right for path, was_right in right.items() if path.name.startswith("ILSVRC2012_val_")]
    assert (found.unseen.n, found.unseen.correct) == (10, sum(unseen))
    assert found.shared_with_training is None
    assert found.notes == ("Mostly seen in pretraining: only 10 of the 40 pictures were never seen.",)


def test_the_ten_classes_share_all_the_probability(pretrained: Recogniser, photographs: Path) -> None:
    """Softmax over the outputs that count is that of all thousand, divided by what they have together."""
    path = next((photographs / "val").rglob("*.png"))
    ten = {guess.kind.imagenet_index: guess.probability for guess in pretrained.predict(path, top=10)}
    named = tuple(ClassFacts(id=str(i), english=str(i), polish=str(i), imagenet_index=i) for i in range(1000))
    whole = Recogniser("whole", pretrained.module, PREPROCESSING, named, pretrained.engine)
    thousand = {guess.kind.imagenet_index: guess.probability for guess in whole.predict(path, top=1000)}
    together = sum(thousand[index] for index in ten)
    assert ten == pytest.approx({index: thousand[index] / together for index in ten}, rel=1e-4)


@pytest.mark.parametrize("word", ["english", "polish"])
def test_classes_are_matched_by_their_words_too(pretrained: Recogniser, photographs: Path, tmp_path: Path, word: str) -> None:
    """Folders called by what is on the pictures, in either language and with a capital, are the same classes in another order."""
    for kind in TEN:
        shutil.copytree(photographs / "val" / kind.id, tmp_path / getattr(kind, word).capitalize())
    by_word = evaluate(pretrained, open_source(tmp_path, val_share=1.0))
    by_id = evaluate(pretrained, open_source(photographs, val_share=1.0))
    assert np.array_equal(by_word.metrics.confusion, by_id.metrics.confusion)
    assert by_word.metrics.confusion.sum(1).tolist() == [4] * 10
    assert by_word.unseen is None, "of pictures in folders of another name it is not known"


def test_unknown_classes_are_named_with_those_that_are_known(pretrained: Recogniser, tmp_path: Path) -> None:
    folder = draw_tiny_folder(tmp_path / "strange", {"val": 1}, {"violet": (1, 2, 3), TEN[0].id: (9, 9, 9), "umber": (5, 5, 5)})
    with pytest.raises(UsageError, match=r"does not know the classes umber, violet .* n01440764 \(tench\), .* Rename the folders"):
        evaluate(pretrained, open_source(folder / "val", val_share=1.0))


def test_demo_pictures_are_said_to_be_only_that(pretrained: Recogniser) -> None:
    found = evaluate(pretrained, open_source("pictograms"))
    assert found.is_demo
    assert found.metrics.n == 400
    assert "Demo pictures: these figures say nothing about photographs." in found.notes
    assert found.unseen is None
    assert found.as_dict()["data"]["is_demo"] is True


def test_guesses_as_json_have_both_languages(pretrained: Recogniser, photographs: Path) -> None:
    path = next((photographs / "val").rglob("*.png"))
    text = as_json([("śliwka.png", pretrained.predict(path, top=10))])
    assert "śliwka.png" in text, "letters are written as they are"
    (listed,) = json.loads(text)
    assert {guess["polish"] for guess in listed["guesses"]} == {kind.polish for kind in TEN}
    assert set(listed["guesses"][0]) == {"id", "english", "polish", "imagenet_index", "probability"}


def test_the_command_line_speaks_polish(
    pretrained: Recogniser, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tench.cli.app import Format, Language
    from tench.cli.using import predict

    monkeypatch.setattr("tench.api.load", lambda *_, **__: pretrained)
    path = next((photographs / "val").rglob("*.png"))
    guesses = pretrained.predict(path, top=10)
    predict("googlenet", [str(path)], top=10, language=Language.pl)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(path)
    for line, guess in zip(out[1:], guesses, strict=True):
        assert line.startswith(f"  {guess.kind.polish} ")
        assert f"{100 * guess.probability:.2f} %" in line
    predict("googlenet", [str(path)], top=2, format=Format.csv)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["rank"], row["polish"]) for row in rows] == [("1", guesses[0].kind.polish), ("2", guesses[1].kind.polish)]
    assert float(rows[0]["probability"]) == pytest.approx(guesses[0].probability)
