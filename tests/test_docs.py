"""The documentation is held to the code: commands, options, links and tables; test_docs_run.py runs it."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer.main

from tumortrace.cli import app
from tumortrace.config import config_names
from tumortrace.metrics.overlap import count_pixels

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def shell_lines(text: str) -> list[list[str]]:
    lines = "\n".join(blocks(text, "sh")).splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words and words[0] == "tumortrace"]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_documented(command):
    assert any(words[1] == command for words in shell_lines(README))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_and_options_exist(page):
    for words in shell_lines(page.read_text(encoding="utf-8")):
        options = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts}
        for word in words[2:]:
            if word.startswith("--"):
                assert word in options, f"{page.name}: {' '.join(words)}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_examples_parse(command):
    example = re.search(r"Example: tumortrace (.*)", COMMANDS[command].help or "")
    assert example, f"{command} has no example"
    name, *arguments = shlex.split(example[1])
    assert name == command
    COMMANDS[command].make_context(command, list(arguments))  # raises on what the command does not understand


def test_the_help_of_train_names_every_configuration():
    config = next(parameter for parameter in COMMANDS["train"].params if parameter.name == "config")
    assert set(config_names()) <= set(re.findall(r"\w+", config.help))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_documentation_lead_to_a_heading(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        text = (page.parent / target if target else page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page.name} -> {target}#{anchor}"


def test_the_index_of_decisions_names_each_one_by_its_title():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- (\d+): \[(.*)\]\((\d{4}-[a-z-]+\.md)\)", index, flags=re.MULTILINE)
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    assert sorted((file, f"# {number}. {title}") for number, title, file in listed) == [
        (page.name, title) for page, title in zip(pages, titles, strict=True)
    ]


def test_table_of_degenerate_cases_is_what_the_code_does():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (empty|not empty) \| (empty|not empty) \| (.*) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 3
    masks = {"empty": np.zeros((2, 3), bool), "not empty": np.eye(2, 3, dtype=bool)}
    for truth, prediction, cells in rows:
        counts = count_pixels(masks[prediction], masks[truth])
        for metric, cell in zip(("precision", "recall", "dice", "iou"), cells.split(" | "), strict=True):
            value = getattr(counts, metric)
            assert cell == ("undefined" if math.isnan(value) else f"{value:g}"), (truth, prediction, metric)


def test_every_kind_of_finding_is_documented():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "tumortrace").rglob("*.py"))
    kinds = set(re.findall(r'(?:Finding|left_out|leave_out|warning|_ShapeError)\(\s*"([a-z]+(?:-[a-z]+)*)"', source))
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("data.md", "formats.md"))
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", pages, flags=re.MULTILINE))
    assert {"image-missing", "unreadable", "region-outside"} <= kinds
    assert kinds <= documented


def test_tables_are_what_their_numbers_say():
    done = subprocess.run(
        [sys.executable, "-m", "tools.tables", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_cards_are_what_the_models_json_says():
    done = subprocess.run(
        [sys.executable, "-m", "tools.cards", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "results").glob("*.md")), ids=lambda page: page.name)
def test_results_name_the_command_of_every_figure(page):
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text, "a figure is still to be filled in"
    if page.name not in {"README.md", "history.md"}:  # one shows what the others measure, one what nobody can repeat
        assert "```sh" in text


def run_git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_figures_cite_commits_of_this_history():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    cited = set(re.findall(r"(?:commit|as of) `([0-9a-f]{7,12})`", text))
    assert len(cited) > 20
    wrong = [commit for commit in sorted(cited) if run_git("merge-base", "--is-ancestor", commit, "HEAD").returncode]
    if len(wrong) > len(cited) / 2:
        pytest.skip("the history is not here")
    assert not wrong, "a rebase gave these commits other names"


def test_every_table_is_shown_and_captioned():
    tables = ROOT / "docs" / "results" / "tables"
    names = {path.stem for path in tables.glob("*.csv")}
    captions = tomllib.loads((tables / "captions.toml").read_text(encoding="utf-8"))
    shown = set(re.findall(r"<!-- table (\S+) -->", "".join(page.read_text(encoding="utf-8") for page in PAGES)))
    assert names == set(captions)
    assert names <= shown
    for caption in captions.values():
        assert re.fullmatch(r"[0-9a-f]{7,12}", caption["commit"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", caption["date"])
