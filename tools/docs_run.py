"""Every command and code block of the documentation, run on generated data.

``python -m tools.docs_run [PAGE ...]`` runs all that ``docs_run.toml`` does not except, page by page and in the order
of each page, in a folder of generated data with the names that the pages use (``docs_stage``); ``make docs-run`` is the
same. Without a page it runs the notebooks as well. The tests run the quick part. Commands run as they stand, but that
trainings get one short epoch, that the run of the stage at the place of ``--out`` is removed before a training, and
that variables of a batch system have the value 1.
"""

from __future__ import annotations

import contextlib
import doctest
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.docs_stage import build_stage
from tools.notebooks import NOTEBOOKS, run_notebook

ROOT = Path(__file__).parent.parent
EXCEPTIONS = Path(__file__).with_name("docs_run.toml")
BLOCK = re.compile(r"^```(sh|python|pycon)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
BATCH_VARIABLE = re.compile(r"\$SLURM_\w+")
Call = Callable[[Sequence[str]], tuple[int, str]]
TRAINING = {"train", "crossval", "improve"}
SHORT = ("training.epochs=1", "training.coarse_epochs=0", "training.epoch_slices=8")


@dataclass(frozen=True)
class Step:
    """A command, or a block of Python.

    Attributes:
        page: Page, relative to the repository.
        kind: ``sh``, ``python`` or ``pycon``.
        text: One shell command, or the block.
    """

    page: str
    kind: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of a shell command, comments removed."""
        return shlex.split(self.text, comments=True)


@dataclass(frozen=True)
class Exemption:
    """An entry of ``docs_run.toml``.

    Attributes:
        page: Path with wildcards.
        command: Beginning of the text.
        when: ``never`` or ``docs-run``.
        reason: Reason why it is not run with the quick ones.
    """

    page: str
    command: str
    when: str
    reason: str

    def fits(self, step: Step) -> bool:
        """Return whether the entry is about a step."""
        return fnmatch.fnmatch(step.page, self.page) and step.text.startswith(self.command)


def list_pages() -> list[Path]:
    """Return the pages with blocks that could be run."""
    return [page for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))] if list_steps(page)]


def list_steps(page: Path) -> list[Step]:
    """Return the commands and blocks of a page in its order."""
    name, steps = page.relative_to(ROOT).as_posix(), []
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        texts = [line for line in text.splitlines() if shlex.split(line, comments=True)] if kind == "sh" else [text]
        steps += [Step(name, kind, each) for each in texts]
    return steps


@cache
def read_exemptions() -> tuple[Exemption, ...]:
    """Return the entries of ``docs_run.toml``."""
    return tuple(Exemption(**entry) for entry in tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))["block"])


def find_exemption(step: Step) -> Exemption | None:
    """Return the entry that a step falls under, if there is one."""
    return next((entry for entry in read_exemptions() if entry.fits(step)), None)


def run_page(steps: Sequence[Step], stage: Path, call: Call | None = None) -> None:
    """Run steps of one page, one after the other.

    Args:
        steps: Steps to run.
        stage: Folder that ``build_stage`` filled; the steps write into it.
        call: Runs the arguments of ``tumortrace``; None starts a program of its own each time.

    Raises:
        RuntimeError: A step fails; names page and command, and holds what was printed.
    """
    names: dict[str, object] = {}
    with working_in(stage):
        for step in steps:
            if step.kind == "sh":
                run_command(step, stage, call or call_program)
            elif step.kind == "python":
                exec(compile(step.text, step.page, "exec"), names)  # noqa: S102 - our own page
            else:
                run_examples(step, names)


def run_command(step: Step, stage: Path, call: Call) -> None:
    """Run a shell command: ``tumortrace`` and ``python`` are those of this environment."""
    name, *words = [BATCH_VARIABLE.sub("1", word) for word in step.words]
    if name == "tumortrace":
        clear_output(words, stage)
        if words[0] in TRAINING:
            words += [word for setting in SHORT for word in ("--set", setting)]
        status, printed = call(words)
    else:
        assert name == "python", f"{step.page}: {name} is neither tumortrace nor python; list it in {EXCEPTIONS.name}"
        status, printed = run_python(words)
    if status != 0:
        raise RuntimeError(f"{step.page}: {step.text}\nexit status {status}\n{printed}")


def call_program(words: Sequence[str]) -> tuple[int, str]:
    """Run ``tumortrace`` as a program; return its exit status and what it printed."""
    return run_python(["-m", "tumortrace", *words])


def run_python(words: Sequence[str]) -> tuple[int, str]:
    """Run this Python with arguments; return its exit status and what it printed."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "TUMORTRACE_CACHE": "off"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def clear_output(words: Sequence[str], stage: Path) -> None:
    """Remove the run of the stage that stands where a training writes to."""
    if words[0] in TRAINING and "--out" in words and "--resume" not in words:
        shutil.rmtree(stage / words[words.index("--out") + 1], ignore_errors=True)


def run_examples(step: Step, names: dict[str, object]) -> None:
    """Run a block with prompts and compare what it prints."""
    test = doctest.DocTestParser().get_doctest(step.text, names, step.page, step.page, 0)
    said: list[str] = []
    outcome = doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    if outcome.failed:
        raise RuntimeError(f"{step.page}: {''.join(said)}")


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Change to a folder and back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> int:
    """Run the pages that are named, or all; return the exit status."""
    pages = [Path(name).resolve() for name in sys.argv[1:]] or list_pages()
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        build_stage(Path(place) / "stage")
        for page in pages:
            steps = [
                step for step in list_steps(page) if (found := find_exemption(step)) is None or found.when != "never"
            ]
            if not steps:
                continue
            copy = Path(place) / page.stem
            shutil.copytree(Path(place) / "stage", copy)
            failed += not report_page(steps, copy)
            shutil.rmtree(copy)
    if not sys.argv[1:]:
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            run_notebook(path)
            print(f"{path.relative_to(ROOT)}: ran", flush=True)
    return 1 if failed else 0


def report_page(steps: Sequence[Step], stage: Path) -> bool:
    """Run a page and print what came of it; return whether it ran through."""
    started = time.perf_counter()
    try:
        run_page(steps, stage)
    except Exception as error:  # noqa: BLE001 - the other pages are run all the same
        print(f"{steps[0].page}: FAILED\n{error}", flush=True)
        return False
    print(f"{steps[0].page}: {len(steps)} steps, {time.perf_counter() - started:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
