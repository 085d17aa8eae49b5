"""Fixtures shared by all tests: the real data where it is there, a small generated dataset, and a small trained run."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings as hypothesis_settings
from numpy.typing import NDArray

from tumortrace import progress
from tumortrace.config import Config, config_from_tables
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.groups import name_groups
from tumortrace.copies.signatures import Signatures
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import CaseRecord
from tumortrace.data.components import link
from tumortrace.data.dataset import open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.metrics.calibration import count_logits
from tumortrace.metrics.froc import Mark, SliceMarks
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.run import train

# No test reads or fills the cache of whoever runs it; the cache's own tests turn it on in a folder of theirs.
os.environ["TUMORTRACE_CACHE"] = "off"

# Tests write thousands of small files, each of which would wait for the disk; nobody cuts their power.
os.fsync = lambda _descriptor: None

# A deadline would fail sound tests on a busy machine; speed is measured in benchmarks/.
hypothesis_settings.register_profile("tumortrace", deadline=None)
hypothesis_settings.load_profile("tumortrace")

TINY = {
    "recipe": {"size_hw": [48, 32]},
    "network": {"widths": [4, 8, 8]},
    "training": {"epochs": 2, "batch_size": 3, "learning_rate": 0.003, "keep": "last", "device": "cpu", "threads": 1},
}


def real_data(name: str) -> Path:
    """A folder of the real data, or a skip that says why."""
    root = os.environ.get("TUMORTRACE_DATA")
    if not root:
        pytest.skip("TUMORTRACE_DATA is not set: the real data is not here")
    return Path(root) / name


@pytest.fixture
def hear_ctrl_c() -> Iterator[None]:
    """Let child processes hear Ctrl-C; a shell starts background jobs deaf to it, and they hand that on."""
    heard = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, heard)


@pytest.fixture(scope="session")
def br35h() -> Path:
    return real_data("br35h")


@pytest.fixture(scope="session")
def lgg() -> Path:
    return real_data("lgg")


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TRAIN 10, VAL 4 and TEST 5 generated slices, and 3 without a tumour. Read only."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, counts={"TRAIN": 10, "VAL": 4, "TEST": 5}, no_tumour=3, seed=7)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, phantom_data: Path) -> Path:
    """A finished run folder of a very small network trained for two epochs. Read only."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(open_dataset(phantom_data), config_from_tables(TINY), out=run)
    return run


@pytest.fixture
def shown() -> Iterator[None]:
    """Show lines and bars on stderr, as commands do."""
    with progress.show_progress():
        yield


MakeScore = Callable[..., CaseScore]


@pytest.fixture(scope="session")
def make_score() -> MakeScore:
    """A case's score by its name and pixel counts; all else has a plain value that keywords replace."""

    def make(file: str, counts: PixelCounts, **fields: object) -> CaseScore:
        probability = np.array([[0.9, 0.1], [0.8, 0.3]], dtype=np.float32)
        plain: dict[str, object] = {
            "part": "test",
            "source": "data",
            "patient": "",
            "sha256": f"hash of {file}",
            "group": f"group of {file}",
            "leak": None,
            "clean": True,
            "shape": "polygon",
            "in_mm": False,
            "surface": SurfaceScores(0.5, 4.0, 1.5) if counts.tp else SurfaceScores(0.0, math.nan, math.nan),
            "lesions": LesionCounts(1, int(counts.tp > 0), int(counts.tp + counts.fp > 0), int(counts.tp > 0)),
            "marks": _mark(counts),
            "confidence": 0.5,
            "features": (0.8, 0.7, 0.9, 0.6, -1.0, 0.0),
            "histogram": count_logits(probability, probability > 0.5, np.eye(2, dtype=np.bool_)),
            "baselines": {"all_background": PixelCounts(0, 0, counts.tp + counts.fn, counts.fp + counts.tn)},
        }
        return CaseScore(file=file, counts=counts, **{**plain, **fields})  # type: ignore[arg-type]

    return make


def _mark(counts: PixelCounts) -> SliceMarks:
    """One true lesion, if there is tumour, under one mark, if anything is predicted."""
    tumour_px, predicted_px = counts.tp + counts.fn, counts.tp + counts.fp
    frame_px = predicted_px + counts.fn + counts.tn
    marks = (Mark(0.9 if counts.tp else 0.7, predicted_px, counts.tp),) if predicted_px else ()
    found = ((0.9 if counts.tp else -1.0),) if tumour_px else ()
    return SliceMarks(frame_px, tumour_px, found, marks)


MakeSurvey = Callable[..., Survey]
GREY = np.arange(96 * 96, dtype=np.uint32).reshape(96, 96).astype(np.uint8)


