"""Slices with several tumours: how much harder they are, and what helps.

``python -m reproduction.several_tumours DATA... --negatives DIR --crossval DIR`` scores the held-out slices of a
cross-validation over DATA by their number of lesions and by how compact those are (``results/by_lesions.csv``).
``--train BR35H`` trains the student paper's U-Net (``--size``) on grouped folds in three arms (``ARMS``): on the
slices as they are; with each slice of several lesions ``TIMES`` times as often; and with as many slices more that have
a second lesion pasted in (Ghiasi et al. 2021; of tumours Yang et al. 2021). All arms take the same number of steps.

Each finished training leaves its held-out slices in ``results/several_tumours/ARM-fold-N.csv`` and is not repeated. All
of them together give ``results/several_tumours.csv`` and the figure ``figures/several_tumours`` (PNG and SVG).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.random import Generator
from numpy.typing import NDArray

from reproduction.by_lesions import ALL, LESIONS, THIRDS, count_components, read_crossval, tabulate_by_lesions
from reproduction.part_runs import NO_PART, mark
from reproduction.pasted_lesions import paste_slices
from reproduction.size import SIZES, SMALL, Size, SizeOption, claim_results, load_size
from reproduction.tables import read_table, write_table
from tumortrace.cli import run_script
from tumortrace.config import Config
from tumortrace.copies.split_files import apply_split, write_split
from tumortrace.copies.splits import make_folds
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset, open_datasets
from tumortrace.metrics.intervals import mean_interval, ratio_interval
from tumortrace.metrics.lesions import count_lesions
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import tell
from tumortrace.reporting.figures import save_figure
from tumortrace.training.arrays import PreparedPart, evenly_spaced, prepare_part
from tumortrace.training.compute import start_compute
from tumortrace.training.loop import fit
from tumortrace.training.networks import build_network

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]
Numbers = Mapping[str, Any]

FOLDS = 3
PLAIN, OVERSAMPLED, PASTED = ARMS = ("plain", "oversampled", "pasted")
TIMES = 5
"""How often a slice with several lesions comes in the oversampled arm where another comes once."""
PASSES = 4
"""Passes over the slices that are laid out as one epoch of the loop, so that arms of any length take equal steps."""
SLICES = ("all", "one lesion", "several lesions")
MARKS = {"all": ("o", "black"), "br35h": ("s", "0.25"), "figshare": ("^", "0.5"), "lgg": ("D", "0.65")}
ARM_MARKS = {OVERSAMPLED: ("s", "black"), PASTED: ("^", "0.5")}


def oversample(lesions: NDArray[np.int64], times: int = TIMES) -> NDArray[np.intp]:
    """Indices of one pass: each slice once, each with several lesions so many times.

    Args:
        lesions: Number of lesions of each slice, shape (N,).
        times: Number of repetitions, 1 or more.
    """
    return np.repeat(np.arange(len(lesions)), np.where(lesions > 1, times, 1))


def lay_out(slices: NDArray[np.intp], length: int, rng: Generator) -> NDArray[np.intp]:
    """Pass after pass in random order until there are so many; what is left of the last pass is dropped.

    Args:
        slices: Indices of one pass, at least one.
        length: Length of the result.
        rng: Decides the order, and what is dropped.
    """
    passes = [rng.permutation(slices) for _ in range(-(-length // len(slices)))]
    return np.concatenate([slices[:0], *passes])[:length]


def make_arm(arm: str, part: PreparedPart, groups: Sequence[str], *, seed: int) -> PreparedPart:
    """What one epoch of an arm learns from: ``PASSES`` times as many slices as there are, whatever the arm.

    Args:
        arm: Key of ``ARMS``.
        part: The slices as they are, at least one.
        groups: Group of copies of each slice.
        seed: Seed of the arm's draws.
    """
    rng = np.random.default_rng(seed)
    more = oversample(count_components(part.truths))
    images, truths, one_pass = part.images, part.truths, np.arange(len(part))
    if arm == OVERSAMPLED:
        one_pass = more
    elif arm == PASTED:
        pasted, outlines, skipped = paste_slices(part, groups, len(more) - len(part), rng)
        tell(f"{len(pasted)} of {len(more) - len(part)} slices pasted; {skipped} pairs had no room")
        images = torch.cat([images, torch.from_numpy(pasted).unsqueeze(1)])
        truths = torch.cat([truths, torch.from_numpy(outlines)])
        one_pass = np.arange(len(images))
    order = torch.from_numpy(lay_out(one_pass, PASSES * len(part), rng))
    images, truths = images[order], truths[order]
    # A run is resumed on the same arrays or not at all: the names of the cases alone do not tell the arms apart.
    drawn = hashlib.sha256(images.numpy().tobytes() + truths.numpy().tobytes()).hexdigest()
    names, features = (part.sources[0],) * len(order), (None,) * len(order)
    return replace(
        part, images=images, truths=truths, sources=names, features=features, hashes=part.hashes | {"drawn": drawn}
    )


def score_slices(network: torch.nn.Module, part: PreparedPart, groups: Sequence[str]) -> list[dict[str, Any]]:
    """A row a held-out slice: its group, its lesions and how many were found, and its Dice, on the network's grid."""
    rows = []
    for file, group, mask, truth in zip(
        part.hashes, groups, mark(network, part.images).numpy(), part.truths.numpy() > 0, strict=True
    ):
        counts = count_lesions(mask, truth)
        found = {"lesions": counts.true_lesions, "lesions_found": counts.found_lesions}
        rows.append({"file": file, "group": group, **found, "dice": count_pixels(mask, truth).dice})
    return rows


