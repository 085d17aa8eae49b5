"""Segment one volume: each slice as a picture is, then neighbouring slices vote."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.slice import Slice
from tumortrace.data.volume import Volume
from tumortrace.inference.acquisition import UNKNOWN, Acquisition
from tumortrace.inference.contact_sheet import Tile, draw_tile
from tumortrace.inference.explain import explain_failure
from tumortrace.inference.lesions import Lesion, find_lesions
from tumortrace.inference.predict import Prediction
from tumortrace.inference.prompts.prompt import Prompt
from tumortrace.inference.volumes import THINNEST_MM, link_lesions, vote_on_lesions
from tumortrace.metrics.masks import surround
from tumortrace.wording import counted

FEWEST_ACCEPTED = 0.5
"""Fraction of a volume's readable slices that must pass the gate; with fewer it is no brain MR scan."""

PLAUSIBLE_MM = (25.0, 1000.0)
"""Longer side of a slice outside of which its spacing is no head's, such as metres that a header calls millimetres."""

GUARDED = "dropped a lesion that no neighbouring slice shows"
"""Reason for the review of a slice whose mask the neighbours changed."""


@dataclass(frozen=True)
class VolumeLesion:
    """One lesion of a volume: pixels that touch within a slice or between neighbouring slices.

    Attributes:
        voxels: Number of its pixels over all slices.
        volume_mm3: Volume in cubic millimetres; None if spacing or slice distance is unknown.
        centroid_mm: Mean of its pixel centres (x, y, z) in the coordinates of the source: LPS for DICOM, RAS for NIfTI;
            None if the place of the slices is unknown.
        first_slice: Index of the first slice that shows it, from 0.
        last_slice: Index of the last one.
        confidence: Mean tumour probability over its pixels, 0 to 1; not calibrated.
    """

    voxels: int
    volume_mm3: float | None
    centroid_mm: tuple[float, float, float] | None
    first_slice: int
    last_slice: int
    confidence: float


@dataclass(frozen=True, eq=False, repr=False)
class SliceResult:
    """What became of one slice of a volume.

    Attributes:
        index: Number of the slice, from 0.
        mask: Shape (H, W), bool; empty if the slice was rejected or could not be read.
        values: Tumour probabilities of the mask's pixels, row by row, float32.
        lesions: Components of the mask, largest first.
        confidence: Expected Dice of the mask, as of a picture.
        reasons: Reasons for the review or the rejection, or why it could not be read.
        rejected: Whether it is no brain MR slice.
        failed: Whether it could not be read or segmented.
        acquisition: Plane and contrast of the slice; unknown where it was not segmented.
        seconds: Time that it took.
        levels: Probabilities in 255ths, shape (H, W), uint8, where they were asked for.
        tile: Picture of the slice for a contact sheet, where one was asked for.
        prompts: Boxes and clicks by which a person, or the mask of the slice before, pointed at the tumour.
    """

    index: int
    mask: NDArray[np.bool_]
    values: NDArray[np.float32]
    lesions: tuple[Lesion, ...] = ()
    confidence: float = 0.0
    reasons: tuple[str, ...] = ()
    rejected: bool = False
    failed: bool = False
    acquisition: Acquisition = UNKNOWN
    seconds: float = 0.0
    levels: NDArray[np.uint8] | None = None
    tile: Tile | None = None
    prompts: tuple[Prompt, ...] = ()

    @property
    def judged(self) -> bool:
        """Whether it was segmented."""
        return not (self.rejected or self.failed)


