"""A run's curves for TensorBoard, written by the thread that trains.

TensorBoard's own writer hands its records to a second thread through a queue, and an interruption that falls into that
queue leaves its lock shut: the run then waits for ever and ends on no further Ctrl-C. Records go straight to disk here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tumortrace.training.checkpoint import EpochRow


def start_events(folder: Path, *, epoch: int) -> Path:
    """Start an event file, named so that it is read after those that the folder has.

    Args:
        folder: Made if it is not there.
        epoch: The first that will be logged; what earlier files say of it, or of later ones, no longer counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{time.time():.6f}"
    _append(path, [Event(file_version="brain.Event:2"), Event(session_log=SessionLog(status=SessionLog.START))], epoch)
    return path


def log_epoch(path: Path, row: EpochRow) -> None:
    """Add an epoch's losses and Dice to an event file; what was not measured has no point on its curve."""
    scalars = {"loss/train": row.train_loss, "loss/val": row.val_loss, "dice/val": row.val_dice}
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value is not None]
    _append(path, [Event(summary=Summary(value=values))], row.epoch)


def _append(path: Path, events: Sequence[Event], epoch: int) -> None:
    """All of them or, if the run is killed, none: they reach the file in one write."""
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        event.wall_time, event.step = time.time(), epoch
        writer.write(event.SerializeToString())
    with path.open("ab", buffering=0) as file:
        file.write(records.getvalue())
