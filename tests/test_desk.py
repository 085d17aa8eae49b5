"""Workflows, container and citation: what they call exists, and they name the version that is here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tumortrace
from tumortrace.cli import app

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands


def list_steps(path: Path, kind: str = "run") -> list[str]:
    """The shell commands of a workflow, or the actions that it uses."""
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step[kind] for job in jobs for step in job["steps"] if kind in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_exists(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = "\n".join(list_steps(path))
    targets = {word for words in re.findall(r"^make (.+)$", steps, flags=re.MULTILINE) for word in words.split()}
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))
    for file in re.findall(
        r"(?:python |--constraint |cp |-file )((?:tools|src)/[\w./]+\.py|\w+\.(?:txt|lock|md))", steps
    ):
        assert (ROOT / file).is_file(), file
    assert set(re.findall(r"^tumortrace (\w+)", steps, flags=re.MULTILINE)) <= set(COMMANDS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_unless_they_say_so(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_actions_by_commit(path):
    actions = list_steps(path, "uses")
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions), actions


def test_the_container_runs_a_command_as_a_user_without_rights():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001\n" in text
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, flags=re.MULTILINE)[0]) == ["tumortrace"]
    name, *arguments = json.loads(re.findall(r"^CMD (.*)$", text, flags=re.MULTILINE)[0])
    COMMANDS[name].make_context(name, arguments)  # raises on what the command does not understand


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tumortrace.__version__
    assert citation["license"] == "Apache-2.0"


def test_the_list_of_what_the_wheel_brings_is_valid_and_names_every_dependency(tmp_path):
    out = tmp_path / "tumortrace.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", "pyproject.toml"]
    subprocess.run([*command, "--output-file", str(out)], cwd=ROOT, capture_output=True, check=True)
    text = out.read_text(encoding="utf-8")
    document = json.loads(text)
    version = SchemaVersion.from_version(document["specVersion"])
    assert JsonStrictValidator(version).validate_str(text) is None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {canonicalize_name(component["name"]) for component in document["components"]}
    assert {canonicalize_name(Requirement(line).name) for line in project["dependencies"]} <= listed
    assert document["metadata"]["component"]["name"] == "tumortrace"
