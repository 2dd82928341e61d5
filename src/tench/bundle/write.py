"""A run written as a bundle: its network as ONNX, checked against torch on the run's own pictures, with all that is known of it."""

import hashlib
import io
import json
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tench.bundle.card import card
from tench.bundle.facts import CARD, FACTS, GOLDEN, MODEL, BundleFacts, Numbers, Parity
from tench.bundle.integers import in_integers
from tench.confidence.fit import fit_trust
from tench.confidence.score import files_of, read_trust
from tench.config import Engine
from tench.data import pictograms
from tench.data.cache import decoded
from tench.data.decode import decode_image, resize
from tench.data.roles import roles_of
from tench.data.sources import Source
from tench.errors import DataError, RecordError, UsageError
from tench.inference import BATCH, TOLERANCE, Session, computing, session
from tench.networks.build import TableNetwork
from tench.networks.onnx_graph import Output, onnx_model
from tench.records import Run, make_folder, write_bytes_atomically
from tench.runtime import now
from tench.training.plan import trained

CHECKED = 256
"""Pictures on which the ONNX model is compared with torch."""
GOLDEN_A_CLASS = 1
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The same files give the same zip."""


CALIBRATED = 200
"""Pictures that 8-bit integers get their ranges from."""
LOST = 0.01
"""Largest share of the checked pictures that a model of 8-bit integers may answer wrongly beyond torch."""


def export(run: Run, source: Source, folder: Path, engine: Engine, numbers: Numbers = "float32") -> Path:
    """Write the bundle of a finished run into `folder`, and as `folder`.zip beside it; returns the zip's path.

    `numbers`: "int8" for a model of 8-bit integers.

    Raises RecordError for a run without final weights, DataError for other pictures than the run's, UsageError for networks that are
    no tables and where `folder` holds something else.
    """
    folder = folder.resolve()
    if source.sha256 != run.record.data.sha256:
        raise DataError(
            f"{run.id} was made on {run.record.data.name} (sha256 {run.record.data.sha256[:12]}), and these pictures are {source.name}"
            f" (sha256 {source.sha256[:12]}); give the run's own pictures by --data."
        )
    network = trained(run, engine)
    if not isinstance(network, TableNetwork):
        raise UsageError(
            f"{run.id} is {run.record.network.name}, which is no table: tench writes ONNX from tables only."
            f" Use it from its run: `tench predict {run.id} PHOTO`."
        )
    _refuse_other_content(folder)
    maps: tuple[Output, ...] = ("maps",) if any(isinstance(part, nn.Conv2d) for part in network.modules()) else ()
    model = onnx_model(network, ("logits", *maps, "features"))
    if numbers == "int8":
        model = in_integers(model, _fitted(network, run, source))
    compute = session(model, engine.threads)
    parity = _parity(network, compute, run, source, engine)
    _refuse_if_off(run, parity, numbers)
    trust = read_trust(run.folder) or fit_trust(network, run, source, engine)
    files = {MODEL: model, GOLDEN: _golden(network, compute), **files_of(trust)}
    facts = _facts(run, network, parity, files, numbers)
    files[CARD] = card(facts, trust.facts, run).encode()
    content = {FACTS: (json.dumps(facts.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(), **files}
    return _written(folder, content)


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / FACTS).is_file())):
        raise UsageError(f"{folder} is there already and is no bundle; name another place by --output.")
    if (packed := _packed(folder)).exists() and not _holds_facts(packed):
        raise UsageError(f"{packed}, where the bundle's zip would go, is there already and is no bundle; name another place by --output.")


def _packed(folder: Path) -> Path:
    """The zip beside a bundle's folder."""
    return folder.with_name(f"{folder.name}.zip")


def _holds_facts(packed: Path) -> bool:
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(packed) as archive:
        return any(name.endswith(f"/{FACTS}") for name in archive.namelist())
    return False


