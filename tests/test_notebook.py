"""The notebook in docs/ does what it shows: its cells run one after the other, on the demo pictures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def cells(kind: str) -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def test_the_notebook_holds_no_path_of_a_machine_and_shows_what_it_printed() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not [place for place in ("/work/", "/root/", "/home/") if place in text]
    assert "image/png" in text
    assert "say nothing about photographs" in "".join(cells("markdown"))
    assert len(text) < 500_000


@pytest.mark.slow
def test_its_cells_run(tmp_path: Path) -> None:
    script = tmp_path / "tour.py"
    script.write_text("import matplotlib\nmatplotlib.use('Agg')\n" + "\n".join(cells("code")), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "points above" in done.stdout or "differ" in done.stdout or "equal on average" in done.stdout
    assert "bundle.zip" in done.stdout
    assert "report.html" in done.stdout
