"""The manifest of a run: data, versions, seed, device and times."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from tumortrace.training.warm_start import WarmStart

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

_LIBRARIES = (
    "numpy", "opencv-python-headless", "pillow", "simplejpeg", "scipy", "torch", "monai", "safetensors", "onnx",
    "onnxscript", "onnxruntime",
)  # fmt: skip


def describe_run(
    network: nn.Module, config: Config, compute: Compute, rows: Sequence[EpochRow], *, started: float, difference: float
) -> dict[str, object]:
    """Return what the manifest says about a training whose model has just been exported.

    Args:
        network: The trained network.
        config: Settings of the run.
        compute: Device, precision and team.
        rows: Its epochs, at least one.
        started: Time of ``time.perf_counter`` when this call began.
        difference: Largest difference in tumour probability between torch and ONNX Runtime.
    """
    return {
        "device": str(compute.device),
        "processes": compute.team.place.size,
        "precision": compute.precision,
        "seed": config.training.seed,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "kept_epoch": kept_epoch(rows, keep=config.training.keep),
        "wall_seconds": round(time.perf_counter() - started, 1),  # of this call, with reading and export
        "epoch_seconds": round(sum(row.seconds for row in rows), 1),  # with those before a resumption
        "peak_memory_bytes": peak_memory_bytes(),
        "onnx_largest_difference": difference,
    }


def build_manifest(
    facts: Mapping[str, object],
    *,
    data: Mapping[str, object],
    findings: Sequence[Finding],
    start: WarmStart | None,
) -> dict[str, object]:
    """Return the manifest of a run, as it is written to JSON.

    Args:
        facts: Facts from ``describe_run``.
        data: Data from ``describe_data``.
        findings: Faults of the data, each a table in the manifest.
        start: The model that training started from; None if it started from no model.
    """
    return {
        **describe_environment(),
        **facts,
        "began_from": asdict(start) if start else None,
        "data": data,
        "findings": [asdict(finding) for finding in findings],
    }


def describe_data(dataset: Dataset, train: dict[str, str], val: dict[str, str]) -> dict[str, object]:
    """Return what the manifest says about the data of a run.

    Args:
        dataset: The dataset.
        train: SHA-256 of each training case, by case_id.
        val: SHA-256 of each validation case; may be empty.
    """
    return {
        "root": str(dataset.root),
        "folders": {source: str(folder) for source, folder in dataset.folders.items()},
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
