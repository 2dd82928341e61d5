"""Exhibits of whole runs: made when a training ends, of fixed pictures, the same every time; a failure costs nothing else."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tench
from conftest import draw_tiny_folder
from tench.config import Engine, Preprocessing, TransferOptions
from tench.data.sources import open_source
from tench.errors import DataError, RecordError
from tench.explain import exhibits as module_under_test
from tench.explain.exhibits import NO_CONVOLUTION, write_exhibits
from tench.explain.pictures import MOST_THUMBNAILS, choose, read_pictures
from tench.networks.build import build
from tench.networks.table import load_table
from tench.records import Predictions, Run, load_run
from tench.records.guide import GUIDE, read_guide_arrays
from tench.studies.publish import publish_runs
from tench.training import transfer as transfer_module
from tench.training.loop import Watcher

ENGINE = Engine(threads=1)


class Told(Watcher):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def trained(net: Path | str, data: Path, runs: Path, **more: Any) -> Run:
    how: dict[str, Any] = {"batch_size": 8, "epochs": 1, "threads": 1, "device": "cpu", "layout": "channels_last", "compiled": False}
    return tench.train(net, data, runs=runs, **how | more)


@pytest.fixture(scope="module")
def run(tiny_net: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch: some answers are right and some are wrong."""
    return trained(tiny_net, tiny_folder, tmp_path_factory.mktemp("exhibits"))


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    return load_run(shutil.copytree(run.folder, tmp_path / run.id))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- what there is ---------------------------------------------------------------------------------------------------


def test_a_training_ends_with_exhibits_of_right_and_wrong_answers(run: Run, tiny_folder: Path) -> None:
    found, arrays, answers = run.exhibits(), run.exhibit_arrays(), run.predictions()
    assert found is not None and found.run_id == run.id
    n_wrong = int((~answers.correct).sum())
    assert 0 < n_wrong < 30, "this test needs both"
    assert len(found.heat_maps) == min(12, n_wrong) + min(12, 30 - n_wrong)
    at = {str(name): i for i, name in enumerate(answers.names)}
    for shown in (*found.heat_maps, *found.ways):
        i = at[shown.name]
        assert (shown.label, shown.answer) == (answers.labels[i], answers.answers[i])
        assert shown.probability == pytest.approx(np.exp(answers.log_probabilities[i].max()))
        assert np.array_equal(arrays[f"picture/{shown.key}"], np.asarray(Image.open(tiny_folder / shown.name).convert("RGB")))
    assert all(shown.target == shown.answer for shown in found.heat_maps)
    assert {arrays[f"heat/{shown.key}"].shape for shown in found.heat_maps} == {(8, 8)}
    assert found.heat_method.startswith("Grad-CAM (captum ")
    assert "Conv, 3x3, 8, 8 x 8" in found.heat_method


def test_three_pictures_of_different_classes_go_through_all_rows_with_maps(run: Run) -> None:
    found, arrays = run.exhibits(), run.exhibit_arrays()
    assert found is not None
    assert len({way.label for way in found.ways}) == len(found.ways) == 3
    for way in found.ways:
        sizes = [(layer.title, layer.channels, layer.height_px, layer.width_px) for layer in way.layers]
        assert sizes == [("Conv, 3x3, 8", 8, 16, 16), ("MaxPool, 2x2", 8, 8, 8), ("Conv, 3x3, 8", 8, 8, 8), ("AvgPool, 2x2", 8, 4, 4)]
        assert [arrays[f"maps/{layer.key}"].shape for layer in way.layers] == [(8, 16, 16), (8, 8, 8), (8, 8, 8), (8, 4, 4)]
    assert found.filters == "Conv, 3x3, 8"
    assert arrays["filters"].shape == (8, 3, 3, 3)


def test_thumbnails_are_of_wrong_answers_alone(run: Run) -> None:
    answers = run.predictions()
    found = run.thumbnails([str(name) for name in answers.names])
    assert set(found) == {str(name) for name in answers.names[~answers.correct]}
    for jpeg in found.values():
        image = Image.open(io.BytesIO(jpeg))
        assert (image.format, image.size) == ("JPEG", (20, 20)), "small pictures are not enlarged"


def test_the_same_is_made_again_and_nothing_else_is_touched(copy: Run, tiny_folder: Path) -> None:
    before, arrays, exhibits = files(copy.folder), copy.exhibit_arrays(), copy.exhibits()
    assert exhibits is not None
    shutil.rmtree(copy.exhibits_path)
    random = torch.get_rng_state()
    np.random.seed(3)
    own = np.random.random()
    np.random.seed(3)
    again = write_exhibits(copy, open_source(tiny_folder), ENGINE)
    assert np.random.random() == own
    assert torch.equal(torch.get_rng_state(), random)
    assert files(copy.folder) == before
    assert again.model_copy(update={"made": exhibits.made}) == exhibits
    made_again = copy.exhibit_arrays()
    assert made_again.keys() == arrays.keys()
    assert all(np.array_equal(made_again[name], array) for name, array in arrays.items())


