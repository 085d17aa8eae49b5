"""Finding, opening and checking a model: an ONNX file that carries its own recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tumortrace.config import Recipe
from tumortrace.errors import ConfigError, ModelError
from tumortrace.inference.folder_default import read_folder_default
from tumortrace.inference.gate import FeatureRange, feature_ranges_from_json
from tumortrace.inference.onnx_file import CARD, FEATURE_RANGES, RECIPE
from tumortrace.inference.recipe import recipe_from_json
from tumortrace.inference.session import Session
from tumortrace.json_csv import parse_json
from tumortrace.regular_files import open_regular
from tumortrace.run_folder import BOX_ENCODER, CONFIG, MODEL, SPLIT, has_begun
from tumortrace.wording import command_line

CLASSES = ("background", "tumour")
"""Classes of the network's output, in order."""

_CARD_HEAD = 256  # bytes

_CHANNELS = {"images": "1 (grey)", "logits": "2 (background and tumour)"}


SHIPPED = ("default", "fast")
"""Models in the package: the most accurate one, and one at an eighth of its arithmetic."""

BOX_MODEL = "box"
"""The prompted model in the package, which outlines what lies in a box."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model, ready to run. It can be pickled: the other process opens the same file again.

    Attributes:
        name: Name on its card; the file's name if it has none.
        path: The ONNX file.
        sha256: Hash of that file.
        recipe: Rules from slice to input, and from output to mask.
        card: Further statements of its maker, as JSON values.
        feature_ranges: Lowest and highest usual value of each feature among the training slices; empty if unknown.
        session: Runs the network.
    """

    name: str
    path: Path
    sha256: str
    recipe: Recipe
    card: dict[str, Any] = field(repr=False)
    feature_ranges: dict[str, FeatureRange] = field(repr=False)
    session: Session = field(repr=False)


def weights_folder() -> Path:
    """Return the folder of the models in the package."""
    return Path(str(resources.files("tumortrace") / "weights"))


def find_model(name_or_path: str) -> Path:
    """Return the ONNX file that a user means.

    Args:
        name_or_path: ``"default"`` or ``"fast"`` (the models in the package), an ``.onnx`` file, a run folder, or a
            folder of runs that names its default.

    Raises:
        ModelError: There is none; says what to give.
    """
    if name_or_path in SHIPPED:
        shipped = weights_folder() / f"{name_or_path}.onnx"
        if shipped.is_file():
            return shipped
        raise ModelError(
            f"this version ships no model {name_or_path!r}; give --model with a run folder or an .onnx file"
        )
    path = Path(name_or_path)
    if path.is_file():
        return path
    if (path / MODEL).is_file():
        return path / MODEL
    if is_prompted(name_or_path):
        raise ModelError(f"{path}: needs a box on each picture; give default or fast, or call segment with --box")
    if not path.is_dir():
        raise ModelError(f"{path}: no such model; give default, fast, a run folder or an .onnx file")
    if (local := read_folder_default(path)) is not None:
        return local.model / MODEL
    if (path / SPLIT).is_file() and not has_begun(path):
        raise ModelError(f"{path}: a cross-validation or a sweep, a model each fold or run; give one of their folders")
    if (path / CONFIG).is_file():
        raise ModelError(f"{path}: training has not finished, so there is no {MODEL}; {_describe_rest(path)}")
    raise ModelError(f"{path}: a folder without {MODEL}; give a finished run folder or an .onnx file")


def _describe_rest(run: Path) -> str:
    """The command that finishes a run; which data it was given stands in no file before its end."""
    settings = ["--resume"] if has_begun(run) else ["--config", run / CONFIG]
    return f"finish it on the same DATA: {command_line('train', 'DATA', '--out', run, *settings)}"


def is_prompted(name_or_path: str) -> bool:
    """Return whether a name or path is that of a model for boxes."""
    return name_or_path == BOX_MODEL or (Path(name_or_path) / BOX_ENCODER).is_file()


