"""A run folder from start to finish: configuration, data, training, the kept weights as ONNX, and the manifest."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

import tumortrace
from tumortrace.config import Config, to_toml
from tumortrace.copies.agreement import agree_on_masks
from tumortrace.copies.survey import DescribedCases, Survey, describe_cases, survey_cases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, DataError
from tumortrace.files import write_atomically, write_json
from tumortrace.inference.gate import measure_feature_ranges
from tumortrace.inference.model import Model
from tumortrace.machine import usable_cores
from tumortrace.progress import tell
from tumortrace.run_folder import BEST, CHECKPOINT, CONFIG, MANIFEST, MODEL, NETWORK, TRAINING_INDEX
from tumortrace.training.arrays import PreparedPart, prepare_part, spread
from tumortrace.training.checkpoint import EpochRow, load_weights, read_state, refuse_other_settings
from tumortrace.training.compute import start_compute
from tumortrace.training.export import EXPORT_SAMPLES, ExportDifference, ModelCard, export_onnx
from tumortrace.training.loop import GoOn, always, fit, kept_epoch
from tumortrace.training.manifest import (
    Measured,
    build_manifest,
    describe_data,
    describe_environment,
    peak_memory_bytes,
)
from tumortrace.training.networks import build_network, describe_network
from tumortrace.training.origin import Origin, begin, join_training_index
from tumortrace.training.out_of_memory import explain_memory
from tumortrace.training.threads import settle_threads


@dataclass(frozen=True)
class RunResult:
    """What a finished run tells its caller.

    Attributes:
        rows: One for each epoch.
        kept_epoch: Whose weights are in ``best.safetensors`` and ``model.onnx``.
        findings: Faults of the data; the cases left out are among them.
        train_count: Cases learnt from.
        val_count: Cases each epoch was measured on.
    """

    rows: tuple[EpochRow, ...]
    kept_epoch: int
    findings: tuple[Finding, ...]
    train_count: int
    val_count: int


def train(
    dataset: Dataset, config: Config, *, out: Path, began_from: Model | None = None, go_on: GoOn = always
) -> RunResult:
    """Train on the TRAIN part (or on the whole of an undivided dataset), measure on VAL, and fill the run folder.

    If the folder holds a checkpoint of the same configuration and data, training goes on from it; the number of epochs,
    the device and the threads may differ. Nothing is written before the data is read and the device found.

    Args:
        dataset: From ``open_dataset``.
        config: The whole of the settings.
        out: The run folder; made if need be.
        began_from: Whose weights are the first ones; a run that goes on has them in its folder.
        go_on: Asked after each epoch; a run that does not go on ends there as a whole one.

    Raises:
        ConfigError: The epoch is to be chosen on VAL and there is none; or the run began under other settings.
        DataError: No case to learn from.
        ModelError: The weights of ``began_from`` do not fit the network.
        TumortraceError: The device is missing, memory ran out, training diverged, or a checkpoint does not fit.
    """
    started = time.perf_counter()
    learn, measure = _select(dataset, config)
    began = read_state(out / CHECKPOINT) if (out / CHECKPOINT).is_file() else None
    if began is not None:  # fit looks too, but only after the data is read and config.toml written
        refuse_other_settings(out / CHECKPOINT, began.config, config)
    compute = start_compute(config.training)
    seen, train_part, val_part = _read_parts(learn, measure, config)
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)
    origin = begin(network, out, model=began_from, images=train_part.images)
    write_atomically(out / CONFIG, to_toml(config).encode())
    write_atomically(out / NETWORK, describe_network(network, size_hw=config.recipe.size_hw).encode())
    save_training_index(join_training_index(build_training_index(seen), out, model=began_from), out / TRAINING_INDEX)
    if not config.training.threads and began is not None and began.threads:
        torch.set_num_threads(min(began.threads, usable_cores()))
    elif not config.training.threads and compute.device.type == "cpu":
        settle_threads(network, config, compute, train_part)
    tell(
        f"Training on {len(train_part)} slices, {int(train_part.truths.flatten(1).any(1).sum())} with tumour; "
        f"measuring on {len(val_part)}; {compute.describe()}"
    )
    state = fit(network, config, compute=compute, train=train_part, val=val_part, run=out, go_on=go_on)
    load_weights(out / BEST, network)
    card = _card(out, config, origin, learnt=train_part, measured=val_part)
    agreement = _export(network, out, config, card, learnt=train_part)
    result = RunResult(
        rows=tuple(state.rows),
        kept_epoch=kept_epoch(state.rows, keep=config.training.keep),
        findings=dataset.findings + train_part.findings + val_part.findings,
        train_count=len(train_part),
        val_count=len(val_part),
    )
    measured = Measured(
        device=str(compute.device),
        precision=compute.precision,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        kept_epoch=result.kept_epoch,
        wall_seconds=time.perf_counter() - started,
        epoch_seconds=sum(row.seconds for row in state.rows),
        peak_memory_bytes=peak_memory_bytes(),
        onnx_largest_difference=agreement.difference,
    )
    manifest = build_manifest(
        measured,
        seed=config.training.seed,
        environment=describe_environment(),
        data=describe_data(dataset.root, train_part.hashes, val_part.hashes),
        findings=result.findings,
        began_from=asdict(origin) if origin else None,
    )
    write_json(out / MANIFEST, manifest)
    return result


def _read_parts(
    learn: tuple[CaseRecord, ...], measure: tuple[CaseRecord, ...], config: Config
) -> tuple[DescribedCases, PreparedPart, PreparedPart]:
    """What TRAIN looks like, and TRAIN and VAL on the network's grid; TRAIN with the outlines that are to be learnt."""
    seen = survey_cases(learn) if config.training.outlines == "consensus" else describe_cases(learn)
    outlines = agree_on_masks(seen) if isinstance(seen, Survey) else {}
    with explain_memory(config, reading=True):
        train_part = prepare_part(learn, config.recipe, name="TRAIN", outlines=outlines)
        return seen, train_part, prepare_part(measure, config.recipe, name="VAL")


