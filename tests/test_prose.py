"""The habits of our English that a program can check: docstrings, help texts, spelling."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tumortrace.cli import app

ROOT = Path(__file__).parent.parent
MODULES = [
    path
    for folder in ("src", "benchmarks", "studies", "reproduction", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands

LEADING = re.compile(
    r"(Of|That|Whose|Where|Which|What|How|Why|When|Who|By|With|From|In|On|At|For|To|Between|Within|Beside|As|If|Whether"
    r"|Among|Below|Above|Before|After|Without|Under|Over|Into|Onto)\b"
)
"""Words that begin no noun phrase; ``Whether`` may begin the description of a bool."""

REMOVED = {
    "is told as": "is recognised as",
    "told apart": "distinguished",
    "turned away": "rejected",
    "turn away": "reject",
    "turns away": "rejects",
    "cannot be told": "cannot be checked",
    "is to be had": "is available",
    "learnt from": "trained on",
    "learn from": "train on",
    "leave away": "omit",
    "left away": "omitted",
    "gives no numbers": "returns NaN or infinity",
    "the recipe before": "the previous recipe",
    "the report's": "the student paper's",
}
"""Phrases that read as a translation, with what to write instead."""


def docstrings(path: Path) -> list[tuple[str, str]]:
    """Each docstring of a module with its place."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    named = [(getattr(node, "name", "module"), ast.get_docstring(node)) for node in nodes]
    return [(f"{path.relative_to(ROOT)}: {name}", text) for name, text in named if text]


def arguments(docstring: str) -> list[tuple[str, str]]:
    """Names and descriptions below ``Args:`` and ``Attributes:``."""
    sections = re.findall(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)*)", docstring + "\n", flags=re.MULTILINE)
    return [pair for section in sections for pair in re.findall(r"^    (\w+): (.*)$", section, flags=re.MULTILINE)]


def test_the_finder_reads_arguments_and_attributes():
    text = "Do it.\n\nArgs:\n    one: Of a slice.\n        More of it.\n    two: Mask.\n\nReturns:\n    it: Nothing.\n"
    assert arguments(text) == [("one", "Of a slice."), ("two", "Mask.")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_argument_docs_are_noun_phrases(path):
    bad = []
    for place, text in docstrings(path):
        for name, description in arguments(text):
            word = LEADING.match(description)
            if word and word[1] != "Whether":
                bad.append(f"{place}({name}): {description}")
    assert bad == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_modules_first_line_says_what_is_in_it(path):
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert 0 < len(first) <= 80, first


def test_help_summaries_fit_a_terminal():
    listed = CliRunner().invoke(app, ["--help"], terminal_width=78).output.partition("Commands:")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []
    assert all(f"  {command} " in listed for command in COMMANDS)


def test_no_phrase_reads_as_a_translation():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    found = []
    for path in [*MODULES, *pages]:
        if path.name == "CONTRIBUTING.md":
            continue  # names the phrases
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}: {phrase!r}" for phrase in REMOVED if phrase in text]
    assert found == []