def finish_training(
    arm: str,
    parts: tuple[PreparedPart, PreparedPart],
    groups: Mapping[str, str],
    *,
    config: Config,
    run: Path,
    path: Path,
) -> list[Numbers]:
    """Train an arm on one fold and score what was held out, unless its file says that as many steps were taken.

    Args:
        arm: Key of ``ARMS``.
        parts: Learnt from, and held out.
        groups: Group of copies of each case, by case_id.
        config: Its epochs are passes over the slices, a multiple of ``PASSES``.
        run: The run folder; a training that was cut off goes on from it.
        path: File for the held-out slices.
    """
    learn, held_out = parts
    steps = config.training.epochs // PASSES * math.ceil(PASSES * len(learn) / config.training.batch_size)
    done = read_slices(path)
    if [row["file"] for row in done] == list(held_out.hashes) and done[0]["steps"] == steps:
        return done
    tell(f"{path.stem} ...")
    config = replace(config, training=replace(config.training, epochs=config.training.epochs // PASSES))
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)
    drawn = make_arm(arm, learn, [groups[name] for name in learn.hashes], seed=config.training.seed)
    fit(network, config, compute=start_compute(config.training), train=drawn, val=NO_PART, run=run)
    names = [groups[name] for name in held_out.hashes]
    rows = score_slices(network.eval(), held_out, names)
    write_table(path, [row | {"steps": steps} for row in rows])
    return read_slices(path)


def read_slices(path: Path) -> list[Numbers]:
    """The held-out slices of a finished training, an undefined Dice as NaN; none if there is no file."""
    return [
        row
        | {name: int(row[name]) for name in ("lesions", "lesions_found", "steps")}
        | {"dice": float(row["dice"] or math.nan)}
        for row in read_table(path)
    ]


def summarise(results: Mapping[str, Sequence[Numbers]]) -> list[dict[str, Any]]:
    """Dice and lesions found of each arm on all slices and by number of lesions, and its gain over the plain one.

    Args:
        results: The held-out slices of all folds by arm, ``PLAIN`` among them; the same slices in the same order.
    """
    rows = []
    for arm, scored in results.items():
        pairs = list(zip(scored, results[PLAIN], strict=True))
        for which in SLICES:
            kept = [(row, plain) for row, plain in pairs if _is_among(which, row["lesions"])]
            rows.append({"arm": arm, "held_out": which, **_compare(kept)})
    return rows


def _is_among(which: str, lesions: int) -> bool:
    return which == "all" or (lesions > 0 and (which == "one lesion") == (lesions == 1))


def _compare(pairs: Sequence[tuple[Numbers, Numbers]]) -> dict[str, Any]:
    """The numbers of an arm beside the plain one's on the same slices; NaN where nothing defines them."""
    groups = [row["group"] for row, _ in pairs]
    dice, plain = (np.array([pair[side]["dice"] for pair in pairs], dtype=np.float64) for side in (0, 1))
    found, before = (np.array([pair[side]["lesions_found"] for pair in pairs], dtype=np.float64) for side in (0, 1))
    lesions = np.array([row["lesions"] for row, _ in pairs], dtype=np.float64)
    gains = found - before
    # Where no slice differs there is nothing to resample: that is no proof that none would.
    unsure = ratio_interval(gains, lesions, groups) if gains.any() else (math.nan, math.nan)
    total = lesions.sum()
    return {
        "slices": len(pairs),
        "groups": len(set(groups)),
        **_with_interval("dice", _mean(dice), mean_interval(dice, groups)),
        **_with_interval("dice_gain", _mean(dice - plain), mean_interval(dice - plain, groups, shares=False)),
        "lesions": int(total),
        **_with_interval("found", found.sum() / total if total else math.nan, ratio_interval(found, lesions, groups)),
        **_with_interval("found_gain", gains.sum() / total if total else math.nan, unsure),
    }


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _with_interval(name: str, value: float, interval: tuple[float, float]) -> dict[str, float]:
    return {name: float(value), f"{name}_low": interval[0], f"{name}_high": interval[1]}


def draw(by_lesions: Sequence[Numbers], arms: Sequence[Numbers], size: Size = SMALL) -> Figure:
    """Left the Dice by number of lesions and compactness; right what the arms gain over the plain one.

    Args:
        by_lesions: Rows of ``tabulate_by_lesions``, or none, as numbers or text.
        arms: Rows of ``summarise``, or none, likewise.
        size: Size of the arms' network.
    """
    figure = Figure(figsize=(13.5, 5.2), facecolor="white", layout="constrained")
    figure.suptitle("Slices with several tumours", fontsize=12)
    left, right = figure.subplots(1, 2)
    _draw_by_lesions(left, by_lesions)
    _draw_gains(right, arms)
    right.set_title(f"{size.network}, shown more of them", fontsize=10)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 4, "fontsize": 8.5}
            axes.legend(**place, frameon=False)
        axes.grid(visible=True, axis="x", linewidth=0.4, color="0.88")
        axes.tick_params(labelsize=9)
    return figure


