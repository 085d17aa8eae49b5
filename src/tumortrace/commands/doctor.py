"""The command that checks an installation."""

from __future__ import annotations

import platform

import typer

import tumortrace
from tumortrace.commands.output import console
from tumortrace.errors import TumortraceError, missing_modules
from tumortrace.machine import usable_cores
from tumortrace.wording import listed

TASKS = {
    "segment pictures, split, convert": (),
    "segment DICOM and NIfTI, prepare figshare": ("formats",),
    "audit, evaluate, compare, report": ("report",),
    "train, improve, sweep, export": ("train",),
    "demo, crossval": ("train", "report"),
    "serve the web page": ("web",),
    "run on a Ray cluster": ("cluster",),
}
"""Tasks with the extras of the package that each needs."""

_CORE = ("numpy", "opencv-python-headless", "pillow", "simplejpeg", "onnxruntime")


def doctor() -> None:
    """Check the installation: what is there, what is missing, speed.

    Segments a generated slice with each shipped model, in about ten seconds.

    Example: tumortrace doctor
    """
    console.print(f"tumortrace {tumortrace.__version__}, Python {platform.python_version()}, {platform.platform()}")
    console.print(f"CPU cores: {usable_cores()}; " + ", ".join(f"{name} {_version(name)}" for name in _CORE))
    for task, extras in TASKS.items():
        console.print(f"{task}: {describe_lack(extras) or 'ready'}")
    passed = [_check(name) for name in ("default", "fast")]
    if not all(passed):
        raise typer.Exit(1)


def describe_lack(extras: tuple[str, ...]) -> str:
    """Name the modules that a task lacks and the command that installs them; empty if it lacks none."""
    lacking = {extra: missing for extra in extras if (missing := missing_modules(extra))}
    modules = list(dict.fromkeys(module for missing in lacking.values() for module in missing))
    return f"lacks {listed(modules)}; pip install 'tumortrace[{','.join(lacking)}]'" if lacking else ""


def _check(name: str) -> bool:
    """Check one shipped model and say what came out; False if it does not work."""
    from tumortrace.inference.checkup import LOWEST_DICE, PUBLISHED_ON, check_model

    try:
        result = check_model(name)
    except TumortraceError as error:
        console.print(f"self-test of {name}: failed ({error})")
        return False
    verdict = "passed" if result.passed else f"failed, expected {LOWEST_DICE} or more; install tumortrace again"
    console.print(f"self-test of {name}: Dice {result.dice:.2f} on a generated slice, {verdict}")
    here, published = f"{result.milliseconds:.0f} ms a slice here", f"{result.published_ms:.0f} ms published"
    console.print(f"speed of {name}: {here}, {published} ({PUBLISHED_ON})")
    return result.passed


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:  # another build of it, such as one with windows
        return "unknown"
