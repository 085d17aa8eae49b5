"""A model built by hand: what it says of a picture can be worked out with a pencil."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tumortrace.config import Recipe
from tumortrace.data.volume import SliceSource
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model
from tumortrace.inference.recipe import recipe_to_json
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER

WriteModel = Callable[..., Path]
OpenHandModel = Callable[..., Model]


def _write_model(path: Path, metadata: dict[str, str], *, gain: float = 50.0) -> Path:
    """ONNX of logits (-gain x, gain x): tumour probability 1 / (1 + exp(-2 gain x)) of the standardised picture x."""
    shapes = {"images": ["N", 1, "H", "W"], "logits": ["N", 2, "H", "W"]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Mul", ["images", "gain"], ["tumour"]),
        helper.make_node("Neg", ["tumour"], ["background"]),
        helper.make_node("Concat", ["background", "tumour"], ["logits"], axis=1),
    ]
    constant = helper.make_tensor("gain", TensorProto.FLOAT, [], [gain])
    graph = helper.make_graph(nodes, "bright", [values["images"]], [values["logits"]], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def write_model() -> WriteModel:
    """Write the model with the metadata that is given, whole or faulty."""
    return _write_model


def _write_prompt_model(folder: Path, *, grid: int = 32) -> Path:
    """A prompted model as two ONNX files: the encoder passes grey values and box on, the decoder adds them up.

    Its logit of tumour is 4 x - 5 + 20 a - 20 r - 40 (1 - b), of the standardised picture x, the clicks a that add,
    the clicks r that remove, and the box b: what is brighter than the mean of the surroundings, within the box.
    """
    number = TensorProto.FLOAT
    values = {
        name: helper.make_tensor_value_info(name, number, [1, channels, grid, grid])
        for name, channels in {"images": 2, "features_0": 2, "prompts": 4, "logits": 2}.items()
    }
    weights = np.zeros((2, 6, 1, 1), np.float32)
    weights[1, :, 0, 0] = [4, 0, 40, 20, -20, 0]  # grey, box, then box, added, removed, before
    constants = [
        helper.make_tensor("weights", number, weights.shape, weights.ravel()),
        helper.make_tensor("bias", number, [2], [0.0, -45.0]),
    ]
    encoder = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["features_0"])], "pass", [values["images"]], [values["features_0"]]
    )
    decoder = helper.make_graph(
        [
            helper.make_node("Concat", ["features_0", "prompts"], ["all"], axis=1),
            helper.make_node("Conv", ["all", "weights", "bias"], ["logits"]),
        ],
        "add",
        [values["features_0"], values["prompts"]],
        [values["logits"]],
        constants,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in ((BOX_ENCODER, encoder), (BOX_DECODER, decoder)):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        recipe = recipe_to_json(Recipe((grid, grid)))
        helper.set_model_props(model, {"tumortrace.recipe": recipe, "tumortrace.card": json.dumps({"name": "hand"})})
        onnx.save(model, folder / name)
    return folder


@pytest.fixture
def hand_prompt_folder(tmp_path: Path) -> Path:
    """The folder of the prompted model."""
    return _write_prompt_model(tmp_path / "hand-box")


@pytest.fixture
def hand_prompt_model(hand_prompt_folder: Path) -> PromptModel:
    """The prompted model, opened: bright pixels within the box are tumour."""
    return open_prompt_model(str(hand_prompt_folder), threads=1)


@pytest.fixture
def open_hand_model(tmp_path: Path) -> OpenHandModel:
    """Open the model with a recipe: bright pixels are tumour."""

    def open_it(recipe: Recipe, *, gain: float = 50.0) -> Model:
        metadata = {"tumortrace.recipe": recipe_to_json(recipe), "tumortrace.card": json.dumps({"name": "bright"})}
        return open_model(str(_write_model(tmp_path / "hand" / "model.onnx", metadata, gain=gain)), threads=1)

    return open_it


ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, 0.8),  # two unit vectors at right angles, of whole hundredths
    "negated": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),  # where converters have mirrored masks
}
"""Direction cosines of rows and columns (ImageOrientationPatient)."""

CANARIES = {
    "PatientName": "Canary^Nightingale",
    "PatientID": "CANARY-ID-4711",
    "PatientBirthDate": "19010203",
    "OtherPatientNames": "Canary^Alias",
    "PatientAddress": "1 Canary Row",
    "PatientComments": "canary comment",
    "AccessionNumber": "CANARYACC",
    "StudyID": "CANARYSTUDY",
    "StudyDate": "19991231",
    "StudyDescription": "canary study",
    "ReferringPhysicianName": "Canary^Physician",
    "InstitutionName": "Canary Hospital",
}
"""Twelve attributes of which nothing may be seen in what is written."""


def _write_series(
    folder: Path,
    pixels: NDArray[Any],
    orientation: str = "axial",
    *,
    spacing_mm: tuple[float, float] = (0.5, 1.2),
    step_mm: float = 3.0,
) -> list[SliceSource]:
    across, down = np.reshape(ORIENTATIONS[orientation], (2, 3))
    study, series, frame_of_reference = (generate_uid() for _ in range(3))
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(pixels):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = frame_of_reference, ""
        image.Modality, image.Manufacturer, image.ImageType = "MR", "Phantom", ["ORIGINAL", "PRIMARY", "M"]
        image.PatientSex, image.StudyTime, image.SeriesNumber, image.InstanceNumber = "F", "010203", 3, index + 1
        for keyword, value in CANARIES.items():
            setattr(image, keyword, value)
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
        image.Rows, image.Columns = plane.shape
        image.PixelSpacing, image.SliceThickness = list(spacing_mm), step_mm
        image.ImageOrientationPatient = [*across, *down]
        image.ImagePositionPatient = [*(np.array([-10.0, 5.0, 7.0]) + index * step_mm * np.cross(across, down))]
        image.PixelData = plane.astype(np.uint16).tobytes()
        image.save_as(folder / f"{index:03}.dcm", enforce_file_format=True)
    return [SliceSource(folder / f"{index:03}.dcm", 1) for index in range(len(pixels))]


WriteSeries = Callable[..., list[SliceSource]]


@pytest.fixture
def write_series() -> WriteSeries:
    """Write a classic MR series of pixels (slices, rows, columns); slice 0 lies at (-10, 5, 7) mm."""
    return _write_series


@pytest.fixture
def canaries() -> dict[str, str]:
    """Values by keyword that ``write_series`` writes into each file."""
    return CANARIES
