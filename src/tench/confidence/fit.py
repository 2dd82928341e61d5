"""Temperature, and the best way to say "not one of these", fitted on pictures that decide and measured by leaving classes out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tench.confidence.score import KEPT, LEVELS, METHODS, Arrays, Confidence, Measured, Method, Trust, familiarity
from tench.config import Engine, Preprocessing
from tench.data import imagenette, pictograms
from tench.data.cache import decoded
from tench.data.decode import decode_image, resize
from tench.data.order import drawn
from tench.data.roles import roles_of
from tench.data.sources import Source
from tench.inference import computing
from tench.networks.build import TableNetwork
from tench.networks.foreign import ForeignNetwork
from tench.records import Run
from tench.training.features import features
from tench.training.head import Head, fit_head

MOST_A_CLASS = 150
"""Pictures of each class that are looked at, of `fit` and of `select`: beyond that nothing changes but the time."""
ROUNDS = 5
LEAST_AUROC = 0.75
"""Of the best method, below which nothing is called strange: half of what it said would be wrong."""
ENOUGH = 30
"""Pictures of `select` without which nothing is fitted: of three right answers the best temperature is as cool as may be."""
HOLD = 0.001
"""Of the heads with classes left out, on features of unit spread."""
COOLEST, HOTTEST = 0.05, 20.0
BESIDE = 100
"""Drawn pictures and pictures of noise that are looked at beside the known ones."""

Network = TableNetwork | ForeignNetwork


@dataclass(frozen=True)
class _Seen:
    """Pictures as the network saw them: features (n, d), logits (n, classes), labels (n,)."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    def only(self, mask: NDArray[np.bool_]) -> "_Seen":
        return _Seen(self.features[mask], self.logits[mask], self.labels[mask])


def fit_trust(network: Network, run: Run, source: Source, engine: Engine) -> Trust:
    """The Trust of a run's network, in evaluation mode, from its own pictures.

    Temperature: the one that lowers the negative log-likelihood of `select` most. Familiarity: in up to five rounds two classes (of
    three classes one) are left out, a head is fitted on the others' features, and every method of `METHODS` is measured on `select`; the
    one with the best mean AUROC is used with all classes. The layers below the head have seen the left-out classes, which
    flatters all methods alike, and is noted.
    """
    fit, select = _seen(network, run, source, engine)
    n = len(select.labels)
    if n < ENOUGH:
        few = f"Only {n} pictures decided in training; {ENOUGH} would be needed to say how far its answers can be trusted."
        return Trust(Confidence(temperature=1.0, n_select=n, notes=(few,)), {})
    of_the_test = run.record.rules.get("select_from") == "test"
    notes = ["Fitted on the test pictures, which under the run's rules also decided when it stopped."] if of_the_test else []
    ids = [entry.id for entry in run.record.data.classes]
    groups = _left_out(len(ids), run.record.seed)
    facts: dict[str, Any] = {"temperature": _temperature(select), "n_select": n}
    if not groups:
        return Trust(Confidence(**facts, notes=tuple(notes)), {})
    notes.append("The layers below the last one were trained with the left-out classes too, which flatters these figures.")
    measured = _measured(fit, select, groups)
    facts |= {"measured": measured, "left_out": tuple(tuple(ids[label] for label in group) for group in groups)}
    best = max(measured, key=lambda one: one.auroc)
    if best.auroc < LEAST_AUROC:
        notes.append(f"No method told pictures of left-out classes apart well enough (AUROC {best.auroc:.3f} at best).")
        return Trust(Confidence(**facts, notes=tuple(notes)), {})
    method = best.method
    arrays = _gaussian(fit) if method == "distance" else {}
    known = familiarity(method, select.logits, select.features, arrays)
    beside = {
        what: _auroc(known, familiarity(method, strange.logits, strange.features, arrays))
        for what, strange in _strange(network, run.record.data.is_demo, engine)
    }
    levels = tuple(float(level) for level in np.quantile(known, np.linspace(0, 1, LEVELS)))
    return Trust(Confidence(**facts, method=method, levels=levels, beside=beside, notes=tuple(notes)), arrays)


def _seen(network: Network, run: Run, source: Source, engine: Engine) -> tuple[_Seen, _Seen]:
    parts = roles_of(source, run.record)
    labels = np.array([picture.label for picture in source.pictures], dtype=np.int64)
    pixels = decoded(source, network.preprocessing)
    chosen = [_some(source, role, labels) for role in (parts.fit, parts.select)]
    if (run.record.transfer or {}).get("method") == "frozen" and run.record.network.weights_sha256:
        kept = [features(network, run.record.network.weights_sha256, source, pixels, indices, engine) for indices in chosen]
        fit, select = (_Seen(found, answers(network, found), labels[indices]) for found, indices in zip(kept, chosen, strict=True))
    else:
        fit, select = (_look(network, pixels, indices, labels, engine) for indices in chosen)
    return fit, select


