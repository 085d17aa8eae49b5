"""The commands of studies that the documentation gives are ones that the studies take."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINES = sorted(
    {
        line
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for line in block.splitlines()
        if line.startswith("python -m studies.")
    }
)


@pytest.mark.parametrize("line", LINES)
def test_a_study_takes_the_arguments_of_its_documented_command(line: str):
    _, _, name, *arguments = shlex.split(line, comments=True)
    study = importlib.import_module(name)
    if hasattr(study, "app"):
        step, *arguments = arguments
        command = typer.main.get_command(study.app).commands[step]  # type: ignore[attr-defined] # a group has commands
    else:
        app = typer.Typer()
        app.command()(study.main)
        command = typer.main.get_command(app)
    command.make_context(name, arguments)  # raises on what the command does not understand


def test_the_documentation_gives_commands_of_studies():
    assert len(LINES) > 30
