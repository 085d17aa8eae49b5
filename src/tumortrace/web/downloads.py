"""Files of corrected masks, in each format that a page offers.

What each format keeps: NIfTI, DICOM-SEG, VIA and COCO keep the lesion number of every pixel. PNG masks and datasets
keep the mask: lesions that touch become one.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.data.annotations.coco import encode_coco
from tumortrace.data.annotations.records import DEFAULT_CLASS, ImageAnnotation
from tumortrace.data.annotations.via import encode_via
from tumortrace.data.bitmap import to_bitmap
from tumortrace.data.names import make_unique
from tumortrace.data.pairs import PAIRS, Pair, encode_pairs
from tumortrace.data.patients import patient_of_folder
from tumortrace.errors import DataError
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.model import Model
from tumortrace.inference.results.signed import encode_signed_mask
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.web.corrections import Corrected
from tumortrace.web.lesion_numbers import PLAIN, Labels
from tumortrace.web.limits import RefusalError
from tumortrace.web.pixels import to_numbers

LESION = "lesion"
"""Attribute of a region that holds the number of its lesion."""

BEGUN = "prompted"
"""Attribute of a region whose mask began with a box; it is ``yes`` or missing."""

DATASET = "tumortrace-corrected.zip"
"""Name of a dataset of corrected cases."""

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: equal masks give equal files


@dataclass(frozen=True)
class Download:
    """A file for a browser to save.

    Attributes:
        name: Its name.
        media_type: Its type.
        data: Its content.
    """

    name: str
    media_type: str
    data: bytes


def make_download(corrected: Sequence[Corrected], to: str, *, model: Model) -> Download:
    """Make the file of corrected masks.

    Args:
        corrected: Pictures and volumes with their masks; at least one.
        to: Format, one of ``FORMATS``.
        model: Model that made the masks before they were corrected; a DICOM-SEG names it.

    Raises:
        RefusalError: There is no such format, or it cannot hold these masks.
        DataError: A slice cannot be read, or does not say where it lies.
        TumortraceError: A library for scans is not installed.
    """
    if to not in FORMATS:
        raise RefusalError(400, f"to={to[:40]}: no such format; give one of {', '.join(FORMATS)}")
    return FORMATS[to](corrected, model)


def _make_masks(corrected: Sequence[Corrected], _model: Model) -> Download:
    files = {
        f"{one.slice_name(index, name)}_mask.png": encode_signed_mask(labels > 0)
        for name, one in _name(corrected)
        for index, labels in one.labels.items()
    }
    if len(files) == 1:
        ((name, data),) = files.items()
        return Download(name, "image/png", data)
    return _zip(f"{corrected[0].name}_masks.zip", files)


def _make_annotations(
    corrected: Sequence[Corrected], encode: Callable[[Sequence[ImageAnnotation]], bytes], kind: str
) -> Download:
    """Annotations alone for pictures, which the user has; beside the slices of a volume, which no program opens."""
    pictures: dict[str, bytes] = {}
    records = []
    for name, one in _name(corrected):
        for index, labels in one.labels.items():
            if isinstance(one.item, PictureFile):
                path = Path(one.item.path)
                file, size_bytes = path.name, path.stat().st_size
            else:
                file = f"{one.slice_name(index, name)}.png"
                pictures[file] = _encode_slice(one, index)
                size_bytes = len(pictures[file])
            records.append(_describe_regions(file, size_bytes, labels, prompted=index in one.prompted))
    try:
        data = encode(records)
    except DataError as error:
        raise RefusalError(400, f"{error}; download the pictures one by one") from None
    if pictures:
        return _zip(f"{corrected[0].name}_{kind}.zip", {**pictures, "annotations.json": data})
    return Download(f"{corrected[0].name}_{kind}.json", "application/json", data)


def _describe_regions(file: str, size_bytes: int, labels: Labels, *, prompted: bool) -> ImageAnnotation:
    """One region a lesion, by their numbers."""
    numbers = [int(number) for number in np.unique(labels) if number]
    height, width = labels.shape
    begun = {BEGUN: "yes"} if prompted else {}
    return ImageAnnotation(
        file,
        size_bytes,
        tuple(to_bitmap(labels == number) for number in numbers),
        tuple({"label": DEFAULT_CLASS, LESION: str(number), **begun} for number in numbers),
        size_hw=(height, width),
    )


def _encode_via(records: Sequence[ImageAnnotation]) -> bytes:
    return next(iter(encode_via(records, ()).values()))


def _encode_coco(records: Sequence[ImageAnnotation]) -> bytes:
    """COCO has no place for number and origin of a lesion; CVAT and others put in ``attributes`` what COCO lacks."""
    document = json.loads(next(iter(encode_coco(records, (DEFAULT_CLASS,)).values())))
    known = [labels for record in records for labels in record.labels]
    for annotation, labels in zip(document["annotations"], known, strict=True):
        annotation["attributes"] = {LESION: int(labels[LESION])} | ({BEGUN: True} if BEGUN in labels else {})
    return json.dumps(document).encode()


def _make_nifti(corrected: Sequence[Corrected], _model: Model) -> Download:
    from tumortrace.inference.results.nifti_mask import encode_nifti

    one, item = _single_volume(corrected, "NIfTI")
    return Download(f"{one.name}_mask.nii.gz", "application/gzip", encode_nifti(_stack(one, item), item.volume))


def _make_seg(corrected: Sequence[Corrected], model: Model) -> Download:
    from tumortrace.inference.results.dicom_seg import SegOptions, encode_seg

    one, item = _single_volume(corrected, "DICOM-SEG")
    if item.volume.kind != "dicom":
        raise RefusalError(400, f"{one.name}: a DICOM-SEG belongs to DICOM images, and this is NIfTI; choose nifti")
    labels = _stack(one, item)
    if set(np.unique(labels)) == {0, PLAIN}:  # a plain mask: it would have 254 empty segments
        labels //= PLAIN
    data = encode_seg(item.volume.sources, labels, model=model, options=SegOptions(corrected=True))
    return Download(f"{one.name}_seg.dcm", "application/dicom", data)


def _single_volume(corrected: Sequence[Corrected], kind: str) -> tuple[Corrected, VolumeFile]:
    one = corrected[0]
    if len(corrected) != 1 or not isinstance(one.item, VolumeFile):
        what = "pictures" if isinstance(one.item, PictureFile) else f"{len(corrected)} volumes"
        raise RefusalError(400, f"{one.name}: {kind} holds the mask of one volume, not of {what}; choose png")
    return one, one.item


def _stack(one: Corrected, item: VolumeFile) -> NDArray[np.uint8]:
    """Lesion numbers of all slices, shape (slices, rows, columns); 0 where a slice was not sent."""
    stack = np.zeros((len(item.volume), *item.volume.size_hw), dtype=np.uint8)
    for index, labels in one.labels.items():
        stack[index] = labels
    return stack


def _make_dataset(corrected: Sequence[Corrected], _model: Model) -> Download:
    """``images/``, ``masks/`` and ``pairs.csv``, which names patients, so that no split separates their slices."""
    files: dict[str, bytes] = {}
    pairs = []
    named = _name(corrected)
    for (name, one), patient in zip(named, _name_patients(named), strict=True):
        for index, labels in one.labels.items():
            stem = one.slice_name(index, name)
            picture = Path(one.item.path) if isinstance(one.item, PictureFile) else None
            image = f"{stem}{picture.suffix if picture else '.png'}"
            files[f"images/{image}"] = picture.read_bytes() if picture else _encode_slice(one, index)
            files[f"masks/{stem}_mask.png"] = encode_signed_mask(labels > 0)
            size_bytes, prompted = len(files[f"images/{image}"]), index in one.prompted
            pairs.append(Pair(image, f"{stem}_mask.png", patient, size_bytes, prompted=prompted))
    files[PAIRS] = encode_pairs(pairs)
    return _zip(DATASET, files)


def _name_patients(named: Sequence[tuple[str, Corrected]]) -> list[str | None]:
    """Return the patient of each picture and volume; None for a picture of whom nothing says it.

    As in a folder of scans, series of one DICOM patient are one patient, and a folder called as patients are names its
    own; the folders count first where all series have the same patient ID. Any other volume is a patient of its own.
    """
    keys = [_read_key(one.item) for _, one in named]
    several = len(set(filter(None, keys))) > 1
    known: dict[str, str] = {}
    patients = []
    for (name, one), key in zip(named, keys, strict=True):
        places = (known.get(key), patient_of_folder(one.place))
        first, second = places if several else reversed(places)
        patient = first or second or (None if isinstance(one.item, PictureFile) else name)
        patients.append(patient)
        if key and patient:
            known.setdefault(key, patient)
    return patients


def _read_key(item: PictureFile | VolumeFile) -> str:
    if isinstance(item, PictureFile) or item.volume.kind != "dicom":
        return ""
    from tumortrace.data.dicom.patients import read_patient_key

    return read_patient_key(item.volume)


def _encode_slice(one: Corrected, index: int) -> bytes:
    """The grey values of a slice as PNG: as they are if they are unsigned, else stretched over 16 bits."""
    pixels = one.read(index).pixels
    numbers = pixels if pixels.dtype == np.uint8 else to_numbers(pixels)[0]
    return cv2.imencode(".png", np.ascontiguousarray(numbers))[1].tobytes()


def _name(corrected: Sequence[Corrected]) -> list[tuple[str, Corrected]]:
    """Each picture and volume with a name that no other has."""
    return list(zip(make_unique([one.name for one in corrected]), corrected, strict=True))


def _zip(name: str, files: Mapping[str, bytes]) -> Download:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                packed = PurePosixPath(path).suffix in {".png", ".jpg", ".jpeg"}
                kind = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(path, _ZIP_TIME), data, compress_type=kind)
        return Download(name, "application/zip", buffer.getvalue())


FORMATS: Mapping[str, Callable[[Sequence[Corrected], Model], Download]] = {
    "png": _make_masks,
    "via": lambda corrected, _model: _make_annotations(corrected, _encode_via, "via"),
    "coco": lambda corrected, _model: _make_annotations(corrected, _encode_coco, "coco"),
    "nifti": _make_nifti,
    "seg": _make_seg,
    "dataset": _make_dataset,
}
"""How each format is made."""
