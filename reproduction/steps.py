"""The steps of ``python -m reproduction``, one for each question.

A step whose tables are there is finished. What it trains on the way lies in ``--out`` and is gone on with after a stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reproduction import (
    dead_softmax,
    dice_collapse,
    learning_curve,
    oscillation,
    own_test,
    paper_cases,
    paper_figures,
    paper_labels,
    several_tumours,
    worth_of_the_score,
)
from reproduction.committed_numbers import NumbersMissingError
from reproduction.runs import finish_run
from reproduction.size import SIZES, SizeName, load_size, resize_sweep
from reproduction.tables import read_table, write_table
from tumortrace.api import crossval, evaluate, sweep
from tumortrace.config import load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.files import write_atomically
from tumortrace.run_folder import MANIFEST

SWEEPS = Path(__file__).parent / "sweeps"


@dataclass(frozen=True)
class Folders:
    """Folders that the steps read and write.

    Attributes:
        data: The folder of Br35H.
        others: Those of LGG and Figshare, and that of images without a tumour; None if they are not given.
        out: Folder of run folders and sweeps.
        into: Folder of ``results/`` and ``figures/``.
        size: Size of all networks but the shipped one.
    """

    data: Path
    others: tuple[Path, Path, Path] | None
    out: Path
    into: Path
    size: SizeName = "small"

    @property
    def results(self) -> Path:
        """Where the tables are."""
        return self.into / "results"

    @property
    def run(self) -> Path:
        """The run folder of the network of Table I."""
        return self.out / "run"

    def sweep(self, name: str) -> Path:
        """The folder of a sweep."""
        return self.out / "sweeps" / name


@dataclass(frozen=True)
class Step:
    """One question.

    Attributes:
        name: Name for ``--only``.
        question: Question that the step answers.
        do: Answers it.
        tables: Tables in ``results/``; the step is finished when all exist. A step without tables is always done.
        needs_others: It cannot be done on Br35H alone.
    """

    name: str
    question: str
    do: Callable[[Folders], None]
    tables: tuple[str, ...] = ()
    needs_others: bool = False

    def is_finished(self, folders: Folders) -> bool:
        """Whether all that it leaves is there."""
        return bool(self.tables) and all((folders.results / table).is_file() for table in self.tables)


def run_sweep(folders: Folders, name: str, overrides: tuple[str, ...] = ()) -> None:
    """Run a file of ``sweeps/`` and keep its two tables.

    Args:
        folders: Folders to read and write.
        name: Name of the file.
        overrides: Overrides of each setting at another size than the small one.
    """
    file = folders.out / "sweeps" / f"{name}.toml"
    text = resize_sweep((SWEEPS / file.name).read_text(encoding="utf-8"), SIZES[folders.size], overrides)
    write_atomically(file, text.encode())
    sweep([folders.data], config=str(file), out=folders.sweep(name))
    for table in ("results", "leaderboard"):
        write_atomically(folders.results / f"{name}_{table}.csv", (folders.sweep(name) / f"{table}.csv").read_bytes())


def make_table_1(folders: Folders) -> None:
    """Train the student paper's network on TRAIN and score it on VAL."""
    _finish_paper_run(folders)
    folder = folders.out / "run-val"
    evaluate(folders.data, model=str(folders.run), part="val", out=folder)
    write_table(folders.results / "scores.csv", paper_cases.condense_evaluation(folder))


def train_on_paper_labels(folders: Folders) -> None:
    """Write the labels that the student paper's network was trained on, and train it on them."""
    labels = folders.out / "paper-labels"
    written, empty = paper_labels.write_labelled(open_dataset(folders.data), labels)
    size = SIZES[folders.size]
    # The folder has no VAL to choose an epoch on.
    finish_run(open_dataset(labels), load_config(size.base, [*size.run, "training.keep=last"]), _labels_run(folders))
    write_table(folders.results / "labels.csv", [{"slices": written, "with_an_empty_label": empty}])


def weigh_the_score(folders: Folders) -> None:
    """Score the model that ships and the student paper's network, from true outlines and from its own labels."""
    _finish_paper_run(folders)
    if not (_labels_run(folders) / MANIFEST).is_file():
        train_on_paper_labels(folders)
    size = SIZES[folders.size]
    models = ["default", f"{size.network}={folders.run}", f"the same, from its own labels={_labels_run(folders)}"]
    threads = load_size(size).training.threads
    worth_of_the_score.main(folders.data, model=models, out=folders.into, threads=threads)


def score_own_test(folders: Folders) -> None:
    """Score the network, the lookup table and the shipped models on the student paper's own TEST."""
    _finish_paper_run(folders)
    if not (_labels_run(folders) / MANIFEST).is_file():
        train_on_paper_labels(folders)
    size = SIZES[folders.size]
    models = [f"{size.network}={folders.run}", f"the same, from its own labels={_labels_run(folders)}"]
    models += ["fast", "default"]
    lgg, figshare, negatives = folders.others or (None, None, None)
    other = [folder for folder in (lgg, figshare) if folder]
    threads = load_size(size).training.threads
    own_test.main(folders.data, model=models, other=other, negatives=negatives, out=folders.into, threads=threads)


