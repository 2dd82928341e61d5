"""What README and docs say exists: verbs, options, files, and the Python they show parses."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

import tench.cli.fetching
import tench.cli.giving
import tench.cli.keeping
import tench.cli.looking
import tench.cli.reporting
import tench.cli.serving
import tench.cli.starting
import tench.cli.sweeping
import tench.cli.training
import tench.cli.using  # noqa: F401 (importing adds the verbs)
from tench.cli.app import app
from tench.config import Rules, load_recipe

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands(text: str) -> list[list[str]]:
    """Every `tench ...` in a code block or in backticks, as words."""
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    blocks = re.findall(r"^tench [^\n]*", fenced, re.MULTILINE) + re.findall(r"`(tench [^`\n]*)`", text)
    lines = [part for block in blocks for part in block.split("#")[0].split(";")]
    return [shlex.split(line.replace("[", "").replace("]", "").replace("\\|", " ")) for line in lines if line.strip().startswith("tench ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    top = get_command(app)
    for words in commands(page.read_text(encoding="utf-8")):
        if len(words) == 1 or words[1].startswith("-") or words[1] == "...":
            continue
        verbs = top.commands  # type: ignore[attr-defined]
        assert words[1] in verbs, f"{page.name}: {' '.join(words)}"
        verb = verbs[words[1]]
        if len(words) > 2 and words[2] in getattr(verb, "commands", {}):
            verb = verb.commands[words[2]]
        known = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in words[2:]:
            assert not word.startswith("--") or word.split("=")[0] in known | {"--help"}, f"{page.name}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for named in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert named in targets, f"{page.name}: make {named}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_parses_and_uses_public_names(page: Path) -> None:
    import tench

    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tench":
                assert node.attr in tench.__all__, f"{page.name}: tench.{node.attr}"


def test_tables_in_the_readme_are_tables() -> None:
    from tench.networks.table import parse

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) if block.startswith("ImageInput")]
    assert blocks
    for block in blocks:
        assert parse(block).n_classes == 10


def test_the_page_of_rules_has_every_rule_with_the_value_it_has() -> None:
    lines = re.findall(r"^\| `(\w+)` \|.*$", RULES.split("\n## ")[1], re.MULTILINE)
    assert sorted(lines) == sorted(Rules.model_fields)
    for recipe, column in (("r2018b", -2), ("modern", -1)):
        rules = load_recipe(recipe).rules
        for field in Rules.model_fields:
            cells = next(line for line in RULES.splitlines() if line.startswith(f"| `{field}` |")).strip("|").split("|")
            shown = cells[column].strip().replace("`", "")
            value = str(getattr(rules, field)).removesuffix(".0").lower()
            assert shown == "" or re.match(rf"{re.escape(value)}(?![\w.])", shown), f"{recipe}: {field} is {value}, the page has: {shown}"


def test_accuracies_in_the_readme_are_those_of_kept_results() -> None:
    kept = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "results").glob("*/table.md"))
    for page in ("README.md", "results/README.md"):
        quoted = re.findall(r"\d+\.\d\d \((?:range )?\d+\.\d\d to \d+\.\d\d\)", (ROOT / page).read_text(encoding="utf-8"))
        assert quoted
        assert [figure for figure in quoted if figure not in kept] == []


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_the_table_of_the_study_has_every_run_that_is_kept(page: str) -> None:
    """Each with its figures, in the order of the table that tench wrote."""
    kept = [
        row for row in json.loads((ROOT / "results" / "study" / "table.json").read_text(encoding="utf-8"))["rows"] if row["kind"] == "run"
    ]
    shown = (ROOT / page).read_text(encoding="utf-8").split("<!-- study -->\n")[1].split("<!-- /study -->")[0].strip().splitlines()[2:]
    for line, row in zip(shown, kept, strict=True):
        name, _, reported, top1, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        shares = ["-" if row[key] is None else f"{100 * row[key]:.2f}" for key in ("reported_top1", "top1", "top1_low", "top1_high")]
        assert (name, reported, top1) == (row["name"].removeprefix("network_"), shares[0], f"{shares[1]} ({shares[2]} to {shares[3]})")
