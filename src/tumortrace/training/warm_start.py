"""Starting a training from a model's weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from torch import nn

from tumortrace.copies.training_index import TrainingIndex, join, load_training_index
from tumortrace.errors import ModelError
from tumortrace.evaluation.provenance import shipped_ancestors
from tumortrace.inference.model import Model
from tumortrace.run_folder import BEST, FIRST, MODEL, TRAINING_INDEX
from tumortrace.training.checkpoint import TrainingState, load_weights, read_texts, save_weights


@dataclass(frozen=True)
class WarmStart:
    """The model that a run started from.

    Attributes:
        name: Name of the model.
        sha256: SHA-256 of its ONNX file; of a prompted network, which has two, of its weights.
        remembered: Whether the run's training index holds all slices that its weights were trained on.
        shipped_ancestors: Names of the shipped models that it descends from.
    """

    name: str
    sha256: str
    remembered: bool
    shipped_ancestors: Sequence[str] = ()


def start_from_model(network: nn.Module, model: Model) -> WarmStart:
    """Fill a network with a model's weights.

    An ONNX file alone holds no weights that can be trained on: batch normalisation is folded into the convolutions.
    They are read from ``best.safetensors`` in the model's run folder, or from a ``.safetensors`` file beside the ONNX
    file, which may hold the normalisation alone (``folded``).

    Args:
        network: The network to fill.
        model: The model to start from.

    Raises:
        ModelError: There are no such weights, or they are of another network.
    """
    weights = find_weights(model)
    load_weights(weights, network, folded=model.path)
    remembered = _training_index_of(model) is not None and bool(model.card.get("remembered", True))
    return WarmStart(model.name, model.sha256, remembered, shipped_ancestors(model))


def find_weights(model: Model) -> Path:
    """Return the file of a model's weights that can be trained on.

    Raises:
        ModelError: There is none beside its ONNX file; or it is a run's, and changed since the model was exported, as
            where a finished run was trained further and stopped.
    """
    beside = BEST.name if model.path.name == MODEL.name else f"{model.path.stem}.safetensors"
    weights = model.path.with_name(beside)
    if not weights.is_file():
        raise ModelError(
            f"{model.path}: cannot start from an ONNX file without {weights.name} beside it; give the folder of its run"
        )
    stated = model.card.get("weights_sha256")
    if beside == BEST.name and stated and hashlib.sha256(weights.read_bytes()).hexdigest() != stated:
        raise ModelError(
            f"{weights}: not the weights of {model.path.name} beside it; finish the run with --resume if it stopped"
        )
    return weights


def keep_start(run: Path, network: nn.Module, start: WarmStart) -> None:
    """Keep the first weights and where they are from in a run folder, so that the run continues without the model."""
    save_weights(run / FIRST, network, about={"origin": json.dumps(asdict(start))})


def resume_start(run: Path, network: nn.Module, *, began: TrainingState | None) -> WarmStart | None:
    """Fill a network with the first weights that a run folder keeps; None if the run started from no model.

    Args:
        run: The run folder.
        network: The network to fill.
        began: State in the run's checkpoint; None if there is none.

    Raises:
        ModelError: The kept weights are damaged, or missing although the run started from a model: it would then
            forget that model's training slices, and their copies would count as clean.
    """
    path = run / FIRST
    if not path.is_file():
        if began is not None and began.from_model:
            raise ModelError(
                f"{path}: is missing, and says which model the run started from; restore it, or train into another "
                "--out"
            )
        return None
    load_weights(path, network)
    try:
        start = WarmStart(**json.loads(read_texts(path)["origin"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: does not say where it is from ({error}); train into another --out") from None
    return replace(start, remembered=start.remembered and (run / TRAINING_INDEX).is_file())


def join_training_index(own: TrainingIndex, run: Path, *, model: Model | None) -> TrainingIndex:
    """Return the training slices of a run, and those of the model that it started from, as far as they are known.

    Args:
        own: Training slices of the run.
        run: The run folder; a resumed run has the slices of both in it.
        model: The model that the run started from; None if there is none, or the run is resumed.
    """
    earlier = _training_index_of(model) if model is not None else None
    if model is None and (run / FIRST).is_file() and (run / TRAINING_INDEX).is_file():
        earlier = load_training_index(run / TRAINING_INDEX)
    return join(earlier, own) if earlier is not None else own


def _training_index_of(model: Model) -> TrainingIndex | None:
    """Return the slices that a model's run and those before it were trained on; None if it is from no run."""
    path = model.path.with_name(TRAINING_INDEX.name)
    return load_training_index(path) if path.is_file() else None