def _export(
    network: nn.Module, run: Path, config: Config, card: ModelCard, *, learnt: PreparedPart
) -> ExportDifference:
    tell("Exporting to ONNX ...")
    return export_onnx(
        network,
        run / MODEL,
        recipe=config.recipe,
        card=asdict(card),
        feature_ranges=measure_feature_ranges(learnt.features),
        samples=learnt.images[spread(range(len(learnt)), EXPORT_SAMPLES)],
    )


def _select(dataset: Dataset, config: Config) -> tuple[tuple[CaseRecord, ...], tuple[CaseRecord, ...]]:
    parts = dataset.parts()
    learn = dataset.select("train" if parts.keys() != {""} else "all")
    measure = dataset.select("val") if "val" in parts else ()
    if config.training.keep != "last" and not measure:
        if unusable := dataset.why_unusable("val"):
            raise DataError(unusable)
        raise ConfigError(
            f"training.keep = {config.training.keep!r} chooses the epoch on a VAL part, and {dataset.root} has none; "
            "set training.keep=last"
        )
    return learn, measure


def _card(
    run: Path, config: Config, origin: Origin | None, *, learnt: PreparedPart, measured: PreparedPart
) -> ModelCard:
    seedless = replace(config, training=replace(config.training, seed=0))
    settings = to_toml(seedless) + (origin.sha256 if origin else "")
    return ModelCard(
        name=run.name,
        trained_on=hash_part(learnt.hashes),
        selected_on="" if config.training.keep == "last" else hash_part(measured.hashes),
        config_sha256=hashlib.sha256(settings.encode()).hexdigest(),
        seed=config.training.seed,
        version=tumortrace.__version__,
        weights_sha256=hashlib.sha256((run / BEST).read_bytes()).hexdigest(),
        began_from=origin.name if origin else "",
        remembered=origin is None or origin.remembered,
    )