def _some(source: Source, role: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MOST_A_CLASS pictures of each class, drawn by content."""
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels[role]):
        members = role[labels[role] == label]
        share = min(1.0, MOST_A_CLASS / len(members))
        chosen[members] = drawn([source.pictures[i].sha256 for i in members], share, 0, "confidence")
    return np.flatnonzero(chosen).astype(np.int64)


def _look(network: Network, pixels: NDArray[np.uint8], indices: NDArray[np.int64], labels: NDArray[np.int64], engine: Engine) -> _Seen:
    with computing(network, pixels, indices, engine, "features") as computer:
        found = computer.of(pixels, indices)
    return _Seen(found, answers(network, found), labels[indices])


def answers(network: Network, found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (n, classes) from what goes into the head, (n, d)."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = network.answers(torch.from_numpy(found).to(network.head.weight.device)).float().cpu().numpy()
    return logits


def _temperature(select: _Seen) -> float:
    from scipy.optimize import minimize_scalar

    logits, rows = select.logits.astype(np.float64), np.arange(len(select.labels))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[rows, select.labels]).mean())

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def _left_out(classes: int, seed: int) -> list[tuple[int, ...]]:
    """Disjoint groups of classes for the rounds: pairs, of three classes single ones; none of fewer."""
    order = np.random.default_rng(seed).permutation(classes).tolist()
    size = 2 if classes > 3 else 1
    groups = [tuple(sorted(order[i : i + size])) for i in range(0, classes - size + 1, size)]
    return groups[:ROUNDS] if classes > 2 else []


def _measured(fit: _Seen, select: _Seen, groups: Sequence[tuple[int, ...]]) -> tuple[Measured, ...]:
    rounds = [_round(fit, select, group) for group in groups]
    return tuple(
        Measured(
            method=method,
            auroc=float(np.mean([found[method][0] for found in rounds])),
            passed=float(np.mean([found[method][1] for found in rounds])),
            rounds=tuple(found[method][0] for found in rounds),
        )
        for method in METHODS
    )


def _round(fit: _Seen, select: _Seen, group: tuple[int, ...]) -> dict[Method, tuple[float, float]]:
    """AUROC, and the share of unknown pictures that pass where KEPT of the known ones do, of each method without the classes `group`."""
    known_fit, strange = fit.only(~np.isin(fit.labels, group)), np.isin(select.labels, group)
    arrays, spread = _gaussian(known_fit), max(float(fit.features.std()), 1e-12)
    kept = np.unique(known_fit.labels)
    start = Head(torch.zeros(len(kept), fit.features.shape[1]), torch.zeros(len(kept)))
    head = fit_head(start, torch.from_numpy(known_fit.features / spread), torch.from_numpy(np.searchsorted(kept, known_fit.labels)), HOLD)
    logits = (select.features / spread) @ head.weight.numpy().T + head.bias.numpy()
    found = {}
    for method in METHODS:
        scores = familiarity(method, logits, select.features, arrays)
        threshold = np.quantile(scores[~strange], 1 - KEPT)
        found[method] = _auroc(scores[~strange], scores[strange]), float((scores[strange] >= threshold).mean())
    return found


def _gaussian(fit: _Seen) -> Arrays:
    """The classes' means, and what makes their common covariance 1, shrunk as Ledoit and Wolf (2004) have it."""
    from scipy.linalg import cholesky, solve_triangular
    from sklearn.covariance import ledoit_wolf

    labels = np.unique(fit.labels)
    means = np.stack([fit.features[fit.labels == label].mean(axis=0) for label in labels])
    centred = (fit.features - means[np.searchsorted(labels, fit.labels)]).astype(np.float64)
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    width = len(covariance)
    least = 1e-6 * max(float(np.trace(covariance)) / width, 1e-12)  # features that never move have no variance of their own
    lower = cholesky(covariance + least * np.eye(width), lower=True)
    whitening = solve_triangular(lower, np.eye(width), lower=True).T
    return {"means": means.astype(np.float32), "whitening": whitening.astype(np.float32)}


def _auroc(known: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.concatenate([np.ones(len(known)), np.zeros(len(strange))])
    return float(roc_auc_score(truth, np.concatenate([known, strange])))


def _strange(network: Network, is_demo: bool, engine: Engine) -> Iterator[tuple[str, _Seen]]:
    """Pictures that are certainly none of the classes: drawn ones (unless those are what it knows), and noise, fine and coarse."""
    p = network.preprocessing
    made = {"noise": np.stack(list(_noise(p)))}
    if not is_demo:
        content = [content for _, _, content in pictograms.generate(0, {"val": BESIDE // len(imagenette.classes())}, p.height_px)]
        made["drawn pictures"] = np.stack([resize(decode_image(one, "a drawn picture"), p.height_px, p.width_px) for one in content])
    for what, pixels in made.items():
        indices = np.arange(len(pixels))
        yield what, _look(network, pixels, indices, np.zeros(len(pixels), dtype=np.int64), engine)


def _noise(p: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    for number in range(BESIDE):
        side = (4, 16, max(p.height_px, p.width_px))[number % 3]
        grain = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        yield resize(Image.fromarray(grain), p.height_px, p.width_px)
