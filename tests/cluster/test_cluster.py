"""Work on a real cluster of two nodes on this machine: the same results as here, whatever dies."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from studies.cluster_nodes import start_nodes

from tumortrace import api
from tumortrace.cluster import archive, site
from tumortrace.cluster.actor import DEATHS
from tumortrace.cluster.archive import segment_on_cluster
from tumortrace.cluster.tasks import RETRIES, open_pool
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import Slice
from tumortrace.errors import DataError, TumortraceError
from tumortrace.inference.batch.find_inputs import find_inputs
from tumortrace.inference.batch.folder import CLUSTER_WORK
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.predict import Prediction
from tumortrace.inference.segmenter import Segmenter
from tumortrace.locks import lock_folder
from tumortrace.phantoms.slices import write_phantom_dataset

pytestmark = pytest.mark.filterwarnings("ignore:::ray\\..*")  # ray warns of its own settings

BASE = """
[recipe]
size_hw = [32, 32]
[network]
widths = [4, 8]
[training]
epochs = 2
batch_size = 4
keep = "last"
device = "cpu"
threads = 1
"""
# The first four mark every pixel after one epoch, and the fifth none: it is hopeless.
SWEEP = """
base = "{base}"
folds = 3
use = 1
stop_hopeless = true
[grid]
"training.learning_rate" = [1e-4, 1e-5, 1e-6, 1e-7, 0.03]
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with start_nodes(2) as cluster:
        yield cluster.address


@dataclass(frozen=True)
class Piece:
    """A piece of work that records each start, and then follows its orders."""

    folder: Path
    label: str
    orders: tuple[str, ...]

    def progress(self) -> int:
        return 0


def obey(piece: Piece) -> str:
    begun = piece.folder / piece.label
    with begun.open("a") as file:
        file.write(".")
    order = piece.orders[min(begun.stat().st_size, len(piece.orders)) - 1]
    if order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "refuse":
        raise DataError("no such slice")
    return order


def run(address: str, folder: Path, **orders: tuple[str, ...]) -> dict[str, str | None]:
    with lock_folder(folder), open_pool(address, obey, out=folder) as pool:
        for label, each in orders.items():
            pool.start(Piece(folder, label, each))
        return {piece.label: answer for piece, answer in (pool.take() for _ in orders)}


def test_a_worker_that_dies_is_replaced_and_one_that_always_dies_is_a_named_failure(address: str, tmp_path: Path):
    answers = run(address, tmp_path / "out", dies=("die",), recovers=("die", "die", ""), fails=("it diverged",))
    assert answers["recovers"] == ""
    assert answers["fails"] == "it diverged"
    assert answers["dies"] == f"its worker died {1 + RETRIES} times, the last time: WorkerCrashedError"
    begun = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert begun == {"dies": 1 + RETRIES, "recovers": 3, "fails": 1}


def test_what_the_user_can_fix_is_raised_here(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match=r"^no such slice$"):
        run(address, tmp_path / "out", one=("refuse",))
    with open_pool(address, obey, out=tmp_path) as pool:
        pool.start(Piece(tmp_path, "one", ("",)))  # nobody has locked the folder, so it is another one
        with pytest.raises(TumortraceError, match="on a file system that all nodes share"):
            pool.take()
    monkeypatch.setattr(site.tumortrace, "__version__", "0.0.1")
    with pytest.raises(TumortraceError, match=r"has tumortrace .*, not 0\.0\.1; install the same on all nodes"):
        run(address, tmp_path / "out", one=("",))
    with pytest.raises(TumortraceError, match=r"training\.threads = 3, and no node of the cluster has more than 1"):
        open_pool(address, obey, out=tmp_path, threads=3).__enter__()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_a_sweep_gives_the_same_as_here_and_stops_the_same_runs(address: str, tmp_path: Path):
    write_phantom_dataset(tmp_path / "data", counts={"TRAIN": 8, "VAL": 4}, no_tumour=0, seed=3)
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "sweep.toml").write_text(SWEEP.format(base=tmp_path / "base.toml"))
    here, there = tmp_path / "here", tmp_path / "there"
    for out, ray_address in ((here, None), (there, address)):
        api.sweep(tmp_path / "data", out=out, config=str(tmp_path / "sweep.toml"), ray=ray_address)
    rows = table(here / "results.csv")
    assert [row["outcome"] for row in rows] == ["finished"] * 4 + ["stopped"]
    assert table(there / "results.csv") == rows
    assert (there / "leaderboard.csv").read_bytes() == (here / "leaderboard.csv").read_bytes()
    for run_folder in (here / "runs").iterdir():
        for name in ("best.safetensors", "model.onnx", "config.toml", "scores.csv"):
            assert (there / "runs" / run_folder.name / name).read_bytes() == (run_folder / name).read_bytes()


