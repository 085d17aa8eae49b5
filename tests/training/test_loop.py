from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import Config, config_from_tables
from tumortrace.errors import ConfigError, TumortraceError
from tumortrace.run_folder import BEST, CHECKPOINT
from tumortrace.training import batches, loop, validation
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute
from tumortrace.training.loop import fit
from tumortrace.training.networks import build_network
from tumortrace.training.pace import Pace
from tumortrace.training.sampling import Negatives

Settings = Callable[..., Config]
Weights = dict[str, Tensor]


class Logit(nn.Module):
    """Gives the pixel itself as the logit of tumour and 0 as that of background."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images), self.scale * images], dim=1)


def part_of(logits: list[list[float]], truths: list[list[int]]) -> PreparedPart:
    """Slices of one row, whose pixels are the logits that ``Logit`` gives."""
    images = torch.tensor(logits)[:, None, None, :]
    hashes = {str(index): str(index) for index in range(len(logits))}
    masks = torch.tensor(truths, dtype=torch.uint8)[:, None, :]
    return PreparedPart(images, masks, ("",) * len(logits), hashes, (None,) * len(logits), ())


def first_network(config: Config) -> nn.Module:
    return build_network(config.network, size_hw=config.recipe.size_hw, seed=config.training.seed)


def weights_of(network: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def read_rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_epoch_lowers_the_loss(squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path):
    config = settings(epochs=1)
    network = first_network(config)

    def loss() -> float:
        with torch.no_grad():
            return functional.cross_entropy(network.train()(squares.images), squares.truths.long()).item()

    before = loss()
    fit(network, config, compute=compute, train=squares, val=squares, run=tmp_path)
    assert loss() < before


def test_a_bright_square_is_learnt(squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path):
    config = settings(epochs=20)
    state = fit(first_network(config), config, compute=compute, train=squares, val=squares, run=tmp_path)
    assert [row.epoch for row in state.rows] == list(range(1, 21))
    assert state.rows[-1].train_loss < 0.5 * state.rows[0].train_loss
    assert state.rows[-1].val_dice is not None
    assert state.rows[-1].val_dice > 0.9


def test_the_same_seed_gives_the_same_bits(
    squares: PreparedPart, other_squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    files, weights = [], []
    for name in ("one", "two"):
        torch.manual_seed(len(files))  # whatever was drawn before
        network = first_network(settings())
        fit(network, settings(), compute=compute, train=squares, val=other_squares, run=tmp_path / name)
        files.append((tmp_path / name / "best.safetensors").read_bytes())
        weights.append(weights_of(network))
    assert same(*weights)
    assert files[0] == files[1]


def test_another_seed_takes_another_order(squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path):
    weights = []
    for seed in (0, 1):
        network = first_network(settings())  # the same first weights
        fit(network, settings(seed=seed), compute=compute, train=squares, val=squares, run=tmp_path / str(seed))
        weights.append(weights_of(network))
    assert not same(*weights)


NAN = math.nan


def test_measures_by_hand(settings: Settings, compute: Compute, tmp_path: Path):
    """Three slices of three pixels in batches of two: means are over slices, whatever batch they came in."""
    config = settings(epochs=1, batch_size=2, learning_rate=1e-30)
    ln3, far = math.log(3), 30.0  # probability of tumour 0.75, and 1 - 1e-13
    # Slice 1: TP, FP, FN. Slice 2: all right. Slice 3: empty truth, one FP. The threshold of 0.5 is reached at logit 0.
    part = part_of([[ln3, ln3, -ln3], [0.0, -far, -far], [-far, -far, ln3]], [[1, 0, 1], [1, 0, 0], [0, 0, 0]])
    (row,) = fit(Logit(), config, compute=compute, train=part, val=part, run=tmp_path).rows
    ln4, ln2 = math.log(4), math.log(2)
    losses = [(ln4 - ln3 + ln4 + ln4) / 3, ln2 / 3, ln4 / 3]
    assert row.val_loss == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert row.train_loss == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert row.val_dice == pytest.approx((2 / 4 + 1 + 0) / 3, rel=1e-6)


def test_dice_leaves_out_slices_where_it_is_undefined(settings: Settings, compute: Compute, tmp_path: Path):
    empty = part_of([[-1.0, -2.0]], [[0, 0]])
    mixed = part_of([[-1.0, -2.0], [1.0, 1.0]], [[0, 0], [1, 0]])
    config = settings(epochs=1, learning_rate=1e-30)
    (row,) = fit(Logit(), config, compute=compute, train=mixed, val=mixed, run=tmp_path / "mixed").rows
    assert row.val_dice == pytest.approx(2 / 3)
    (row,) = fit(Logit(), config, compute=compute, train=mixed, val=empty, run=tmp_path / "empty").rows
    assert row.val_dice is None
    assert row.val_loss is not None


@pytest.mark.parametrize(
    ("recipe", "dice"),
    [
        ({}, 2 / 3),  # both pixels are marked, one is tumour
        ({"threshold": 0.8}, 1.0),
        ({"threshold": 0.7, "temperature": 2.0}, 1.0),  # logits halved: probabilities 0.63 and 0.75
        ({"peak_threshold": 0.95}, 0.0),  # no lesion reaches it
    ],
)
def test_validation_uses_the_recipe_s_thresholds_and_temperature(
    recipe: dict[str, float], dice: float, settings: Settings, compute: Compute, tmp_path: Path
):
    part = part_of([[math.log(3), 2 * math.log(3)]], [[0, 1]])  # probabilities 0.75 and 0.9
    config = settings(epochs=1, learning_rate=1e-30)
    config = replace(config, recipe=replace(config.recipe, **recipe))
    (row,) = fit(Logit(), config, compute=compute, train=part, val=part, run=tmp_path).rows
    assert row.val_dice == pytest.approx(dice)
    assert (row.train_loss_name, row.val_loss_name) == ("cross_entropy", "cross_entropy")


@pytest.mark.usefixtures("shown")
def test_a_model_that_marks_nothing_for_three_epochs_is_named_once(
    settings: Settings, compute: Compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    part = part_of([[-1.0, -2.0]] * 2, [[0, 1]] * 2)
    fit(Logit(), settings(epochs=2, learning_rate=1e-30), compute=compute, train=part, val=part, run=tmp_path / "two")
    assert "marked no tumour" not in capsys.readouterr().err
    config = settings(epochs=5, learning_rate=1e-30)
    fit(Logit(), config, compute=compute, train=part, val=part, run=tmp_path / "five")
    assert capsys.readouterr().err.count("the model has marked no tumour on any of 2 VAL slices for 3 epochs") == 1


def test_normalisation_learns_in_training_and_is_fixed_in_validation(
    squares: PreparedPart, other_squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    config = settings(epochs=2, batch_size=3)
    network = first_network(config)
    rows = fit(network, config, compute=compute, train=squares, val=other_squares, run=tmp_path).rows
    assert network.encoders[0][4].num_batches_tracked == 2 * 3  # seven slices are three batches
    with torch.no_grad():
        loss = functional.cross_entropy(network.eval()(other_squares.images), other_squares.truths.long())
    assert rows[-1].val_loss == pytest.approx(loss.item(), rel=1e-5)


def test_what_a_run_writes_after_each_epoch(
    squares: PreparedPart, other_squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    state = fit(first_network(settings()), settings(), compute=compute, train=squares, val=other_squares, run=tmp_path)
    rows = read_rows(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_loss"]) for row in rows] == [row.val_loss for row in state.rows]
    for row in state.rows:
        assert 0 <= row.loader_share <= 1
        assert row.images_per_second > 0
        assert row.seconds > 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["cross_entropy/train", "cross_entropy/val", "dice/val"]
    losses = [(event.step, event.value) for event in events.Scalars("cross_entropy/train")]
    assert losses == [(row.epoch, pytest.approx(row.train_loss)) for row in state.rows]


def test_without_validation_its_cells_are_empty(
    squares: PreparedPart, no_squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    fit(first_network(settings()), settings(), compute=compute, train=squares, val=no_squares, run=tmp_path)
    assert [(row["val_loss"], row["val_dice"]) for row in read_rows(tmp_path)] == [("", "")] * 3
    assert EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()["scalars"] == ["cross_entropy/train"]


def test_loader_share_is_the_time_spent_on_fetching(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A clock that moves 3 seconds in each fetch and 1 in each step of the optimizer."""
    now = [0.0]

    def fetch(*arguments: object) -> tuple[Tensor, Tensor]:
        now[0] += 3
        return original_fetch(*arguments)

    def step(*_: object, **__: object) -> None:
        now[0] += 1

    original_fetch = batches.fetch
    monkeypatch.setattr(batches, "fetch", fetch)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    monkeypatch.setattr("tumortrace.training.loop.time.perf_counter", lambda: now[0])
    config = settings(epochs=1, batch_size=7)
    (row,) = fit(first_network(config), config, compute=compute, train=squares, val=squares, run=tmp_path).rows
    assert (row.loader_share, row.images_per_second, row.seconds) == (0.75, 7 / 4, 7.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_diverges_ends_with_the_epoch(
    value: float, squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    fit(first_network(settings()), settings(epochs=1), compute=compute, train=squares, val=squares, run=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(before) == 2
    broken = replace(squares, images=torch.full_like(squares.images, value))
    message = r"^training diverged in epoch 2 \(loss nan\); lower training\.learning_rate and train into another --out$"
    with pytest.raises(TumortraceError, match=message):
        fit(first_network(settings()), settings(), compute=compute, train=broken, val=squares, run=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before
    assert [row["epoch"] for row in read_rows(tmp_path)] == ["1"]


def light_settings(epochs: int = 4, **training: object) -> Config:
    """Everything that the default configuration does, on the squares."""
    return config_from_tables(
        {
            "recipe": {"size_hw": [32, 64]},
            "network": {"encoder": "efficientnet-lite0", "widths": [4, 4, 4, 4]},
            "augmentation": {"flips": True, "geometry": True, "intensity": True, "appearance": True},
            "training": {
                "epochs": epochs,
                "coarse_epochs": 1,
                "batch_size": 4,
                "loss": "dice_cross_entropy",
                "optimizer": "adamw",
                "learning_rate": 0.01,
                "schedule": "one_cycle",
                "weight_decay": 0.01,
                "average": 0.9,
                "clip": 1.0,
                "keep": "last",
                "device": "cpu",
                "threads": 1,
            }
            | training,
        }
    )


def enlarge(part: PreparedPart, size_hw: tuple[int, int] = (32, 64)) -> PreparedPart:
    images = functional.interpolate(part.images, size_hw)
    truths = functional.interpolate(part.truths[:, None].float(), size_hw)[:, 0].to(torch.uint8)
    return replace(part, images=images, truths=truths)


def test_a_run_with_all_that_is_random_is_resumed_to_the_same_bits(
    squares: PreparedPart, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    part, config = enlarge(squares), light_settings(epochs=3, epoch_slices=5, batch_size=2)
    whole = first_network(config)
    fit(whole, config, compute=compute, train=part, val=part, run=tmp_path / "whole")
    train_epoch = loop._train_epoch

    def killed_in_the_third(trainer: loop._Trainer, epoch: int, *, tick: loop.Tick) -> loop._TrainedEpoch:
        if epoch == 3:
            raise KeyboardInterrupt
        return train_epoch(trainer, epoch, tick=tick)

    monkeypatch.setattr(loop, "_train_epoch", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        fit(first_network(config), config, compute=compute, train=part, val=part, run=tmp_path / "parts")
    monkeypatch.undo()
    parts = first_network(config)
    fit(parts, config, compute=compute, train=part, val=part, run=tmp_path / "parts")
    assert same(weights_of(whole), weights_of(parts))
    losses = [[row["train_loss"] for row in read_rows(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_what_is_kept_is_the_average(squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path):
    weights = []
    for average in (0.0, 0.9):
        network = first_network(settings())
        fit(
            network, settings(average=average), compute=compute, train=squares, val=squares, run=tmp_path / str(average)
        )
        weights.append(weights_of(network))
    assert not same(*weights)


def test_a_schedule_fixes_the_number_of_epochs(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    short = settings(schedule="one_cycle", epochs=1)
    fit(first_network(short), short, compute=compute, train=squares, val=squares, run=tmp_path)
    longer = settings(schedule="one_cycle", epochs=2)
    with pytest.raises(ConfigError, match=r"training\.epochs = 1, not 2"):
        fit(first_network(longer), longer, compute=compute, train=squares, val=squares, run=tmp_path)


def test_the_first_epochs_are_coarse(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[int, ...]] = []
    shrink = loop.shrink

    def note(images: torch.Tensor, truths: torch.Tensor, *, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(tuple(images.shape))
        return shrink(images, truths, step=step)

    monkeypatch.setattr(loop, "shrink", note)
    config = settings(epochs=3, coarse_epochs=2, batch_size=len(squares))
    fit(first_network(config), config, compute=compute, train=squares, val=squares, run=tmp_path)
    assert len(seen) == 2


def test_an_epoch_has_as_many_slices_as_the_settings_say_each_with_draws_of_its_own(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fetched: list[int] = []
    draws: list[float] = []
    steps: list[tuple[int, object]] = []
    fetch, set_rate = loop.fetch_varied, loop.set_learning_rate

    def note_slices(*given: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - those of fetch_varied
        _, indices, _, rngs, _ = given
        fetched.append(len(indices))
        draws.extend(float(rng.random()) for rng in rngs)
        return fetch(*given)

    def note_step(optimizer: torch.optim.Optimizer, step: int, **others: object) -> None:
        steps.append((step, others["epoch_steps"]))
        set_rate(optimizer, step, **others)

    monkeypatch.setattr(loop, "fetch_varied", note_slices)
    monkeypatch.setattr(loop, "set_learning_rate", note_step)
    for seed in (0, 1):
        config = settings(epochs=2, epoch_slices=5, batch_size=3, seed=seed)
        run = tmp_path / str(seed)
        fit(first_network(config), config, compute=compute, train=squares, val=squares, run=run)
    assert fetched == [3, 2, 3, 2] * 2
    assert steps == [(0, 2), (1, 2), (2, 2), (3, 2)] * 2
    assert len(set(draws)) == len(draws) == 20


def test_the_negatives_of_an_epoch_are_those_of_the_settings_and_of_the_epochs_before(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: list[tuple[float, float, list[float]]] = []
    draw = loop.draw_epoch

    def note(*arguments: object, negatives: Negatives, **others: object) -> Tensor:
        given.append((negatives.share, negatives.hard, negatives.peaks.tolist()))
        return draw(*arguments, negatives=negatives, **others)

    monkeypatch.setattr(loop, "draw_epoch", note)
    free = replace(squares, truths=torch.zeros_like(squares.truths))
    config = settings(epochs=2, negatives=0.25, hard_negatives=0.75)
    fit(first_network(config), config, compute=compute, train=free, val=squares, run=tmp_path)
    assert [each[:2] for each in given] == [(0.25, 0.75)] * 2
    assert given[0][2] == [1.0] * 7
    assert max(given[1][2]) < 1


@pytest.mark.usefixtures("shown")
def test_a_training_that_is_slowed_down_after_its_first_steps_says_so_once(
    squares: PreparedPart,
    settings: Settings,
    compute: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(Pace, "find_slowdown", lambda _: "slow: another program")
    config = settings(epochs=3, batch_size=len(squares))  # one step an epoch: the time is known after the fourth
    fit(first_network(config), config, compute=compute, train=squares, val=squares, run=tmp_path / "three")
    told = capsys.readouterr().err
    assert told.count("slow: another program") == 1
    assert "will take about" not in told
    config = settings(epochs=4, batch_size=len(squares))
    fit(first_network(config), config, compute=compute, train=squares, val=squares, run=tmp_path / "four")
    assert capsys.readouterr().err.count("4 epochs will take about") == 1


def test_gradients_are_clipped_where_the_settings_say_so(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    weights = []
    for clip in (0.0, 1e-6):  # so small that Adam's constant in the denominator, 1e-8, slows it down
        network = first_network(settings())
        config = settings(epochs=1, clip=clip)
        fit(network, config, compute=compute, train=squares, val=squares, run=tmp_path / str(clip))
        weights.append(weights_of(network))
    assert not same(*weights)


def test_what_is_kept_and_validated_is_the_average(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    config = settings(epochs=2, average=0.9)
    network = first_network(config)
    state = fit(network, config, compute=compute, train=squares, val=squares, run=tmp_path)
    tensors = load_file(tmp_path / CHECKPOINT)
    for name, tensor in load_file(tmp_path / BEST).items():
        assert torch.equal(tensor, tensors[f"average.{name}"]), name
        assert torch.equal(tensor, network.state_dict()[name]), name
    scores = validation.validate(network, squares, compute=compute, recipe=config.recipe, batch_size=3)
    assert (state.rows[-1].val_loss, state.rows[-1].val_dice) == (scores.loss, scores.dice)


def test_work_is_counted_in_pixels(settings: Settings):
    config = settings(epochs=3, coarse_epochs=1)  # 16 x 24 pixels; coarse: 10 x 16, multiples of 2
    assert loop._work_left(config, finished=0, train=7, val=3).pixels == 7 * (160 + 2 * 384) + 3 * 384
    assert loop._work_left(config, finished=2, train=7, val=3) == loop.Work(7 * 384 + 384, 1)


@pytest.mark.parametrize(("side", "expected"), [(256, 160), (64, 64), (32, 32), (96, 64)])
def test_coarse_slices_keep_multiples_that_the_network_can_halve(side: int, expected: int):
    images, truths = torch.zeros(2, 1, side, 32), torch.zeros(2, side, 32, dtype=torch.long)
    truths[:, : side // 2] = 1
    small, outlines = batches.shrink(images, truths, step=32)
    assert small.shape == (2, 1, expected, 32)
    assert outlines.shape == (2, expected, 32)
    assert outlines.float().mean().item() == 0.5


def test_only_slices_that_show_no_tumour_count_as_hard(
    squares: PreparedPart, settings: Settings, compute: Compute, tmp_path: Path
):
    free = replace(squares, truths=squares.truths.clone())
    free.truths[2:5] = 0
    fit(first_network(settings(epochs=1)), settings(epochs=1), compute=compute, train=free, val=squares, run=tmp_path)
    peaks = load_file(tmp_path / CHECKPOINT)["peaks"]
    assert (peaks[2:5] < 1).all()
    assert (peaks[[0, 1, 5, 6]] == 1).all()  # as before the first epoch
