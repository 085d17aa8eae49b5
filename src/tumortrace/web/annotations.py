"""Annotations that are sent together with their pictures and scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from tumortrace.data.annotations.find import UnknownFormatError, read_annotations
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.geometry import Region, rasterize_region
from tumortrace.data.layouts.scan_names import is_mask_name
from tumortrace.data.masks import read_mask
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.pairs import strip_mask_word
from tumortrace.data.scans import find_kind, strip_suffix
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError, installed
from tumortrace.inference.pictures import PictureFile
from tumortrace.inference.signed import is_signed
from tumortrace.inference.volume_files import VolumeFile
from tumortrace.web.archives import is_zip, unpack_zip
from tumortrace.web.corrections import MOST_LESIONS, PLAIN, Corrected, Labels
from tumortrace.web.downloads import LESION
from tumortrace.web.limits import Limits
from tumortrace.web.opening import MOST_ANNOTATION_BYTES, Opened, open_upload
from tumortrace.web.uploads import FILE, Upload, UploadedFile, folder_of

_ANNOTATIONS = "annotations"
_DOCUMENTS = (".json", ".csv", ".xml", ".jsonl")
_PICTURES = (".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, eq=False)
class ReadBack:
    """Pictures and volumes of a request with the masks that were dropped beside them.

    Attributes:
        opened: Pictures and volumes.
        labels: Lesion numbers by item and slice. A plain mask has 255 where there is tumour.
        faults: One line for each annotation that could not be used.
    """

    opened: Opened
    labels: Mapping[tuple[int, int], Labels]
    faults: tuple[str, ...] = ()

    def of_item(self, number: int) -> dict[int, Labels]:
        """Return the masks of one item by slice; empty if it has none."""
        return {index: labels for (item, index), labels in self.labels.items() if item == number}


def read_back(upload: Upload, limits: Limits) -> ReadBack:
    """Tell annotations from pictures and scans, open these, and bring the annotations onto their slices.

    Annotations are documents in any format that ``convert`` reads, masks by their names (``NAME_mask.png``, or a folder
    ``masks``), NIfTI masks by their names or tumortrace's mark, and DICOM segmentations.

    Args:
        upload: The upload.
        limits: Limits on files, bytes and pixels.

    Raises:
        RefusalError: There is no picture or scan, or a limit is exceeded.
        TumortraceError: A library for scans is not installed.
    """
    files = list(_unpack(upload, limits))
    notes = [file for file in files if _is_annotation(file)]
    moved = [_move(file, upload.folder / _ANNOTATIONS) for file in notes]
    rest = tuple(file for file in files if file not in notes)
    opened = open_upload(Upload(upload.folder, rest, upload.fields), limits)
    return _Reader(opened).read(moved)


def _unpack(upload: Upload, limits: Limits) -> Iterator[UploadedFile]:
    """Yield all files, those of zips in place of the zips."""
    for file in upload.of_part(FILE):
        if not is_zip(file.path):
            yield file
            continue
        folder = file.path.with_name(f"{file.path.name}-unpacked")
        unpack_zip(file.path, folder, name=file.name, limits=limits)
        file.path.unlink()
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            yield UploadedFile(FILE, path.relative_to(upload.folder / folder_of(FILE)).as_posix(), path)


def _move(file: UploadedFile, folder: Path) -> UploadedFile:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return UploadedFile(file.part, file.name, file.path.rename(path))


def _is_annotation(file: UploadedFile) -> bool:
    name = file.name.lower()
    if name.endswith(_DOCUMENTS):
        return True
    if name.endswith(_PICTURES):
        return is_mask_name(stem_of(file.name))
    kind = find_kind(file.path)
    if kind == "nifti":
        return is_mask_name(strip_suffix(file.name)) or is_signed(file.path)
    if kind != "dicom" or not installed("formats"):
        return False
    from tumortrace.web.volume_masks import is_segmentation

    return is_segmentation(file.path)


@dataclass
class _Reader:
    """The slices of a request by their names, and what was read for them so far."""

    opened: Opened
    labels: dict[tuple[int, int], Labels] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def read(self, files: Sequence[UploadedFile]) -> ReadBack:
        """Read annotation files; a later file about the same slice is named as a fault."""
        for file in files:
            try:
                found = dict(self._read_file(file))
            except UnknownFormatError:
                continue  # a document of another kind, such as the manifest of a conversion
            except DataError as error:
                self.faults.append(str(error).replace(str(file.path), file.name))
                continue
            repeated = found.keys() & self.labels.keys()
            if repeated:
                self.faults.append(f"{file.name}: its slices have a mask from another file; leave one of them out")
            self.labels |= {place: labels for place, labels in found.items() if place not in repeated}
        return ReadBack(self.opened, self.labels, tuple(self.faults))

    def _read_file(self, file: UploadedFile) -> Iterator[tuple[tuple[int, int], Labels]]:
        name = file.name.lower()
        if name.endswith(_DOCUMENTS):
            yield from self._read_document(file)
        elif name.endswith(_PICTURES):
            yield self._read_picture(file)
        else:
            from tumortrace.web.volume_masks import read_nifti_labels, read_seg_labels

            number, volume = self._find_volume(file)
            read = read_nifti_labels if find_kind(file.path) == "nifti" else read_seg_labels
            for index, labels in enumerate(read(file.path, volume)):
                yield (number, index), labels

    def _read_document(self, file: UploadedFile) -> Iterator[tuple[tuple[int, int], Labels]]:
        if file.path.stat().st_size > MOST_ANNOTATION_BYTES:
            raise DataError(
                f"{file.name}: more than {MOST_ANNOTATION_BYTES:,} bytes of annotations; send a part of them"
            )
        content = read_annotations(file.path, lambda name: self._size_of(name, file.name))
        self.faults += [f"{file.name}: {each.file}: {each.cause}; {each.remedy}" for each in content.findings]
        for image in content.images:
            places = self._find(image.filename, file.name)
            if len(places) != 1:
                many = "several pictures have this name" if places else "there is no such picture"
                self.faults.append(f"{file.name}: {image.filename}: {many}; open it together with its picture")
                continue
            (place,) = places
            yield place, draw_labels(image, self._size_hw(place))

    def _read_picture(self, file: UploadedFile) -> tuple[tuple[int, int], Labels]:
        own = stem_of(PurePosixPath(file.name).name)
        stem = strip_mask_word(own) or own
        places = self._find(stem, file.name)
        if len(places) != 1:
            many = "several pictures have this name" if places else "there is no picture that it belongs to"
            raise DataError(f"{file.name}: {many}; open it together with its picture")
        (place,) = places
        mask = read_mask(file.path)
        if mask.shape != self._size_hw(place):
            (height, width), size_hw = mask.shape, self._size_hw(place)
            raise DataError(
                f"{file.name}: {width} x {height} pixels, its picture {size_hw[1]} x {size_hw[0]}; draw it anew"
            )
        return place, mask.astype(np.uint8) * np.uint8(PLAIN)

    def _find_volume(self, file: UploadedFile) -> tuple[int, Volume]:
        """The volume that a mask belongs to: by its name where there are several."""
        volumes = [(number, one) for number, one in enumerate(self.opened.items) if isinstance(one, VolumeFile)]
        stem = strip_suffix(PurePosixPath(file.name).name)
        named = [each for each in volumes if Corrected(each[1]).name == (strip_mask_word(stem) or stem)]
        found = named or volumes
        if len(found) != 1:
            many = "belongs to one of several volumes" if found else "there is no volume that it belongs to"
            raise DataError(f"{file.name}: {many}; open it together with its volume alone")
        number, item = found[0]
        return number, item.volume

    def _find(self, name: str, beside: str) -> list[tuple[int, int]]:
        """Slices of a name with or without suffix: in the folder of the annotation, or else anywhere."""
        stem = spelling_key(PurePosixPath(name).name)
        places = {place: path for path, place in self._list_names() if stem in (_last(path), _last(stem_of(path)))}
        exact = spelling_key((PurePosixPath(beside).parent / name).as_posix())
        near = [place for place, path in places.items() if spelling_key(path) in (exact, stem_of(exact))]
        return near if len(near) == 1 else list(places)

    def _list_names(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for number, item in enumerate(self.opened.items):
            if isinstance(item, PictureFile):
                yield self.opened.localise(item.path), (number, 0)
            else:
                one = Corrected(item)
                yield from ((f"{one.slice_name(index)}.png", (number, index)) for index in range(len(item.volume)))

    def _size_of(self, name: str, beside: str) -> tuple[int, int] | None:
        places = self._find(name, beside)
        return self._size_hw(places[0]) if len(places) == 1 else None

    def _size_hw(self, place: tuple[int, int]) -> tuple[int, int]:
        number, index = place
        item = self.opened.items[number]
        if isinstance(item, VolumeFile):
            return item.volume.size_hw
        return self.opened.sizes_hw[number] or Corrected(item).read(index).size_hw


def _last(path: str) -> str:
    return spelling_key(PurePosixPath(path).name)


def draw_labels(image: ImageAnnotation, size_hw: tuple[int, int]) -> Labels:
    """Draw the regions of an image as numbered lesions; the first region of a pixel keeps it.

    Args:
        image: Regions; the attribute ``lesion`` of a region is its number, else they are numbered in order.
        size_hw: Height and width of the picture.

    Returns:
        Lesion numbers, shape (H, W), uint8; regions beyond the 254th share the last number.
    """
    drawn = np.zeros(size_hw, dtype=np.uint8)
    for number, region in _number(image):
        drawn[rasterize_region(region, size_hw) & (drawn == 0)] = number
    return drawn


def _number(image: ImageAnnotation) -> Iterable[tuple[int, Region]]:
    labels = image.labels or ({},) * len(image.regions)
    shapes: Sequence[object] = image.original.shapes if image.original else ()
    for order, (region, known) in enumerate(zip(image.regions, labels, strict=True)):
        shape = shapes[order] if order < len(shapes) else None
        extra = shape.get("attributes") if isinstance(shape, dict) else None
        text = str(known.get(LESION) or (extra.get(LESION) if isinstance(extra, dict) else "") or "")
        number = int(text) if text.isdecimal() and len(text) < 4 else order + 1
        yield min(max(number, 1), MOST_LESIONS), region
