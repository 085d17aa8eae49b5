"""Commands on tiny data, each with everything that it needs, to be disturbed."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tumortrace import cli
from tumortrace.phantoms.series import draw_series
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.run_folder import CONFIG, has_begun
from tumortrace.web.sample import encode_series

TINY = """
[recipe]
size_hw = [48, 32]
[network]
widths = [4, 8, 8]
[training]
epochs = 2
batch_size = 3
learning_rate = 0.003
keep = "last"
device = "cpu"
threads = 1
"""

SWEEP = """
base = "tiny.toml"
seeds = [0]
folds = 3
use = 1
[grid]
"training.learning_rate" = [0.003, 0.01]
"""


@dataclass(frozen=True)
class Command:
    """One command line; ``{out}`` stands for its output.

    Attributes:
        name: Name in tables.
        words: Words after ``tumortrace``.
        again: Words that continue it; None repeats it.
        earlier: Words of a command that filled the output before; None starts without one.
    """

    name: str
    words: Sequence[str]
    again: Sequence[str] | None = None
    earlier: Sequence[str] | None = None

    def fill(self, words: Sequence[str], out: Path) -> list[str]:
        """Return the words for one output."""
        return [word.format(out=out) for word in words]

    def next_words(self, out: Path) -> list[str]:
        """Return the words that begin it, or continue it where a run below its output has begun."""
        begun = out.exists() and any(has_begun(path.parent) for path in out.rglob(CONFIG.name))
        return self.fill(self.again if self.again and begun else self.words, out)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit status.
        stderr: Text on stderr.
    """

    code: int
    stderr: str

    @property
    def error_lines(self) -> list[str]:
        """The lines that say what failed."""
        return [line for line in self.stderr.splitlines() if line.startswith("error:")]


def run_here(words: Sequence[str], *, cwd: Path) -> Ended:
    """Run a command in this process, which spares the seconds of the imports."""
    before = Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)}
    hook, errors = sys.unraisablehook, io.StringIO()
    os.chdir(cwd)
    code = 0
    try:
        with redirect_stderr(errors), redirect_stdout(io.StringIO()), patch.object(sys, "argv", ["tumortrace", *words]):
            cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        os.chdir(before)
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Ended(code, errors.getvalue())


def make_material(folder: Path) -> None:
    """Write the data, a finished run and a finished evaluation that the commands work on, unless they are there.

    Args:
        folder: Folder for all of it; the commands run there.
    """
    if (folder / "ready").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.toml").write_text(TINY)
    (folder / "sweep.toml").write_text(SWEEP)
    write_phantom_dataset(folder / "data", counts={"TRAIN": 6, "VAL": 3, "TEST": 3}, no_tumour=0, seed=7)
    write_phantom_dataset(folder / "parts", counts={"TRAIN": 24}, no_tumour=3, seed=5)
    (folder / "parts/TRAIN").rename(folder / "corrected")
    shutil.copytree(folder / "parts/no_tumour", folder / "download/no")
    (folder / "scans").mkdir()
    for path in sorted((folder / "data/TEST").glob("*.[jp][pn]g")):
        shutil.copy(path, folder / "scans")
    (folder / "scans/head.nii.gz").write_bytes(encode_series(draw_series(seed=0, slices=3, size_hw=(120, 100))))
    for words in (
        ["train", "data", "--config", "tiny.toml", "--out", "run"],
        ["train", "data", "--config", "tiny.toml", "--set", "training.seed=1", "--out", "other"],
        ["evaluate", "data", "--model", "run", "--out", "scores"],
        ["evaluate", "data", "--model", "other", "--out", "other-scores"],
    ):
        ended = run_here(words, cwd=folder)
        if ended.code:
            raise RuntimeError(f"{words}: {ended.stderr}")
    (folder / "ready").touch()


SMALL = ("--set", "training.epochs=1", "--set", "training.epoch_slices=6", "--set", "training.threads=1")

_TRAIN = ("train", "data", "--config", "tiny.toml", "--out", "{out}")

WRITING = (
    Command("segment", ("segment", "scans", "--model", "run", "--no-gate", "--overlay", "--out", "{out}")),
    Command(
        "segment over older masks",
        ("segment", "scans", "--model", "run", "--no-gate", "--overlay", "--out", "{out}"),
        earlier=("segment", "scans", "--model", "other", "--no-gate", "--overlay", "--out", "{out}"),
    ),
    Command("convert to masks", ("convert", "data", "{out}", "--to", "masks")),
    Command("convert to coco", ("convert", "data", "{out}", "--to", "coco")),
    Command(
        "export",
        ("export", "run", "--out", "{out}/model.onnx"),
        earlier=("export", "other", "--out", "{out}/model.onnx"),
    ),
    Command(
        "report",
        ("report", "run", "scores", "--out", "{out}/report.html"),
        earlier=("report", "other", "other-scores", "--out", "{out}/report.html"),
    ),
    Command("evaluate", ("evaluate", "data", "--model", "run", "--out", "{out}")),
    Command("train", (*_TRAIN, "--set", "training.epochs=1"), again=(*_TRAIN[:2], "--resume", "--out", "{out}")),
)
"""Commands whose every write is made to fail."""

KILLED = (
    *(command for command in WRITING if command.name != "train"),
    Command("audit", ("audit", "data", "--out", "{out}")),
    Command("split", ("split", "data", "--folds", "3", "--out", "{out}/folds.json")),
    Command("train", _TRAIN, again=(*_TRAIN[:2], "--resume", "--out", "{out}")),
    Command("crossval", ("crossval", "data", "--config", "tiny.toml", *SMALL[:2], "--folds", "2", "--out", "{out}")),
    Command("sweep", ("sweep", "data", "--config", "sweep.toml", "--out", "{out}")),
    Command(
        "improve",
        ("improve", "corrected", "--from", "run", *SMALL, "--out", "{out}/mine"),
        again=("improve", "corrected", "--from", "run", "--resume", "--out", "{out}/mine"),
    ),
    Command("prepare", ("prepare", "no_tumour", "download", "--out", "{out}/prepared")),
)
"""Commands that are killed."""
