"""One training of the prompted network, from dataset to run folder."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import tumortrace
from tumortrace.config import Config, to_toml
from tumortrace.data.dataset import Dataset
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, DataError
from tumortrace.files import write_atomically
from tumortrace.json_csv import write_json
from tumortrace.locks import lock_folder
from tumortrace.progress import tell
from tumortrace.run_folder import BEST, CHECKPOINT, CONFIG, FIRST, MANIFEST, TRAINING_INDEX, check_run_folder
from tumortrace.training.arrays import evenly_spaced
from tumortrace.training.checkpoint import load_weights, new_state, read_begun, resume_state
from tumortrace.training.compute import start_compute
from tumortrace.training.export import EXPORT_SAMPLES
from tumortrace.training.manifest import build_manifest, describe_data, describe_run
from tumortrace.training.out_of_memory import explain_memory
from tumortrace.training.prompted_export import export_prompted
from tumortrace.training.prompted_loop import fit_prompted
from tumortrace.training.prompted_network import PromptedNet, build_prompted
from tumortrace.training.prompted_samples import PromptedPart, draw_sample, read_prompted_part
from tumortrace.training.run import RunResult, refuse_inside_data
from tumortrace.training.warm_start import WarmStart, keep_start, resume_start
from tumortrace.wording import counted


def train_prompted(
    dataset: Dataset, config: Config, *, out: Path, start_from: str | None = None, resume: bool = False
) -> RunResult:
    """Train the prompted network on the TRAIN part (or on a whole undivided dataset), and fill the run folder.

    Nothing is validated or selected: the averaged weights of the last epoch are kept.

    Args:
        dataset: Training data.
        config: All settings.
        out: The run folder; it is made if it does not exist.
        start_from: Run folder of a prompted network whose weights training starts from; None for pretrained ones.
        resume: Continue the run in the folder.

    Raises:
        ConfigError: An epoch is to be chosen, or the run began under other settings.
        DataError: The data cannot be read or has no tumour to learn, or ``out`` lies inside it.
        ModelError: The weights of ``start_from`` are missing or do not fit.
        TumortraceError: The device is missing, memory ran out, training diverged, or the checkpoint does not fit.
    """
    started = time.perf_counter()
    if config.training.keep != "last":
        raise ConfigError(f"training.keep = {config.training.keep!r}; a prompted network keeps its last weights: last")
    check_run_folder(out, resume=resume)
    refuse_inside_data(out, dataset)
    began = read_begun(out / CHECKPOINT, config)
    compute = start_compute(config.training, began_with=began.threads if began else 0)
    network = build_prompted(config.network, seed=config.training.seed)
    start = _start_from_run(network, Path(start_from)) if start_from else None
    if resume:
        start = resume_start(out, network, began=began)
    with explain_memory(config, reading=True):
        part = read_prompted_part(dataset.select("train" if dataset.parts().keys() != {""} else "all"))
    if not any(part.with_tumour):
        raise DataError(f"{dataset.given}: none of {len(part)} training slices has a tumour; check the masks")
    with lock_folder(out):
        check_run_folder(out, resume=resume)  # again: another run may have come while the data was read
        # Other data is refused before anything in the folder is replaced.
        resume_state(out / CHECKPOINT, fresh=new_state(config, part.hashes, {}, threads=0))
        _begin(network, config, start, out=out, resume=resume)
        tell(f"Training on {counted(len(part), 'slice')}, {sum(part.with_tumour)} with tumour; {compute.describe()}")
        with explain_memory(config):
            state = fit_prompted(network, config, compute=compute, train=part, run=out)
        difference = _export(network, config, part, out=out, start=start)
        rows = tuple(state.rows)
        findings = dataset.findings + part.findings
        result = RunResult(out, rows, rows[-1].epoch, findings, train_count=len(part), val_count=0)
        facts = describe_run(network, config, compute, rows, started=started, difference=difference)
        data = describe_data(dataset, part.hashes, {})
        write_json(out / MANIFEST, build_manifest(facts, data=data, findings=findings, start=start))
    return result


def _start_from_run(network: PromptedNet, run: Path) -> WarmStart:
    """Fill a network with the kept weights of a run, whose training slices nothing lists."""
    load_weights(run / BEST, network)
    return WarmStart(run.resolve().name, hashlib.sha256((run / BEST).read_bytes()).hexdigest(), remembered=False)


def _begin(network: PromptedNet, config: Config, start: WarmStart | None, *, out: Path, resume: bool) -> None:
    """Write what a run folder holds before its first epoch; what another run left that stopped in its own goes."""
    (out / MANIFEST).unlink(missing_ok=True)  # a finished run that is trained further is not finished
    if not resume:
        for name in (TRAINING_INDEX, FIRST):
            (out / name).unlink(missing_ok=True)
    write_atomically(out / CONFIG, to_toml(config).encode())
    if start is not None and not resume:
        keep_start(out, network, start)


def _export(network: PromptedNet, config: Config, part: PromptedPart, *, out: Path, start: WarmStart | None) -> float:
    """Write the kept weights of a run as ONNX; return the largest difference in probability from torch."""
    tell("Exporting to ONNX ...")
    load_weights(out / BEST, network)
    card = {
        "name": out.name,
        "trained_on": hash_part(part.hashes),
        "seed": config.training.seed,
        "version": tumortrace.__version__,
        "weights_sha256": hashlib.sha256((out / BEST).read_bytes()).hexdigest(),
        "began_from": start.name if start else "",
    }
    return export_prompted(network, out, recipe=config.recipe, card=card, samples=_draw_samples(part, config))


def _draw_samples(part: PromptedPart, config: Config) -> Tensor:
    """Return grey values and boxes of some slices with tumour, shape (N, 2, H, W)."""
    rng = np.random.default_rng(config.training.seed)
    chosen = evenly_spaced(np.flatnonzero(part.with_tumour).tolist(), EXPORT_SAMPLES)
    grid = config.recipe.size_hw[0]
    drawn = [draw_sample(part, index, config.augmentation, rng, grid=grid) for index in chosen]
    return torch.from_numpy(np.stack([np.stack([each.grey, each.box]) for each in drawn]))
