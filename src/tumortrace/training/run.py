"""One training, from dataset to run folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

import tumortrace
from tumortrace.config import Config, TrainingConfig, to_toml
from tumortrace.copies.described import DescribedCases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, DataError
from tumortrace.files import refuse_inside, write_atomically
from tumortrace.frames import make_frame
from tumortrace.inference.acquisition import count_acquisitions
from tumortrace.inference.gate import measure_feature_ranges
from tumortrace.inference.model import Model
from tumortrace.json_csv import write_json
from tumortrace.locks import lock_folder
from tumortrace.processes import Place
from tumortrace.progress import tell
from tumortrace.run_folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    FIRST,
    MANIFEST,
    MODEL,
    NETWORK,
    TRAINING_INDEX,
    check_run_folder,
)
from tumortrace.training.arrays import PreparedPart, evenly_spaced, prepare_part, prepare_training_part
from tumortrace.training.checkpoint import (
    TrainingState,
    load_weights,
    new_state,
    read_begun,
    resume_state,
)
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.epochs import EpochRow, kept_epoch
from tumortrace.training.export import EXPORT_SAMPLES, ExportDifference, ModelCard, export_onnx
from tumortrace.training.loop import ShouldStop, fit, never
from tumortrace.training.manifest import build_manifest, describe_data, describe_run
from tumortrace.training.networks import build_network, describe_network
from tumortrace.training.out_of_memory import explain_memory
from tumortrace.training.team import Team, open_team
from tumortrace.training.threads import settle_threads
from tumortrace.training.warm_start import WarmStart, join_training_index, keep_start, resume_start, start_from_model
from tumortrace.wording import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class RunResult:
    """A finished training.

    Attributes:
        folder: The run folder.
        rows: One row for each epoch.
        kept_epoch: Number of the epoch whose weights are in ``best.safetensors`` and ``model.onnx``.
        findings: Faults of the data; the cases that were left out are among them.
        train_count: Number of slices trained on.
        val_count: Number of slices validated on after each epoch.
    """

    folder: Path
    rows: tuple[EpochRow, ...]
    kept_epoch: int
    findings: tuple[Finding, ...]
    train_count: int
    val_count: int

    def __repr__(self) -> str:
        epochs = f"kept epoch {self.kept_epoch} of {len(self.rows)}"
        trained = f"trained on {counted(self.train_count, 'slice')}, {epochs}"
        return f"<RunResult in {self.folder}: {trained}, {counted(len(self.findings), 'finding')}>"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row an epoch (``metrics.csv``)."""
        return make_frame(asdict(row) for row in self.rows)


def train(  # noqa: PLR0913 - what a run is made of
    dataset: Dataset,
    config: Config,
    *,
    out: Path,
    start_from: Model | None = None,
    resume: bool = False,
    should_stop: ShouldStop = never,
    place: Place | None = None,
) -> RunResult:
    """Train on the TRAIN part (or on a whole undivided dataset), validate on VAL, and fill the run folder.

    Nothing is written before the data is read and the device found. Of several processes the first one writes; the
    others must see the data and the run folder.

    Args:
        dataset: Training data.
        config: All settings; of a run that is resumed, its own (``resumed_settings``).
        out: The run folder; it is made if it does not exist.
        start_from: Model whose weights training starts from; None in a run that is resumed, which keeps its first ones.
        resume: Continue the run in the folder. Settings must stay; device, threads and, under a constant learning
            rate, the number of epochs may differ.
        should_stop: Function that may end the run after an epoch, as a complete one.
        place: Place of this process among those that train together, each of which calls this; None trains alone.

    Raises:
        ConfigError: The folder holds a run and ``resume`` is not set, or there is none to resume; it began under other
            settings; or it wants more threads than there are cores.
        DataError: The data cannot be read, has no tumour to learn, or lacks the VAL part that chooses the epoch; or
            ``out`` lies inside it.
        ModelError: The weights of ``start_from`` are missing or do not fit the network.
        TumortraceError: The device is missing, memory ran out, training diverged, or the checkpoint does not fit.
    """
    started = time.perf_counter()
    check_run_folder(out, resume=resume)
    refuse_inside_data(out, dataset)
    records = _select(dataset, config)
    began = read_begun(out / CHECKPOINT, config)
    with open_team(place, config.training.device) as team:
        compute = start_compute(config.training, team, began_with=began.threads if began else 0)
        network = build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)
        start = start_from_model(network, start_from) if start_from else None
        if resume:
            start = resume_start(out, network, began=began)
        train_part, val_part, described = _read(*records, config, out)
        _refuse_without_tumour(train_part, dataset)
        _refuse_other_data(train_part, val_part, dataset, team)
        # Other data is refused before anything in the folder is replaced.
        resume_state(out / CHECKPOINT, fresh=new_state(config, train_part.hashes, val_part.hashes, threads=0))
        run = _Run(out, dataset, config, compute, network, start, train_part, val_part)
        with lock_folder(out) if team.leads else nullcontext():
            if team.leads:
                check_run_folder(out, resume=resume)  # again: another run may have come while the data was read
                _begin(run, described, start_from, resume=resume)
            if not (began and began.threads):
                _settle_threads(run)
            tell(describe_start(train_part, val_part, compute))
            _say_if_all_coarse(config.training)
            state = fit(
                network, config, compute=compute, train=train_part, val=val_part, run=out, should_stop=should_stop
            )
            result = _result(run, state)
            if team.leads:
                _finish(run, result, started=started)
            return result


