"""The manifest of a run: what a reader needs to believe it, and to do it again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import tumortrace
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None  # type: ignore[assignment]

_LIBRARIES = ("numpy", "opencv-python-headless", "torch", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Measured:
    """What was found out while the run went on.

    Attributes:
        device: Device of the training, as torch names it.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        parameters: Numbers that the network learns.
        kept_epoch: Whose weights are kept, counted from 1.
        wall_seconds: From the start of this call to its end, reading and export included.
        epoch_seconds: Of all epochs, also those before a resumption.
        peak_memory_bytes: From ``peak_memory_bytes``.
        onnx_largest_difference: Between torch and ONNX Runtime, in tumour probability.
    """

    device: str
    precision: str
    parameters: int
    kept_epoch: int
    wall_seconds: float
    epoch_seconds: float
    peak_memory_bytes: Mapping[str, int | None]
    onnx_largest_difference: float


def build_manifest(
    measured: Measured,
    *,
    seed: int,
    environment: Mapping[str, object],
    data: Mapping[str, object],
    findings: Sequence[Finding],
    began_from: Mapping[str, object] | None,
) -> dict[str, object]:
    """Put the manifest of a run together, as it is written to JSON; depends on its arguments alone.

    Args:
        measured: What was found out on the way.
        seed: Seed of the training.
        environment: From ``describe_environment``; its keys are the manifest's first.
        data: From ``describe_data``.
        findings: Faults of the data, each a table in the manifest.
        began_from: The model whose weights were the first ones; None if there was none.
    """
    return {
        **environment,
        "device": measured.device,
        "precision": measured.precision,
        "seed": seed,
        "parameters": measured.parameters,
        "kept_epoch": measured.kept_epoch,
        "wall_seconds": round(measured.wall_seconds, 1),
        "epoch_seconds": round(measured.epoch_seconds, 1),
        "peak_memory_bytes": dict(measured.peak_memory_bytes),
        "onnx_largest_difference": measured.onnx_largest_difference,
        "began_from": began_from,
        "data": dict(data),
        "findings": [asdict(finding) for finding in findings],
    }


def describe_data(root: Path, train: dict[str, str], val: dict[str, str]) -> dict[str, object]:
    """What a run learnt from and was measured on.

    Args:
        root: Folder of the dataset.
        train: SHA-256 of each case that was learnt from, by case_id.
        val: The same of those that each epoch was measured on; may be empty.
    """
    return {"root": str(root), "train": _describe_part(train), "val": _describe_part(val)}


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