def test_a_network_without_convolution_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    net = tmp_path / "flat.net"
    net.write_text("[flat]\nImageInput, 8x8\nFullyConnected, 3\nSoftMax\nClassOutput, 3\n", encoding="utf-8")
    run = trained(net, tiny_folder, tmp_path / "runs")
    found = run.exhibits()
    assert found is not None
    assert (found.filters, found.heat_maps, found.ways, found.heat_method) == (None, (), (), NO_CONVOLUTION)
    assert found.thumbnails == (not run.predictions().correct.all())


def test_of_a_users_module(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\ndef make(classes):\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))\n",
        encoding="utf-8",
    )
    found = trained(f"{tmp_path}/mine.py:make", tiny_folder, tmp_path / "runs", size_px=10).exhibits()
    assert found is not None
    assert [layer.title for layer in found.ways[0].layers] == ["0, Conv2d", "1, BatchNorm2d", "2, ReLU"]
    assert "0, Conv2d, 8 x 8" in found.heat_method


def test_of_a_frozen_network_with_a_new_last_layer(tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    preprocessing = Preprocessing(height_px=16, width_px=16, mean=(100.0, 100.0, 100.0), std=(60.0, 60.0, 60.0))
    backbone = build(load_table(tiny_net).with_classes(1000), preprocessing, "he", seed=11).eval()
    monkeypatch.setattr(transfer_module, "load_pretrained", lambda reference, weights: backbone)
    how = TransferOptions(head_start="random", hold=0.01, leave_unseen_out=False)
    run = tench.transfer(str(tiny_net), tiny_folder, how=how, device="cpu", threads=1, runs=tmp_path)
    found, arrays = run.exhibits(), run.exhibit_arrays()
    assert found is not None and found.heat_maps
    assert np.array_equal(arrays["filters"], backbone.get_parameter("conv_1.conv.weight").detach().numpy())


# --- which pictures --------------------------------------------------------------------------------------------------


def answers(correct: list[bool], seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = np.arange(len(correct)) % 4
    first = np.where(correct, labels, (labels + 1) % 4)
    logits = generator.uniform(0, 1, (len(correct), 4)).astype(np.float32)
    logits[np.arange(len(correct)), first] += 2
    normalised = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    names = np.array([f"val/{label}/{i:04d}.png" for i, label in enumerate(labels)])
    return Predictions(normalised, labels.astype(np.int64), names, np.ones(len(correct), dtype=bool))


def test_the_choice_is_twelve_right_and_twelve_wrong_fixed_by_seed_and_names() -> None:
    right = [i % 3 > 0 for i in range(120)]
    one, other = choose(answers(right), 0), choose(answers(right, seed=9), 0)
    assert (one.heat, one.ways) == (other.heat, other.ways), "how sure the answers are plays no part"
    assert [right[i] for i in one.heat] == [True] * 12 + [False] * 12
    assert choose(answers(right), 1).heat != one.heat
    flipped = [not value if i == one.heat[0] else value for i, value in enumerate(right)]
    assert choose(answers(flipped), 0).heat[:11] == one.heat[1:12], "of the others the same are shown"
    assert choose(answers(flipped), 0).ways == one.ways, "what is followed through the layers depends on no answer"


def test_where_all_is_right_there_is_nothing_wrong_to_show() -> None:
    choice = choose(answers([True] * 9), 0)
    assert (len(choice.heat), choice.thumbnails) == (9, ())


def test_thumbnails_are_of_the_surest_mistakes_where_there_are_too_many() -> None:
    found = answers([False] * (MOST_THUMBNAILS + 50))
    sureness = found.log_probabilities.max(1)
    left_out = set(range(len(sureness))) - set(choose(found, 0).thumbnails)
    assert len(left_out) == 50
    assert max(sureness[list(left_out)]) <= min(sureness[list(choose(found, 0).thumbnails)])


@pytest.mark.parametrize(("way", "size", "left"), [("squash", (224, 112), 0), ("crop", (200, 200), 100)])
def test_a_picture_is_shown_as_far_as_the_network_sees_it(way: Any, size: tuple[int, int], left: int, tmp_path: Path) -> None:
    """400 x 200 pixels, each column of its own grey: as a whole at its proportions, or its centre."""
    folder = draw_tiny_folder(tmp_path / "wide", {"train": 1, "val": 1})
    grey = np.tile(np.linspace(0, 255, 400).astype(np.uint8)[None, :, None], (200, 1, 3))
    Image.fromarray(grey).save(folder / "val" / "red" / "000.png")
    preprocessing = Preprocessing(height_px=16, width_px=16, resize=way)
    large, small = read_pictures(open_source(folder), ["val/red/000.png"], ["val/red/000.png"], preprocessing)
    shown = large["val/red/000.png"]
    assert shown.pixels.shape == (16, 16, 3)
    assert shown.picture.shape == (size[1], size[0], 3)
    assert abs(int(shown.picture[0, 0, 0]) - int(grey[0, left, 0])) <= 1
    assert Image.open(io.BytesIO(small["val/red/000.png"])).size == (72, 36)


# --- what can go wrong -----------------------------------------------------------------------------------------------


def test_a_failure_is_said_and_the_run_stays_finished(tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(module_under_test, "parts_with_maps", fail)
    told = Told()
    run = load_run(trained(tiny_net, tiny_folder, tmp_path, watcher=told).folder)
    assert run.record.status == "finished"
    assert run.exhibits() is None
    expected = "is finished, but its exhibits (heat maps, feature maps, thumbnails) could not be made: ValueError: no such thing."
    assert expected in told.said[-1]
    assert f"`tench explain {run.id}`" in told.said[-1]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_stops_here_is_told_that_the_run_is_finished(
    stop: type[BaseException], tiny_net: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr(module_under_test, "parts_with_maps", stopped)
    told = Told()
    with pytest.raises(stop):
        trained(tiny_net, tiny_folder, tmp_path, watcher=told)
    assert "is finished; only its exhibits were not made: `tench explain " in told.said[-1]


def test_they_can_be_left_out(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    run = trained(tiny_net, tiny_folder, tmp_path, exhibits=False)
    assert not run.exhibits_path.exists()
    assert (run.exhibits(), run.exhibit_arrays(), run.thumbnails(["val/red/000.png"])) == (None, {}, {})
    assert tench.exhibit(run, threads=1).run_id == run.id, "its pictures are found where they were"


def test_other_pictures_and_unfinished_runs_are_refused(copy: Run, tmp_path: Path) -> None:
    other = open_source(draw_tiny_folder(tmp_path / "other", {"train": 3, "val": 3}))
    with pytest.raises(DataError, match=r"give the run's own pictures by --data"):
        write_exhibits(copy, other, ENGINE)
    copy.update(status="interrupted")
    with pytest.raises(RecordError, match="has no final weights yet"):
        write_exhibits(copy, other, ENGINE)


def test_photographs_are_not_published(copy: Run, tmp_path: Path) -> None:
    publish_runs([copy], tmp_path / "results")
    published = [path.name for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert sorted(published) == ["history.jsonl", "predictions.npz", "record.json"]


def test_a_study_makes_them_for_what_it_trains_and_not_for_what_it_finds(tiny_net: Path, tiny_folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "one.toml"
    study.write_text(
        f'title = "One"\n[options]\nepochs = 1\nbatch_size = 8\n[[row]]\nname = "a"\nnetwork = "{tiny_net}"\n', encoding="utf-8"
    )
    places: dict[str, Any] = {"runs": tmp_path / "runs", "device": "cpu", "threads": 1}
    made = tench.study(study, tiny_folder, **places).runs[0]
    assert made.exhibits() is not None
    shutil.rmtree(made.exhibits_path)
    assert tench.study(study, tiny_folder, **places).runs[0].exhibits() is None


def test_the_command_line_makes_them_again(copy: Run, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    import tench.cli.using  # noqa: F401 (importing adds the verbs)
    from tench.cli.app import app

    (copy.exhibits_path / "exhibits.json").unlink()
    done = CliRunner().invoke(app, ["explain", str(copy.folder), "--threads", "1", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert f"{copy.exhibits_path}: the kernels of Conv, 3x3, 8; 3 pictures through the layers;" in done.output
    assert json.loads((copy.exhibits_path / "exhibits.json").read_text())["run_id"] == copy.id


def test_the_guides_arrays_are_made_once_beside_the_runs_from_a_picture_that_is_shown(copy: Run, tiny_folder: Path) -> None:
    guide = copy.folder.parent / GUIDE
    assert not guide.exists()
    write_exhibits(copy, open_source(tiny_folder), ENGINE)
    arrays, before = read_guide_arrays(guide), guide.stat().st_mtime_ns
    shown = np.array(Image.fromarray(copy.exhibit_arrays()["picture/way-0"]).resize((112, 112), Image.Resampling.BILINEAR))
    assert arrays is not None
    assert np.array_equal(arrays["picture"], shown)
    write_exhibits(copy, open_source(tiny_folder), ENGINE)
    assert guide.stat().st_mtime_ns == before
