from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import Config, NetworkConfig, config_from_tables
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, ModelError, TumortraceError
from tumortrace.training.checkpoint import (
    Saved,
    TrainingState,
    load_checkpoint,
    load_weights,
    new_state,
    read_state,
    read_tensors,
    read_texts,
    refuse_other_settings,
    resume_state,
    save_checkpoint,
    save_weights,
)
from tumortrace.training.epochs import EpochRow
from tumortrace.training.networks import UNet, build_network

ROWS = [
    EpochRow(
        1,
        0.1 + 0.2,
        0.75,
        None,
        images_per_second=12.5,
        loader_share=0.25,
        seconds=3.0,
        train_loss_name="dice",
        val_loss_name="cross_entropy",
    ),
    EpochRow(2, float("inf"), None, 0.5, images_per_second=0.5, loader_share=0.0, seconds=4.0),
]
CONFIG = config_from_tables({"recipe": {"size_hw": [8, 12]}, "network": {"widths": [3, 5]}, "training": {"seed": 7}})
STATE = TrainingState(CONFIG, "ab" * 32, rows=ROWS)


def start(*, seed: int = 0, widths: tuple[int, ...] = (3, 5)) -> tuple[UNet, torch.optim.Adam]:
    network = build_network(NetworkConfig(widths=widths), size_hw=(8, 12), seed=seed).train()
    network.to(memory_format=torch.channels_last)  # as the loop has it
    return network, torch.optim.Adam(network.parameters(), lr=0.01)


