"""The prompted model: two ONNX files, opened and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tumortrace.config import Recipe
from tumortrace.errors import ConfigError, ModelError
from tumortrace.inference.model import BOX_MODEL, weights_folder
from tumortrace.inference.onnx_file import CARD, RECIPE
from tumortrace.inference.recipe import recipe_from_json
from tumortrace.inference.session import Session
from tumortrace.json_csv import parse_json, read_json
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER


@dataclass(frozen=True, eq=False)
class PromptModel:
    """A prompted model, ready to run. It can be pickled: the other process opens the same files again.

    Attributes:
        name: Name on its card.
        path: Folder of its two files.
        sha256: Hash of both files' hashes.
        recipe: Size of the network's grid, and the threshold.
        card: Further statements of its maker, as JSON values.
        encoder: Runs the network from the surroundings of a box to features.
        decoder: Runs it from features and prompts to logits.
    """

    name: str
    path: Path
    sha256: str
    recipe: Recipe
    card: dict[str, Any] = field(repr=False)
    encoder: Session = field(repr=False)
    decoder: Session = field(repr=False)

    @property
    def grid(self) -> int:
        """Pixels along each side of the network's grid."""
        return self.recipe.size_hw[0]


def find_prompt_model(name_or_path: str) -> Path:
    """Return the folder of a prompted model.

    Args:
        name_or_path: ``"box"`` (the one in the package), or a run folder.

    Raises:
        ModelError: There is none; says what to give.
    """
    shipped = name_or_path == BOX_MODEL  # as for other shipped models, whatever lies in this folder
    folder = weights_folder() if shipped else Path(name_or_path)
    if (folder / BOX_ENCODER).is_file() and (folder / BOX_DECODER).is_file():
        return folder
    if shipped:
        raise ModelError("this version ships no model for boxes; give --model with a run folder of --config box")
    raise ModelError(f"{folder}: no {BOX_ENCODER} and {BOX_DECODER} there; give box, or a run folder of --config box")


def _read_card_sha256(folder: Path) -> str:
    try:
        return str(read_json(folder / f"{BOX_MODEL}.json")["sha256"])
    except (OSError, KeyError, TypeError, ValueError):
        return ""


def open_prompt_model(name_or_path: str, *, threads: int = 0) -> PromptModel:
    """Open a prompted model for inference on the CPU.

    Args:
        name_or_path: Name or path as ``find_prompt_model`` takes it.
        threads: Threads of ONNX Runtime within one slice; 0 takes all that the process may use.

    Raises:
        ModelError: There is no such model, or its files do not belong together.
    """
    folder = find_prompt_model(name_or_path)
    encoder, decoder = (Session(folder / name, threads=threads) for name in (BOX_ENCODER, BOX_DECODER))
    metadata = encoder.runtime.get_modelmeta().custom_metadata_map
    try:
        recipe = recipe_from_json(metadata[RECIPE])
        card = dict(parse_json(metadata.get(CARD, "{}")))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(f"{encoder.path}: no recipe of tumortrace in it ({error}); train it again") from None
    features = [value.name for value in encoder.runtime.get_outputs()]
    if [value.name for value in decoder.runtime.get_inputs()] != [*features, "prompts"]:
        raise ModelError(f"{decoder.path}: does not belong to {encoder.path.name} beside it; train both again")
    sha256 = hashlib.sha256((encoder.sha256 + decoder.sha256).encode()).hexdigest()
    if folder == weights_folder() and sha256 != _read_card_sha256(folder):
        raise ModelError(f"{folder}: not the model for boxes of this version; install tumortrace again")
    return PromptModel(str(card.get("name") or folder.name), folder, sha256, recipe, card, encoder, decoder)
