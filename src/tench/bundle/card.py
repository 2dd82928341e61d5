"""The model card of a bundle: what it recognises, how well, where it fails, what it was made of, how to use it."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from tench.bundle.facts import BundleFacts
from tench.comparison.formats import escaped
from tench.confidence.score import Confidence
from tench.evaluation import calibration_error, confusion
from tench.inference import normalised
from tench.records import Run

MOST_CONFUSIONS = 8
IMAGENETTE = (
    "Imagenette is a part of ImageNet, whose terms allow the photographs to be used for non-commercial research and education;"
    " the photographs belong to those who took them. None is in this bundle."
)
PRETRAINED = (
    "It starts from weights pretrained on {on}; for GoogLeNet's, the Caffe model's card says they are released for unrestricted use."
)


def card(facts: BundleFacts, trust: Confidence, run: Run) -> str:
    """README.md of the bundle, Markdown."""
    text = resources.files("tench.bundle").joinpath("card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(text).render(
        f=facts,
        r=facts.result,
        words={entry.id: escaped(entry.english) for entry in facts.classes},
        polish={entry.id: escaped(entry.polish) for entry in facts.classes},
        trust=trust,
        confused=list(_confused(run)),
        calibrated=_calibrated(run, trust.temperature),
        licences=list(_licences(facts)),
        percent=lambda share: f"{100 * share:.2f}",
    )


def _confused(run: Run) -> Iterator[dict[str, Any]]:
    """The commonest mistakes on the test pictures: right class, answer, how many, of how many."""
    predictions, classes = run.predictions(), run.record.data.classes
    test = predictions.only(predictions.test)
    table = confusion(test.answers, test.labels, len(classes))
    wrong = table * (1 - np.eye(len(classes), dtype=np.int64))
    for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]:
        right, answer = divmod(int(place), len(classes))
        if wrong[right, answer]:
            names = {"right": escaped(classes[right].english), "answer": escaped(classes[answer].english)}
            yield names | {"n": int(wrong[right, answer]), "of": int(table[right].sum())}


def _calibrated(run: Run, temperature: float) -> float:
    """Expected calibration error on the test pictures at the fitted temperature, 0 to 1."""
    predictions = run.predictions()
    test = predictions.only(predictions.test)
    return calibration_error(normalised(test.log_probabilities / np.float32(temperature)), test.labels)


def _licences(facts: BundleFacts) -> Iterator[str]:
    if facts.data.is_demo:
        yield "The pictures were drawn by tench."
    elif facts.data.kind == "imagenette":
        yield IMAGENETTE
    else:
        yield (
            f"What may be done with the pictures ({facts.data.name}), and so with what was learnt from them, tench does not know:"
            " say it here."
        )
    if facts.network.pretrained_on:
        yield PRETRAINED.format(on=facts.network.pretrained_on)
    else:
        yield "The weights were trained from scratch; whoever trained them decides what may be done with them: say it here."