def _parity(network: TableNetwork, compute: Session, run: Run, source: Source, engine: Engine) -> Parity:
    """Both on the run's own pictures that decide (`select`): what is settled on them, is not settled on the test pictures."""
    parts = roles_of(source, run.record)
    indices = np.concatenate([parts.select, parts.fit])[:CHECKED]
    labels = np.array([source.pictures[i].label for i in indices])
    pixels = decoded(source, network.preprocessing)
    with computing(network, pixels, indices[:1], engine) as by_torch:  # one picture: torch computes
        expected = by_torch.of(pixels, indices)
    found = np.concatenate([compute(["logits"], pixels[batch])[0] for batch in _batches(indices)])
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30))
    answers, by_both = expected.argmax(1), found.argmax(1)
    return Parity(
        n=len(indices),
        largest_difference=difference,
        agreed=int((by_both == answers).sum()),
        torch_correct=int((answers == labels).sum()),
        correct=int((by_both == labels).sum()),
        by=f"ONNX Runtime {version('onnxruntime')}",
    )


def _refuse_if_off(run: Run, parity: Parity, numbers: Numbers) -> None:
    if numbers == "int8" and parity.torch_correct - parity.correct > LOST * parity.n:
        raise RecordError(
            f"In 8-bit integers {run.id} is right on {parity.correct} of {parity.n} pictures, in float32 on {parity.torch_correct}: that"
            " is more than one in a hundred lost. Nothing was written; export it without --int8."
        )
    if numbers == "float32" and not parity.largest_difference <= TOLERANCE:
        raise RecordError(
            f"The ONNX model of {run.id} is off: its logits differ from torch's by {parity.largest_difference:.1e} of the largest on"
            f" {parity.n} pictures, where {TOLERANCE:.0e} is allowed, and {parity.agreed} answers agree. Nothing was written; please report"
            " it with the network's table."
        )


def _fitted(network: TableNetwork, run: Run, source: Source) -> NDArray[np.uint8]:
    """CALIBRATED pictures of those the run learnt from, evenly taken."""
    fit = roles_of(source, run.record).fit
    chosen: NDArray[np.uint8] = decoded(source, network.preprocessing)[fit[:: max(1, len(fit) // CALIBRATED)]]
    return chosen


def _batches(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[first : first + BATCH] for first in range(0, len(indices), BATCH)]


def _golden(network: TableNetwork, compute: Session) -> bytes:
    """Demo pictures and the logits for them: no photograph of anyone's goes into a bundle."""
    p = network.preprocessing
    drawn = [content for _, _, content in pictograms.generate(0, {"val": GOLDEN_A_CLASS}, max(p.height_px, p.width_px))]
    pictures = np.stack([resize(decode_image(content, "a drawn picture"), p.height_px, p.width_px) for content in drawn])
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, pictures=pictures, logits=compute(["logits"], pictures)[0])
    return content.getvalue()


def _facts(run: Run, network: TableNetwork, parity: Parity, files: dict[str, bytes], numbers: Numbers) -> BundleFacts:
    record = run.record
    assert record.result is not None
    return BundleFacts(
        made=now(),
        run_id=run.id,
        network=record.network,
        classes=record.data.classes,
        preprocessing=network.preprocessing,
        data=record.data.model_copy(update={"left_out": (), "never_shown": (), "skipped": {}}),  # names of people's files stay at home
        recipe=record.recipe,
        seed=record.seed,
        result=record.result,
        machine=record.machine,
        versions=record.versions,
        parity=parity,
        numbers=numbers,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )


def _written(folder: Path, content: dict[str, bytes]) -> Path:
    """The folder, bundle.json last, so that a bundle that was broken off is none; then the zip."""
    make_folder(folder)
    (folder / FACTS).unlink(missing_ok=True)
    for name in [*(name for name in content if name != FACTS), FACTS]:
        write_bytes_atomically(folder / name, content[name])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(f"{folder.name}/{name}", _ZIP_DATE), data, zipfile.ZIP_DEFLATED)
    path = _packed(folder)
    write_bytes_atomically(path, packed.getvalue())
    return path
