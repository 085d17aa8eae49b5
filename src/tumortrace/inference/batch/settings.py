"""Settings of one run of ``segment``, the same for all its pictures and volumes."""

from __future__ import annotations

from dataclasses import dataclass, field

from tumortrace.inference.prompts.boxes import Boxes
from tumortrace.inference.results.volume_files import VolumeOptions


@dataclass(frozen=True)
class SegmentSettings:
    """What is done with each picture and volume, beside the model. It may be pickled.

    Attributes:
        overlay: Whether to draw each mask over its picture, and a contact sheet of each volume.
        spacing_mm: Distance between pixel centres along rows and columns of pictures; None takes what each file says.
        options: Files to write for volumes.
        boxes: Boxes around the tumours of the pictures; None segments them automatically.
    """

    overlay: bool = False
    spacing_mm: tuple[float, float] | None = None
    options: VolumeOptions = field(default_factory=VolumeOptions)
    boxes: Boxes | None = None