def test_blocks():
    assert archive._choose_block(5, slots=2) == 2
    assert archive._choose_block(5_000, slots=2) == 128
    assert archive._choose_block(100_000, slots=16) == 500
    assert archive._choose_block(1_000_000, slots=16) == 1000


def test_what_the_user_can_fix_is_found_below_what_ray_says():
    wrapped = ray.exceptions.UserCodeException()
    wrapped.__cause__ = OSError(28, "No space left on device")
    task = ray.exceptions.RayTaskError("f", "its traceback", wrapped)
    with pytest.raises(OSError, match="No space left on device"):
        archive._raise_cause(task)
    archive._raise_cause(ray.exceptions.ActorDiedError())  # the next round does what was lost
    with pytest.raises(ray.exceptions.RayTaskError):
        archive._raise_cause(ray.exceptions.RayTaskError("f", "its traceback", ValueError("a bug")))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four slices, a file that is no picture, and a text that is passed over."""
    write_phantom_dataset(tmp_path / "data", counts={"TEST": 4}, no_tumour=0, seed=5)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, path in enumerate(sorted((tmp_path / "data" / "TEST").glob("test_*.*"))):
        path.rename(folder / f"slice {number}{path.suffix}")
    (folder / "poison.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


def without_seconds(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "results.json").read_text())
    for image in document["images"]:
        image.pop("seconds")
    return document


def read_masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_an_archive_gives_the_same_as_here_and_a_stopped_run_goes_on(
    address: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, there = tmp_path / "here", tmp_path / "there"
    segment_inputs(pictures, out=here, model="fast")
    cluster = partial(segment_on_cluster, address)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_results", stop)
        with pytest.raises(KeyboardInterrupt):
            segment_inputs(pictures, out=there, model="fast", engine=cluster)
    assert read_masks(there) == read_masks(here)
    assert not (there / "results.json").exists()
    times = {path.name: path.stat().st_mtime_ns for path in there.glob("*_mask.png")}
    changed = sorted(pictures.glob("slice *"))[1]
    os.utime(changed, ns=(0, 0))  # as a file that was changed meanwhile
    (there / "results-1-of-2.jsonl").touch()  # of a shard that was stopped before
    summary = segment_inputs(pictures, out=there, model="fast", engine=cluster)
    again = {path.name for path in there.glob("*_mask.png") if path.stat().st_mtime_ns != times[path.name]}
    assert again == {f"{changed.stem}_mask.png"}
    assert (summary.total, summary.failed, summary.skipped) == (5, 1, 1)
    assert without_seconds(there) == without_seconds(here)
    assert not (there / CLUSTER_WORK).exists()
    assert not list(there.glob("*.jsonl"))


class Deadly(Segmenter):
    """A segmenter whose process dies on a slice of one size, as by a fault of a decoder."""

    def predict(self, image: Slice) -> Prediction:  # type: ignore[override]
        if image.pixels.shape == (90, 100):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(image)


def test_a_slice_that_kills_its_workers_is_a_named_failure_and_stops_no_other(
    address: str, pictures: Path, tmp_path: Path
):
    write_png(pictures / "deadly.png", np.zeros((90, 100), np.uint8))
    inputs = find_inputs([str(pictures)])
    segmenter = Deadly("fast", threads=1)
    summary = segment_on_cluster(address, segmenter, inputs, out=tmp_path / "out", settings=SegmentSettings())
    images = {Path(image["file"]).name: image for image in without_seconds(tmp_path / "out")["images"]}
    assert images["deadly.png"]["status"] == "error"
    assert f"its worker died {DEATHS + 1} times on it" in images["deadly.png"]["reason"]
    assert (summary.total, summary.failed) == (6, 2)
    assert len(read_masks(tmp_path / "out")) == 4
