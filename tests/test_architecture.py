"""The house has one way through it: imports run one way, and what must not need torch does not."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tench"
FILES = sorted(SOURCE.rglob("*.py"))

ORDER = [
    {"errors"},
    {"config"},
    {"records"},
    {"comparison"},
    {"runtime"},
    {"networks", "data"},
    {"evaluation"},
    {"training"},
    {"studies"},
    {"predict"},
    {"scoring"},
    {"api"},
    {"console"},
    {"cli"},
]
"""A module may import those before it, and those of its own name; networks and data never import each other."""
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

WITHOUT_TORCH = [
    "tench",
    "tench.errors",
    "tench.config",
    "tench.records",
    "tench.comparison",
    "tench.networks.layers",
    "tench.networks.table",
    "tench.networks.audit",
    "tench.data.decode",
    "tench.data.sources",
    "tench.data.cache",
    "tench.data.pictograms",
    "tench.evaluation",
    "tench.runtime",
    "tench.api",
    "tench.cli",
]
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_TEXTS = ("torch.load(", "pickle.", "import pickle", "yaml.load", "shell=True", "allow_pickle=True")


def part(path: Path) -> str:
    """The part of the house a file belongs to."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The parts of tench that a file imports, also inside functions; what is only for type checking counts as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where something is from"
            names = [f"{node.module}.{alias.name}" if node.module == "tench" else str(node.module) for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("tench."))


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != SOURCE or path.name != "__init__.py"], ids=str)
def test_imports_run_one_way(path: Path) -> None:
    own = part(path)
    assert own in RANK, f"{own} has no place in the order of imports yet: give it one"
    for other in imported(path):
        allowed = other == own or (other in RANK and RANK[other] < RANK[own]) or other == "__version__"
        assert allowed, f"{path.relative_to(SOURCE)} imports tench.{other}, which comes later or stands beside it"


def test_modules_that_must_not_need_torch_import_without_it() -> None:
    """In one process in which torch cannot be imported at all."""
    script = "import sys; sys.modules['torch'] = None; sys.modules['scipy'] = None\n"
    script += "\n".join(f"import {name}" for name in WITHOUT_TORCH)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_does_not_import_torch() -> None:
    script = "import sys, tench.cli; sys.argv = ['tench', '--help']\ntry:\n tench.cli.main()\nexcept SystemExit: pass\n"
    script += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "study" in done.stdout


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_stay_small_and_nothing_runs_what_it_reads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, f"{path} holds more than one thing: move the walls"
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        assert not (isinstance(call.func, ast.Name) and call.func.id in FORBIDDEN_CALLS), f"{path}:{call.lineno}"
    allowed = {"packages.py": "torch.load("}  # torchvision's own hash-checked weights, weights_only=True
    for forbidden in FORBIDDEN_TEXTS:
        assert forbidden not in text or allowed.get(path.name) == forbidden, f"{path} has {forbidden}"


def test_every_public_name_is_documented() -> None:
    missing = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(tree) is None:
            missing.append(str(path))
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        missing += [f"{path.name}:{node.name}" for node in public if ast.get_docstring(node) is None]
    assert missing == []


def test_no_path_of_a_machine_is_written_into_the_sources() -> None:
    for path in [*FILES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for place in ("work", "root", "opt", "home"):
            assert f"/{place}/" not in text, f"{path} names {place}"
