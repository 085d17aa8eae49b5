"""Whether slices with several tumours are harder than those with one, and whether learning from more of them helps.

``python -m experiments.several_tumours DATA... --negatives DIR --crossval DIR`` scores the held-out slices of a
cross-validation over DATA by their number of lesions and by how compact those are (``results/by_lesions.csv``).
``--train BR35H`` trains the report's U-Net, narrowed, on grouped folds in three arms (``ARMS``): on the slices as they
are; with each slice of several lesions ``TIMES`` times as often; and with as many slices more that have a second lesion
pasted in (Ghiasi et al. 2021; of tumours Yang et al. 2021). All arms take the same number of steps. Each finished
training leaves its held-out slices in ``results/several_tumours/ARM-fold-N.csv`` and is not repeated; all of them give
``results/several_tumours.csv``. ``figures/several_tumours.png`` and ``.svg`` show both tables, or what there is.

A lesion is an 8-connected component of the truth: regions that touch or overlap are one. The arms are scored on the
network's grid, where two lesions may have become one.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from experiments.dice_collapse import run as run_network
from experiments.tables import write_table
from tumortrace.config import Config, load_config
from tumortrace.data.dataset import CaseRecord, Dataset, open_dataset, open_datasets, read_cases
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError
from tumortrace.inference.recipe import standardise
from tumortrace.progress import tell, track
from tumortrace.report.figures import save_figure
from tumortrace.train.arrays import PreparedPart, prepare_part, spread
from tumortrace.train.augment import strip_skull
from tumortrace.train.loop import fit, start_fabric
from tumortrace.train.networks import build_network
from tumortrace.trust.detection import count_lesions
from tumortrace.trust.metrics import count_pixels
from tumortrace.trust.splits import apply_split, make_folds, write_split
from tumortrace.trust.statistics import mean_interval, ratio_interval
from tumortrace.trust.survey import survey

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]
Numbers = Mapping[str, Any]

SETTINGS = ("recipe.size_hw=[128, 128]", "training.device=cpu", "training.threads=1")
FOLDS = 3
PLAIN, OVERSAMPLED, PASTED = ARMS = ("plain", "oversampled", "pasted")
TIMES = 5
"""How often a slice with several lesions comes in the oversampled arm where another comes once."""
PASSES = 4
"""Passes over the slices that are laid out as one epoch of the loop, so that arms of any length take equal steps."""
TRIES = 20
"""Pairs drawn for each slice to be pasted, at most."""
GAP_PX = 4
"""Between a pasted lesion and the slice's own; wider than the softened edge."""
RIM_PX = 4
"""Width of what counts as a lesion's surroundings."""
SOFT_PX = 1.0
"""Deviation of the softened edge; it ends 3 pixels off the lesion."""
DEPTH = 0.2
"""A pasted lesion lies deeper in the head than this share of the way from its edge to its middle: not in the skull."""
ALL = "all"
LESIONS = ("1 lesion", "2 lesions", "3 or more")
THIRDS = ("least compact third", "middle third", "most compact third")
SLICES = ("all", "one lesion", "several lesions")
MARKS = {"all": ("o", "black"), "br35h": ("s", "0.25"), "figshare": ("^", "0.5"), "lgg": ("D", "0.65")}
ARM_MARKS = {OVERSAMPLED: ("s", "black"), PASTED: ("^", "0.5")}


class ScoredSlice(NamedTuple):
    """A held-out slice of a cross-validation.

    Attributes:
        source: Name of its dataset.
        group: Of its copies.
        lesions: Components of its truth, at least 1.
        found: Of these, touched by the prediction.
        compactness: Mean over them, in (0, 1].
        share: Of the frame that is tumour, in (0, 1].
        dice: In [0, 1].
    """

    source: str
    group: str
    lesions: int
    found: int
    compactness: float
    share: float
    dice: float