def _make_survey(
    *,
    links: list[tuple[int, int]],
    patients: list[str],
    sources: list[str] | None = None,
    parts: list[str] | None = None,
    areas: list[int] | None = None,
) -> Survey:
    count = len(patients)
    cases = tuple(
        SurveyedCase(
            record=CaseRecord(
                f"c{i}",
                (parts or [""] * count)[i],
                Path(f"c{i}.png"),
                None,
                patient or None,
                (sources or [""] * count)[i],
            ),
            size_hw=(100, 100),
            sha256=f"hash{i}",
            lesions=1,
            tumour_px=(areas or [500] * count)[i],
            packed_truth=None,
            thumbnail=GREY,
        )
        for i, patient in enumerate(patients)
    )
    pairs = tuple(CopyPair(min(pair), max(pair), 0.95, np.eye(3)) for pair in links)
    signatures = Signatures(np.zeros((0, 2, 96, 96), np.float16), np.zeros((0, 2, 4)), np.zeros((0, 4), np.float32))
    return Survey(cases, signatures, (), pairs, name_groups(link(count, links)))


@pytest.fixture(scope="session")
def make_survey() -> MakeSurvey:
    """Make a survey of as many cases as patients are given, of 100 x 100 pixels, by hand."""
    return _make_survey


DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


def _draw_head(seed: int, size_hw: tuple[int, int] = (170, 140)) -> NDArray[np.uint8]:
    height, width = size_hw
    noise = np.random.default_rng(seed).standard_normal(size_hw).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 4.0)
    grey = 130.0 + 45.0 * texture / texture.std()
    rows, columns = np.mgrid[0:height, 0:width]
    down, across = (rows - 0.52 * height) / (0.42 * height), (columns - 0.47 * width) / (0.40 * width)
    return np.where(down**2 + across**2 < 1, np.clip(grey, 40, 250), 0).astype(np.uint8)


def _write_case(
    folder: Path, name: str, pixels: NDArray[np.uint8], truth: NDArray[np.bool_] | None = None, **fields: str
) -> CaseRecord:
    write_png(folder / f"{name}.png", np.ascontiguousarray(pixels))
    if truth is None:
        return CaseRecord(f"{name}.png", fields.get("part", ""), folder / f"{name}.png", None)
    write_png(folder / f"{name}_mask.png", np.ascontiguousarray(truth).astype(np.uint8) * np.uint8(255))
    part = fields.pop("part", "train")
    return CaseRecord(f"{name}.png", part, folder / f"{name}.png", folder / f"{name}_mask.png", **fields)


@pytest.fixture(scope="session")
def draw_head() -> DrawHead:
    """Draw a head by the seed of its texture; shape (H, W), uint8. Each seed is another, unrelated slice."""
    return _draw_head


@pytest.fixture
def write_case(tmp_path: Path) -> WriteCase:
    """Write a slice and its truth (or none) by a name; further keywords are fields of the record."""

    def write(
        name: str, pixels: NDArray[np.uint8], truth: NDArray[np.bool_] | None = None, **fields: str
    ) -> CaseRecord:
        return _write_case(tmp_path, name, pixels, truth, **fields)

    return write


SIZE_HW = (16, 24)


def draw_squares(count: int, *, seed: int) -> PreparedPart:
    """Slices of noise, each with one bright square that is the tumour."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, 0.3, (count, 1, *SIZE_HW)).astype(np.float32)
    truths = np.zeros((count, *SIZE_HW), dtype=np.uint8)
    for image, truth in zip(images, truths, strict=True):
        top, left = rng.integers(0, 10), rng.integers(0, 18)
        truth[top : top + 6, left : left + 6] = 1
        image[0] += 3.0 * truth
    hashes = {f"{seed}/{index}.png": f"{seed:032x}{index:032x}" for index in range(count)}
    return PreparedPart(
        images=torch.from_numpy(images),
        truths=torch.from_numpy(truths),
        sources=("",) * count,
        hashes=hashes,
        features=(None,) * count,
        findings=(),
    )


@pytest.fixture(scope="session")
def squares() -> PreparedPart:
    """Seven slices to learn from. Read only."""
    return draw_squares(7, seed=1)


@pytest.fixture(scope="session")
def other_squares() -> PreparedPart:
    """Three slices to measure on. Read only."""
    return draw_squares(3, seed=2)


@pytest.fixture(scope="session")
def no_squares() -> PreparedPart:
    """A part without a slice."""
    return draw_squares(0, seed=3)


@pytest.fixture(scope="session")
def settings() -> Callable[..., Config]:
    """Settings for the squares; keywords change those of training."""

    def make(**training: object) -> Config:
        usual = {"epochs": 3, "batch_size": 3, "learning_rate": 0.01, "keep": "last", "device": "cpu", "threads": 1}
        return config_from_tables(
            {"recipe": {"size_hw": list(SIZE_HW)}, "network": {"widths": [4, 8]}, "training": usual | training}
        )

    return make


@pytest.fixture(scope="session")
def compute(settings: Callable[..., Config]) -> Compute:
    return start_compute(settings().training)
