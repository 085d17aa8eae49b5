"""The manifest of a run: data, versions, seed, device and times."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

import tumortrace
from tumortrace.config import Config
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.training.compute import Compute
from tumortrace.training.epochs import EpochRow, kept_epoch

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

_LIBRARIES = (
    "numpy", "opencv-python-headless", "pillow", "simplejpeg", "scipy", "torch", "monai", "safetensors", "onnx",
    "onnxscript", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True)
class RunFacts:
    """Facts about a finished run.

    Attributes:
        device: Device of the training, as torch names it.
        processes: Number of processes that trained together.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        seed: Seed of the training.
        parameters: Number of trained parameters.
        kept_epoch: Number of the epoch whose weights are kept, from 1.
        wall_seconds: Time of this call, with reading and export.
        epoch_seconds: Time of all epochs, with those before a resumption.
        peak_memory_bytes: Peak memory bytes from ``peak_memory_bytes``.
        onnx_largest_difference: Largest difference in tumour probability between torch and ONNX Runtime.
    """

    device: str
    processes: int
    precision: str
    seed: int
    parameters: int
    kept_epoch: int
    wall_seconds: float
    epoch_seconds: float
    peak_memory_bytes: Mapping[str, int | None]
    onnx_largest_difference: float


def measure_run(
    network: nn.Module, config: Config, compute: Compute, rows: Sequence[EpochRow], *, started: float, difference: float
) -> RunFacts:
    """Gather the facts about a run whose model has just been exported.

    Args:
        network: The trained network.
        config: Settings of the run.
        compute: Device, precision and team.
        rows: Its epochs, at least one.
        started: Time of ``time.perf_counter`` when this call began.
        difference: Largest difference in tumour probability between torch and ONNX Runtime.
    """
    return RunFacts(
        device=str(compute.device),
        processes=compute.team.place.size,
        precision=compute.precision,
        seed=config.training.seed,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        kept_epoch=kept_epoch(rows, keep=config.training.keep),
        wall_seconds=time.perf_counter() - started,
        epoch_seconds=sum(row.seconds for row in rows),
        peak_memory_bytes=peak_memory_bytes(),
        onnx_largest_difference=difference,
    )


def build_manifest(
    facts: RunFacts,
    *,
    environment: Mapping[str, object],
    data: Mapping[str, object],
    findings: Sequence[Finding],
    start: Mapping[str, object] | None,
) -> dict[str, object]:
    """Return the manifest of a run, as it is written to JSON.

    Args:
        facts: Facts about the run.
        environment: Environment from ``describe_environment``; its keys come first in the manifest.
        data: Data from ``describe_data``.
        findings: Faults of the data, each a table in the manifest.
        start: The model that training started from; None if it started from no model.
    """
    return {
        **environment,
        "device": facts.device,
        "processes": facts.processes,
        "precision": facts.precision,
        "seed": facts.seed,
        "parameters": facts.parameters,
        "kept_epoch": facts.kept_epoch,
        "wall_seconds": round(facts.wall_seconds, 1),
        "epoch_seconds": round(facts.epoch_seconds, 1),
        "peak_memory_bytes": dict(facts.peak_memory_bytes),
        "onnx_largest_difference": facts.onnx_largest_difference,
        "began_from": start,
        "data": dict(data),
        "findings": [asdict(finding) for finding in findings],
    }


def describe_data(dataset: Dataset, train: dict[str, str], val: dict[str, str]) -> dict[str, object]:
    """Return what the manifest says about the data of a run.

    Args:
        dataset: The dataset.
        train: SHA-256 of each training case, by case_id.
        val: SHA-256 of each validation case; may be empty.
    """
    folders = {source: str(folder) for source, folder in dataset.folders.items()}
    return {
        "root": str(dataset.root),
        "folders": folders,
        "train": _describe_part(train),
        "val": _describe_part(val),
    }


def describe_environment() -> dict[str, object]:
    """Versions, commit and machine, as they are now."""
    return {
        "tumortrace": tumortrace.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def peak_memory_bytes() -> dict[str, int | None]:
    """Largest resident memory of this process (None on Windows), and largest allocation on the GPU if there is one."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS and KiB on Linux
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit if resource else None
    return {"cpu": resident, "gpu": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None}


def _describe_part(hashes: dict[str, str]) -> dict[str, object]:
    return {"count": len(hashes), "sha256": hash_part(hashes), "cases": hashes}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, with ``-dirty`` if it was changed; None if installed."""
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", Path(__file__).name],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() if tracked.returncode == 0 else None
