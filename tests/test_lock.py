"""The pinned versions: complete, within the ranges, and free of places to download from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", flags=re.MULTILINE)


def read_pins(name: str) -> dict[str, set[str]]:
    """The versions of each package; several where they depend on the system."""
    pins: dict[str, set[str]] = {}
    for package, version in PIN.findall((ROOT / name).read_text(encoding="utf-8")):
        pins.setdefault(canonicalize_name(package), set()).add(version)
    return pins


def list_requirements(*extras: str) -> list[Requirement]:
    optional = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    requirements = map(Requirement, [*PROJECT["dependencies"], *optional])
    return [requirement for requirement in requirements if requirement.name != "tumortrace"]


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("constraints.txt", tuple(PROJECT["optional-dependencies"])),
        ("requirements.lock", ("formats", "report", "web")),
    ],
)
def test_every_dependency_is_pinned_within_its_range(file, extras):
    pins = read_pins(file)
    for requirement in list_requirements(*extras):
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in {file}; run: python -m tools.lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: {versions}"


def test_both_files_pin_the_same_versions():
    constraints = read_pins("constraints.txt")
    assert all(versions <= constraints[name] for name, versions in read_pins("requirements.lock").items())


def test_every_file_of_the_lock_has_a_hash_and_torch_is_not_in_it():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "torch" not in read_pins("requirements.lock")


@pytest.mark.parametrize("file", ["constraints.txt", "requirements.lock"])
def test_no_place_to_download_from_is_named(file):
    assert "://" not in (ROOT / file).read_text(encoding="utf-8")
