"""A run's curves for TensorBoard, written by the thread that trains.

TensorBoard's own writer hands its records to a second thread through a queue. An interruption that falls into that
queue leaves its lock shut: the run then waits forever, and no further Ctrl-C ends it. Records go straight to disk here.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tumortrace.files import append_whole, make_folder
from tumortrace.training.epochs import EpochRow


def start_events(folder: Path, *, epoch: int) -> Path:
    """Start an event file, named so that it is read after those that the folder has.

    Args:
        folder: Folder of event files; it is made if it does not exist.
        epoch: First epoch that will be logged; TensorBoard drops this and later epochs of earlier files.
    """
    make_folder(folder)
    path = folder / f"events.out.tfevents.{time.time():.6f}"
    _append(path, [Event(file_version="brain.Event:2"), Event(session_log=SessionLog(status=SessionLog.START))], epoch)
    return path


def log_epoch(path: Path, row: EpochRow) -> None:
    """Add an epoch to an event file: its losses, each under its own name, and the Dice of VAL; None has no point."""
    scalars = {
        f"{row.train_loss_name}/train": row.train_loss,
        f"{row.val_loss_name}/val": row.val_loss,
        "dice/val": row.val_dice,
    }
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value is not None]
    _append(path, [Event(summary=Summary(value=values))], row.epoch)


def _append(path: Path, events: Sequence[Event], epoch: int) -> None:
    """Write all events at once, so that a kill leaves all of them or none."""
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        event.wall_time, event.step = time.time(), epoch
        writer.write(event.SerializeToString())
    append_whole(path, records.getvalue())