@dataclass(frozen=True, eq=False)
class _Run:
    """A training that is about to begin: all that it needs is read."""

    folder: Path
    dataset: Dataset
    config: Config
    compute: Compute
    network: nn.Module
    start: WarmStart | None
    train: PreparedPart
    val: PreparedPart


def describe_start(train: PreparedPart, val: PreparedPart, compute: Compute) -> str:
    """Return the line that a training starts with: its slices, device, threads and number format."""
    validating = f"validating on {len(val)}" if len(val) else "no validation"
    slices = f"{counted(len(train), 'slice')}, {int(train.with_tumour.sum())} with tumour"
    return f"Training on {slices}; {validating}; {compute.describe()}"


def _say_if_all_coarse(training: TrainingConfig) -> None:
    """Say that no epoch has slices of full size, as where only ``epochs`` was lowered."""
    if training.epochs <= training.coarse_epochs:
        tell(
            f"no epoch trains at full size (training.coarse_epochs = {training.coarse_epochs}, training.epochs = "
            f"{training.epochs}); add --set training.coarse_epochs={training.epochs // 2}"
        )


def refuse_inside_data(out: Path, dataset: Dataset) -> None:
    """Refuse a run folder inside the dataset; of several datasets opened as one, inside any of their folders."""
    for folder in dataset.roots:
        refuse_inside(out, folder)


def _select(dataset: Dataset, config: Config) -> tuple[tuple[CaseRecord, ...], tuple[CaseRecord, ...]]:
    """Return the cases to train and to validate on; the latter may be none if no epoch is chosen on them."""
    parts = dataset.parts()
    if parts.keys() == {""}:
        tell(
            f"{dataset.given}: is not divided into parts, so no slice is held out and none can be scored honestly; "
            "to hold some out, stop, divide the same data by tumortrace split, and train with --split"
        )
    train = dataset.select("train" if parts.keys() != {""} else "all")
    if "val" in parts:
        return train, dataset.select("val")
    unusable = dataset.why_unusable("val")
    if config.training.keep == "last":
        if unusable:
            tell(f"no validation: {unusable}")
        return train, ()
    if unusable:
        raise DataError(
            f"training.keep = {config.training.keep!r} chooses the epoch on the VAL part, which is unusable: {unusable}"
        )
    raise ConfigError(
        f"training.keep = {config.training.keep!r} chooses the epoch on a VAL part, and {dataset.given} has none; "
        "set training.keep=last"
    )


def _read(
    train_records: Sequence[CaseRecord], val_records: Sequence[CaseRecord], config: Config, out: Path
) -> tuple[PreparedPart, PreparedPart, DescribedCases]:
    """Read the slices to train and to validate on, and describe the former."""
    with explain_memory(config, reading=True):
        consensus = config.training.outlines == "consensus"
        train, described = prepare_training_part(train_records, config.recipe, consensus=consensus, near=out)
        return train, prepare_part(val_records, config.recipe, name="VAL", near=out), described


def _refuse_other_data(train: PreparedPart, val: PreparedPart, dataset: Dataset, team: Team) -> None:
    own = hash_part(train.hashes | val.hashes)
    first = team.agree(own)
    if own != first:
        raise DataError(
            f"{dataset.given}: process {team.place.rank} reads other data than process 0 (sha256 {own[:12]}, not "
            f"{first[:12]}); give all machines the same"
        )


