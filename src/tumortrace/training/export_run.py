"""Export of a finished run: as int8, or with a fitted recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import tumortrace
from tumortrace.config import Recipe, load_config
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_dataset, open_negatives
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import ConfigError, DataError, ModelError
from tumortrace.files import refuse_inside, write_atomically
from tumortrace.inference.model import CLASSES, Model, open_model
from tumortrace.inference.recipe import prepare_pixels
from tumortrace.json_csv import read_json
from tumortrace.progress import tell
from tumortrace.run_folder import BEST, CONFIG, MANIFEST, MODEL
from tumortrace.training.arrays import evenly_spaced
from tumortrace.training.checkpoint import load_weights
from tumortrace.training.export import (
    EXPORT_SAMPLES,
    ExportDifference,
    compare,
    make_onnx,
    refuse_disagreement,
)
from tumortrace.training.networks import build_network
from tumortrace.training.quantize import Trial, find_drawback, quantize, try_int8

CALIBRATION = 100
"""Training slices that set the ranges of 8 bits, but at most half of them."""

TRIAL_SLICES = 200
"""Training slices that 8 bits are tried on where a run has no VAL part."""

CALIBRATED = ("threshold", "peak_threshold", "temperature", "confidence", "review_below")
"""Settings of a recipe that are fitted on predictions; the others belong to the weights."""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run folder holds once training has finished.

    Attributes:
        folder: The run folder.
        model: Its ``model.onnx``.
        network: The network with the kept weights, on the CPU, set to evaluation.
        weights_sha256: SHA-256 of the file that holds the weights.
        root: Folder of the dataset, or the folder in which several datasets lie side by side.
        folders: Folder of each source of several; empty in a run of an earlier version.
        train_hashes: SHA-256 of each training case, by case_id.
        val_hashes: SHA-256 of each validation case, by case_id; may be empty.
        label: Label of the annotated regions that it was trained on; empty for all.
    """

    folder: Path
    model: Model
    network: nn.Module
    weights_sha256: str
    root: Path
    folders: dict[str, Path]
    train_hashes: dict[str, str]
    val_hashes: dict[str, str]
    label: str


@dataclass(frozen=True)
class Exported:
    """A file that was exported.

    Attributes:
        path: The file.
        size_bytes: Size of the file.
        compared: Number of slices that torch and the file were compared on.
        agreement: Difference between torch and the file on those slices; 8 bits differ by more than rounding.
        trial: Speed and Dice of 8 bits; None for a file in float32.
    """

    path: Path
    size_bytes: int
    compared: int
    agreement: ExportDifference
    trial: Trial | None


def open_run(folder: Path) -> FinishedRun:
    """Open a run folder whose training has finished.

    Raises:
        ModelError: The folder is no finished run, a file is missing or damaged, or the weights are of another network.
        ConfigError: Its ``config.toml`` is no configuration any more.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run folder; give one whose training has finished")
    model = open_model(str(folder))
    for name in (CONFIG, BEST, MANIFEST):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: holds no {name}; give the whole folder of a finished run")
    config = load_config(str(folder / CONFIG))
    # ImageNet weights would only be overwritten.
    network = build_network(
        replace(config.network, pretrained=False), size_hw=model.recipe.size_hw, seed=config.training.seed
    )
    load_weights(folder / BEST, network)
    weights_sha256 = hashlib.sha256((folder / BEST).read_bytes()).hexdigest()
    data = _read_manifest(folder / MANIFEST)
    return FinishedRun(folder, model, network.eval(), weights_sha256, *data, config.training.label)


def export_run(run: FinishedRun, out: Path, *, int8: bool = False, calibrated: Path | None = None) -> Exported:
    """Export a run's kept weights again, after comparing torch and ONNX on training slices of the run.

    Recipe and feature ranges come from its ``model.onnx``. So does the card; the classes, the weights' SHA-256, this
    version, and the precision of 8 bits are added.

    Args:
        run: The run, opened.
        out: The ``.onnx`` file to write, atomically.
        int8: Quantise the model. It is written only if it is faster here and costs little Dice (``find_drawback``).
        calibrated: TOML file with the recipe to put into the model, as ``crossval`` writes it: its thresholds,
            temperature and confidence.

    Raises:
        ConfigError: The calibrated file is no configuration, or was fitted for another input.
        DataError: ``out`` lies in a dataset of the run.
        ModelError: ``out`` is the run's own model or no model of tumortrace, the slices are gone or changed, torch and
            ONNX disagree, or 8 bits are not worth it; nothing is written.
    """
    _check_output(run, out)
    tell("Exporting to ONNX ...")  # before the dataset is opened, which takes the longest
    recipe = run.model.recipe if calibrated is None else _read_calibrated(calibrated, run.model.recipe)
    folders, records = find_records(run)
    for folder in folders:
        refuse_inside(out, folder)
    train = [records[case_id] for case_id in run.train_hashes if case_id in records]
    samples = _read_samples(run, evenly_spaced(train, EXPORT_SAMPLES))
    card = _renew_card(run) | ({"precision": "int8"} if int8 else {})
    data = make_onnx(run.network, recipe=recipe, card=card, feature_ranges=run.model.feature_ranges, sample=samples[:1])
    agreement = compare(run.network, data, recipe=recipe, samples=samples)
    refuse_disagreement(agreement, out)
    trial = None
    if int8:
        tell("Quantising, then measuring speed and Dice ...")
        data, trial = _quantise(run, data, train, records)
        if drawback := find_drawback(trial):
            raise ModelError(f"{out}: not written, int8 {drawback}; export without --int8")
        agreement = compare(run.network, data, recipe=recipe, samples=samples)
    write_atomically(out, data)
    return Exported(out, len(data), len(samples), agreement, trial)


def find_records(run: FinishedRun) -> tuple[tuple[Path, ...], dict[str, CaseRecord]]:
    """Return where the cases of a run lie, as far as they are still there; whether they changed is not checked.

    Args:
        run: The run, opened.

    Returns:
        The folders of its datasets, and the cases found there by the case ids that ``open_datasets`` gave them.
    """
    case_ids = run.train_hashes.keys() | run.val_hashes.keys()
    open_annotated = partial(open_dataset, label=run.label or None)
    alone = {record.case_id: record for record in _open_if_any(open_annotated, run.root)}
    if case_ids <= alone.keys():
        return (run.root,), alone
    sources = sorted({case_id.partition("/")[0] for case_id in case_ids})
    folders = {source: run.folders.get(source, run.root / source) for source in sources}
    records: dict[str, CaseRecord] = {}
    for source in sources:
        folder = folders[source]
        found = _open_if_any(open_annotated, folder) or _open_if_any(open_negatives, folder)
        named = [replace(record, case_id=f"{source}/{record.case_id}", source=source) for record in found]
        records |= {record.case_id: record for record in named}
    if case_ids & alone.keys() and len(case_ids & alone.keys()) >= len(case_ids & records.keys()):
        return (run.root,), alone
    return tuple(folders.values()), records


def _check_output(run: FinishedRun, out: Path) -> None:
    if out.resolve() == (run.folder / MODEL).resolve():
        raise ModelError(f"--out {out} is the run's own model, from which the export is made; choose another file")
    if out.exists():
        try:
            open_model(str(out))
        except ModelError:
            raise ModelError(f"--out {out}: exists and is no model of tumortrace; choose another file") from None


def _read_calibrated(path: Path, recipe: Recipe) -> Recipe:
    """Return a run's recipe with the calibration of a TOML file that was fitted for the same input."""
    fitted = load_config(str(path)).recipe
    calibration = {name: getattr(fitted, name) for name in CALIBRATED}
    if replace(recipe, **calibration) != fitted:
        names = [name for name in asdict(recipe) if name not in CALIBRATED]
        pairs = {name: (getattr(fitted, name), getattr(recipe, name)) for name in names}
        other = ", ".join(f"{name} = {there!r}, not {here!r}" for name, (there, here) in pairs.items() if there != here)
        raise ConfigError(f"{path}: fitted for another input ({other}); cross-validate the settings of the run")
    return fitted


