"""Commands and blocks of the documentation run; the long ones by `make docs-run`, and some for stated reasons not."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer.main
from tools.docs_run import Step, find_exemption, list_pages, list_steps, read_exemptions, run_page
from tools.docs_stage import build_stage
from typer.testing import CliRunner

from tumortrace.cli import app

ROOT = Path(__file__).parent.parent
STEPS = [step for page in list_pages() for step in list_steps(page)]
QUICK = [page for page in list_pages() if any(find_exemption(step) is None for step in list_steps(page))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "stage"
    build_stage(folder, run=tiny_run)
    return folder


def call(words: Sequence[str]) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, f"{done.output}{done.exception or ''}"


@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.name)
def test_the_quick_steps_of_a_page_run(page: Path, stage: Path, tmp_path: Path):
    shutil.copytree(stage, tmp_path / "stage")
    run_page([step for step in list_steps(page) if find_exemption(step) is None], tmp_path / "stage", call)


def test_a_step_that_fails_is_named(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"page\.md: tumortrace segment gone\.png\nexit status [12]"):
        run_page([Step("page.md", "sh", "tumortrace segment gone.png")], tmp_path, call)
    with pytest.raises(RuntimeError, match="Expected:\n    3\nGot:\n    2"):
        run_page([Step("page.md", "pycon", ">>> 1 + 1\n3\n")], tmp_path)


def test_every_exemption_has_a_reason_and_is_needed():
    used = {find_exemption(step) for step in STEPS}
    for entry in read_exemptions():
        assert len(entry.reason) > 10
        assert entry.when in {"never", "docs-run"}
        assert entry in used, f"{entry.page}: {entry.command}: fits nothing, or an entry before it does"


@pytest.mark.parametrize("step", [step for step in STEPS if step.kind == "sh"], ids=lambda step: step.text[:60])
def test_every_command_is_understood(step: Step):
    while step.words and "=" in step.words[0]:  # a variable of the environment
        step = Step(step.page, step.kind, step.text.split(maxsplit=1)[1])
    name, *words = shlex.split(step.text.partition(" && ")[0], comments=True)
    if name == "tumortrace":
        COMMANDS[words[0]].make_context(words[0], words[1:])  # raises on what the command does not understand
    elif name == "make":
        assert {word for word in words if "=" not in word} <= TARGETS
    elif name == "python" and (path := find_program(words)) is not None:
        source = path.read_text(encoding="utf-8") + "".join(
            other.read_text(encoding="utf-8") for other in path.parent.glob("*.py")
        )
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b|\b{option[2:].replace('-', '_')}:", source), f"{step.page}: {option}"


def find_program(words: list[str]) -> Path | None:
    """The file of this repository that `python WORDS` runs; None for another package's."""
    if words[0] != "-m":
        return ROOT / words[0]
    place = ROOT.joinpath(*words[1].split("."))
    found = [path for path in (place.with_suffix(".py"), place / "__main__.py") if path.is_file()]
    assert found or words[1] in {"build", "pytest", "venv"}, f"{words[1]}: no such module"
    return found[0] if found else None
