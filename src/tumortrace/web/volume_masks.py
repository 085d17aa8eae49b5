"""NIfTI masks and DICOM segmentations as lesion numbers on a volume's slices.

Their readers come with the extra ``formats``; only functions that need them import this module.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumortrace.data.dicom.segmentation import fit_segmentation, read_segmentation
from tumortrace.data.nifti.mask import fit_nifti_mask
from tumortrace.data.nifti.reader import open_nifti
from tumortrace.data.volume import Volume, VolumeMask
from tumortrace.errors import DataError
from tumortrace.web.lesion_numbers import MOST_LESIONS, PLAIN


def is_segmentation(path: Path) -> bool:
    """Whether a DICOM file is a segmentation object, by its header."""
    try:
        return read_segmentation(path) is not None
    except DataError:
        return False


def read_nifti_labels(path: Path, volume: Volume) -> NDArray[np.uint8]:
    """Read the values of a NIfTI mask as lesion numbers.

    Args:
        path: The mask.
        volume: Volume that it belongs to; the mask may be stored in another order of axes.

    Returns:
        Shape (slices, rows, columns), uint8; 255 all over where that is the only value.

    Raises:
        DataError: It is damaged, lies on another grid, or its values are no lesion numbers.
    """
    mask = fit_nifti_mask(open_nifti(path, name=path.name, file=str(path)), volume)
    return _number(mask, mask.count_labels(), volume, path)


def read_seg_labels(path: Path, volume: Volume) -> NDArray[np.uint8]:
    """Read the segments of a DICOM segmentation as lesion numbers; see ``read_nifti_labels``.

    Args:
        path: The segmentation.
        volume: Images that it belongs to.

    Raises:
        DataError: It is damaged, or does not lie on these images.
    """
    seg = read_segmentation(path)
    if seg is None:
        raise DataError(f"{path}: no DICOM segmentation; export the mask as one")
    return _number(fit_segmentation(seg, volume), seg.segments, volume, path)


def _number(mask: VolumeMask, values: Collection[int], volume: Volume, path: Path) -> NDArray[np.uint8]:
    if max(values, default=0) > MOST_LESIONS and set(values) != {PLAIN}:
        raise DataError(f"{path}: its largest label is {max(values)}; number lesions from 1 to {MOST_LESIONS}")
    labels = np.zeros((len(volume), *volume.size_hw), dtype=np.uint8)
    for value in sorted(values, reverse=True):  # of segments that overlap, the lowest number stays
        chosen = mask.choose(frozenset({value}))
        for index in range(len(volume)):
            labels[index][chosen.read(index)] = value
    return labels