def compactness(lesion: Mask) -> float:
    """4 pi area / perimeter^2 (Cox 1927): 1 for a disk, pi / 4 for a square, towards 0 for a line or a ragged outline.

    The area is the number of pixels. The perimeter is measured along the centres of the outermost pixels, where a step
    straight on counts 0.980, a diagonal one 1.406 and a turn -0.091 (Vossepoel & Smeulders 1982: without a bias for
    lines of any direction), and pi is added, because the outline runs half a pixel further out. Holes have no outline.

    Args:
        lesion: Shape (H, W), one component, not empty.

    Returns:
        In (0, 1]; a few pixels would come out over 1, and count as a disk.
    """
    contours, _ = cv2.findContours(lesion.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = contours[0][:, 0].astype(int)
    steps = np.roll(points, -1, axis=0) - points
    diagonal = int(np.all(steps != 0, axis=1).sum())
    straight = int(np.any(steps != 0, axis=1).sum()) - diagonal
    turns = int(np.any(steps != np.roll(steps, 1, axis=0), axis=1).sum())
    perimeter = 0.980 * straight + 1.406 * diagonal - 0.091 * turns + math.pi
    return min(4 * math.pi * int(lesion.sum()) / perimeter**2, 1.0)


def mean_compactness(truth: Mask) -> float:
    """Mean over the lesions of a truth (H, W), which does not fall with their number; NaN if it is empty."""
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    each = [compactness(np.asarray(labels) == label) for label in range(1, count)]
    return float(np.mean(each)) if each else math.nan


def count_components(truths: Tensor) -> NDArray[np.int64]:
    """Lesions of each truth; shape (N,) for truths (N, H, W) of 0 and 1."""
    masks = truths.numpy() > 0
    return np.array([count_lesions(mask, mask).true_lesions for mask in masks], dtype=np.int64)


def read_crossval(folder: Path, dataset: Dataset) -> list[ScoredSlice]:
    """The clean held-out slices with tumour of a cross-validation, with what their truth looks like.

    Args:
        folder: Holds ``per_image.csv``.
        dataset: The one that was cross-validated.

    Raises:
        DataError: The file is missing or lacks slices of the dataset, or a slice has changed since.
    """
    path = folder / "per_image.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the folder of a cross-validation")
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file) if row["clean"] == "true"}
    records = tuple(
        each for each in dataset.records if each.case_id in rows and rows[each.case_id]["true_lesions"] > "0"
    )
    if len(records) != sum(row["true_lesions"] > "0" for row in rows.values()):
        raise DataError(f"{path}: has slices that the datasets lack; give the same datasets as to the cross-validation")
    found = []
    for record, case, _ in track(read_cases(records), "Reading slices", total=len(records)):
        row = rows[record.case_id]
        if case is None or hash_case(case) != row["sha256"]:
            raise DataError(f"{record.case_id}: is not the slice that {path} scored; cross-validate again")
        counts = count_lesions(case.truth, case.truth)
        looks = mean_compactness(case.truth), float(case.truth.mean()), float(row["dice"])
        found.append(ScoredSlice(record.source, row["group"], counts.true_lesions, int(row["found_lesions"]), *looks))
    return found


def tabulate_by_lesions(slices: Sequence[ScoredSlice]) -> list[dict[str, Any]]:
    """Mean Dice by number of lesions and by thirds of compactness, over all sources and in each.

    The thirds are those of each slice's own source: one that outlines by polygons and one that outlines pixel by pixel
    differ more in compactness than their lesions do.

    Args:
        slices: At least one.
    """
    sources = sorted({each.source for each in slices})
    cuts = {
        source: np.quantile([each.compactness for each in slices if each.source == source], [1 / 3, 2 / 3])
        for source in sources
    }
    rows = []
    for source in (ALL, *sources):
        some = [each for each in slices if source in {ALL, each.source}]
        rows.append(_describe(some, source, "slices", ALL, ""))
        for index, label in enumerate(LESIONS):
            kept = [each for each in some if min(each.lesions, 3) == index + 1]
            rows.append(_describe(kept, source, "lesions", label, ""))
        edges = [f"{edge:.3f}" for edge in (0, *cuts.get(source, ()), 1)]
        for index, label in enumerate(THIRDS):
            kept = [each for each in some if np.searchsorted(cuts[each.source], each.compactness, "right") == index]
            limits = " to ".join(edges[index : index + 2]) if source != ALL else ""
            rows.append(_describe(kept, source, "compactness", label, limits))
    return rows


