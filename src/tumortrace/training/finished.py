"""A finished run, opened again: its network, the slices that it learnt from, and another export of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import tumortrace
from tumortrace.config import load_config
from tumortrace.data.cases import Case, CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_dataset, open_negatives, refuse_inside
from tumortrace.data.fingerprint import hash_case
from tumortrace.errors import DataError, ModelError
from tumortrace.files import write_atomically
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.recipe import prepare_pixels
from tumortrace.progress import tell
from tumortrace.run_folder import BEST, CONFIG, MANIFEST, MODEL
from tumortrace.training.arrays import spread
from tumortrace.training.checkpoint import load_weights
from tumortrace.training.export import (
    CLASSES,
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

MEASURED = 200
"""Training slices that 8 bits are measured on where a run has no VAL."""


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run folder holds once training has finished.

    Attributes:
        folder: The run folder.
        model: Its ``model.onnx``.
        network: With the kept weights; on the CPU, set to evaluation.
        weights_sha256: Of the file that holds them.
        root: Folder that the cases were read from: of the dataset, or where several lie side by side.
        learnt: SHA-256 of each case that it learnt from, by case_id.
        measured: The same of those that each epoch was measured on; may be empty.
    """

    folder: Path
    model: Model
    network: nn.Module
    weights_sha256: str
    root: Path
    learnt: dict[str, str]
    measured: dict[str, str]


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: The file.
        size_bytes: Of the file.
        compared: Number of slices that torch and the file were compared on.
        agreement: How far they agree there; of a file in 8 bits more than rounding parts them.
        trial: What 8 bits bring and cost; None of a file in float32.
    """

    path: Path
    size_bytes: int
    compared: int
    agreement: ExportDifference
    trial: Trial | None


def open_run(folder: Path) -> FinishedRun:
    """Open a run folder whose training has finished.

    Raises:
        ModelError: It is none, a file is missing or damaged, or the weights belong to another network.
        ConfigError: Its ``config.toml`` was changed to something that is no configuration.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run folder; give one whose training has finished")
    model = open_model(str(folder))
    for name in (CONFIG, BEST, MANIFEST):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: holds no {name}; give the whole folder of a finished run")
    config = load_config(str(folder / CONFIG))
    # Weights learnt on ImageNet would only be overwritten.
    network = build_network(
        replace(config.network, pretrained=False), size_hw=model.recipe.size_hw, seed=config.training.seed
    )
    load_weights(folder / BEST, network)
    weights_sha256 = hashlib.sha256((folder / BEST).read_bytes()).hexdigest()
    root, learnt, measured = _read_manifest(folder / MANIFEST)
    return FinishedRun(folder, model, network.eval(), weights_sha256, root, learnt, measured)


def export_run(run: FinishedRun, out: Path, *, int8: bool = False) -> Exported:
    """Export a run's kept weights once more, after comparing torch and ONNX on slices that the run learnt from.

    Recipe and the usual looks are those of its ``model.onnx``; so is the card, with the classes, the weights' SHA-256,
    this version, and the precision if it is 8 bits.

    Args:
        run: From ``open_run``.
        out: The ``.onnx`` file to write, atomically.
        int8: Quantise it; written only if that is faster here and costs next to nothing (``find_drawback``).

    Raises:
        DataError: ``out`` lies in a folder that the run learnt from.
        ModelError: ``out`` is the run's own model, the slices are gone or changed, torch and ONNX disagree
            (``refuse_disagreement``), or 8 bits are not worth it; nothing is written.
    """
    if out.resolve() == (run.folder / MODEL).resolve():
        raise ModelError(f"--out {out} is the run's own model, which the export is made after; choose another file")
    folders, records = find_records(run)
    for folder in folders:
        refuse_inside(out, folder)
    learnt = [records[case_id] for case_id in run.learnt if case_id in records]
    samples = _read_samples(run, spread(learnt, EXPORT_SAMPLES))
    tell("Exporting to ONNX ...")
    recipe, card = run.model.recipe, _renew_card(run) | ({"precision": "int8"} if int8 else {})
    data = make_onnx(run.network, recipe=recipe, card=card, feature_ranges=run.model.feature_ranges, sample=samples[:1])
    agreement = compare(run.network, data, recipe=recipe, samples=samples)
    refuse_disagreement(agreement, out)
    trial = None
    if int8:
        tell("Quantising, and measuring what that brings and costs ...")
        data, trial = _quantise(run, data, learnt, records)
        if drawback := find_drawback(trial):
            raise ModelError(f"{out}: not written, int8 {drawback}; export without --int8")
        agreement = compare(run.network, data, recipe=recipe, samples=samples)
    write_atomically(out, data)
    return Exported(out, len(data), len(samples), agreement, trial)


