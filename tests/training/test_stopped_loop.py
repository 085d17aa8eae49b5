"""Training that stops before its end: killed at any point and resumed, out of memory, or without its device."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from tumortrace.config import Config, config_from_tables
from tumortrace.errors import ConfigError, TumortraceError
from tumortrace.reporting.figures import read_metrics
from tumortrace.run_folder import CHECKPOINT
from tumortrace.training import batches, checkpoint, loop
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.checkpoint import TrainingState, read_state
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.epochs import kept_epoch
from tumortrace.training.loop import fit
from tumortrace.training.networks import UNet, build_network
from tumortrace.training.out_of_memory import explain_memory

Settings = Callable[..., Config]
Fit = Callable[[Config, Path], TrainingState]

TIMES = ("images_per_second", "loader_share", "seconds")


class Killed(BaseException):
    """Stands for a kill: nothing of the program may catch it."""


def first_network(config: Config) -> UNet:
    return build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)


@pytest.fixture
def run_fit(squares: PreparedPart, other_squares: PreparedPart, compute: Compute) -> Fit:
    def run(config: Config, folder: Path) -> TrainingState:
        return fit(first_network(config), config, compute=compute, train=squares, val=other_squares, run=folder)

    return run


@contextmanager
def points(kill_at: int | None = None) -> Iterator[list[str]]:
    """Name the points at which a run may die, before a batch is fetched and before a file is renamed; die at one."""
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if len(passed) - 1 == kill_at:
            raise Killed

    fetch, rename = batches.fetch, os.replace

    def watched_fetch(*arguments: object) -> object:
        pass_by("fetch")
        return fetch(*arguments)

    def watched_rename(source: Path, target: Path) -> None:
        pass_by(target.name)
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "fetch", watched_fetch)
        patch.setattr("tumortrace.files.os.replace", watched_rename)
        yield passed


def assert_same_run(actual: Path, expected: Path) -> None:
    """Weights bit for bit, and the same history but for its times."""
    assert (actual / "best.safetensors").read_bytes() == (expected / "best.safetensors").read_bytes()
    tensors, wanted = load_file(actual / CHECKPOINT), load_file(expected / CHECKPOINT)
    assert tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(tensors[name], tensor), name
    histories = [
        [{key: value for key, value in row.items() if key not in TIMES} for row in read_metrics(run / "metrics.csv")]
        for run in (actual, expected)
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("keep", ["last", "best_loss"])
def test_a_run_killed_anywhere_and_resumed_ends_with_the_same_bits(
    keep: str, settings: Settings, run_fit: Fit, tmp_path: Path
):
    config = settings(keep=keep, epochs=3, batch_size=4, learning_rate=0.3)
    whole = tmp_path / "whole"
    with points() as names:
        state = run_fit(config, whole)
    kept = kept_epoch(state.rows, keep=config.training.keep)
    assert (kept < 3) == (keep == "best_loss")  # else the test would not tell the rules apart
    files = ["checkpoint.safetensors", "best.safetensors", "metrics.csv"]
    assert names[:6] == ["fetch", "fetch", "fetch", *files]
    for kill_at, name in enumerate(names):
        folder = tmp_path / f"{kill_at}-{name}"
        with points(kill_at), pytest.raises(Killed):
            run_fit(config, folder)
        run_fit(config, folder)
        assert_same_run(folder, whole)


def test_a_run_killed_again_and_again_still_ends_with_the_same_bits(settings: Settings, run_fit: Fit, tmp_path: Path):
    config = settings(keep="best_loss", epochs=5, learning_rate=0.3)
    run_fit(config, tmp_path / "whole")
    kills = 0
    for _ in range(10):
        try:
            with points(kill_at=7):
                run_fit(config, tmp_path / "killed")
            break
        except Killed:
            kills += 1
    assert 3 <= kills < 10
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_curves_of_a_resumed_run_have_each_epoch_once(
    settings: Settings, run_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seconds = itertools.count(1_700_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(seconds)))  # event files are read in the order of their times
    for kill_at, name in ((5, "metrics.csv"), (7, "metrics.csv"), (2, "fetch")):  # of epochs 1, 2 and 3
        with points(kill_at) as names, pytest.raises(Killed):
            run_fit(settings(batch_size=4), tmp_path)
        assert names[-1] == name
    state = run_fit(settings(batch_size=4), tmp_path)
    curve = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("cross_entropy/train")
    assert [(event.step, event.value) for event in curve] == [
        (r.epoch, pytest.approx(r.train_loss)) for r in state.rows
    ]


def test_a_finished_run_can_be_resumed_for_more_epochs(settings: Settings, run_fit: Fit, tmp_path: Path):
    run_fit(settings(epochs=4), tmp_path / "whole")
    run_fit(settings(epochs=2), tmp_path / "longer")
    run_fit(settings(epochs=4), tmp_path / "longer")
    assert_same_run(tmp_path / "longer", tmp_path / "whole")


def test_resuming_a_finished_run_trains_no_more(settings: Settings, run_fit: Fit, tmp_path: Path):
    first = run_fit(settings(), tmp_path)
    checkpoint = (tmp_path / CHECKPOINT).read_bytes()
    with points() as names:
        assert run_fit(settings(), tmp_path) == first
    assert names == ["best.safetensors", "metrics.csv"]
    assert (tmp_path / CHECKPOINT).read_bytes() == checkpoint


def test_moments_are_loaded_to_where_the_weights_are_then(
    settings: Settings, run_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Loaded before the network is on its device, Adam's moments would stay behind. A type stands for the device."""
    run_fit(settings(epochs=1), tmp_path)

    move = nn.Module.to

    def move_to_another_type(network: nn.Module, *arguments: object, **keywords: object) -> nn.Module:
        return move(network, *arguments, **keywords).double()  # torch moves moments to device and type alike

    def look(trainer: loop._Trainer, _epoch: int, **_: object) -> None:
        moments = [trainer.optimizer.state[parameter]["exp_avg"] for parameter in trainer.network.parameters()]
        assert {moment.dtype for moment in moments} == {torch.float64}
        raise Killed

    monkeypatch.setattr(nn.Module, "to", move_to_another_type)
    monkeypatch.setattr(loop, "_train_epoch", look)
    with pytest.raises(Killed):
        run_fit(settings(epochs=2), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_run_is_resumed_on_a_gpu(
    squares: PreparedPart, other_squares: PreparedPart, settings: Settings, tmp_path: Path
):
    for epochs in (1, 3):
        config = settings(epochs=epochs, device="cuda")
        gpu = start_compute(config.training)
        state = fit(first_network(config), config, compute=gpu, train=squares, val=other_squares, run=tmp_path)
        assert len(state.rows) == epochs


@pytest.mark.parametrize("changed", ["train", "val"])
def test_a_checkpoint_of_other_data_is_refused(
    changed: str,
    squares: PreparedPart,
    other_squares: PreparedPart,
    settings: Settings,
    compute: Compute,
    tmp_path: Path,
):
    config = settings(epochs=1)
    parts = {"train": squares, "val": other_squares}
    fit(first_network(config), config, compute=compute, run=tmp_path, **parts)
    part = parts[changed]
    hashes = dict(part.hashes)
    hashes[next(iter(hashes))] = "f" * 64
    parts[changed] = replace(part, hashes=hashes)
    with pytest.raises(
        TumortraceError, match=r"checkpoint\.safetensors: was trained on other data .*; give the same DATA, --split"
    ):
        fit(first_network(config), config, compute=compute, run=tmp_path, **parts)


def test_the_same_slices_in_another_order_are_refused(
    squares: PreparedPart, other_squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    config = settings(epochs=1)

    def run(train: PreparedPart, val: PreparedPart) -> None:
        fit(first_network(config), config, compute=compute, train=train, val=val, run=tmp_path)

    run(squares, other_squares)
    turned = replace(squares, hashes=dict(reversed(squares.hashes.items())), images=squares.images.flip(0))
    for train, val in ((turned, other_squares), (other_squares, squares)):
        with pytest.raises(
            TumortraceError, match="the same slices in another order or on other sides; give the same DATA"
        ):
            run(train, val)
    run(squares, other_squares)
    state = read_state(tmp_path / CHECKPOINT)
    with pytest.MonkeyPatch.context() as patch:  # a run of an earlier version goes on
        patch.setattr(checkpoint, "read_state", lambda _: replace(state, order=""))
        run(turned, other_squares)


@pytest.mark.parametrize(
    ("table", "key", "value"), [("network", "widths", [4, 9]), ("training", "learning_rate", 0.02)]
)
def test_a_checkpoint_that_began_under_other_settings_is_refused(
    table: str, key: str, value: object, settings: Settings, run_fit: Fit, tmp_path: Path
):
    tables = asdict(settings(epochs=1))
    run_fit(config_from_tables(tables), tmp_path)
    tables[table][key] = value
    with pytest.raises(ConfigError, match=rf"checkpoint\.safetensors: began under {table}\.{key} = .*; keep to that"):
        run_fit(config_from_tables(tables), tmp_path)


ALLOCATOR = "[enforce fail] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(ALLOCATOR),
        RuntimeError("[enforce fail] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_what_to_try(
    error: Exception, settings: Settings, run_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.optim.Adam, "step", _raise(error))
    with pytest.raises(TumortraceError) as caught:
        run_fit(settings(batch_size=5), tmp_path)
    assert str(caught.value) == (
        "out of memory at training.batch_size=5 and recipe.size_hw=[16, 24]; try --set training.batch_size=2, "
        "or --set 'recipe.size_hw=[8, 12]', or a narrower network.widths"
    )


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ([16, 24], "try --set 'recipe.size_hw=[8, 8]', or a narrower network.widths"),  # 12 is no multiple of 8
        ([8, 8], "try a narrower network.widths"),
    ],
)
def test_what_to_try_fits_the_network(size_hw: list[int], expected: str):
    network = {"widths": [2, 2, 2, 2]}
    config = config_from_tables({"recipe": {"size_hw": size_hw}, "network": network, "training": {"batch_size": 1}})
    with pytest.raises(TumortraceError) as caught, explain_memory(config):
        raise MemoryError
    assert str(caught.value) == f"out of memory at training.batch_size=1 and recipe.size_hw={size_hw}; {expected}"


def test_real_exhaustion_of_memory_is_recognised(settings: Settings):
    with pytest.raises(TumortraceError, match=r"^out of memory at"), explain_memory(settings()):
        torch.empty(10**16)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_pass_through(
    error: Exception, settings: Settings, run_fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.optim.Adam, "step", _raise(error))
    with pytest.raises(type(error)) as caught:
        run_fit(settings(), tmp_path)
    assert caught.value is error


def _raise(error: Exception) -> Callable[..., None]:
    def step(*_: object, **__: object) -> None:
        raise error

    return step
