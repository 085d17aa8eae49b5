"""Two processes train as one does with the whole batch: the same losses, weights, scores and history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from tumortrace.errors import TumortraceError
from tumortrace.processes import Place, find_meeting
from tumortrace.training.batch_norm import GatheredBatchNorm2d, gather_statistics
from tumortrace.training.compute import Compute, start_compute
from tumortrace.training.team import ALONE, Team, open_team

PROGRAM = Path(__file__).parent / "team_program.py"
TOLERANCE = 1e-4


def load_program() -> dict[str, Any]:
    """The functions of the program, without running it."""
    names: dict[str, Any] = {"__name__": "team_program"}
    source = PROGRAM.read_text(encoding="utf-8").rpartition("\nmain(")[0]
    exec(compile(source, str(PROGRAM), "exec"), names)  # noqa: S102 - our own
    return names


def write_parts(folder: Path) -> None:
    rng = np.random.default_rng(5)
    for name, count in (("train", 7), ("val", 3)):
        images = rng.normal(0, 0.3, (count, 1, 16, 24)).astype(np.float32)
        truths = np.zeros((count, 16, 24), np.uint8)
        for index in range(count - 1):  # the last one is free of tumour
            top, left = rng.integers(0, 10, 2)
            truths[index, top : top + 6, left : left + 8] = 1
        images[:, 0] += 2.0 * truths
        part = {"images": torch.from_numpy(images), "truths": torch.from_numpy(truths)}
        save_file(part, folder / f"{name}.safetensors")
    shape = (3, 5, 2, 3, 4)  # batches, slices, channels, height, width
    features = {name: torch.from_numpy(rng.normal(3, 2, shape).astype(np.float32)) for name in ("features", "weights")}
    save_file(features, folder / "features.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have left behind. Read only."""
    folder = tmp_path_factory.mktemp("team")
    write_parts(folder)
    meeting = find_meeting(1)
    usual = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": meeting.address, "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder)],
            env=os.environ | usual | {"MASTER_PORT": str(meeting.port), "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    outputs = [process.communicate(timeout=900)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert outputs == ["", ""], "Fabric and gloo print nothing"
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    """What each process has written down."""
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(folder: Path) -> list[dict[str, Any]]:
    """The history of one process with the whole batch."""
    program = load_program()
    compute = start_alone(program)
    rows, _ = program["train"](folder, "alone", compute)
    return rows


def start_alone(program: dict[str, Any]) -> Compute:
    """Compute as one process of one thread."""
    config = program["config_from_tables"](program["CONFIG"])
    return start_compute(replace(config, training=replace(config.training, threads=1)).training)


def curves(rows: list[dict[str, Any]]) -> list[float]:
    return [row[key] for row in rows for key in ("train_loss", "val_loss", "val_dice")]


def test_two_processes_have_the_curve_of_one_with_the_whole_batch(found, alone):
    assert len(curves(alone)) == 9
    assert curves(found[0]["rows"]) == pytest.approx(curves(alone), abs=TOLERANCE)
    assert len({loss for row in alone for loss in (row["train_loss"], row["val_loss"])}) == 6, "nothing stands still"


def test_both_end_with_the_same_bits_and_history(found, folder):
    one, other = (load_file(folder / f"together{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert found[0]["rows"] == found[1]["rows"]


def test_stopped_and_continued_by_two_one_and_two_it_is_the_same_training(found, alone, folder):
    assert curves(found[0]["resumed"]) == pytest.approx(curves(alone), abs=TOLERANCE)
    assert found[0]["resumed"][:1] != alone[:1], "times differ: the first epoch is its own"
    assert (folder / "resumed" / "metrics.csv").read_text(encoding="utf-8").count("\n") == 4


def test_only_the_first_process_writes(folder):
    assert (folder / "together" / "best.safetensors").is_file()
    assert not (folder / "not-written").exists()


def test_seven_slices_are_scored_once_each(found, folder):
    program = load_program()
    compute = start_alone(program)
    expected = program["score"](folder, compute, program["config_from_tables"](program["CONFIG"]))
    assert expected["seen"] == 7
    assert [each["scores"]["seen"] for each in found] == [4, 3]
    for each in found:
        assert each["scores"]["loss"] == pytest.approx(expected["loss"], abs=1e-6)
        assert (each["scores"]["dice"], each["scores"]["marked"]) == (expected["dice"], expected["marked"])


def test_threads_are_divided_and_told(found):
    assert [each["threads"] for each in found] == [1, 1]
    assert found[0]["described"] == "CPU, 1 thread, float32 in each of 2 processes"


def test_the_first_process_decides(found):
    assert [each["agreed"] for each in found] == ["continue, says 0"] * 2


def test_a_process_that_goes_without_a_word_is_missed(folder):
    assert "another process of this training has ended" in (folder / "lost.txt").read_text(encoding="utf-8")


def test_gathered_statistics_are_those_of_the_whole_batch(folder):
    batches = load_program()["BATCHES"]
    tensors = load_file(folder / "features.safetensors")
    own = [load_file(folder / f"normalised{rank}.safetensors") for rank in range(2)]
    layer = nn.BatchNorm2d(2, eps=1e-3)
    for number, sizes in enumerate(batches):
        layer.zero_grad()
        features = tensors["features"][number, : sum(sizes)].clone().requires_grad_()
        output = layer(features)
        (output * tensors["weights"][number, : sum(sizes)]).sum().backward()
        expected = {"output": output, "gradient": features.grad}
        for name, whole in expected.items():
            assert [len(each[f"{name}{number}"]) for each in own] == list(sizes)
            torch.testing.assert_close(torch.cat([each[f"{name}{number}"] for each in own]), whole.detach())
        for name, whole in {"weight": layer.weight.grad, "bias": layer.bias.grad}.items():
            torch.testing.assert_close(sum(each[f"{name}{number}"] for each in own), whole, rtol=1e-5, atol=1e-5)
    for each in own:
        torch.testing.assert_close(each["mean"], layer.running_mean)
        torch.testing.assert_close(each["variance"], layer.running_var)
        assert each["count"] == layer.num_batches_tracked == 3


def test_every_batch_normalisation_is_replaced_and_evaluates_as_before():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    network[1][0].running_mean.fill_(0.5)
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    before, names = network.eval()(images), list(network.state_dict())
    gather_statistics(network, torch.device("cpu"))
    assert type(network[1][0]) is GatheredBatchNorm2d
    assert list(network.state_dict()) == names
    assert torch.equal(network(images), before)


@given(count=st.integers(0, 9), size=st.integers(1, 5))
def test_shares_are_in_order_and_differ_by_one(count: int, size: int):
    batch = torch.arange(count) * 7
    shares = [Team(Place(rank, size, 0, 1)).share(batch) for rank in range(size)]
    assert torch.equal(torch.cat(shares), batch)
    sizes = [len(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_alone_nothing_is_shared_or_wrapped():
    network, tensor = nn.Conv2d(1, 1, 1), torch.ones(2, requires_grad=True)
    with open_team(None, "auto") as team:
        assert team is ALONE
    assert ALONE.leads
    assert ALONE.join_network(network) is network
    assert ALONE.gather(tensor, 2) is tensor
    assert ALONE.agree("word") == "word"
    ALONE.backward((3 * tensor).sum())
    assert tensor.grad is not None
    assert tensor.grad.tolist() == [3.0, 3.0]


def test_too_few_gpus_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(TumortraceError, match="--devices 2, but torch sees 1 GPU here"),
        open_team(Place(0, 2, 0, 2), "auto"),
    ):
        pass


def test_the_second_of_three_machines_says_where_it_was_to_meet_the_first(monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    class Fabric:
        def __init__(self, **settings: object) -> None:
            asked.update(settings)

        def launch(self) -> None:
            raise RuntimeError("timed out\nafter 30 minutes")

    monkeypatch.setattr("lightning_fabric.Fabric", Fabric)
    monkeypatch.setenv("MASTER_ADDR", "first.example")
    monkeypatch.setenv("MASTER_PORT", "29500")
    message = r"^6 processes were to meet at first\.example:29500, and did not \(timed out\); check MASTER_ADDR,"
    with pytest.raises(TumortraceError, match=message), open_team(Place(2, 6, 0, 2), "cpu"):
        pass
    assert (asked["accelerator"], asked["devices"], asked["num_nodes"]) == ("cpu", 2, 3)


def test_fabric_waits_for_a_team_and_its_import_asks_nobody(found):
    assert [each["asked"] for each in found] == [[], []]  # team_program.py asserts that it was not imported before
