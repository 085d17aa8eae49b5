"""One slice from a file of any kind: a picture, or a scan of one slice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path

from tumortrace.data.pictures import DicomFileError, read_picture, read_picture_bytes
from tumortrace.data.scans import NIFTI_SUFFIXES, open_single_slice
from tumortrace.data.slice import Slice, slice_from_samples, with_spacing


def read_slice(
    path: PathLike[str] | str,
    case_id: str | None = None,
    *,
    spacing_mm: tuple[float, float] | None = None,
    data: bytes | None = None,
) -> Slice:
    """Read a picture file, or a DICOM or NIfTI file of one slice, as grey pixels.

    Colour becomes luma (ITU-R BT.601, as OpenCV computes it), transparent pixels are laid on black, and the picture is
    turned upright as its EXIF tag says. Values of more than 8 bits are kept.

    Args:
        path: A JPEG, PNG, TIFF, BMP, GIF, WebP, DICOM or NIfTI file.
        case_id: Name of the slice; the file's name if None.
        spacing_mm: Distance between pixel centres along rows and columns in millimetres; None takes what the file says.
        data: Content of the file, where it has been read; None reads it. DICOM and NIfTI files are read again.

    Raises:
        DataError: The file is missing, empty, truncated, damaged, too large, of several slices or unknown channels, or
            not a picture; or the spacing is not two positive numbers.
        TumortraceError: It is DICOM or NIfTI, and the library for it is not installed.
    """
    path = path if isinstance(path, Path) else Path(path)  # the path of a member of an archive stays one
    image = _read(path, case_id or path.name, data)
    return image if spacing_mm is None else with_spacing(image, spacing_mm)


def _read(path: Path, case_id: str, data: bytes | None) -> Slice:
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        with suppress(DicomFileError):
            samples = read_picture(path) if data is None else read_picture_bytes(data, path)
            return slice_from_samples(samples, case_id)
    return replace(open_single_slice(path).read(0), case_id=case_id)
