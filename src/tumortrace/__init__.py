"""tumortrace: from annotated 2D brain-MRI slices to a tumour segmenter whose every number can be believed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tumortrace.data.dataset import open_dataset as open_dataset
    from tumortrace.data.slice import read_slice as read_slice
    from tumortrace.inference.model import open_model as open_model
    from tumortrace.inference.predict import Prediction as Prediction
    from tumortrace.inference.predict import predict as predict
    from tumortrace.inference.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"

_HOME = {
    "Prediction": "tumortrace.inference.predict",
    "Segmenter": "tumortrace.inference.segmenter",
    "open_dataset": "tumortrace.data.dataset",
    "open_model": "tumortrace.inference.model",
    "predict": "tumortrace.inference.predict",
    "read_slice": "tumortrace.data.slice",
}


def __getattr__(name: str) -> object:
    """Import a name of the index when it is first used, so that `tumortrace --help` waits for none of them."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
