"""Finished runs made up for the report's tests: no training, and names that try to break out of the page."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tench.config import Options, Preprocessing, Rules
from tench.evaluation import result
from tench.networks.table import parse
from tench.records import (
    ClassFacts,
    DataFacts,
    Exhibits,
    HeatMap,
    LayerMaps,
    MachineFacts,
    NetworkFacts,
    Predictions,
    Run,
    RunRecord,
    Way,
    create_run,
    save_exhibits,
)

TABLE = "[{name}]\nImageInput, 16x16\nConv, 3x3, 8\nMaxPool, 2x2\nFullyConnected, 3\nSoftMax\nClassOutput, 3\n"
HOSTILE = '</script><script>alert("x")</script>'
CLASSES = ("blue", HOSTILE, "red & <b>green</b>")
N = 60


def made_run(folder: Path, name: str = "one", seed: int = 0, skill: float = 0.7, exhibits: bool = False, **changes: Any) -> Run:
    """A finished run of a network called `name` that has about `skill` of 60 pictures right, and two epochs of history."""
    text = TABLE.format(name=name)
    table = parse(text)
    identity = f"{abs(hash((name, seed, str(changes)))):016x}{seed:048d}"
    data = {
        "name": "discs",
        "kind": "folder",
        "sha256": "d" * 64,
        "is_demo": False,
        "classes": tuple(ClassFacts(id=f"c{i}", english=c, polish=f"{c} pl") for i, c in enumerate(CLASSES)),
        "n_fit": 90,
        "n_select": 10,
        "n_test": N,
    }
    record: dict[str, Any] = {
        "run_id": f"{name}-16px-modern-s{seed}-{identity[:8]}",
        "identity": identity,
        "kind": "train",
        "created": "2026-11-25T03:08:25+00:00",
        "network": NetworkFacts(
            name=name, origin="own", kind="table", text=text, parameters=table.parameters, macs=table.macs, counted="table", input_px=16
        ),
        "data": DataFacts(**(data | changes.pop("data", {}))),
        "recipe": "modern",
        "rules": Rules().model_dump(),
        "options": Options(seed=seed, epochs=2).model_dump(),
        "engine": {"device": "cpu", "threads": 1},
        "preprocessing": Preprocessing(height_px=16, width_px=16).model_dump(),
        "machine": MachineFacts(system="Linux", processor="a processor", cores=2, memory_mib=1000),
        "versions": {"torch": "2.14"},
        "code_sha256": "c" * 64,
        "seed": seed,
    }
    run = create_run(folder, RunRecord(**(record | changes)))
    for epoch in (1, 2):
        line = {"epoch": epoch, "loss": 1.0 / epoch, "top1": 0.3 * epoch, "learn_rate": 0.01 / epoch, "best": epoch == 2}
        run.append_history(line | {"select_loss": 1.1 / epoch, "select_top1": 0.25 * epoch, "pictures_per_s": 10.0, "epoch_s": 1.0})
    answers = made_answers(seed + len(name), skill)
    run.save_predictions(answers)
    ids = [entry.id for entry in run.record.data.classes]
    facts = {"epochs": 2, "best_epoch": 2, "train_s": 61.0, "scored_by": "ONNX Runtime, within 3e-07 of torch"}
    run.update(status="finished", finished="2026-11-25T03:11:44+00:00", result=result(answers, ids, pretrained=False, **facts))
    if exhibits:
        made_exhibits(run, answers)
    return run


def made_answers(seed: int, skill: float) -> Predictions:
    """Answers to 60 pictures, 20 of each class, of which about `skill` are right."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), N // 3)
    answers = np.where(rng.random(N) < skill, labels, (labels + rng.integers(1, 3, N)) % 3)
    scores = rng.normal(0, 0.3, (N, 3))
    scores[np.arange(N), answers] += rng.uniform(1.5, 4, N)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    names = np.array([f"val/{HOSTILE if i == 0 else 'c'}/{i:03d}.jpg" for i in range(N)])
    return Predictions(log_probabilities.astype(np.float32), labels, names, np.ones(N, bool))


def made_exhibits(run: Run, answers: Predictions) -> None:
    """One heat map, one way, filters, and thumbnails of all wrong answers."""
    rng = np.random.default_rng(0)
    first, picture = str(answers.names[0]), rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    arrays = {
        "filters": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "picture/a": picture,
        "heat/a": rng.integers(0, 255, (4, 4), dtype=np.uint8),
        "maps/a-0": rng.integers(0, 255, (8, 16, 16), dtype=np.uint8),
    }
    shown = {"key": "a", "name": first, "label": 0, "answer": int(answers.answers[0]), "probability": 0.9}
    layers = (LayerMaps(key="a-0", title="Conv, 3x3, 8", channels=8, height_px=16, width_px=16),)
    exhibits = Exhibits(
        run_id=run.id,
        made="2026-11-25T03:12:00+00:00",
        heat_method="Grad-CAM (captum 0.8.0) of the last convolution, Conv, 3x3, 8, 16 x 16, for the class answered",
        filters="Conv, 3x3, 8",
        heat_maps=(HeatMap(target=int(answers.answers[0]), **shown),),
        ways=(Way(layers=layers, **shown),),
        thumbnails=True,
    )
    wrong = answers.names[~answers.correct].tolist()
    save_exhibits(run.folder, exhibits, arrays, {str(name): jpeg(picture) for name in wrong})


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()
