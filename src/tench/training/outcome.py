"""What a training ends with: the test pictures scored once, weights, and the result in the record."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tench.data.roles import Roles
from tench.data.sources import Source
from tench.evaluation import result
from tench.networks.pretrained import save_weights, sha256_of
from tench.records import Predictions, Run, RunRecord
from tench.runtime import now


def to_score(parts: Roles, beside: bool) -> NDArray[np.int64]:
    """Indices of the pictures to score: the test ones, then, where `beside`, those kept out of training because no
    pretraining saw them."""
    if not beside or parts.unseen is None:
        return parts.test
    return np.concatenate([parts.test, np.setdiff1d(parts.unseen, parts.test)])


def predictions(source: Source, parts: Roles, answers: NDArray[np.float32], beside: bool) -> Predictions:
    """`answers`, log-probabilities (n, classes) of the pictures `to_score` names, with what is known of those pictures."""
    scored = to_score(parts, beside)
    names = np.array([source.pictures[i].name for i in scored])
    labels = np.array([source.pictures[i].label for i in scored], dtype=np.int64)
    unseen = np.isin(scored, parts.unseen) if beside and parts.unseen is not None else None
    return Predictions(answers, labels, names, np.arange(len(scored)) < len(parts.test), unseen)


def finish(run: Run, module: nn.Module, scores: Predictions, **facts: Any) -> None:
    """Write weights and predictions, then the result; a run is finished when its record says so, so that comes last."""
    save_weights(module, run.weights_path, weights_metadata(run.record))
    run.save_predictions(scores)
    ids = [entry.id for entry in run.record.data.classes]
    pretrained = run.record.network.weights_sha256 is not None
    outcome = result(scores, ids, pretrained, weights_sha256=sha256_of(run.weights_path), **facts)
    run.update(status="finished", finished=now(), result=outcome)


def weights_metadata(record: RunRecord) -> dict[str, str]:
    """What lies in the weights file beside the tensors: enough to build the network and prepare a picture for it."""
    return {
        "network": record.network.text,
        "kind": record.network.kind,
        "preprocessing": json.dumps(record.preprocessing),
        "classes": json.dumps([entry.model_dump() for entry in record.data.classes]),
        "run_id": record.run_id,
        "data_sha256": record.data.sha256,
    }