def _draw_by_lesions(axes: Axes, rows: Sequence[Numbers]) -> None:
    sources = sorted({row["source"] for row in rows}, key=lambda name: (name != ALL, name))
    spare = [("v", "0.4"), ("P", "0.6"), ("X", "0.3")]
    for index, source in enumerate(sources):
        looks = MARKS.get(source) or spare[index % len(spare)]
        offset = (index - (len(sources) - 1) / 2) * 0.17
        chosen = {row["value"]: row for row in rows if row["source"] == source}
        kept = [(place + offset, chosen[label]) for place, label in enumerate(LESIONS + THIRDS) if label in chosen]
        dots = [(place, _three(row, "dice", "low", "high")) for place, row in kept]
        _draw_dots(axes, dots, looks, "all sources" if source == ALL else source)
        for (place, (mean, _, high)), (_, row) in zip(dots, kept, strict=True):
            if not math.isnan(mean):
                end = mean if math.isnan(high) else high
                note: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 7}
                axes.annotate(f"n={row['slices']}", (end, place), **note)
    axes.set_yticks(range(6), LESIONS + THIRDS)
    axes.set(ylim=(5.6, -0.6), xlim=(0, 1.08), xlabel="mean Dice over held-out slices, 0 to 1, with 95 % interval")
    axes.axhline(2.5, color="0.6", linewidth=0.8)
    axes.set_title("the shipped recipe, cross-validated", fontsize=10)


def _draw_gains(axes: Axes, rows: Sequence[Numbers]) -> None:
    measured = {"dice_gain": "mean Dice", "found_gain": "lesions found"}
    labels = [(column, which) for column in measured for which in SLICES]
    counts = {row["held_out"]: row["slices"] for row in rows}
    for offset, (arm, looks) in zip((-0.12, 0.12), ARM_MARKS.items(), strict=True):
        chosen = {row["held_out"]: row for row in rows if row["arm"] == arm}
        names = {
            OVERSAMPLED: f"slices with several lesions {TIMES} times",
            PASTED: "as many slices with a pasted lesion",
        }
        dots = [
            (place + offset, _three(chosen[which], column, f"{column}_low", f"{column}_high"))
            for place, (column, which) in enumerate(labels)
            if which in chosen
        ]
        _draw_dots(axes, dots, looks, names[arm] if dots else "")
    axes.set_yticks(
        range(len(labels)), [f"{measured[column]}: {which}\n(n={counts.get(which, 0)})" for column, which in labels]
    )
    axes.axvline(0, color="black", linewidth=1, linestyle=(0, (1, 2)))
    axes.axhline(2.5, color="0.6", linewidth=0.8)
    axes.set(ylim=(5.6, -0.6), xlabel="difference from the plain training on the same slices, with 95 % interval")


