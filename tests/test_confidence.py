"""How far answers can be trusted: temperature, familiarity, and the measure of "not one of these"."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tench
from tench.answering import Answer, Guess
from tench.confidence.fit import _left_out
from tench.confidence.score import METHODS, Confidence, Trust, familiarity, files_of, read_trust, save_trust, trust_of
from tench.errors import RecordError
from tench.records import ClassFacts, Run


def test_familiarity_by_hand() -> None:
    logits = np.array([[2.0, 0.0], [0.5, 0.5]])
    features = np.array([[1.0, 0.0], [0.0, 3.0]])
    arrays = {"means": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), "whitening": np.diag([1.0, 0.5]).astype(np.float32)}
    assert familiarity("logit", logits, features, {}).tolist() == [2.0, 0.5]
    assert familiarity("energy", logits, features, {}) == pytest.approx([np.log(np.e**2 + 1), 0.5 + np.log(2)])
    assert familiarity("probability", logits, features, {}) == pytest.approx([2 - np.log(np.e**2 + 1), -np.log(2)])
    # whitened, the second lies at (0, 1.5): one from the second class's mean (0, 0.5)
    assert familiarity("distance", logits, features, arrays) == pytest.approx([0.0, -1.0])


@pytest.mark.parametrize(("classes", "sizes"), [(2, []), (3, [1, 1, 1]), (4, [2, 2]), (5, [2, 2]), (10, [2] * 5), (37, [2] * 5)])
def test_classes_are_left_out_in_disjoint_groups(classes: int, sizes: list[int]) -> None:
    groups = _left_out(classes, seed=0)
    assert [len(group) for group in groups] == sizes
    flat = [label for group in groups for label in group]
    assert len(set(flat)) == len(flat)
    assert groups == _left_out(classes, seed=0)


def test_a_training_ends_with_what_is_known_of_its_answers(trained: Run) -> None:
    trust = read_trust(trained.folder)
    assert trust is not None
    facts = trust.facts
    assert facts.n_select == 6
    assert {one.method for one in facts.measured} == set(METHODS)
    assert facts.chosen is not None
    assert facts.chosen.auroc == max(one.auroc for one in facts.measured)
    assert facts.left_out == tuple((name,) for (name,) in facts.left_out)
    assert sorted(name for (name,) in facts.left_out) == ["blue", "green", "red"]
    assert set(facts.beside) == {"noise", "drawn pictures"}
    assert "3 rounds with classes left out" in facts.sentence
    assert any("flatters" in note for note in facts.notes)


def test_from_a_handful_of_pictures_nothing_is_claimed(trained: Run, tiny_folder: Path, tmp_path: Path) -> None:
    """Six pictures decided: with all of them right the best temperature would make every answer certain."""
    copy = Run.read(Path(shutil.copytree(trained.folder, tmp_path / "copy")))
    tench.exhibit(copy, tiny_folder)
    trust = read_trust(copy.folder)
    assert trust is not None
    assert (trust.facts.temperature, trust.facts.method) == (1.0, None)
    assert "Only 6 pictures decided" in trust.facts.notes[0]
    answer = tench.load(copy).predict(tiny_folder / "val" / "red" / "003.png")
    assert answer.familiarity is None
    assert not answer.is_strange


def test_the_temperature_lowers_the_loss_and_changes_no_answer(trained: Run, tiny_folder: Path) -> None:
    used = tench.load(trained)
    assert used.trust is not None
    logits = used.look(np.stack([used.pixels(path) for path in sorted((tiny_folder / "val").rglob("*.png"))])).logits
    assert (used.probable(logits).argmax(1) == logits.argmax(1)).all()
    warm = Trust(used.trust.facts.model_copy(update={"temperature": 4.0}), used.trust.arrays)
    object.__setattr__(used, "trust", warm)
    assert np.exp(used.probable(logits)).max() < np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True)).max()


def test_the_temperature_is_that_of_overconfident_logits() -> None:
    """Answers drawn from softmax(z), given as 3 z: the temperature that is found must be 3."""
    from tench.confidence.fit import _Seen, _temperature

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([generator.choice(5, p=row) for row in shares])
    assert _temperature(_Seen(np.zeros((20_000, 1)), 3 * logits, labels)) == pytest.approx(3, rel=0.05)


def test_what_is_far_from_all_classes_is_called_strange(trained: Run, tiny_folder: Path) -> None:
    """By the distance, whose meaning is certain: features moved far away are less familiar than all that are known."""
    facts = Confidence(temperature=1, n_select=3, method="distance", levels=(-3.0, -2.0, -1.0))
    trust = Trust(facts, {"means": np.zeros((2, 2), np.float32), "whitening": np.eye(2, dtype=np.float32)})
    places = trust.place(np.zeros((3, 2), np.float32), np.array([[10, 0], [0, 1.5**0.5], [0, 0]], np.float32))
    assert places is not None
    assert places.tolist() == pytest.approx([0.0, 0.75, 1.0])
    kind = ClassFacts(id="a", english="a", polish="a")
    strange, known = (Answer((Guess(kind, 0.9),), float(place)) for place in places[:2])
    assert strange.is_strange
    assert strange.as_dict()["not_one_of_these"] is True
    assert not known.is_strange
    assert Answer((Guess(kind, 0.9),)).as_dict()["not_one_of_these"] is None, "where nothing is known nothing is said"


def test_what_is_written_is_read_again_and_damage_is_named(trained: Run, tmp_path: Path) -> None:
    trust = read_trust(trained.folder)
    assert trust is not None
    save_trust(tmp_path, trust)
    again = read_trust(tmp_path)
    assert again is not None
    assert again.facts == trust.facts
    assert read_trust(tmp_path / "nowhere") is None
    (tmp_path / "confidence.npz").write_bytes(b"PK")
    with pytest.raises(RecordError, match="tench explain"):
        read_trust(tmp_path)


@pytest.mark.parametrize(
    ("changes", "arrays"),
    [
        ({"levels": [3.0, 1.0]}, {}),
        ({"method": "distance", "levels": [0.0, 1.0]}, {"means": np.zeros((2, 3)), "whitening": np.eye(4)}),
        ({"method": "distance", "levels": [0.0, 1.0]}, {}),
        ({"temperature": 0}, {}),
        ({"surprise": 1}, {}),
    ],
)
def test_facts_that_do_not_fit_are_refused(changes: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    files = files_of(Trust(Confidence(temperature=1.0, n_select=1, method="logit", levels=(0.0, 1.0)), arrays))
    facts = json.dumps(json.loads(files["confidence.json"]) | changes).encode()
    with pytest.raises((ValueError, KeyError)):
        trust_of(facts, files["confidence.npz"])


@pytest.mark.parametrize(("language", "words"), [("en", "Not one of these, it seems"), ("pl", "Chyba żadna z nich")])
def test_the_command_line_says_what_is_strange(
    trained: Run, language: str, words: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tench.cli.app import Language
    from tench.cli.using import predict

    used = tench.load(trained)
    assert used.trust is not None
    facts = used.trust.facts.model_copy(update={"levels": (1e6, 2e6)})  # nothing is as familiar as that
    object.__setattr__(used, "trust", Trust(facts, used.trust.arrays))
    monkeypatch.setattr("tench.api.load", lambda *_, **__: used)
    predict("run", [str(tiny_folder / "val" / "red" / "003.png")], language=Language(language))
    out = capsys.readouterr().out
    assert f"  {words}" in out
    assert "100%" in out
    assert facts.sentence in out, "how good that is, is said beside it"


@pytest.mark.shared
def test_googlenet_with_a_new_head_tells_left_out_classes_apart(shared_data: Path, shared_weights: Path, tmp_path: Path) -> None:
    """On a small share: pairs of Imagenette's classes that its head has never seen are found with an AUROC above 0.9."""
    run = tench.transfer("googlenet", shared_data, weights=shared_weights, share=0.05, test_share=0.01, threads=2, runs=tmp_path)
    trust = read_trust(run.folder)
    assert trust is not None
    assert trust.facts.chosen is not None
    assert trust.facts.chosen.auroc > 0.9