def _refuse_without_tumour(train: PreparedPart, dataset: Dataset) -> None:
    if not train.truths.any():
        raise DataError(
            f"{dataset.given}: none of {len(train)} training slices has a tumour, so there is nothing to learn; "
            "check the masks or annotations (tumortrace audit), or add slices with tumour"
        )


def _begin(run: _Run, described: DescribedCases, start_from: Model | None, *, resume: bool) -> None:
    """Write what a run folder holds before its first epoch; the training index comes last (``has_begun``)."""
    out, config = run.folder, run.config
    (out / MANIFEST).unlink(missing_ok=True)  # a finished run that is trained further is not finished
    if not resume:
        (out / TRAINING_INDEX).unlink(missing_ok=True)
    write_atomically(out / CONFIG, to_toml(config).encode())
    if start_from is not None and run.start is not None:
        keep_start(out, run.network, run.start)
    elif not resume:  # left by a run that stopped within its first epoch, which this one replaces
        (out / FIRST).unlink(missing_ok=True)
    write_atomically(out / NETWORK, describe_network(run.network, size_hw=config.recipe.size_hw).encode())
    index = join_training_index(build_training_index(described), out, model=start_from)
    save_training_index(index, out / TRAINING_INDEX)


def _settle_threads(run: _Run) -> None:
    """Set torch's threads to those that are fastest, if the settings leave them open.

    Processes that share a machine keep their part of its cores: trials beside each other would measure each other.
    """
    alone = run.compute.team.place.local_size == 1
    if alone and run.compute.device.type == "cpu" and not run.config.training.threads:
        settle_threads(run.network, run.config, run.compute, run.train)


def _without(findings: tuple[Finding, ...], named: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that are not named yet; what is wrong with a whole source shows in each of its parts."""
    known = {(finding.kind, finding.file) for finding in named}
    return tuple(finding for finding in findings if (finding.kind, finding.file) not in known)


def _result(run: _Run, state: TrainingState) -> RunResult:
    return RunResult(
        folder=run.folder,
        rows=tuple(state.rows),
        kept_epoch=kept_epoch(state.rows, keep=run.config.training.keep),
        findings=run.dataset.findings + run.train.findings + _without(run.val.findings, run.train.findings),
        train_count=len(run.train),
        val_count=len(run.val),
    )


def _finish(run: _Run, result: RunResult, *, started: float) -> None:
    """Export the kept weights and write the manifest."""
    load_weights(run.folder / BEST, run.network)
    difference = _export(run).difference
    facts = describe_run(run.network, run.config, run.compute, result.rows, started=started, difference=difference)
    data = describe_data(run.dataset, run.train.hashes, run.val.hashes)
    write_json(run.folder / MANIFEST, build_manifest(facts, data=data, findings=result.findings, start=run.start))


def _export(run: _Run) -> ExportDifference:
    tell("Exporting to ONNX ...")
    with_tumour = run.train.with_tumour.nonzero()[:, 0].tolist()
    samples = run.train.images[evenly_spaced(with_tumour, EXPORT_SAMPLES)]
    difference = export_onnx(
        run.network,
        run.folder / MODEL,
        recipe=run.config.recipe,
        card=asdict(_make_card(run)),
        feature_ranges=measure_feature_ranges(run.train.features),
        samples=samples,
    )
    if not difference.marked:
        slices = counted(len(samples), "training slice")
        tell(f"the model marks no tumour on any of {slices} with tumour; train it longer (training.epochs)")
    return difference


def _make_card(run: _Run) -> ModelCard:
    config, start = run.config, run.start
    seedless = replace(config, training=replace(config.training, seed=0))
    settings = to_toml(seedless) + (start.sha256 if start else "")
    return ModelCard(
        name=run.folder.name,
        trained_on=hash_part(run.train.hashes),
        selected_on="" if config.training.keep == "last" else hash_part(run.val.hashes),
        config_sha256=hashlib.sha256(settings.encode()).hexdigest(),
        seed=config.training.seed,
        version=tumortrace.__version__,
        weights_sha256=hashlib.sha256((run.folder / BEST).read_bytes()).hexdigest(),
        began_from=start.name if start else "",
        remembered=start is None or start.remembered,
        shipped_ancestors=start.shipped_ancestors if start else (),
        acquisitions=count_acquisitions(run.train.acquisitions),
    )