def _describe(slices: Sequence[ScoredSlice], source: str, by: str, label: str, edges: str) -> dict[str, Any]:
    """A row of the table; what there is no slice for is NaN."""
    dices, groups = [each.dice for each in slices], [each.group for each in slices]
    low, high = mean_interval(dices, groups)
    lesions = sum(each.lesions for each in slices)
    return {
        "source": source,
        "by": by,
        "value": label,
        "from_to": edges,
        "slices": len(slices),
        "groups": len(set(groups)),
        "dice": float(np.mean(dices)) if dices else math.nan,
        "low": low,
        "high": high,
        "share_of_lesions_found": sum(each.found for each in slices) / lesions if lesions else math.nan,
        "median_tumour_share": float(np.median([each.share for each in slices])) if slices else math.nan,
    }


def oversample(lesions: NDArray[np.int64], times: int = TIMES) -> NDArray[np.intp]:
    """Indices of one pass: each slice once, each with several lesions so many times.

    Args:
        lesions: Of each slice, shape (N,).
        times: At least 1.
    """
    return np.repeat(np.arange(len(lesions)), np.where(lesions > 1, times, 1))


def lay_out(slices: NDArray[np.intp], length: int, rng: Generator) -> NDArray[np.intp]:
    """Pass after pass in random order until there are so many; what is left of the last pass is dropped.

    Args:
        slices: Indices of one pass, at least one.
        length: Of the result.
        rng: Decides the order, and what is dropped.
    """
    passes = [rng.permutation(slices) for _ in range(-(-length // len(slices)))]
    return np.concatenate([slices[:0], *passes])[:length]


def inside_head(image: Grey, *, depth: float) -> Mask:
    """What lies deeper in the head than a share of the way from its edge to its middle; all, if there is no head.

    Args:
        image: Shape (H, W), float32, any range.
        depth: From 0, the whole head, to 1.
    """
    grey = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    lifted = np.asarray(grey + 1e-3, dtype=np.float32)  # so that black inside of the head differs from what is cut off
    return np.asarray(strip_skull(lifted, np.zeros(image.shape, np.uint8), depth=depth) > 0)


def widen(mask: Mask, by_px: int) -> Mask:
    """A mask (H, W) and all within so many pixels of it, in rows and columns."""
    side = 2 * by_px + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def free_places(image: Grey, truth: Mask, lesion: Mask) -> NDArray[np.intp]:
    """Where a lesion fits into a slice: inside the head, off the slice's own lesion.

    Args:
        image: Shape (H, W), float32.
        truth: Shape (H, W), bool; the slice's own.
        lesion: Shape (h, w), bool; cut out along its box.

    Returns:
        Rows and columns of the box's first pixel, shape (N, 2); N may be 0.
    """
    free = inside_head(image, depth=DEPTH) & ~widen(truth, GAP_PX)
    frame: dict[str, Any] = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}  # nothing is free outside
    fits = cv2.erode(free.astype(np.uint8), lesion.astype(np.uint8), anchor=(0, 0), **frame)
    return np.argwhere(fits > 0)


def paste(
    target: tuple[Grey, Mask], donor: tuple[Grey, Mask], rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """The target with the donor's lesion at a free place, softened at its edge.

    The lesion keeps how it differs from its surroundings: their mean and deviation are exchanged for the place's.

    Args:
        target: Slice (H, W), float32, and its truth, bool.
        donor: Likewise, on the same grid; its truth is not empty.
        rng: Draws the place.

    Returns:
        A new slice and the united truth; nothing further than 3 pixels off the pasted lesion has changed. None if the
        lesion fits nowhere, or the surroundings of either place lie outside the head.
    """
    (image, truth), (giving, lesion) = target, donor
    rows, columns = (np.flatnonzero(lesion.any(axis=axis)) for axis in (1, 0))
    places = free_places(image, truth, lesion[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    rim = widen(lesion, RIM_PX) & ~widen(lesion, 1) & inside_head(giving, depth=0)
    if not len(places) or not rim.any():
        return None
    row, column = places[rng.integers(len(places))].tolist()
    shift_xy = column - int(columns[0]), row - int(rows[0])
    moved, pasted = _shift(giving, shift_xy), _shift(lesion.astype(np.float32), shift_xy) > 0
    place = widen(pasted, RIM_PX) & ~truth & inside_head(image, depth=0)
    gain = np.clip(image[place].std() / max(float(giving[rim].std()), 1e-6), 0.5, 2.0)
    matched = image[place].mean() + gain * (moved - giving[rim].mean())
    soft = cv2.GaussianBlur(pasted.astype(np.float32), (7, 7), SOFT_PX, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(image + soft * (matched - image), dtype=np.float32), np.asarray(truth | pasted)


def _shift(image: Grey, shift_xy: tuple[int, int]) -> Grey:
    """Moved by whole pixels; what comes in repeats the edge."""
    height, width = image.shape
    matrix = np.array([[1, 0, shift_xy[0]], [0, 1, shift_xy[1]]], dtype=np.float64)
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def paste_slices(
    part: PreparedPart, groups: Sequence[str], count: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    """So many slices of one lesion, each with the lesion of another such slice, of another group, pasted in.

    Args:
        part: Drawn from.
        groups: Of copies, one name a slice.
        count: Asked for; fewer are made where too many pairs have no room, or there are no pairs.
        rng: Decides everything.

    Returns:
        Slices (M, H, W), float32, standardised; truths (M, H, W), uint8; and how many pairs were skipped.
    """
    single = np.flatnonzero(count_components(part.truths) == 1)
    names = np.asarray(groups, dtype=np.str_)
    made: list[tuple[Grey, Mask]] = []
    skipped = 0
    for _ in range(count * TRIES if len(set(names[single])) > 1 else 0):
        if len(made) == count:
            break
        target = rng.choice(single)
        donor = rng.choice(single[names[single] != names[target]])
        result = paste(_slice_of(part, target), _slice_of(part, donor), rng)
        if result is None:
            skipped += 1
        else:
            made.append((standardise(result[0]), result[1]))
    size = (len(made), *part.truths.shape[1:])
    images = np.array([image for image, _ in made], dtype=np.float32).reshape(size)
    return images, np.array([truth for _, truth in made], dtype=np.uint8).reshape(size), skipped


def _slice_of(part: PreparedPart, index: int) -> tuple[Grey, Mask]:
    return part.images[index, 0].numpy(), part.truths[index].numpy() > 0


def make_arm(arm: str, part: PreparedPart, groups: Sequence[str], *, seed: int) -> PreparedPart:
    """What one epoch of an arm learns from: ``PASSES`` times as many slices as there are, whatever the arm.

    Args:
        arm: Of ``ARMS``.
        part: The slices as they are, at least one.
        groups: Of copies, one name a slice.
        seed: Of the arm's draws.
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
    names, looks = (part.sources[0],) * len(order), (None,) * len(order)
    return replace(
        part, images=images, truths=truths, sources=names, looks=looks, hashes=part.hashes | {"drawn": drawn}
    )


def score_slices(
    network: torch.nn.Module, part: PreparedPart, groups: Sequence[str], *, threshold: float
) -> list[dict[str, Any]]:
    """A row a held-out slice: its group, its lesions and how many were found, and its Dice, on the network's grid."""
    probabilities = run_network(network, part.images, batch_size=16).softmax(dim=1)[:, 1]
    rows = []
    for file, group, mask, truth in zip(
        part.hashes, groups, (probabilities >= threshold).numpy(), part.truths.numpy() > 0, strict=True
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
        arm: Of ``ARMS``.
        parts: Learnt from, and held out.
        groups: Of copies, by case_id.
        config: Its epochs are passes over the slices, a multiple of ``PASSES``.
        run: The run folder; a training that was cut off goes on from it.
        path: Of the held-out slices' file.
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
    nothing = prepare_part((), config.recipe, name="VAL")
    fit(network, config, fabric=start_fabric(config.training), train=drawn, val=nothing, run=run)
    names = [groups[name] for name in held_out.hashes]
    rows = score_slices(network, held_out, names, threshold=config.recipe.threshold)
    write_table(path, [row | {"steps": steps} for row in rows])
    return read_slices(path)


def read_slices(path: Path) -> list[Numbers]:
    """The held-out slices of a finished training, an undefined Dice as NaN; none if there is no file."""
    return [
        row
        | {name: int(row[name]) for name in ("lesions", "lesions_found", "steps")}
        | {"dice": float(row["dice"] or math.nan)}
        for row in read_rows(path)
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as text; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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


def draw(by_lesions: Sequence[Numbers], arms: Sequence[Numbers]) -> Figure:
    """Left the Dice by number of lesions and compactness; right what the arms gain over the plain one.

    Args:
        by_lesions: Rows of ``tabulate_by_lesions``, or none, as numbers or text.
        arms: Rows of ``summarise``, or none, likewise.
    """
    figure = Figure(figsize=(13.5, 5.2), facecolor="white", layout="constrained")
    figure.suptitle("Slices with several tumours", fontsize=12)
    left, right = figure.subplots(1, 2)
    _draw_by_lesions(left, by_lesions)
    _draw_gains(right, arms)
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
    axes.set_title("the report's U-Net, narrow, shown more of them", fontsize=10)


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
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("experiments"),
    epochs: Annotated[int, typer.Option(min=PASSES, help=f"Passes over the slices; a multiple of {PASSES}.")] = 16,
    slices: Annotated[int, typer.Option(min=0, help="Of each side, for a trial; 0 takes all.")] = 0,
) -> None:
    """Score the cross-validation, train what is not finished, and write what is there as tables and a figure."""
    if epochs % PASSES:
        raise typer.BadParameter(f"epochs = {epochs} is no multiple of {PASSES}")
    results = into / "results"
    if crossval is not None:
        scored = read_crossval(crossval, open_datasets(data or [], negatives=negatives))
        write_table(results / "by_lesions.csv", tabulate_by_lesions(scored))
    if train is not None:
        table = train_arms(train, out=out, table=results / "several_tumours", epochs=epochs, slices=slices)
        write_table(results / "several_tumours.csv", summarise(table))
    figure = draw(read_rows(results / "by_lesions.csv"), read_rows(results / "several_tumours.csv"))
    for suffix in ("png", "svg"):
        save_figure(figure, into / "figures" / f"several_tumours.{suffix}")


def train_arms(data: Path, *, out: Path, table: Path, epochs: int, slices: int) -> dict[str, list[Numbers]]:
    """Finish every arm on every fold; returns the held-out slices of all folds by arm.

    Args:
        data: The dataset.
        out: Of the run folders and the split.
        table: Folder of the files of finished trainings.
        epochs: Passes over the slices, a multiple of ``PASSES``.
        slices: Of each side, for a trial; 0 takes all.
    """
    config = load_config("narrow", (*SETTINGS, f"training.epochs={epochs}"))
    whole = open_dataset(data)
    found = survey(tuple(record for record in whole.records if record.part != "test"))
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
    chosen = tuple(spread(records, count)) if count else records
    return prepare_part(chosen, config.recipe, name=records[0].part.upper())


if __name__ == "__main__":
    typer.run(main)