def open_model(name_or_path: str, *, threads: int = 0) -> Model:
    """Open a model for inference on the CPU.

    Args:
        name_or_path: Name or path as ``find_model`` takes it.
        threads: Threads of ONNX Runtime within one slice; 0 takes all that the process may use.

    Raises:
        ModelError: There is no such file, it is not ONNX, it carries no recipe of tumortrace, or the recipe does not
            fit the network.
    """
    path = find_model(name_or_path)
    session = Session(path, threads=threads, expected=_read_shipped_sha256(path))
    metadata = session.runtime.get_modelmeta().custom_metadata_map
    try:
        recipe = recipe_from_json(metadata[RECIPE])
        card = dict(parse_json(metadata.get(CARD, "{}")))
        ranges = feature_ranges_from_json(metadata.get(FEATURE_RANGES, "{}"))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise ModelError(
            f"{path}: no recipe of tumortrace in its metadata ({error}); export it with tumortrace"
        ) from None
    misfit = _find_misfit(session, recipe, card)
    if misfit:
        raise ModelError(f"{path}: {misfit}; export it with tumortrace")
    return Model(str(card.get("name") or path.stem), path, session.sha256, recipe, card, ranges, session)


def is_shipped(model: Model) -> bool:
    """Return whether a model is one of the package, or a copy of one under another path."""
    return model.name in SHIPPED and model.sha256 == _read_shipped_sha256(find_model(model.name))


def _read_shipped_sha256(path: Path) -> str:
    """The hash that the card of a shipped model begins with; empty for any other model.

    Raises:
        ModelError: The card is missing or damaged.
    """
    if path.parent != weights_folder():
        return ""
    card = path.with_suffix(".json")
    try:
        with open_regular(card) as file:  # its first line alone: the whole one lists ten thousand training slices
            found: list[bytes] = re.findall(rb'"sha256": "([0-9a-f]{64})"', file.read(_CARD_HEAD))
        return found[0].decode()
    except (OSError, IndexError):
        raise ModelError(f"{card}: the card of the model is missing or damaged; install tumortrace again") from None


def _find_misfit(session: Session, recipe: Recipe, card: dict[str, Any]) -> str:
    """Say in what a network contradicts its recipe or card; empty if they fit."""
    inputs, outputs = session.runtime.get_inputs(), session.runtime.get_outputs()
    for kind, values, name in (("input", inputs, "images"), ("output", outputs, "logits")):
        if [value.name for value in values] != [name]:
            return f"it has the {kind}s {', '.join(value.name for value in values)}, not just {name!r}"
    height, width = recipe.size_hw
    classes = card.get("classes", list(CLASSES))
    return (
        _find_other_shape(inputs[0], (1, height, width))
        or _find_other_shape(outputs[0], (len(CLASSES), height, width))
        or ("" if classes == list(CLASSES) else f"its classes are {classes!r}, not background and tumour")
        or _try_out(session, recipe)
    )


def _find_other_shape(value: onnxruntime.NodeArg, expected: tuple[int, int, int]) -> str:
    """Compare the declared type and shape (batch, channels, height, width) with the expected one; free sides fit."""
    if value.type != "tensor(float)" or len(value.shape) != 4:
        return f"its {value.name} are {value.type} of {len(value.shape)} dimensions, not tensor(float) of 4"
    batch, channels, *size_hw = value.shape
    if isinstance(batch, int):
        return f"its {value.name} have a fixed batch size of {batch}"
    if isinstance(channels, int) and channels != expected[0]:
        return f"its {value.name} have {channels} channels, not {_CHANNELS[value.name]}"
    if any(isinstance(side, int) and side != right for side, right in zip(size_hw, expected[1:], strict=True)):
        return f"its {value.name} are {size_hw[0]} x {size_hw[1]} px, those of its recipe {expected[1]} x {expected[2]}"
    return ""


def _try_out(session: Session, recipe: Recipe) -> str:
    """Run one blank slice where the shapes are not all declared."""
    declared = [side for value in session.runtime.get_outputs() for side in value.shape[1:]]
    if all(isinstance(side, int) for side in declared):
        return ""
    try:
        shape = session.run(np.zeros((1, 1, *recipe.size_hw), dtype=np.float32)).shape
    except ModelError as error:
        return str(error).removeprefix(f"{session.path}: ").partition(";")[0]
    expected = (1, len(CLASSES), *recipe.size_hw)
    return "" if shape == expected else f"it answers with the shape {shape}, not {expected}"