def find_records(run: FinishedRun) -> tuple[tuple[Path, ...], dict[str, CaseRecord]]:
    """Where the cases of a run lie, as far as they are still there; whether they changed is not looked at.

    Args:
        run: From ``open_run``.

    Returns:
        The folders of its datasets, and what was found there by the case ids that ``open_datasets`` gave.
    """
    case_ids = run.learnt.keys() | run.measured.keys()
    alone = {record.case_id: record for record in _open_if_any(open_dataset, run.root)}
    if case_ids <= alone.keys():
        return (run.root,), alone
    sources = sorted({case_id.partition("/")[0] for case_id in case_ids})
    records: dict[str, CaseRecord] = {}
    for source in sources:
        folder = run.root / source
        found = _open_if_any(open_dataset, folder) or _open_if_any(open_negatives, folder)
        named = [replace(record, case_id=f"{source}/{record.case_id}", source=source) for record in found]
        records |= {record.case_id: record for record in named}
    if case_ids & alone.keys() and len(case_ids & alone.keys()) >= len(case_ids & records.keys()):
        return (run.root,), alone
    return tuple(run.root / source for source in sources), records


def _open_if_any(opening: Callable[[Path], Dataset], root: Path) -> tuple[CaseRecord, ...]:
    try:
        return opening(root).records
    except DataError:
        return ()


def _read_manifest(path: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
        return Path(data["root"]), dict(data["train"]["cases"]), dict(data["val"]["cases"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: not the manifest of a run ({error}); train again") from None


def _renew_card(run: FinishedRun) -> dict[str, object]:
    new = {"classes": CLASSES, "weights_sha256": run.weights_sha256, "version": tumortrace.__version__}
    return {**run.model.card, **new}


def _read_samples(run: FinishedRun, records: Iterable[CaseRecord]) -> Tensor:
    """Prepared slices (N, 1, H, W), at least one."""
    images = [prepare_pixels(case.slice.pixels, run.model.recipe) for case in _read_unchanged(records, run.learnt)]
    if not images:
        first = next(iter(run.learnt), "")
        here = "" if run.root.is_absolute() else ", or call this from where training was called"
        raise ModelError(
            f"{run.folder}: the slices that it learnt from ({len(run.learnt)}, first {first}) are gone from "
            f"{run.root.resolve()} or changed; put or link them there{here}"
        )
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


def _read_unchanged(records: Iterable[CaseRecord], hashes: Mapping[str, str]) -> Iterator[Case]:
    for record, case, _ in read_cases(tuple(records)):
        if case is not None and hash_case(case) == hashes[record.case_id]:
            yield case


def _quantise(
    run: FinishedRun, data: bytes, learnt: list[CaseRecord], records: Mapping[str, CaseRecord]
) -> tuple[bytes, Trial]:
    calibration = spread(learnt, max(min(CALIBRATION, len(learnt) // 2), 1))
    images = [prepare_pixels(case.slice.pixels, run.model.recipe) for case in _read_unchanged(calibration, run.learnt)]
    quantised = quantize(data, images)
    if run.measured:
        part, apart = "VAL", [records[case_id] for case_id in run.measured if case_id in records]
    else:
        used = {record.case_id for record in calibration}
        part, apart = "TRAIN", spread([record for record in learnt if record.case_id not in used], MEASURED)
    return quantised, try_int8(data, quantised, _read_unchanged(apart, run.learnt | run.measured), part=part)
