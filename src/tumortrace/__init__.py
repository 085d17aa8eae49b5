"""Find leaked copies, train, score and run a 2D brain-tumour segmenter."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

# ONNX Runtime and Ray send usage reports unless these are set before they are imported. Every entry (command, library,
# worker process, benchmark, study) imports this package first. A user's own value stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

if TYPE_CHECKING:
    from tumortrace.api import audit as audit
    from tumortrace.api import compare as compare
    from tumortrace.api import crossval as crossval
    from tumortrace.api import evaluate as evaluate
    from tumortrace.api import improve as improve
    from tumortrace.api import open_dataset as open_dataset
    from tumortrace.api import report as report
    from tumortrace.api import split as split
    from tumortrace.api import sweep as sweep
    from tumortrace.api import train as train
    from tumortrace.data.slice_file import read_slice as read_slice
    from tumortrace.inference.model import open_model as open_model
    from tumortrace.inference.predict import Prediction as Prediction
    from tumortrace.inference.predict import predict as predict
    from tumortrace.inference.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"

_API = ("audit", "compare", "crossval", "evaluate", "improve", "open_dataset", "report", "split", "sweep", "train")
_HOME = dict.fromkeys(_API, "tumortrace.api") | {
    "Prediction": "tumortrace.inference.predict",
    "Segmenter": "tumortrace.inference.segmenter",
    "open_model": "tumortrace.inference.model",
    "predict": "tumortrace.inference.predict",
    "read_slice": "tumortrace.data.slice_file",
}


def __getattr__(name: str) -> object:
    """Import a name of the index when it is first used, so that `tumortrace --help` waits for none of them."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names of the index, so that a notebook completes them before they are imported."""
    return sorted([*globals(), *_HOME])
