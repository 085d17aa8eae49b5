"""Curves for TensorBoard, read back by TensorBoard."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tumortrace.training.epochs import EpochRow
from tumortrace.training.events import log_epoch, start_events


def epoch_row(epoch: int, train_loss: float, *, val_loss: float | None = None, val_dice: float | None = None):
    return EpochRow(epoch, train_loss, val_loss, val_dice, 8.0, 0.1, 2.0, "tversky", "cross_entropy")


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def test_each_curve_has_the_epochs_that_measured_it(tmp_path: Path):
    events = start_events(tmp_path / "new" / "curves", epoch=1)
    log_epoch(events, epoch_row(1, 0.75, val_loss=0.5, val_dice=0.25))
    log_epoch(events, epoch_row(2, 0.5))
    assert read_curves(tmp_path / "new" / "curves") == {
        "tversky/train": [(1, 0.75), (2, 0.5)],
        "cross_entropy/val": [(1, 0.5)],
        "dice/val": [(1, 0.25)],
    }


def test_a_second_file_replaces_the_epochs_from_its_first_on(tmp_path: Path):
    killed = start_events(tmp_path, epoch=1)
    for epoch, loss in ((1, 0.75), (2, 0.5), (3, 0.375)):
        log_epoch(killed, epoch_row(epoch, loss))
    resumed = start_events(tmp_path, epoch=2)
    log_epoch(resumed, epoch_row(2, 0.25))
    assert resumed > killed
    assert read_curves(tmp_path) == {"tversky/train": [(1, 0.75), (2, 0.25)]}


def test_no_thread_is_started_that_an_interruption_could_leave_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    log_epoch(start_events(tmp_path, epoch=1), epoch_row(1, 0.5))
    assert started == []
    assert read_curves(tmp_path) == {"tversky/train": [(1, 0.5)]}
