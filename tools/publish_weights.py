"""A shipped model and its card, made from a finished run.

``python tools/publish_weights.py RUN --name default --groups CROSSVAL --sources CROSSVAL`` takes the weights of the
run, the threshold, temperature and confidence that the cross-validation by groups fitted on held-out slices, and the
scores of both cross-validations. It writes ``NAME.onnx``, ``NAME.safetensors`` and ``NAME.json`` into
``src/tumortrace/weights``, the weights in half precision, those of convolutions in the ONNX file alone. A folder of
``studies.calibrate`` may stand in for the cross-validation by groups. ``--split FILE`` takes the groups of a split,
where the dataset itself names no patients or only coarse ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import read_split
from tumortrace.copies.training_index import load_training_index
from tumortrace.errors import DataError
from tumortrace.evaluation.folder import ImageRow, read_evaluation
from tumortrace.evaluation.provenance import DIGITS
from tumortrace.files import write_atomically
from tumortrace.inference.onnx_file import CARD, RECIPE, SEAL, seal
from tumortrace.inference.recipe import recipe_to_json
from tumortrace.metrics.aggregate import interval_bounds
from tumortrace.metrics.calibration import FALSE_ALARM_AREA
from tumortrace.metrics.intervals import mean_interval, ratio_interval
from tumortrace.run_folder import TRAINING_INDEX
from tumortrace.training.folded import list_folded, read_initializers
from tumortrace.training.half import read_weights_as_half, store_onnx_in_half
from tumortrace.training.networks import build_network

WEIGHTS = Path(__file__).parents[1] / "src" / "tumortrace" / "weights"

DATA = {
    "br35h": {
        "name": "Br35H (Hamada 2020, Kaggle), TRAIN and VAL",
        "mask": "tumour as outlined on mixed contrasts",
        "licence": "no licence stated",
    },
    "lgg": {
        "name": "LGG MRI Segmentation (Buda, Kaggle; TCGA-LGG)",
        "mask": "whole FLAIR abnormality, oedema included",
        "licence": "non-commercial, share-alike",
    },
    "figshare": {
        "name": "brain tumor dataset (Cheng, figshare 1512427), a part",
        "mask": "enhancing tumour on T1 with contrast; with gliomas often the whole lesion",
        "licence": "CC BY 4.0 as commonly given",
    },
    "brisc": {
        "name": "BRISC 2025 (Fateh et al. 2025, Kaggle), a part",
        "mask": "figshare's slices outlined anew: enhancing tumour on T1 with contrast",
        "licence": "none stated in the copy used",
    },
    "no_tumour": {
        "name": "no-tumour class of Brain Tumor MRI Dataset (Nickparvar, Kaggle), a part",
        "mask": "none",
        "licence": "its licence was not checked",
    },
    "tumour_free": {
        "name": "tumour-free heads, healthy or with multiple sclerosis: Brain Tumor MRI Dataset, BRISC 2025, NiChart, "
        "Ljubljana and Baghdad MS data, Pardoe et al. 2021, dcm_qa, Papaya",
        "mask": "none",
        "licence": "CC BY 4.0 (MS data), others mixed or not stated",
    },
}
SUMMARIES = {
    "default": "Brain tumour on one 2D MR slice of any usual contrast and plane (a U-Net on EfficientNet-Lite2)",
    "fast": "Brain tumour on one 2D MR slice of any usual contrast and plane (a light U-Net)",
}
SCORED_ON = {
    "default": "the slices of fold 3 that are no copies of training slices, by a twin that was trained without the "
    "fold, in the same way but without the second stage. The shipped model was trained on them. None of its stages was "
    "chosen by its scores on these slices, but one more was left out by them; the threshold was fitted on every second "
    "one",
    "fast": "the slices of four folds, each by a model that was trained in the same way without the fold; 98 copies of "
    "its training slices are left out. The shipped model was trained on all folds. Choices of its recipe were made on "
    "these slices",
}
SOURCES = "python -m studies.sources DATA --out sources"
TRAIN = "tumortrace train DATA/figshare sources/brisc DATA/lgg sources/br35h --negatives sources/tumour_free"
FOLDS = f"{TRAIN} --split sources/folds.json --fold 4 --set training.threads=1"
SMOOTH = "--set training.average=0.995"
IMPLANTS = "--set augmentation.implants=true --set training.negatives=0.45"
FINER = "--set training.coarse_epochs=0 --set training.learning_rate=5e-4"
LAST_OF_FAST = (
    f"{TRAIN} --split sources/all.json --set training.threads=1 --config fast --from runs/first {SMOOTH} "
    "--set training.epoch_slices=1280 --set training.epochs=14 --set training.coarse_epochs=0"
)
RETRAIN = {
    "default": (
        f"{SOURCES} && {FOLDS} --config default --set augmentation.erasures=false --set training.hard_negatives=0 "
        "--set training.epochs=24 --set recipe.size_hw=[256,256] --out runs/first"
        f" && {FOLDS} --config default --from runs/first {FINER} --set training.epochs=18 "
        "--set recipe.size_hw=[256,256] --out runs/second"
        f" && {FOLDS} --config default --from runs/second {FINER} --set training.epochs=20 "
        "--set recipe.size_hw=[256,256] --out runs/third"
        f" && {TRAIN} --split sources/all.json --set training.threads=1 --config default --from runs/third {FINER} "
        "--out runs/last && python -m studies.mean_of_runs runs/third runs/last --out runs/plain"
        f" && {TRAIN} --split sources/all.json --set training.threads=2 --config default --from runs/plain {FINER} "
        f"{IMPLANTS} --out runs/implants"
        " && python -m studies.mean_of_runs runs/plain runs/plain runs/implants --out runs/default "
        "(the first run of the shipped weights had a second learning rate cycle in place of epochs 13 to 24)"
    ),
    "fast": (
        f"{SOURCES} && {FOLDS} --config fast {SMOOTH} --set training.epoch_slices=2048 --set training.epochs=24 "
        "--set training.coarse_epochs=14 --set recipe.size_hw=[192,192] --out runs/first"
        f" && {LAST_OF_FAST} --out runs/last && {LAST_OF_FAST} {IMPLANTS} --out runs/implants"
        " && python -m studies.mean_of_runs runs/first runs/last runs/implants --out runs/three"
        f" && {TRAIN} --split sources/all.json --set training.threads=1 --config fast --from runs/three {SMOOTH} "
        f"{FINER} {IMPLANTS} --set training.epoch_slices=1280 --set training.epochs=20 --set recipe.size_hw=[256,256] "
        "--out runs/finer && python -m studies.mean_of_runs runs/three runs/finer --out runs/fast"
    ),
}
LICENCE = "CC BY-NC-SA 4.0 (part of the data is non-commercial and share-alike); the code is Apache-2.0"
LIMITS = (
    "Research only, not a medical device: no mask may decide about a patient.",
    (
        "The training sources define a tumour differently, with its oedema or as the enhancing part; so the mask means "
        "different things on different contrasts."
    ),
    "It was not tested on children, infarcts, haemorrhages, abscesses or scans after surgery.",
    "On an unseen hospital expect lower scores. Measure it on your own slices first.",
)

FALSE_ALARMS = (
    "It marks a tumour on some slices that hold none, on whole heads too; how many on scans of other hospitals was not "
    "measured."
)


def main(
    run: Path,
    groups: Annotated[Path, typer.Option()],
    sources: Annotated[Path | None, typer.Option()] = None,
    split: Annotated[Path | None, typer.Option()] = None,
    name: Annotated[str, typer.Option()] = "default",
) -> None:
    """Write the model and its card."""
    recipe = load_config(str(groups / "calibrated.toml")).recipe
    model = onnx.load(run / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != SEAL}
    described = describe(run, name=name)
    card = recall_ancestor(json.loads(properties[CARD]), described, before=WEIGHTS / f"{name}.json") | {"name": name}
    network = (config := load_config(str(run / "config.toml"))).network
    recipe = replace(recipe, size_hw=config.recipe.size_hw)
    renewed = {RECIPE: recipe_to_json(recipe), CARD: json.dumps(card, sort_keys=True)}
    onnx.helper.set_model_props(model, properties | renewed)  # it drops what it is not given
    store_onnx_in_half(model)
    data = seal(model.SerializeToString())
    write_atomically(WEIGHTS / f"{name}.onnx", data)
    folded = list_folded(build_network(replace(network, pretrained=False), size_hw=recipe.size_hw, seed=0))
    there = folded.keys() & read_initializers(WEIGHTS / f"{name}.onnx").keys()
    write_atomically(WEIGHTS / f"{name}.safetensors", read_weights_as_half(run / "best.safetensors", without=there))
    rows = read_rows(groups, split)
    document = {
        "sha256": hashlib.sha256(data).hexdigest(),
        **described,
        "scores": score(rows, read_rows(sources, split) if sources else []),
    }
    write_card(name, document)
    print(f"{WEIGHTS / name}.onnx: {len(data) / 2**20:.1f} MiB")


def write_card(name: str, document: dict[str, Any]) -> None:
    """Write the card of a shipped model."""
    write_atomically(WEIGHTS / f"{name}.json", (json.dumps(document, indent=1) + "\n").encode())


def read_rows(folder: Path, split: Path | None) -> list[ImageRow]:
    """Return the rows of an evaluation, with the groups of a split as their groups and patients if there is one."""
    rows = list(read_evaluation(folder).rows)
    if split is None:
        return rows
    group_of = {case.file: case.group for case in read_split(split).cases}
    return [replace(row, group=group_of[row.file], patient=group_of[row.file] if row.patient else "") for row in rows]


def describe(run: Path, *, name: str) -> dict[str, Any]:
    """Return the card without its scores and the hash of the file."""
    manifest = json.loads((run / "manifest.json").read_text())
    cases = manifest["data"]["train"]["cases"]
    counts = {source: sum(case.startswith(f"{source}/") for case in cases) for source in DATA}
    return {
        "summary": SUMMARIES[name],
        "intended_use": "research and teaching; a first outline for a person to correct",
        "limits": (*LIMITS, FALSE_ALARMS),
        "data": [{**DATA[source], "cases": count} for source, count in counts.items() if count],
        "data_sha256": manifest["data"]["train"]["sha256"],
        "training_sha256": (listed := sorted(sha256[:DIGITS] for sha256 in cases.values())),
        "training_pictures_sha256": list_pictures(run, listed, before=WEIGHTS / f"{name}.json"),
        "licence": LICENCE,
        "retrain": RETRAIN[name],
        "scored_on": SCORED_ON[name],
    }


def recall_ancestor(card: dict[str, Any], described: dict[str, Any], *, before: Path) -> dict[str, Any]:
    """Return the card of an ONNX file; all training slices are known if those of the replaced model are the run's own.

    A run that begins from a shipped model does not know its training slices, but its published card lists them.

    Args:
        card: Card in the ONNX file of the run.
        described: The card to be published.
        before: The published card that is replaced.

    Raises:
        DataError: The run began from another shipped model, or the replaced one was trained on other slices too.
    """
    if not card.get("shipped_ancestors"):
        return card
    replaced = json.loads(before.read_text())
    others = set(replaced["training_sha256"]) - set(described["training_sha256"])
    if card["shipped_ancestors"] != [before.stem] or others:
        raise DataError(f"{before}: the run began from a model of other training slices; begin from one of the same")
    return {key: value for key, value in card.items() if key != "shipped_ancestors"} | {"remembered": True}


def list_pictures(run: Path, training: list[str], *, before: Path) -> list[str]:
    """Return the hashes of the training pictures without their truth.

    Args:
        run: The run; its index lacks them if it is of an earlier version.
        training: Hashes of the training slices.
        before: The card that is replaced; its list is taken if it is of the same slices.

    Raises:
        DataError: Neither has them.
    """
    pictures = {sha256[:DIGITS] for sha256 in load_training_index(run / TRAINING_INDEX).pictures if sha256}
    card = json.loads(before.read_text()) if before.is_file() else {}
    if not pictures and card.get("training_sha256") == training:
        pictures = set(card.get("training_pictures_sha256", ()))
    if not pictures:
        raise DataError(f"{run / TRAINING_INDEX}: lacks the hashes of the pictures; train again")
    return sorted(pictures)


def score(rows: list[ImageRow], unseen: list[ImageRow]) -> dict[str, Any]:
    """Return the scores of the card, from held-out slices and, where there are some, from held-out sources."""
    return {
        "mean Dice of slices": _dice(rows),
        **({"mean Dice of slices, source held out": _dice(unseen)} if unseen else {}),
        "mean Dice pooled over a patient's slices (figshare, brisc: runs of 13)": _pooled(rows),
        "false-positive rate on tumour-free slices": _false_alarms(rows),
        "false lesions per head": _false_lesions(rows),
        "fraction of lesions found": _lesions_found(rows),
    }


def _dice(rows: list[ImageRow]) -> dict[str, Any]:
    """Mean Dice of each source's slices with tumour."""
    ill = [row for row in rows if row.tumour_px]
    return _describe(ill, [row.dice for row in ill])


