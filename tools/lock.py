"""Pinned versions of everything that an installation brings.

``python -m tools.lock`` writes three files. ``constraints.txt`` pins every package of every extra, in the versions of
this environment where it has them. ``requirements-dev.lock`` pins the same but torch, with the SHA-256 of each file;
``make setup`` and so CI install from it. ``requirements.lock`` pins what runs without torch (the core with ``formats``,
``report`` and ``web``), with hashes too, for the container. Needs uv on the PATH.

torch is pinned without a hash, and what only its CUDA build needs is not pinned: which build is taken is the user's
choice.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
LOCK = ROOT / "requirements.lock"
HEAD = """\
# Exact versions for every install, so that a new release breaks nothing here. Written by python -m tools.lock.
# A range for torch would fetch whatever is newest, with gigabytes of CUDA packages on a machine that has no GPU.
# README.md ("Install") says how to choose between the CPU and the CUDA build.
"""
LOCK_HEAD = """\
# What tumortrace needs without torch (core, formats, report, web), with the SHA-256 of each file; written by
# python -m tools.lock. Install with: pip install --require-hashes -r requirements.lock, then pip install --no-deps .
"""
DEV_LOCK = ROOT / "requirements-dev.lock"
DEV_LOCK_HEAD = """\
# All extras without torch, with the SHA-256 of each file; written by python -m tools.lock. make setup installs it with:
# pip install --require-hashes --no-deps -r requirements-dev.lock
"""
OF_CUDA = re.compile(r"(nvidia|cuda|triton)[-_.\w]*==")


def main() -> int:
    """Write the files; return the exit status."""
    if shutil.which("uv") is None:
        print("uv is needed to find the versions; install it with: pip install uv", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "here.txt"
        here.write_text("".join(f"{line}\n" for line in list_installed()), encoding="utf-8")
        pins = [line for line in compile_pins("--all-extras", constraints=here) if not OF_CUDA.match(line)]
    CONSTRAINTS.write_text(HEAD + "".join(f"{line}\n" for line in pins), encoding="utf-8")
    all_but_torch = compile_pins(
        "--all-extras", "--no-emit-package", "torch", "--generate-hashes", constraints=CONSTRAINTS
    )
    DEV_LOCK.write_text(DEV_LOCK_HEAD + "".join(leave_out_cuda(all_but_torch)), encoding="utf-8")
    extras = [word for extra in ("formats", "report", "web") for word in ("--extra", extra)]
    lock = compile_pins(*extras, "--generate-hashes", constraints=CONSTRAINTS)
    LOCK.write_text(LOCK_HEAD + "".join(f"{line}\n" for line in lock), encoding="utf-8")
    return 0


def leave_out_cuda(lines: list[str]) -> list[str]:
    """Return the lines of a lock without the packages that only torch's CUDA build needs, and without their hashes."""
    entries = re.split(r"^(?=\S)", "".join(f"{line}\n" for line in lines), flags=re.MULTILINE)
    return [entry for entry in entries if entry and not OF_CUDA.match(entry)]


def list_installed() -> list[str]:
    """Return the packages of this environment with their versions, without the label of a build."""
    found = {dist.metadata["Name"]: dist.version.partition("+")[0] for dist in distributions()}
    return [f"{name}=={found[name]}" for name in sorted(found) if name != "tumortrace"]


def compile_pins(*options: str, constraints: Path) -> list[str]:
    """Return the lines that uv writes for the project, for every system and every Python that it supports.

    Args:
        options: Options that choose the extras.
        constraints: File of versions to keep.

    Raises:
        CalledProcessError: uv found no set of versions; it has said why.
    """
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11", *options]
    command += ["--constraint", str(constraints), "--no-annotate", "--no-header", "--no-emit-index-url", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
