"""Finding and opening a model: an ONNX file that carries its own recipe."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import onnxruntime

from tumortrace.config import Recipe
from tumortrace.errors import ConfigError, ModelError
from tumortrace.inference.gate import familiar_from_json
from tumortrace.inference.recipe import recipe_from_json
from tumortrace.machine import usable_cores
from tumortrace.run_folder import CONFIG, MODEL


@dataclass(frozen=True, eq=False)
class Model:
    """A model, ready to run.

    Attributes:
        name: From its card; the file's name if it has none.
        path: The ONNX file.
        sha256: Of that file.
        recipe: How slices go in and masks come out.
        card: What else its maker said, as JSON values.
        familiar: Lowest and highest usual value of each of the looks of the slices that it learnt from; empty if
            unknown.
        session: ONNX Runtime's session; input ``images`` (N, 1, H, W) float32, output ``logits`` (N, 2, H, W).
    """

    name: str
    path: Path
    sha256: str
    recipe: Recipe
    card: dict[str, Any]
    familiar: dict[str, tuple[float, float]]
    session: onnxruntime.InferenceSession


def find_model(name_or_path: str) -> Path:
    """The ONNX file that a user means.

    Args:
        name_or_path: ``"default"`` (the model in the package), an ``.onnx`` file, or a run folder.

    Raises:
        ModelError: There is none; says what to give.
    """
    if name_or_path == "default":
        shipped = Path(str(resources.files("tumortrace") / "weights" / "default.onnx"))
        if shipped.is_file():
            return shipped
        raise ModelError("this version ships no default model; give --model with a run folder or an .onnx file")
    path = Path(name_or_path)
    if path.is_dir():
        if (path / MODEL).is_file():
            return path / MODEL
        if (path / CONFIG).is_file():
            raise ModelError(f"{path}: training has not finished, there are no weights yet; go on with train --resume")
        raise ModelError(f"{path}: a folder without {MODEL}; give a finished run folder or an .onnx file")
    if not path.is_file():
        raise ModelError(f"{path}: no such model; give a run folder or an .onnx file")
    return path


def open_model(name_or_path: str, *, threads: int = 0) -> Model:
    """Open a model for inference on the CPU.

    Args:
        name_or_path: As ``find_model`` takes it.
        threads: Of ONNX Runtime within one slice; 0 takes all that the process may use.

    Raises:
        ModelError: There is no such file, it is not ONNX, or it carries no recipe of tumortrace.
    """
    path = find_model(name_or_path)
    data = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Threads that spin between slices take a core from decoding, and on a shared machine from each other: 15 ms, not 5.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: its warnings are about its own optimiser
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no public base class
        cause = str(error).splitlines()[0]
        raise ModelError(f"{path}: not an ONNX model ({cause}); give a file that tumortrace exported") from None
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        recipe = recipe_from_json(metadata["tumortrace.recipe"])
        card = dict(json.loads(metadata.get("tumortrace.card", "{}")))
        familiar = familiar_from_json(metadata.get("tumortrace.familiar", "{}"))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(
            f"{path}: no recipe of tumortrace in its metadata ({error}); export it with tumortrace"
        ) from None
    name = str(card.get("name") or path.stem)
    return Model(name, path, hashlib.sha256(data).hexdigest(), recipe, card, familiar, session)
