"""The report written: one HTML file, and where it is asked for its figures as PNG and SVG."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tench.errors import UsageError
from tench.records import make_folder, write_bytes_atomically
from tench.report.figures import write_figures
from tench.report.gathering import gather
from tench.report.page import LIMIT_MB, Asked, html_page
from tench.report.words import LANGUAGES, Words


@dataclass(frozen=True)
class Written:
    """What was written: the page, its size, and the figures' files."""

    page: Path
    bytes: int
    figures: tuple[Path, ...]


def write_report(
    references: Sequence[str],
    page: Path,
    lang: str = "en",
    photographs: bool = True,
    figures: Path | None = None,
    folder: Path | None = None,
) -> Written:
    """Write the report on the runs that `references` name (`gathering.gather`) as the file `page`, and its figures into `figures`.

    `lang` is "en" or "pl"; without `photographs` nothing shows any, but demo pictures are no photographs. `folder`: the runs folder.
    Raises UsageError for another language, for runs that are not finished, and where the page could not be kept below its limit.
    """
    if lang not in LANGUAGES:
        raise UsageError(f"The report can be written in {' or '.join(LANGUAGES)}; '{lang}' is neither.")
    material = gather(references, folder, Words(lang))
    text = html_page(material, Asked(_command(references, page, lang, photographs), lang, photographs), datetime.now(UTC).date()).encode()
    if len(text) > LIMIT_MB * 1_000_000:
        raise UsageError(
            f"The report would be {len(text) / 1e6:.1f} MB large, and {LIMIT_MB} are the most: it is of too many runs"
            f" ({len(material.runs)}). Name fewer of them."
        )
    make_folder(page.parent)
    write_bytes_atomically(page, text)
    return Written(page, len(text), tuple(write_figures(material, figures, Words(lang), photographs)) if figures else ())


def _command(references: Sequence[str], page: Path, lang: str, photographs: bool) -> str:
    """The command that makes the report again; of folders elsewhere only the last name, since a page may be given away."""
    named = [Path(reference).name if Path(reference).is_absolute() else reference for reference in references]
    parts = ["tench", "report", *named, "-o", page.name, "--lang", lang]
    return shlex.join([*parts, *([] if photographs else ["--photographs", "none"])])