@dataclass(frozen=True, eq=False, repr=False)
class VolumePrediction:
    """A model's answer on one volume.

    Attributes:
        labels: Number of the lesion that each voxel belongs to, from 1, and 0 elsewhere; shape (slices, rows, columns),
            int32. Lesions that the neighbours voted out are gone.
        lesions: Lesions, largest first: number 1 is the first.
        slices: Result of each slice, after the vote.
        rejected: Whether fewer than half of the slices that could be read are brain MR, or that of a given box is none.
        failed: Whether no slice could be read.
        reasons: Reasons for the review, the rejection or the failure; empty if there is nothing to look at.
        prompts: Box by which a person pointed at the tumour on one slice; empty for an automatic mask.
    """

    labels: NDArray[np.int32]
    lesions: tuple[VolumeLesion, ...]
    slices: tuple[SliceResult, ...]
    rejected: bool = False
    failed: bool = False
    reasons: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels of all lesions, shape (slices, rows, columns), bool."""
        return self.labels > 0

    @property
    def review(self) -> bool:
        """Whether a person should look at the mask before it is used."""
        return bool(self.reasons)

    @property
    def slices_with_tumour(self) -> int:
        """Number of slices with tumour."""
        return sum(bool(one.lesions) for one in self.slices)

    @property
    def largest_diameter_mm(self) -> float | None:
        """Longest diameter of a lesion within a slice, in millimetres; 0.0 without lesions, None without spacing."""
        diameters = [lesion.diameter_mm for one in self.slices for lesion in one.lesions]
        known = [diameter for diameter in diameters if diameter is not None]
        return max(known, default=0.0) if len(known) == len(diameters) else None

    def __repr__(self) -> str:
        count, height, width = self.labels.shape
        size = f"<VolumePrediction of {counted(count, 'slice')} of {width} x {height} px:"
        if self.rejected or self.failed:
            return f"{size} {'rejected' if self.rejected else 'failed'}, {'; '.join(self.reasons)}>"
        lesions, slices = counted(len(self.lesions), "lesion"), counted(self.slices_with_tumour, "slice")
        return f"{size} {lesions} on {slices}>"


def segment_slice(
    volume: Volume,
    index: int,
    predict: Callable[[Slice], Prediction],
    *,
    keep_levels: bool = False,
    keep_tile: bool = False,
) -> SliceResult:
    """Segment one slice of a volume; whatever goes wrong is in its result.

    Args:
        volume: The volume.
        index: Number of the slice, from 0.
        predict: Function that segments one slice, as ``Segmenter.predict`` does.
        keep_levels: Whether to keep all probabilities.
        keep_tile: Whether to keep a picture of the slice.
    """
    started = time.perf_counter()
    try:
        image = volume.read(index)
        result = keep_slice(index, predict(image), keep_levels=keep_levels)
        if keep_tile:
            result = replace(result, tile=draw_tile(image))
    except Exception as error:  # noqa: BLE001 - whatever a slice does to a decoder or the model, the others go on
        reason = explain_failure(error, str(volume.sources[index].path))
        result = SliceResult(index, _no_mask(volume), np.empty(0, np.float32), reasons=(reason,), failed=True)
    return replace(result, seconds=round(time.perf_counter() - started, 4))


def combine_slices(
    volume: Volume, slices: Sequence[SliceResult], *, gate: bool = True, vote: bool = True
) -> VolumePrediction:
    """Make one answer of the results of all slices of a volume.

    Lesions that end on both sides within ``THINNEST_MM`` are dropped, and named in the reasons. None is dropped where
    the spacing is no head's.

    Args:
        volume: The volume.
        slices: A result for each slice, in order.
        gate: Whether a volume may be rejected as a whole.
        vote: Whether thin lesions are dropped; a person who pointed at one means it.
    """
    shape = (len(slices), *volume.size_hw)
    readable = [one for one in slices if not one.failed]
    accepted = sum(one.judged for one in slices)
    if not readable:
        nothing = np.zeros(shape, dtype=np.int32)
        return VolumePrediction(nothing, (), tuple(slices), failed=True, reasons=slices[0].reasons)
    if gate and accepted < FEWEST_ACCEPTED * len(readable):
        nothing = np.zeros(shape, dtype=np.int32)
        reasons = (describe_rejection(readable), *_name_findings(volume))
        return VolumePrediction(nothing, (), tuple(slices), rejected=True, reasons=reasons)
    votes = vote and not _doubt_spacing(volume)
    labels, lesions, dropped = _vote(volume, slices, step_mm=volume.step_mm if votes else None)
    voted = tuple(_apply_vote(one, labels[one.index] > 0, volume) for one in slices)
    reasons = _find_reasons(volume, voted, dropped)
    return VolumePrediction(labels, lesions, voted, reasons=reasons)


def keep_slice(index: int, prediction: Prediction, *, keep_levels: bool = False) -> SliceResult:
    """Return the result of one slice.

    Args:
        index: Number of the slice, from 0.
        prediction: Prediction for it.
        keep_levels: Whether to keep all probabilities.
    """
    levels = to_levels(prediction.probability) if keep_levels else None
    return SliceResult(
        index,
        prediction.mask,
        prediction.probability[prediction.mask],
        lesions=prediction.lesions,
        confidence=prediction.confidence,
        reasons=prediction.reasons,
        rejected=prediction.rejected,
        acquisition=prediction.acquisition,
        levels=levels,
        prompts=prediction.prompts,
    )


def to_levels(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a probability in steps of 1/255, of the same shape, as results hold that of many slices."""
    return np.asarray(np.rint(probability * np.float32(255)), dtype=np.uint8)


def _no_mask(volume: Volume) -> NDArray[np.bool_]:
    return np.zeros(volume.size_hw, dtype=np.bool_)


def describe_rejection(slices: Sequence[SliceResult]) -> str:
    """Say how many slices were rejected, and the most frequent reason with its number where it is not the only one.

    Args:
        slices: The slices that could be read; at least one of them is rejected.
    """
    causes = Counter(reason for one in slices for reason in one.reasons if one.rejected)
    cause, number = causes.most_common(1)[0]
    count = sum(one.rejected for one in slices)
    of_them = "" if number == count else f", {number} of them"
    return f"{count} of {counted(len(slices), 'slice')} rejected{of_them}: {cause}"


def _name_findings(volume: Volume) -> tuple[str, ...]:
    """Say what is odd about a volume, by its header and by its pixels."""
    try:
        seen = volume.inspect()
    except Exception:  # noqa: BLE001 - a file that is gone by now: its mask cannot be made either, which is said then
        seen = ()
    return tuple(finding.cause for finding in (*volume.findings, *seen))


