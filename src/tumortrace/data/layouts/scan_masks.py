"""Masks of scans: which scans each lies on, and which of its labels count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.data.dicom.segmentation import Segmentation, fit_segmentation
from tumortrace.data.masks import MOST_LABELS
from tumortrace.data.nifti.mask import NiftiMask, fit_nifti_mask
from tumortrace.data.volume import Volume, VolumeMask
from tumortrace.errors import DataError
from tumortrace.wording import counted

_MOST_LISTED = 8


@dataclass(frozen=True, eq=False)
class LaidMask:
    """A mask on the scans that it belongs to.

    Attributes:
        masks: The mask as it lies on each scan, by the scan's number; at least one.
        labels: Names of its labels, by their values.
        one_type: Whether all labels are known to be of one type, such as the lesions of one scan.
    """

    masks: dict[int, VolumeMask]
    labels: dict[int, str]
    one_type: bool = False


def lay_seg(seg: Segmentation, volumes: Sequence[Volume]) -> LaidMask:
    """Lay a DICOM segmentation on the series that it names; on all that it fits, if it names none.

    Args:
        seg: The segmentation.
        volumes: All scans.

    Raises:
        DataError: None of its images is here, or it fits none of them; names the file and the reason.
    """
    images = [number for number, volume in enumerate(volumes) if volume.kind == "dicom"]
    images = [number for number in images if not seg.series or volumes[number].series_uid in seg.series]
    if not images:
        raise DataError(f"{seg.path}: a segmentation whose images are not here; add the series that it belongs to")
    masks: dict[int, VolumeMask] = {}
    reasons: list[DataError] = []
    for number in images:
        try:
            masks[number] = fit_segmentation(seg, volumes[number])
        except DataError as error:
            reasons.append(error)
    if not masks:
        raise reasons[0]
    return LaidMask(masks, seg.segments, seg.one_type)


def lay_nifti(mask: Volume, candidates: Iterable[int], volumes: Sequence[Volume], names: Mapping[int, str]) -> LaidMask:
    """Lay a NIfTI mask on the scans of its name.

    Args:
        mask: The mask, as it was opened.
        candidates: Numbers of the scans of its name.
        volumes: All scans.
        names: Names of labels by their values, where the dataset has any.

    Raises:
        DataError: There is no such scan, the mask fits none of them, or its values are no labels.
    """
    masks: dict[int, NiftiMask] = {}
    reasons = [DataError(f"{mask.sources[0].path}: a mask without a scan of its name; give both the same name")]
    for number in candidates:
        try:
            masks[number] = fit_nifti_mask(mask, volumes[number])
        except DataError as error:
            reasons.append(error)
    if not masks:
        raise reasons[-1]
    values = next(iter(masks.values())).count_labels()
    return LaidMask(dict(masks), {value: names.get(value, str(value)) for value in values})


def choose_labels(laid: LaidMask, label: str | None, path: Path) -> frozenset[int]:
    """Choose the labels of a mask that count as tumour.

    Args:
        laid: The mask; it has no label if it is empty.
        label: Name or value of the label that counts; None for all.
        path: File of the mask, for messages.

    Raises:
        DataError: The mask has other labels only, or more than can be parts of a tumour.
    """
    if label is None:
        if len(laid.labels) > MOST_LABELS and not laid.one_type:
            cause = f"{counted(len(laid.labels), 'label')}, more than a tumour has parts"
            raise DataError(f"{path}: {cause}; choose the tumour's label with --label NAME")
        return frozenset(laid.labels)
    wanted = label.strip().casefold()
    chosen = frozenset(value for value, name in laid.labels.items() if wanted in {str(value), name.strip().casefold()})
    if laid.labels and not chosen:
        there = ", ".join(list(laid.labels.values())[:_MOST_LISTED])
        raise DataError(f"{path}: none of its labels ({there}) is {label!r}; correct the label, or outline the tumour")
    return chosen
