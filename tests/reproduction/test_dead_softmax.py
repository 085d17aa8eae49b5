"""A saturated softmax: overlap losses lose their gradient there, cross-entropy does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reproduction.dead_softmax import EPOCHS, TRIALS, measure_gradients, try_out

from reproduction import dead_softmax
from tumortrace.config import Config, NetworkConfig, Recipe, to_toml
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.errors import ConfigError
from tumortrace.training.arrays import prepare_part
from tumortrace.training.networks import UNet, build_network
from tumortrace.trials import jobs


@pytest.fixture
def dataset(phantom_data: Path) -> Dataset:
    return open_dataset(phantom_data)


def test_gradients_before_and_after_saturation(dataset: Dataset):
    part = prepare_part(dataset.select("train")[:4], Recipe(size_hw=(32, 48)), name="slices")
    network = build_network(NetworkConfig(widths=(3, 5)), size_hw=(32, 48), seed=0)
    assert isinstance(network, UNet)
    first = {row["loss"]: row for row in measure_gradients(network, part)}
    assert all(row["gradient_norm"] > 1e-3 for row in first.values())
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([500.0, -500.0]))  # all background, beyond doubt
    last = {row["loss"]: row for row in measure_gradients(network, part)}
    assert last["tversky"]["gradient_norm"] == last["dice"]["gradient_norm"] == 0.0
    assert last["cross_entropy"]["gradient_norm"] > first["cross_entropy"]["gradient_norm"] / 100
    assert last["dice_cross_entropy"]["gradient_norm"] == pytest.approx(last["cross_entropy"]["gradient_norm"])
    assert last["dice"]["logits_apart_low"] <= last["dice"]["logits_apart_middle"] <= last["dice"]["logits_apart_high"]
    assert last["dice"]["logits_apart_middle"] == pytest.approx(-1000, abs=5)
    # The cross-entropy of t of the pixels missed by 1000: its value says how many.
    share = part.truths.float().mean().item()
    assert last["cross_entropy"]["value"] == pytest.approx(1000 * share, rel=0.02)


@pytest.mark.parametrize("name", list(TRIALS))
def test_a_trial_changes_what_it_says_and_is_not_repeated(
    name: str, dataset: Dataset, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def pretend(_dataset: Dataset, config: Config, *, out: Path, start_from: object, **_: object) -> None:
        seen.append((config, start_from))
        out.mkdir(parents=True)
        (out / "config.toml").write_text(to_toml(config))
        (out / "manifest.json").write_text("{}")
        (out / "metrics.csv").write_text("epoch,train_loss,val_loss,val_dice\n4,0.5,0.25,0.125\n")

    monkeypatch.setattr(jobs, "train", pretend)
    rows = [try_out(name, dataset, run=tiny_run, out=tmp_path) for _ in range(2)]
    assert rows == [{"trial": name, "epoch": 4.0, "train_loss": 0.5, "val_loss": 0.25, "val_dice": 0.125}] * 2
    ((config, start_from),) = seen
    assert config.training.epochs == EPOCHS
    goes_on, changes = TRIALS[name]
    assert (start_from is not None) == goes_on
    plain = dead_softmax.load_config(str(tiny_run / "config.toml"), (f"training.epochs={EPOCHS}",))
    assert (config == plain) == (not changes)


def test_a_folder_that_is_no_run(phantom_data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"config\.toml"):
        dead_softmax.main(phantom_data, run=tmp_path, split=tmp_path / "split.json")
