"""The steps of ``python -m reproduction``: each answers one question and leaves its tables in ``results/``.

A step whose tables are there is finished. What it trains on the way lies in ``--out`` and is gone on with after a stop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer
from tumortrace.commands.scoring import evaluate
from tumortrace.commands.sweeping import sweep
from tumortrace.commands.training import crossval

from reproduction import (
    dead_softmax,
    dice_collapse,
    learning_curve,
    oscillation,
    report_cases,
    report_figures,
    report_labels,
    several_tumours,
    worth_of_the_score,
)
from reproduction.report_numbers import NumbersMissingError
from reproduction.size import SIZES, SizeName, load_size, resize_sweep
from reproduction.tables import read_table, write_table
from tumortrace.config import Config, load_config
from tumortrace.data.dataset import open_dataset
from tumortrace.files import write_atomically
from tumortrace.run_folder import MANIFEST
from tumortrace.training.run import train

SWEEPS = Path(__file__).parent / "sweeps"


@dataclass(frozen=True)
class Place:
    """What the steps learn from, and where they write.

    Attributes:
        data: The folder of Br35H.
        others: Those of LGG and Figshare, and that of images without a tumour; None if they are not given.
        out: Of run folders and sweeps.
        into: Of ``results/`` and ``figures/``.
        size: Of all networks but the one that ships.
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
        name: For ``--only``.
        question: What it answers.
        do: Answers it.
        tables: In ``results/``; it is finished when all are there. Without any it takes seconds, and is always done.
        needs_others: It cannot be done on Br35H alone.
    """

    name: str
    question: str
    do: Callable[[Place], None]
    tables: tuple[str, ...] = ()
    needs_others: bool = False

    def is_finished(self, place: Place) -> bool:
        """Whether all that it leaves is there."""
        return bool(self.tables) and all((place.results / table).is_file() for table in self.tables)


def run_sweep(place: Place, name: str, overrides: tuple[str, ...] = ()) -> None:
    """Run a file of ``sweeps/`` and keep its two tables.

    Args:
        place: Where.
        name: Of the file.
        overrides: What each setting shall have at another size than the small one, for which the file was written.
    """
    file = place.out / "sweeps" / f"{name}.toml"
    text = resize_sweep((SWEEPS / file.name).read_text(encoding="utf-8"), SIZES[place.size], overrides)
    write_atomically(file, text.encode())
    _call(sweep, [place.data], config=str(file), out=place.sweep(name))
    for table in ("results", "leaderboard"):
        write_atomically(place.results / f"{name}_{table}.csv", (place.sweep(name) / f"{table}.csv").read_bytes())


def finish_run(data: Path, config: Config, run: Path) -> None:
    """Train unless the run is finished; one that was stopped goes on."""
    if not (run / MANIFEST).is_file():
        train(open_dataset(data), config, out=run)


def make_table_1(place: Place) -> None:
    """Train the report's network on TRAIN and score it on VAL."""
    _finish_report_run(place)
    folder = place.out / "run-val"
    _call(evaluate, place.data, model=str(place.run), part="val", out=folder)
    write_table(place.results / "scores.csv", report_cases.condense_evaluation(folder))


def learn_report_labels(place: Place) -> None:
    """Write the labels that the report's network learnt from, and train it on them."""
    labels = place.out / "report-labels"
    written, empty = report_labels.write_labelled(open_dataset(place.data), labels)
    size = SIZES[place.size]
    # The folder has no VAL to choose an epoch on.
    finish_run(labels, load_config(size.base, [*size.run, "training.keep=last"]), _labels_run(place))
    write_table(place.results / "report_labels.csv", [{"slices": written, "with_an_empty_label": empty}])


def weigh_the_score(place: Place) -> None:
    """Score the model that ships and the report's network, from true outlines and from its own labels."""
    _finish_report_run(place)
    if not (_labels_run(place) / MANIFEST).is_file():
        learn_report_labels(place)
    size = SIZES[place.size]
    models = ["default", f"{size.network}={place.run}", f"the same, from its own labels={_labels_run(place)}"]
    threads = load_size(size).training.threads
    worth_of_the_score.main(place.data, model=models, out=place.into, threads=threads)


def explain_dice_collapse(place: Place) -> None:
    """Train the rows of the Dice losses."""
    dice_collapse.main(place.data, out=place.out / "dice-collapse", into=place.into, size=place.size)


def explain_dead_softmax(place: Place) -> None:
    """Take the losses' run with Tversky and seed 0, and look why it stood still.

    Raises:
        NumbersMissingError: That sweep was not run here.
    """
    losses = place.sweep("losses")
    rows = [
        row for row in read_table(losses / "results.csv") if (row["training.loss"], row["seed"]) == ("tversky", "0")
    ]
    if not rows:
        raise NumbersMissingError(
            f"{losses}: has no run with Tversky; take losses_leaderboard.csv away, and do sweep_losses again"
        )
    run, fold = losses / "runs" / rows[0]["run"], int(rows[0]["fold"])
    out = place.out / "dead-softmax"
    dead_softmax.main(place.data, run, losses / "split.json", fold, out=out, into=place.into)


def look_at_several_tumours(place: Place) -> None:
    """Cross-validate the recipe that ships on all sources, score it by lesions, and train the arms on Br35H."""
    if place.others is None:  # the step is skipped before
        return
    *sources, negatives = place.data, *place.others
    folder = place.out / "crossval"
    overrides = list(SIZES[place.size].run)
    _call(crossval, sources, config="default", overrides=overrides, folds=3, negatives=negatives, out=folder)
    places: dict[str, Any] = {"out": place.out / "several-tumours", "into": place.into, "size": place.size}
    asked: dict[str, Any] = {"negatives": negatives, "crossval": folder, "train": place.data, "epochs": 12}
    several_tumours.main(sources, **asked, **places)


def draw_learning_curve(place: Place) -> None:
    """Train on more and more slices."""
    where: dict[str, Any] = {"out": place.out / "learning-curve", "into": place.into, "size": place.size}
    learning_curve.main(place.data, steps=1000, folds=2, **where)


def measure_oscillation(place: Place) -> None:
    """Condense both sweeps where both were run here; else draw again what is there."""
    sweeps = [place.sweep(name) for name in ("grid", "oscillation")]
    ran = all((folder / "leaderboard.csv").is_file() for folder in sweeps)
    oscillation.main(sweeps if ran else None, place.into)


def draw_report(place: Place) -> None:
    """Condense the grid where it was run here, and draw all figures of the report."""
    grid = place.sweep("grid")
    report_figures.main(into=place.into, sweep=grid if (grid / "leaderboard.csv").is_file() else None)


def _finish_report_run(place: Place) -> None:
    size = SIZES[place.size]
    finish_run(place.data, load_config(size.base, size.run), place.run)


def _labels_run(place: Place) -> Path:
    return place.out / "report-labels-run"


def _call(command: Callable[..., None], *arguments: object, **options: object) -> None:
    """A command of tumortrace; it names the files that could not be read, and goes on without them."""
    with suppress(typer.Exit):
        command(*arguments, **options)


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
    Step("table_1", "What does the report's network score on VAL?", make_table_1, ("scores.csv",)),
    Step(
        "report_labels",
        "How many of the labels that it learnt from are empty?",
        learn_report_labels,
        ("report_labels.csv",),
    ),
    Step("worth_of_the_score", "What was its Dice of 0.586 worth?", weigh_the_score, ("worth_of_the_score.csv",)),
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
    Step("report_figures", "The report's figures and its Table I, drawn from the tables", draw_report),
)
"""In the order in which they are done."""