def _draw_dots(
    axes: Axes, dots: Iterable[tuple[float, tuple[float, float, float]]], looks: tuple[str, str], label: str
) -> None:
    """Means with their intervals, one below the other; NaN is not drawn."""
    mark, grey = looks
    for place, (mean, low, high) in dots:
        axes.plot([low, high], [place, place], color=grey, linewidth=1.8)
        axes.plot([mean], [place], marker=mark, color=grey, markersize=6, linestyle="", label=label)
        label = ""  # once in the legend


def _three(row: Numbers, *columns: str) -> tuple[float, float, float]:
    """Mean, low and high as numbers; an empty cell is NaN."""
    mean, low, high = (math.nan if row[column] == "" else float(row[column]) for column in columns)
    return mean, low, high


def main(  # noqa: PLR0913, PLR0917 - the options of the command
    data: Annotated[list[Path] | None, typer.Argument(help="What was cross-validated.")] = None,
    negatives: Annotated[Path | None, typer.Option(help="As given to the cross-validation.")] = None,
    crossval: Annotated[Path | None, typer.Option(help="Score this cross-validation by lesions.")] = None,
    train: Annotated[Path | None, typer.Option(help="Train the arms on this dataset.")] = None,
    out: Annotated[Path, typer.Option(help="Run folders and the split.")] = Path("runs/several-tumours"),
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("reproduction"),
    epochs: Annotated[int, typer.Option(min=PASSES, help=f"Passes over the slices; a multiple of {PASSES}.")] = 16,
    slices: Annotated[int, typer.Option(min=0, help="Of each side, for a trial; 0 takes all.")] = 0,
    size: SizeOption = "small",
) -> None:
    """Score the cross-validation, train what is not finished, and write what is there as tables and a figure."""
    if epochs % PASSES:
        raise typer.BadParameter(f"epochs = {epochs} is no multiple of {PASSES}")
    results = into / "results"
    claim_results(into, SIZES[size])
    if crossval is not None:
        scored = read_crossval(crossval, open_datasets(data or [], negatives=negatives))
        write_table(results / "by_lesions.csv", tabulate_by_lesions(scored))
    if train is not None:
        config = load_size(SIZES[size], [f"training.epochs={epochs}"])
        table = train_arms(train, config, out=out, table=results / "several_tumours", slices=slices)
        write_table(results / "several_tumours.csv", summarise(table))
    figure = draw(read_table(results / "by_lesions.csv"), read_table(results / "several_tumours.csv"), SIZES[size])
    for suffix in ("png", "svg"):
        save_figure(figure, into / "figures" / f"several_tumours.{suffix}")


def train_arms(data: Path, config: Config, *, out: Path, table: Path, slices: int) -> dict[str, list[Numbers]]:
    """Finish every arm on every fold; returns the held-out slices of all folds by arm.

    Args:
        data: The dataset.
        config: Its epochs are passes over the slices, a multiple of ``PASSES``.
        out: Folder of the run folders and the split.
        table: Folder of the files of finished trainings.
        slices: Number of slices of each side, for a trial; 0 takes all.
    """
    whole = open_dataset(data)
    found = survey_cases(tuple(record for record in whole.records if record.part != "test"))
    groups = {case.record.case_id: group for case, group in zip(found.cases, found.groups, strict=True)}
    split = make_folds(found, folds=FOLDS)
    write_split(split, found, out / "split.json")
    results: dict[str, list[Numbers]] = {arm: [] for arm in ARMS}
    for fold in range(1, FOLDS + 1):
        dataset = apply_split(whole, split, fold=fold)
        parts = tuple(_prepare(dataset.select(side), config, slices) for side in ("train", "test"))
        for arm in ARMS:
            name = f"{arm}-fold-{fold}"
            places = {"run": out / name, "path": table / f"{name}.csv"}
            results[arm] += finish_training(arm, (parts[0], parts[1]), groups, config=config, **places)
    return results


def _prepare(records: tuple[CaseRecord, ...], config: Config, count: int) -> PreparedPart:
    """A side on the network's grid: so many of its cases, evenly spaced, or all if 0."""
    chosen = tuple(evenly_spaced(records, count)) if count else records
    return prepare_part(chosen, config.recipe, name=records[0].part.upper())


if __name__ == "__main__":
    run_script(main)
