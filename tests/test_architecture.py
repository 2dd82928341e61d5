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
    {"inference"},
    {"evaluation"},
    {"training"},
    {"confidence"},
    {"explain"},
    {"studies"},
    {"sweeping"},
    {"answering"},
    {"predict"},
    {"bundle"},
    {"scoring"},
    {"report"},
    {"wizard"},
    {"api"},
    {"serve"},
    {"console"},
    {"cli"},
    {"__main__"},
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
    "tench.data.alike",
    "tench.data.pictograms",
    "tench.inference",
    "tench.evaluation",
    "tench.confidence.score",
    "tench.answering",
    "tench.bundle.read",
    "tench.runtime",
    "tench.report.guide",
    "tench.report.drawing",
    "tench.report.write",
    "tench.api",
    "tench.explain.occlusion",
    "tench.serve.start",
    "tench.wizard.look",
    "tench.wizard.expected",
    "tench.sweeping.space",
    "tench.cli",
]
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
FORBIDDEN_FUNCTIONS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"),
    *("os.system", "os.popen", "torch.load", "torch.serialization.load", "torch.hub.load"),
}
TEXTS = {".md", ".csv", ".json", ".jsonl"}
MUST_BE_FALSE = {"shell", "allow_pickle"}


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


def dangers(tree: ast.AST) -> list[str]:
    """What in a module unpickles, runs what it reads, or starts a shell, as "line: what"."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names if name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_FUNCTIONS]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [(node.lineno, called)] if called in FORBIDDEN_FUNCTIONS else []
            given = [keyword for keyword in node.keywords if keyword.arg in MUST_BE_FALSE]
            found += [(node.lineno, ast.unparse(keyword)) for keyword in given if ast.unparse(keyword.value) != "False"]
    return [f"{line}: {what}" for line, what in found]


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
    assert dangers(ast.parse(text)) == [], path


@pytest.mark.parametrize(
    "line",
    [
        "import pickle as p",
        "from pickle import loads",
        "import yaml",
        "from torch import load",
        "torch.load(path, weights_only=True)",
        "eval(text)",
        "os.system(text)",
        "subprocess.run(text, shell = True)",
        "np.load(path, allow_pickle=wanted)",
    ],
)
def test_every_forbidden_form_is_found(line: str) -> None:
    assert len(dangers(ast.parse(f"def inside():\n    {line}"))) == 1


def test_what_looks_like_a_forbidden_form_is_let_through() -> None:
    harmless = "re.compile(text); torch.compile(module); np.load(path, allow_pickle=False); safetensors.torch.load_file(path)"
    assert dangers(ast.parse(harmless)) == []


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
    written = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(path for path in (ROOT / "results").rglob("*") if path.suffix in TEXTS)]
    for path in [*FILES, *written]:
        text = path.read_text(encoding="utf-8")
        for place in ("work", "root", "opt", "home", "tmp"):
            assert f"/{place}/" not in text, f"{path} names {place}"