def _open_if_any(opening: Callable[[Path], Dataset], root: Path) -> tuple[CaseRecord, ...]:
    try:
        return opening(root).records
    except DataError:
        return ()


def _read_manifest(path: Path) -> tuple[Path, dict[str, Path], dict[str, str], dict[str, str]]:
    try:
        data = read_json(path)["data"]
        root, folders = Path(data["root"]), dict(data.get("folders", {}))
        placed = {source: Path(folder) for source, folder in folders.items()}
        return root, placed, dict(data["train"]["cases"]), dict(data["val"]["cases"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not the manifest of a run ({error}); train again") from None


def _renew_card(run: FinishedRun) -> dict[str, object]:
    new = {"classes": CLASSES, "weights_sha256": run.weights_sha256, "version": tumortrace.__version__}
    return {**run.model.card, **new}


def _read_samples(run: FinishedRun, records: Iterable[CaseRecord]) -> Tensor:
    """Prepared slices (N, 1, H, W), at least one."""
    images = [
        prepare_pixels(case.slice.pixels, run.model.recipe) for case in _read_unchanged(records, run.train_hashes)
    ]
    if not images:
        first = next(iter(run.train_hashes), "")
        here = "" if run.root.is_absolute() else ", or call this from where training was called"
        raise ModelError(
            f"{run.folder}: its training slices ({len(run.train_hashes)}, first {first}) are gone from "
            f"{run.root.resolve()} or changed; put or link them there{here}"
        )
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


def _read_unchanged(records: Iterable[CaseRecord], hashes: Mapping[str, str]) -> Iterator[Case]:
    for record, case, _ in read_cases(tuple(records)):
        if case is not None and hash_case(case) == hashes[record.case_id]:
            yield case


def _quantise(
    run: FinishedRun, data: bytes, train: list[CaseRecord], records: Mapping[str, CaseRecord]
) -> tuple[bytes, Trial]:
    calibration = evenly_spaced(train, max(min(CALIBRATION, len(train) // 2), 1))
    slices = _read_unchanged(calibration, run.train_hashes)
    quantised = quantize(data, [prepare_pixels(case.slice.pixels, run.model.recipe) for case in slices])
    if run.val_hashes:
        part, others = "VAL", [records[case_id] for case_id in run.val_hashes if case_id in records]
    else:
        used = {record.case_id for record in calibration}
        part, others = "TRAIN", evenly_spaced([each for each in train if each.case_id not in used], TRIAL_SLICES)
    cases = _read_unchanged(others, run.train_hashes | run.val_hashes)
    return quantised, try_int8(data, quantised, cases, part=part)