def _false_alarms(rows: list[ImageRow]) -> dict[str, Any]:
    """Share of each source's tumour-free slices with more than ``FALSE_ALARM_AREA`` of the frame painted."""
    free = [row for row in rows if not row.tumour_px]
    return _describe(free, [float(row.fp > FALSE_ALARM_AREA * (row.fp + row.tn)) for row in free])


def _pooled(all_rows: list[ImageRow]) -> dict[str, Any]:
    """Mean over each source's patients of the Dice of all their pixels; sources that name no patient are omitted."""
    patients: dict[tuple[str, str], list[ImageRow]] = {}
    for row in all_rows:
        if row.patient:
            patients.setdefault((_source_of(row), row.patient), []).append(row)
    dices = {each: _pool(rows) for each, rows in patients.items()}
    first = [rows[0] for each, rows in patients.items() if dices[each] is not None]
    return _describe(first, [dice for dice in dices.values() if dice is not None])


def _pool(rows: list[ImageRow]) -> float | None:
    tp, fp, fn = (sum(getattr(row, key) for row in rows) for key in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def _false_lesions(all_rows: list[ImageRow]) -> dict[str, Any]:
    """Mean number of false lesions over each source's heads: patients or, where none is named, groups of copies."""
    heads: dict[tuple[str, str], list[ImageRow]] = {}
    for row in all_rows:
        heads.setdefault((_source_of(row), row.group), []).append(row)
    counts = [float(sum(row.predicted_lesions - row.right_lesions for row in rows)) for rows in heads.values()]
    return _describe([rows[0] for rows in heads.values()], counts, shares=False)


def _lesions_found(all_rows: list[ImageRow]) -> dict[str, Any]:
    """Fraction of each source's lesions that the model touches."""
    rows = [row for row in all_rows if row.true_lesions]
    described = {}
    for name in sorted({_source_of(row) for row in rows}):
        listed = [row for row in rows if _source_of(row) == name]
        found, total = [row.found_lesions for row in listed], [row.true_lesions for row in listed]
        interval = ratio_interval(found, total, [row.group for row in listed])
        described[name] = {"value": sum(found) / sum(total), "ci95": interval_bounds(interval), "n": sum(total)}
    return described


def _source_of(row: ImageRow) -> str:
    """The first part of a file's name."""
    return row.file.partition("/")[0]


def _describe(rows: list[ImageRow], values: list[float], *, shares: bool = True) -> dict[str, Any]:
    """Mean, interval over groups and number by source."""
    by_source: dict[str, list[tuple[float, str]]] = {}
    for row, value in zip(rows, values, strict=True):
        by_source.setdefault(_source_of(row), []).append((value, row.group))
    described = {}
    for name, pairs in sorted(by_source.items()):
        numbers, groups = zip(*pairs, strict=True)
        interval = mean_interval(numbers, groups, shares=shares)
        described[name] = {"value": sum(numbers) / len(numbers), "ci95": interval_bounds(interval), "n": len(numbers)}
    return described


if __name__ == "__main__":
    run_script(main)