def explain_dice_collapse(folders: Folders) -> None:
    """Train the rows of the Dice losses."""
    dice_collapse.main(folders.data, out=folders.out / "dice-collapse", into=folders.into, size=folders.size)


def explain_dead_softmax(folders: Folders) -> None:
    """Take the losses' run with Tversky and seed 0, and look why it stood still.

    Raises:
        NumbersMissingError: That sweep was not run here.
    """
    losses = folders.sweep("losses")
    rows = [
        row for row in read_table(losses / "results.csv") if (row["training.loss"], row["seed"]) == ("tversky", "0")
    ]
    if not rows:
        raise NumbersMissingError(
            f"{losses}: has no run with Tversky; take losses_leaderboard.csv away, and do sweep_losses again"
        )
    run, fold = losses / "runs" / rows[0]["run"], int(rows[0]["fold"])
    out = folders.out / "dead-softmax"
    dead_softmax.main(folders.data, run, losses / "split.json", fold, out=out, into=folders.into)


def look_at_several_tumours(folders: Folders) -> None:
    """Cross-validate the recipe that ships on all sources, score it by lesions, and train the arms on Br35H."""
    if folders.others is None:  # the step is skipped before
        return
    *sources, negatives = folders.data, *folders.others
    folder = folders.out / "crossval"
    overrides = list(SIZES[folders.size].run)
    crossval(sources, config="fast", overrides=overrides, folds=3, negatives=negatives, out=folder)
    places: dict[str, Any] = {"out": folders.out / "several-tumours", "into": folders.into, "size": folders.size}
    asked: dict[str, Any] = {"negatives": negatives, "crossval": folder, "train": folders.data, "epochs": 12}
    several_tumours.main(sources, **asked, **places)


def draw_learning_curve(folders: Folders) -> None:
    """Train on more and more slices."""
    where: dict[str, Any] = {"out": folders.out / "learning-curve", "into": folders.into, "size": folders.size}
    learning_curve.main(folders.data, steps=1000, folds=2, **where)


def measure_oscillation(folders: Folders) -> None:
    """Condense both sweeps where both were run here; else draw again what is there."""
    sweeps = [folders.sweep(name) for name in ("grid", "oscillation")]
    ran = all((folder / "leaderboard.csv").is_file() for folder in sweeps)
    oscillation.main(sweeps if ran else None, folders.into)


def draw_figures(folders: Folders) -> None:
    """Condense the grid where it was run here, and draw all figures of the student paper."""
    grid = folders.sweep("grid")
    paper_figures.main(into=folders.into, sweep=grid if (grid / "leaderboard.csv").is_file() else None)


def _finish_paper_run(folders: Folders) -> None:
    size = SIZES[folders.size]
    finish_run(open_dataset(folders.data), load_config(size.base, size.run), folders.run)


def _labels_run(folders: Folders) -> Path:
    return folders.out / "paper-labels-run"


def _list_sweep(name: str, question: str, overrides: tuple[str, ...] = ()) -> Step:
    tables = (f"{name}_results.csv", f"{name}_leaderboard.csv")
    return Step(f"sweep_{name}", question, partial(run_sweep, name=name, overrides=overrides), tables)


STEPS = (
    _list_sweep("grid", "Which batch size and learning rate?"),
    _list_sweep("padding", "Padding or stretching?"),
    _list_sweep(
        "oscillation",
        "What might damp the validation loss?",
        (f"training.learning_rate={oscillation.PLAIN_RATE}",),  # the row of the grid that it is compared with
    ),
    _list_sweep("losses", "Would focal loss have helped?"),
    _list_sweep("weight_decay", "Does weight decay help, in Adam or in AdamW?"),
    Step("table_1", "What does the student paper's network score on VAL?", make_table_1, ("scores.csv",)),
    Step(
        "labels",
        "How many of the labels that it was trained on are empty?",
        train_on_paper_labels,
        ("labels.csv",),
    ),
    Step("worth_of_the_score", "What was its Dice of 0.586 worth?", weigh_the_score, ("worth_of_the_score.csv",)),
    Step("own_test", "What does its network score on its own TEST?", score_own_test, ("own_test.csv",)),
    Step("dice_collapse", "Why did its Dice loss collapse?", explain_dice_collapse, ("dice_collapse.csv",)),
    Step(
        "dead_softmax",
        "Why did a training with Tversky loss stand still?",
        explain_dead_softmax,
        ("dead_softmax.csv", "dead_softmax_trials.csv"),
    ),
    Step(
        "several_tumours",
        "Are several tumours harder?",
        look_at_several_tumours,
        ("by_lesions.csv", "several_tumours.csv"),
        needs_others=True,
    ),
    Step("learning_curve", "How many slices are enough?", draw_learning_curve, ("learning_curve.csv",)),
    Step("oscillation", "What damps the validation loss?", measure_oscillation),
    Step("figures", "The student paper's figures and its Table I, drawn from the tables", draw_figures),
)
"""In the order in which they are done."""