def _doubt_spacing(volume: Volume) -> tuple[str, ...]:
    """Say that the spacing of a volume is no head's; empty where it may be."""
    if volume.spacing_mm is None:
        return ()
    height, width = (pixels * side for pixels, side in zip(volume.size_hw, volume.spacing_mm, strict=True))
    if PLAUSIBLE_MM[0] <= max(height, width) <= PLAUSIBLE_MM[1]:
        return ()
    return (f"slices of {width:.3g} x {height:.3g} mm are no head's: the spacing is wrong, and so are sizes in mm",)


def _vote(
    volume: Volume, slices: Sequence[SliceResult], *, step_mm: float | None
) -> tuple[NDArray[np.int32], tuple[VolumeLesion, ...], int]:  # fmt: skip
    """Number the voxels of the lesions that stay, largest first; measure these; and count the dropped ones.

    Only the box around all masks is looked at: the rest of a volume is empty.
    """
    labels = np.zeros((len(slices), *volume.size_hw), dtype=np.int32)
    box = surround(np.any([one.mask for one in slices], axis=0))
    if box is None:
        return labels, (), 0
    rows, columns = box
    masks = np.stack([one.mask[box] for one in slices])
    probabilities = np.zeros(masks.shape, dtype=np.float32)
    for one, mask, probability in zip(slices, masks, probabilities, strict=True):
        probability[mask] = one.values
    judged = [one.judged for one in slices]
    kept, dropped = vote_on_lesions(masks, slice_distance_mm=step_mm, judged=judged)
    numbers, count = link_lesions(kept)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")  # of lesions of one size, the first slice comes first
    renumbered = np.zeros(count + 1, dtype=np.int32)
    renumbered[order + 1] = np.arange(1, count + 1)
    labels[:, rows, columns] = renumbered[numbers]
    lesions = tuple(
        _measure(volume, renumbered[numbers] == number, probabilities, corner=(rows.start, columns.start))
        for number in range(1, count + 1)
    )
    return labels, lesions, dropped


def _measure(
    volume: Volume, inside: NDArray[np.bool_], probabilities: NDArray[np.float32], *, corner: tuple[int, int]
) -> VolumeLesion:
    """Measure one lesion in a box whose first row and column are ``corner``."""
    planes, rows, columns = np.nonzero(inside)
    voxels = len(planes)
    centre = np.array([columns.mean() + corner[1], rows.mean() + corner[0], planes.mean(), 1.0])
    return VolumeLesion(
        voxels=voxels,
        volume_mm3=None if volume.voxel_mm3 is None else voxels * volume.voxel_mm3,
        centroid_mm=_locate(volume, centre),
        first_slice=int(planes[0]),
        last_slice=int(planes[-1]),
        confidence=float(probabilities[inside].mean(dtype=np.float64)),
    )


def _locate(volume: Volume, index: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Place of an index (column, row, slice, 1) in the coordinates of the volume's own format."""
    if volume.affine is None:
        return None
    x, y, z = (float(value) for value in (volume.affine @ index)[:3])
    return (-x, -y, z) if volume.kind == "nifti" else (x, y, z)


def _apply_vote(one: SliceResult, kept: NDArray[np.bool_], volume: Volume) -> SliceResult:
    """Take the dropped lesions out of a slice."""
    if np.array_equal(one.mask, kept):
        return one
    probability = np.zeros(kept.shape, dtype=np.float32)
    probability[one.mask] = one.values
    lesions = find_lesions(kept, probability, spacing_mm=volume.spacing_mm)
    return replace(one, mask=kept, values=probability[kept], lesions=lesions, reasons=(*one.reasons, GUARDED))


def _find_reasons(volume: Volume, slices: Sequence[SliceResult], dropped: int) -> tuple[str, ...]:
    """Find what a person should look at before the mask of a volume is used; a few words each."""
    reasons = [*_doubt_spacing(volume), *_name_findings(volume)]
    failed = [one for one in slices if one.failed]
    if failed:
        reasons.append(
            f"{len(failed)} of {counted(len(slices), 'slice')} could not be read, first: {failed[0].reasons[0]}"
        )
    holes = _count_holes(slices)
    if holes:
        verb = "was" if holes == 1 else "were"
        reasons.append(f"{counted(holes, 'slice')} between slices with tumour {verb} rejected: sizes may be too small")
    if dropped:
        reasons.append(
            f"{counted(dropped, 'lesion')} dropped: less than {THINNEST_MM:g} mm thick, not on the neighbouring slices"
        )
    doubtful = sum(bool(one.lesions and one.reasons) for one in slices)
    if doubtful:
        many = "1 slice with tumour is" if doubtful == 1 else f"{doubtful} slices with tumour are"
        reasons.append(f"{many} to be reviewed")
    return tuple(reasons)


def _count_holes(slices: Sequence[SliceResult]) -> int:
    """Count the rejected slices of which the nearest judged ones on both sides show tumour."""
    holes, rejected, after_tumour = 0, 0, False
    for one in slices:
        if one.judged:
            holes += rejected if after_tumour and one.lesions else 0
            rejected, after_tumour = 0, bool(one.lesions)
        else:
            rejected += one.rejected
    return holes
