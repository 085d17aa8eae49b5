"""Files of one segmented volume: mask, contact sheet, DICOM-SEG, sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumortrace.data.volume import Volume
from tumortrace.errors import DataError
from tumortrace.inference.contact_sheet import draw_sheet
from tumortrace.inference.model import Model
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.results.bids import describe_mask
from tumortrace.inference.results.signed import encode_signed_png
from tumortrace.inference.volume_predict import VolumePrediction
from tumortrace.json_csv import Document, encode_json


@dataclass(frozen=True)
class VolumeOptions:
    """What is written for each volume beside its mask.

    Attributes:
        dicom_seg: Whether to write a DICOM-SEG for DICOM input.
        empty_seg: Whether to write it for a volume without tumour too.
        seg_all_frames: Whether it holds the slices without tumour too.
        seg_fractional: Whether it holds probabilities in place of masks.
        bids: Whether files are named as BIDS derivatives, with JSON sidecars.
        keep_names: Whether the DICOM-SEG names patient and study as the images do.
    """

    dicom_seg: bool = False
    empty_seg: bool = True
    seg_all_frames: bool = False
    seg_fractional: bool = False
    bids: bool = False
    keep_names: bool = False


@dataclass(frozen=True)
class VolumeFile:
    """One volume to segment, and the name of its results.

    Attributes:
        volume: The volume.
        name: Path of its results within the output folder, without the endings such as ``_mask.nii.gz``.
        bids: Whether the files are named as BIDS derivatives.
    """

    volume: Volume
    name: str
    bids: bool = False

    @property
    def file(self) -> str:
        """Its file, or the folder that its files lie in."""
        paths = {source.path for source in self.volume.sources}
        return str(paths.pop()) if len(paths) == 1 else self._folder(paths)

    @property
    def mask(self) -> str:
        """Name of its mask."""
        return f"{self.name}_mask.nii.gz"

    @property
    def overlay(self) -> str:
        """Name of its contact sheet."""
        return f"{self.name}_overlay.png"

    @property
    def seg(self) -> str:
        """Name of its DICOM-SEG."""
        return f"{self.name}_seg.dcm"

    @property
    def sidecar(self) -> str:
        """Name of the JSON file that BIDS wants beside the mask."""
        return f"{self.name}_mask.json"

    @property
    def names(self) -> tuple[str, ...]:
        """All files that a run may write for it; the mask is the first."""
        return (self.mask, self.overlay, self.seg, *((self.sidecar,) if self.bids else ()))

    def _folder(self, paths: set[Path]) -> str:
        parents = {path.parent for path in paths}
        return str(parents.pop()) if len(parents) == 1 else self.volume.file


def encode_files(
    item: VolumeFile, prediction: VolumePrediction, *, model: Model, options: VolumeOptions, overlay: bool
) -> Iterator[tuple[str, bytes]]:
    """Make the files of a segmented volume, one at a time.

    Args:
        item: The volume.
        prediction: Prediction for it, neither rejected nor failed.
        model: Model that made it.
        options: Files to write beside the mask; a DICOM-SEG is made by ``encode_volume_seg``.
        overlay: Whether to draw a contact sheet; the prediction's slices then hold tiles.

    Yields:
        Names within the output folder, and contents.

    Raises:
        TumortraceError: A library for scans is not installed.
    """
    from tumortrace.inference.results.nifti_mask import encode_nifti

    yield item.mask, encode_nifti(prediction.mask, item.volume)
    if overlay:
        sheet = draw_sheet([one.tile for one in prediction.slices], prediction.mask)
        yield item.overlay, encode_signed_png(sheet)
    if options.bids:
        yield item.sidecar, encode_json(_describe(item, model))


def encode_volume_seg(
    item: VolumeFile, prediction: VolumePrediction, *, model: Model | PromptModel, options: VolumeOptions
) -> bytes | None:
    """Make the DICOM-SEG of a segmented volume; None where none is asked for, or the source is no DICOM.

    Args:
        item: The volume.
        prediction: Prediction for it.
        model: Model that made it.
        options: Content of the object, and whether an empty one is made.

    Raises:
        DataError: The source does not say what a DICOM-SEG needs to know.
    """
    from tumortrace.inference.results.dicom_seg import SegOptions, encode_seg

    if not options.dicom_seg or item.volume.kind != "dicom" or not (prediction.lesions or options.empty_seg):
        return None
    pixels = _stack_levels(prediction) if options.seg_fractional else prediction.labels
    held = SegOptions(
        omit_empty_frames=not options.seg_all_frames,
        fractional=options.seg_fractional,
        corrected=bool(prediction.prompts),
        keep_names=options.keep_names,
    )
    return encode_seg(item.volume.sources, pixels, model=model, options=held)


def _stack_levels(prediction: VolumePrediction) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the probabilities of all slices in 255ths, shape (slices, rows, columns), uint8; 0 where a slice has none.

    Raises:
        DataError: They were not kept.
    """
    levels = np.zeros(prediction.labels.shape, dtype=np.uint8)
    for one in prediction.slices:
        if one.levels is not None:
            levels[one.index] = one.levels
        elif one.judged:
            raise DataError("the probabilities of the slices were not kept; segment them again")
    return levels


def _describe(item: VolumeFile, model: Model) -> Document:
    paths = dict.fromkeys(source.path for source in item.volume.sources)
    return describe_mask([str(path) for path in paths], model)
