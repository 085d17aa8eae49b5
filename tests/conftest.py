"""Fixtures shared by all tests: the real data where it is there, a small generated dataset, and a small trained run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tumortrace.config import config_from_tables
from tumortrace.data.dataset import open_dataset
from tumortrace.data.phantoms import write_phantom_dataset
from tumortrace.train.run import train

# A deadline would fail sound tests on a busy machine; speed is measured in benchmarks/.
settings.register_profile("tumortrace", deadline=None)
settings.load_profile("tumortrace")

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
