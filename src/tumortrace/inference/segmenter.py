"""Segment one picture or many from Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.scans import open_volumes
from tumortrace.data.slice import Slice, slice_from_array, with_spacing
from tumortrace.data.slice_file import read_slice
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError
from tumortrace.inference.model import BOX_MODEL, Model, open_model
from tumortrace.inference.parallel import map_in_order
from tumortrace.inference.predict import Prediction, predict
from tumortrace.inference.prompts.model import PromptModel, open_prompt_model
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.inference.prompts.volume import carry_box
from tumortrace.inference.volume_predict import VolumePrediction, combine_slices, segment_slice
from tumortrace.machine import usable_cores

ImageLike = Slice | NDArray[Any] | str | PathLike[str]
"""A picture to segment: a slice, its grey values, or the path of a file."""


class Segmenter:
    """A model, opened once, for any number of pictures.

    Several threads may use it at a time. It may be pickled and forked: each process opens the model's file again, and
    refuses a file that has changed.

    Example:
        >>> import numpy as np
        >>> from tumortrace import Segmenter
        >>> segmenter = Segmenter()
        >>> prediction = segmenter.predict(np.zeros((256, 256), dtype=np.uint8))
        >>> prediction.rejected, prediction.reasons
        (True, ('not a brain MR slice: the picture is blank',))

    Attributes:
        model: Model that it runs.
        gate: Whether it rejects what is no brain MR slice.
        tta: Whether it averages over the slice and its mirror image.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Model = "default",
        *,
        threads: int = 0,
        tta: bool = False,
        gate: bool = True,
        prompted: str | PathLike[str] | PromptModel = BOX_MODEL,
    ) -> None:
        """Open a model.

        Args:
            model: ``"default"`` (it comes with the package), an ``.onnx`` file, a run folder, or an opened model.
            threads: Threads of ONNX Runtime within one slice; 0 takes all that the process may use. An opened model
                has its own.
            tta: Whether to average over the slice and its mirror image, at twice the work.
            gate: Whether to reject what is no brain MR slice. Without the gate every picture gets a mask, a photograph
                too.
            prompted: Model that is asked where a person points: ``"box"`` (it comes with the package), a run folder, or
                an opened one. It is opened when it is first needed.

        Raises:
            ModelError: There is no such model, or it cannot be run.
            DataError: ``threads`` is no whole number of 0 or more.
        """
        _require_count(threads, "threads")
        self._threads = threads
        self._prompted = prompted
        self.model = model if isinstance(model, Model) else open_model(str(model), threads=threads)
        self.tta = tta
        self.gate = gate

    @property
    def prompt_model(self) -> PromptModel:
        """Model that is asked where a person points.

        Raises:
            ModelError: There is none.
        """
        if not isinstance(self._prompted, PromptModel):
            self._prompted = open_prompt_model(str(self._prompted), threads=self._threads)
        return self._prompted

    def predict(
        self,
        image: ImageLike,
        *,
        spacing_mm: tuple[float, float] | None = None,
        box_xyxy: Sequence[float] | NDArray[Any] | None = None,
        points_xy: Sequence[Sequence[float]] | NDArray[Any] | None = None,
        labels: Sequence[bool | int] | NDArray[Any] | None = None,
    ) -> Prediction:
        """Segment one picture, or what a person points at in it.

        Args:
            image: Grey values (H, W) of any real dtype, or red-green-blue (H, W, 3) of uint8 or uint16; a path; or a
                slice.
            spacing_mm: Distance between pixel centres along rows and columns, for areas and diameters in millimetres;
                None takes what the slice says of itself.
            box_xyxy: Loose box around the tumour: first column, first row, last column + 1, last row + 1, in pixels.
                With it the prompted model answers, and the mask stays near the box; None asks for the automatic mask.
            points_xy: Pixels (column, row) that refine a box, in the order in which they were clicked on.
            labels: Whether each point marks tumour (1) or what is none (0); None takes that all mark tumour.

        Returns:
            A prediction on the picture's own grid. A picture that is no brain MR slice is ``rejected``, with an empty
            mask, confidence 0 and the reason. ``prompts`` holds box and points; it is empty for an automatic mask.

        Raises:
            DataError: It is no picture, its file cannot be read, the spacing is not two positive numbers, the box does
                not lie on the picture, or there are points without a box.
            ModelError: The model answers with NaN or infinity, or there is no prompted model.
        """
        if box_xyxy is not None:
            return self.point(image, spacing_mm=spacing_mm).predict(box_xyxy, points_xy, labels)
        _refuse_points(points_xy, labels)
        opened = _with_spacing(_open(image), spacing_mm)
        return predict(self.model, opened, gate=self.gate, tta=self.tta)

    def point(self, image: ImageLike, *, spacing_mm: tuple[float, float] | None = None) -> PromptSession:
        """Prepare a picture for a person who points at tumours in it.

        Features are computed once for each box, so that a click costs a few milliseconds.

        Args:
            image: A picture as ``predict`` takes it.
            spacing_mm: Distance between pixel centres along rows and columns.

        Raises:
            DataError: As ``predict``.
            ModelError: There is no prompted model.
        """
        return PromptSession(self.prompt_model, _with_spacing(_open(image), spacing_mm), gate=self.gate)

    def predict_volume(
        self,
        volume: Volume | str | PathLike[str],
        *,
        workers: int = 0,
        box_xyxy: Sequence[float] | NDArray[Any] | None = None,
        points_xy: Sequence[Sequence[float]] | NDArray[Any] | None = None,
        labels: Sequence[bool | int] | NDArray[Any] | None = None,
        slice_index: int | None = None,
    ) -> VolumePrediction:
        """Segment all slices of a volume, and let neighbouring slices vote on the lesions.

        With a box on one slice, the mask there becomes the box of its neighbours, and so on until the tumour ends;
        the other slices stay empty.

        Args:
            volume: A volume from ``open_volumes``, or the path of a NIfTI or DICOM file or of a folder of one series.
            workers: Slices at a time; 0 takes one a core and one more.
            box_xyxy: Loose box around the tumour on one slice, as ``predict`` takes it.
            points_xy: Pixels that refine the box on that slice.
            labels: Whether each of them marks tumour.
            slice_index: Number of that slice, from 0.

        Returns:
            A mask on the volume's own grid, its lesions and the result of each slice.

        Raises:
            DataError: There is no volume, or more than one, or ``workers`` is no whole number of 0 or more; or the box
                does not lie on a slice of the volume. The result names a slice that cannot be read.
            TumortraceError: A library for scans is not installed.
        """
        _require_count(workers, "workers")
        opened = volume if isinstance(volume, Volume) else _open_one(volume)
        if box_xyxy is not None:
            return carry_box(
                opened, self.point, box_xyxy=box_xyxy, slice_index=slice_index, points_xy=points_xy, labels=labels
            )
        _refuse_points(points_xy, labels)
        if slice_index is not None:
            raise DataError(f"slice_index = {slice_index!r} without a box; give box_xyxy too")
        work = partial(segment_slice, opened, predict=self.predict)
        slices = list(map_in_order(work, range(len(opened)), workers=workers or usable_cores() + 1))
        return combine_slices(opened, slices, gate=self.gate)

    def predict_many(self, images: Iterable[ImageLike], *, workers: int = 0) -> Iterator[Prediction]:
        """Segment pictures in their order, several at a time; only a few of them are in memory.

        Open the segmenter with ``threads=1`` for this: one slice per core is faster than all cores on one slice.

        Args:
            images: Pictures as ``predict`` takes them; drawn one by one.
            workers: Pictures at a time; 0 takes one a core and one more.

        Raises:
            DataError: A picture cannot be read; those before it have come. Or a single picture is given, or ``workers``
                is no whole number of 0 or more.
        """
        single = _name_single(images)
        if single:
            raise DataError(f"predict_many takes several pictures, not {single} alone; give a list, or use predict")
        _require_count(workers, "workers")
        return map_in_order(self.predict, images, workers=workers or usable_cores() + 1)


