"""The pinned versions: complete, within the ranges, and free of places to download from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools.lock import leave_out_cuda

LOCKS = ("requirements.lock", "requirements-dev.lock")
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
        ("requirements-dev.lock", tuple(PROJECT["optional-dependencies"])),
        ("requirements.lock", ("formats", "report", "web")),
    ],
)
def test_every_dependency_is_pinned_within_its_range(file, extras):
    pins = read_pins(file)
    for requirement in list_requirements(*extras):
        if file == "requirements-dev.lock" and requirement.name == "torch":
            continue  # which build of it is taken is the user's choice
        versions = pins.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in {file}; run: python -m tools.lock"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: {versions}"


@pytest.mark.parametrize("file", LOCKS)
def test_all_files_pin_the_same_versions(file):
    constraints = read_pins("constraints.txt")
    assert all(versions <= constraints[name] for name, versions in read_pins(file).items())


def test_what_setup_installs_by_hash_is_all_but_torch():
    assert read_pins("constraints.txt").keys() - read_pins("requirements-dev.lock").keys() == {"torch"}


@pytest.mark.parametrize("file", LOCKS)
def test_every_file_of_a_lock_has_a_hash_and_torch_is_not_in_it(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not [name for name in read_pins(file) if re.match(r"torch|nvidia|cuda|triton", name)]


def test_packages_of_the_cuda_build_are_left_out_with_their_hashes():
    lines = ["numpy==2.0 \\", "    --hash=sha256:a", "nvidia-nccl-cu13==2.1 \\", "    --hash=sha256:b", "ray==2.60"]
    assert leave_out_cuda(lines) == ["numpy==2.0 \\\n    --hash=sha256:a\n", "ray==2.60\n"]


@pytest.mark.parametrize("file", ["constraints.txt", *LOCKS])
def test_no_place_to_download_from_is_named(file):
    assert "://" not in (ROOT / file).read_text(encoding="utf-8")