def step(network: UNet, optimizer: torch.optim.Optimizer, *, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    for _ in range(count):
        images = torch.randn(2, 1, 8, 12, generator=generator)
        loss = functional.cross_entropy(network(images), (images[:, 0] > 0).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def moments_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


def header_of(path: Path) -> dict[str, dict[str, object]]:
    """A safetensors file by its specification: 8 bytes of little-endian length, that much JSON, the numbers."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    numbers = len(data) - 8 - length
    assert max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__") == numbers
    return header


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, UNet, torch.optim.Adam]:
    network, optimizer = start()
    step(network, optimizer, count=3)
    path = tmp_path / "last" / "checkpoint.safetensors"
    save_checkpoint(path, Saved(network, None, optimizer, torch.ones(3)), STATE)
    return path, network, optimizer


def test_round_trip_of_weights_and_moments_bit_for_bit(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    loaded, its_optimizer = start(seed=1)
    load_checkpoint(path, Saved(loaded, None, its_optimizer, torch.ones(3)))
    assert read_state(path) == STATE
    assert_equal(loaded.state_dict(), network.state_dict())
    expected = moments_of(network, optimizer)
    assert expected["head.weight.step"].item() == 3
    assert expected["head.weight.exp_avg"].abs().max() > 0
    assert_equal(moments_of(loaded, its_optimizer), expected)


def test_the_average_comes_back(tmp_path: Path):
    network, optimizer = start()
    average, loaded = start(seed=2)[0], start(seed=1)[0]
    save_checkpoint(tmp_path / "c", Saved(network, average, optimizer, torch.ones(3)), STATE)
    load_checkpoint(tmp_path / "c", Saved(network, loaded, optimizer, torch.ones(3)))
    assert_equal(loaded.state_dict(), average.state_dict())


def test_the_peaks_come_back_where_they_were(tmp_path: Path):
    network, optimizer = start()
    peaks, loaded = torch.tensor([0.25, 1.0, 0.5]), torch.ones(3)
    save_checkpoint(tmp_path / "c", Saved(network, None, optimizer, peaks), STATE)
    load_checkpoint(tmp_path / "c", Saved(network, None, optimizer, loaded))
    assert loaded.tolist() == [0.25, 1.0, 0.5]


def test_a_run_that_averages_does_not_continue_one_that_did_not(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    with pytest.raises(ModelError, match="cannot be resumed from"):
        load_checkpoint(path, Saved(network, start()[0], optimizer, torch.ones(3)))


def test_steps_after_loading_are_those_without_a_stop(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    loaded, its_optimizer = start(seed=1)
    load_checkpoint(path, Saved(loaded, None, its_optimizer, torch.ones(3)))
    step(network, optimizer, count=5)
    step(loaded, its_optimizer, count=5)
    assert_equal(loaded.state_dict(), network.state_dict())
    assert_equal(moments_of(loaded, its_optimizer), moments_of(network, optimizer))


def test_the_optimizer_keeps_the_settings_it_was_given(saved: tuple[Path, UNet, torch.optim.Adam]):
    network = start()[0]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.25, weight_decay=0.125)
    load_checkpoint(saved[0], Saved(network, None, optimizer, torch.ones(3)))
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)


def test_a_checkpoint_before_the_first_step_has_no_moments(tmp_path: Path):
    network, optimizer = start()
    save_checkpoint(tmp_path / "c", Saved(network, None, optimizer, torch.ones(3)), TrainingState(CONFIG, "00"))
    load_checkpoint(tmp_path / "c", Saved(network, None, optimizer, torch.ones(3)))
    assert read_state(tmp_path / "c") == TrainingState(CONFIG, "00", rows=[])
    assert moments_of(network, optimizer) == {}


def test_loaded_moments_do_not_hang_on_to_the_file(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    loaded, its_optimizer = start(seed=1)
    load_checkpoint(path, Saved(loaded, None, its_optimizer, torch.ones(3)))
    path.write_bytes(bytes(path.stat().st_size))  # in place, where a mapped file would change under its reader
    assert_equal(moments_of(loaded, its_optimizer), moments_of(network, optimizer))


def test_a_checkpoint_is_safetensors_and_its_history_is_json(saved: tuple[Path, UNet, torch.optim.Adam]):
    header = header_of(saved[0])
    state = json.loads(str(header.pop("__metadata__")["state"]))
    assert state["data_hash"] == "ab" * 32
    assert state["config"]["recipe"]["size_hw"] == [8, 12]
    assert state["config"]["training"]["seed"] == 7
    assert state["rows"][0] == {
        "epoch": 1,
        "train_loss": 0.30000000000000004,
        "val_loss": 0.75,
        "val_dice": None,
        "images_per_second": 12.5,
        "loader_share": 0.25,
        "seconds": 3.0,
        "train_loss_name": "dice",
        "val_loss_name": "cross_entropy",
    }
    assert header["network.head.weight"]["shape"] == [2, 3, 1, 1]
    assert header["optimizer.0.exp_avg"]["shape"] == [3, 1, 3, 3]


def test_a_killed_write_leaves_the_old_checkpoint_whole(
    saved: tuple[Path, UNet, torch.optim.Adam], monkeypatch: pytest.MonkeyPatch
):
    path, network, optimizer = saved
    old = path.read_bytes()
    step(network, optimizer, count=1)

    def stop(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tumortrace.files.os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, Saved(network, None, optimizer, torch.ones(3)), STATE)
    assert path.read_bytes() == old


def test_weights_round_trip_and_their_file_depends_on_nothing_else(tmp_path: Path):
    network, optimizer = start()
    step(network, optimizer, count=2)
    save_weights(tmp_path / "a", network)
    loaded = build_network(NetworkConfig(widths=(3, 5)), size_hw=(8, 12), seed=9)  # not channels-last
    load_weights(tmp_path / "a", loaded)
    assert_equal(loaded.state_dict(), network.state_dict())
    save_weights(tmp_path / "b", loaded)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert header_of(tmp_path / "a").keys() == network.state_dict().keys()


@pytest.mark.parametrize("length", [0, 7, 8, 200, -1])
def test_a_truncated_file_is_refused_in_one_line(saved: tuple[Path, UNet, torch.optim.Adam], length: int):
    path = saved[0]
    path.write_bytes(path.read_bytes()[:length])
    network, optimizer = start()
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors: cannot be resumed from \(.+\); train") as caught:
        load_checkpoint(path, Saved(network, None, optimizer, torch.ones(3)))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors: cannot be resumed from \(.+\); train") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors: not the weights of this network \(.+\)") as caught:
        load_weights(path, network)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("widths", "cause"),
    [
        ((3, 6), r"bottleneck\.0\.weight has shape \[5, 3, 3, 3\], not \[6, 3, 3, 3\], and 4 others"),
        ((3, 5, 5), r"encoders\.1\.0\.weight is missing, and \d+ others"),
    ],
)
def test_another_network_is_refused_in_one_line(
    saved: tuple[Path, UNet, torch.optim.Adam], tmp_path: Path, widths: tuple[int, ...], cause: str
):
    path, network, _ = saved
    other, optimizer = start(widths=widths)
    with pytest.raises(ModelError, match=rf"cannot be resumed from \({cause}") as caught:
        load_checkpoint(path, Saved(other, None, optimizer, torch.ones(3)))
    assert "\n" not in str(caught.value)
    save_weights(tmp_path / "best.safetensors", network)
    with pytest.raises(ModelError, match=rf"not the weights of this network \({cause}"):
        load_weights(tmp_path / "best.safetensors", other)


def test_weights_alone_are_no_checkpoint(tmp_path: Path):
    network, optimizer = start()
    save_weights(tmp_path / "best.safetensors", network)
    with pytest.raises(ModelError, match="cannot be resumed from"):
        load_checkpoint(tmp_path / "best.safetensors", Saved(network, None, optimizer, torch.ones(3)))
    with pytest.raises(ModelError, match="cannot be resumed from"):
        read_state(tmp_path / "best.safetensors")


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"rows": [{"era": 1}]}, "'era'"),
        ({"config": {"training": {"momentum": 0.9}}}, "unknown key 'training.momentum'"),
        ({"config": 3}, "must be a table, not 3"),
    ],
)
def test_a_history_that_is_not_understood_is_refused(
    changed: dict[str, object], cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    network, optimizer = start()
    document = {"config": {}, "data_hash": "00", "rows": []}
    monkeypatch.setattr("tumortrace.training.checkpoint.asdict", lambda _: document | changed)
    save_checkpoint(tmp_path / "c", Saved(network, None, optimizer, torch.ones(3)), STATE)
    with pytest.raises(ModelError, match=rf"cannot be resumed from .*{cause}"):
        read_state(tmp_path / "c")


def config_with(**training: object) -> Config:
    return config_from_tables({"network": {"widths": [3, 5]}, "training": training})


def test_other_settings_are_named_with_both_values():
    began, now = config_with(seed=3), config_from_tables({"network": {"widths": [3, 6]}, "training": {"seed": 4}})
    with pytest.raises(ConfigError) as caught:
        refuse_other_settings(Path("c"), began, now)
    assert str(caught.value) == (
        "c: began under network.widths = (3, 5), not (3, 6); training.seed = 3, not 4; "
        "keep to that, or choose another --out"
    )


def test_epochs_device_and_threads_may_differ():
    refuse_other_settings(Path("c"), config_with(), config_with(epochs=99, device="cpu", threads=1))


TRAIN, VAL = {"a": "1" * 64, "b": "2" * 64}, {"c": "3" * 64, "d": "5" * 64}


def test_a_run_continues_with_the_same_slices_on_the_same_sides_alone(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    began = replace(new_state(CONFIG, TRAIN, VAL, threads=2), rows=ROWS)
    save_checkpoint(path, Saved(network, None, optimizer, torch.ones(3)), began)
    assert read_state(path) == began
    now = new_state(CONFIG, TRAIN, VAL, threads=4)
    assert resume_state(path, fresh=now) == replace(now, rows=ROWS)
    turned_train, turned_val = (dict(reversed(part.items())) for part in (TRAIN, VAL))
    moved = {"a": TRAIN["a"]}, {"b": TRAIN["b"], **VAL}
    for train, val in ((turned_train, VAL), (TRAIN, turned_val), moved):
        with pytest.raises(TumortraceError, match="was trained on the same slices in another order or on other sides"):
            resume_state(path, fresh=new_state(CONFIG, train, val, threads=2))
    for train, val in ((TRAIN | {"a": "4" * 64}, VAL), (TRAIN, VAL | {"c": "4" * 64})):
        with pytest.raises(TumortraceError, match=r"was trained on other data \(sha256 "):
            resume_state(path, fresh=new_state(CONFIG, train, val, threads=2))
    assert resume_state(path.with_name("none"), fresh=now) is now


def test_a_checkpoint_of_an_earlier_version_lacks_peaks_threads_and_order(saved: tuple[Path, UNet, torch.optim.Adam]):
    path, network, optimizer = saved
    state = json.loads(read_texts(path)["state"])
    state |= {"data_hash": hash_part(TRAIN | VAL)}
    del state["threads"], state["order"]
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if name != "peaks"}
    path.write_bytes(save(tensors, metadata={"state": json.dumps(state)}))
    now, peaks = new_state(CONFIG, TRAIN, VAL, threads=2), torch.tensor([0.25, 0.5, 1.0])
    assert read_state(path).threads == 0
    assert resume_state(path, fresh=now).rows == ROWS
    load_checkpoint(path, Saved(network, None, optimizer, peaks))
    assert peaks.tolist() == [0.25, 0.5, 1.0]


def test_a_pickle_is_never_opened(tmp_path: Path):
    network, optimizer = start()
    torch.save(network.state_dict(), tmp_path / "best.safetensors")
    with pytest.raises(ModelError, match="not the weights"):
        load_weights(tmp_path / "best.safetensors", network)
    with pytest.raises(ModelError, match="cannot be resumed"):
        load_checkpoint(tmp_path / "best.safetensors", Saved(network, None, optimizer, torch.ones(3)))


def test_missing_weights_are_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"best\.safetensors: not the weights of this network \(.*No such file"):
        load_weights(tmp_path / "best.safetensors", start()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_run_may_lie_in_a_folder_whose_name_is_not_utf8(tmp_path: Path):
    folder = tmp_path / os.fsdecode(b"r\xe9n")
    network, optimizer = start()
    step(network, optimizer, count=1)
    save_checkpoint(folder / "c", Saved(network, None, optimizer, torch.ones(3)), STATE)
    save_weights(folder / "best.safetensors", network)
    other, its_optimizer = start(seed=1)
    load_weights(folder / "best.safetensors", other)
    load_checkpoint(folder / "c", Saved(other, None, its_optimizer, torch.zeros(3)))
    assert read_state(folder / "c") == STATE
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