def _open_one(path: str | PathLike[str]) -> Volume:
    """Open the only volume of a file or folder."""
    if not isinstance(path, str | PathLike):
        raise DataError(f"a {type(path).__name__} is no volume; give the path of a scan, or a Volume of open_volumes")
    opened = open_volumes(path)
    if len(opened.volumes) == 1:
        return opened.volumes[0]
    if opened.volumes:
        names = ", ".join(volume.name for volume in opened.volumes)
        raise DataError(f"{path}: {len(opened.volumes)} volumes ({names}); open them with open_volumes, and give one")
    cause = opened.findings[0].line() if opened.findings else f"{path}: no DICOM series or NIfTI file; give one"
    raise DataError(cause)


def _name_single(images: object) -> str:
    """Return the kind of an argument that cannot be several pictures; empty if it can."""
    if isinstance(images, Slice):
        return "a slice"
    if isinstance(images, np.ndarray):
        one = images.ndim < 3 or (images.ndim == 3 and images.shape[2] == 3)
        return f"an array of shape {images.shape}" if one else ""
    return repr(images) if isinstance(images, str | bytes | PathLike) else ""


def _refuse_points(points_xy: object, labels: object) -> None:
    """Refuse clicks without a box."""
    if points_xy is not None or labels is not None:
        raise DataError("points refine a box; give box_xyxy too, a loose box around the tumour")


def _require_count(number: object, name: str) -> None:
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 0:
        raise DataError(f"{name} = {number!r}; give a whole number, 0 for as many as the process may use")


def _open(image: ImageLike) -> Slice:
    if isinstance(image, Slice):
        return image
    if isinstance(image, np.ndarray):
        return slice_from_array(image)
    if isinstance(image, str | PathLike):
        return read_slice(image)
    raise DataError(f"type {type(image).__name__} is no picture; give a NumPy array, the path of a file, or a Slice")


def _with_spacing(image: Slice, spacing_mm: tuple[float, float] | None) -> Slice:
    return image if spacing_mm is None else with_spacing(image, _two_numbers(spacing_mm))


def _two_numbers(spacing_mm: object) -> tuple[float, float]:
    """Two distances of any real type; whether they are positive is checked elsewhere."""
    steps = spacing_mm.tolist() if isinstance(spacing_mm, np.ndarray) else spacing_mm
    if isinstance(steps, tuple | list) and len(steps) == 2 and all(isinstance(step, Real) for step in steps):
        return float(steps[0]), float(steps[1])
    raise DataError(f"spacing_mm {steps!r}; give two positive numbers, along rows and columns")
