from __future__ import annotations

import math
from pathlib import Path

import pytest

from tumortrace.config import Keep
from tumortrace.training.epochs import EpochRow, describe_epoch, kept_epoch, write_metrics

NAN = math.nan


@pytest.mark.parametrize(
    ("keep", "losses", "dices", "expected"),
    [
        ("last", [0.1, 0.2, 0.3], [0.9, 0.8, 0.7], 3),
        ("last", [None], [None], 1),
        ("best_loss", [0.3, 0.1, 0.2], [0.9, 0.8, 0.7], 2),
        ("best_loss", [0.3, 0.1, 0.1], [None, None, None], 2),
        ("best_loss", [NAN, 0.4, 0.5], [None, None, None], 2),
        ("best_loss", [0.4, NAN], [None, None], 1),
        ("best_loss", [NAN, NAN], [0.5, 0.4], 2),
        ("best_dice", [0.1, 0.2, 0.3], [0.2, 0.6, 0.6], 2),
        ("best_dice", [0.1, 0.2, 0.3], [None, 0.0, None], 2),
        ("best_dice", [0.1, 0.2], [None, None], 2),
    ],
)
def test_kept_epoch(keep: Keep, losses: list[float | None], dices: list[float | None], expected: int):
    pairs = enumerate(zip(losses, dices, strict=True), start=1)
    rows = [EpochRow(n, 1.0, loss, dice, images_per_second=1, loader_share=0, seconds=1) for n, (loss, dice) in pairs]
    assert kept_epoch(rows, keep=keep) == expected


def test_metrics_file_by_hand(tmp_path: Path):
    rows = [
        EpochRow(1, 0.5, None, None, images_per_second=20.25, loader_share=0.125, seconds=2.0),
        EpochRow(2, NAN, 0.25, 0.75, 20.0, 0.0, 1.5, train_loss_name="dice", val_loss_name="cross_entropy"),
    ]
    write_metrics(tmp_path / "metrics.csv", rows)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,train_loss,val_loss,val_dice,images_per_second,loader_share,seconds,train_loss_name,val_loss_name\n"
        "1,0.5,,,20.25,0.125,2.0,,\n"
        "2,,0.25,0.75,20.0,0.0,1.5,dice,cross_entropy\n"
    )


def test_describe_epoch_tells_losses_speed_and_time_left():
    rows = [EpochRow(1, 0.5, 0.25, 0.75, 10.0, 0.01, 60.0), EpochRow(2, 0.4, 0.2, None, 12.34, 0.01, 30.0)]
    line = describe_epoch(rows, epochs=4)
    assert line == "epoch 2/4  loss 0.4000  VAL loss 0.2000  12.3 images/s  2 min left"
    last = describe_epoch(rows[:1], epochs=1)  # of which no time is left
    assert last == "epoch 1/1  loss 0.5000  VAL loss 0.2500  VAL Dice 0.750  10.0 images/s"
