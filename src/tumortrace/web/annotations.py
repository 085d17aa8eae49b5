"""Annotations that are sent together with their pictures and scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from tumortrace.data.annotations.find import UnknownFormatError, read_annotations
from tumortrace.data.annotations.records import ImageAnnotation
from tumortrace.data.geometry import Region, rasterize_region
from tumortrace.data.masks import read_mask
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.pairs import strip_mask_word
from tumortrace.data.scans import find_kind, strip_suffix
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.web.annotation_files import DOCUMENTS, PICTURES, set_aside
from tumortrace.web.corrections import Corrected
from tumortrace.web.downloads import LESION
from tumortrace.web.lesion_numbers import MOST_LESIONS, PLAIN, Labels
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.opening import MOST_ANNOTATION_BYTES, Opened, open_upload
from tumortrace.web.uploads import Upload, UploadedFile


@dataclass(frozen=True, eq=False)
class ReadBack:
    """Pictures and volumes of a request with the masks that were dropped beside them.

    Attributes:
        opened: Pictures and volumes.
        labels: Lesion numbers by item and slice. A plain mask has 255 where there is tumour.
        faults: One line for each annotation that could not be used.
        rest: The upload without them.
    """

    opened: Opened
    labels: Mapping[tuple[int, int], Labels]
    faults: tuple[str, ...]
    rest: Upload

    def of_item(self, number: int) -> dict[int, Labels]:
        """Return the masks of one item by slice; empty if it has none."""
        return {index: labels for (item, index), labels in self.labels.items() if item == number}


def read_back(upload: Upload, limits: Limits) -> ReadBack:
    """Tell annotations from pictures and scans, open these, and bring the annotations onto their slices.

    Args:
        upload: The upload.
        limits: Limits on files, bytes and pixels.

    Raises:
        RefusalError: There is no picture or scan, or a limit is exceeded.
        TumortraceError: A library for scans is not installed.
    """
    rest, notes = set_aside(upload, limits)
    if notes and not rest.files:
        raise RefusalError(400, f"{notes[0].name}: an annotation alone; open it together with its picture or scan")
    reader = _Reader(open_upload(rest, limits))
    for file in notes:
        reader.read(file)
    return ReadBack(reader.opened, reader.labels, tuple(reader.faults), rest)


@dataclass
class _Reader:
    """The slices of a request by their names, and what was read for them so far."""

    opened: Opened
    labels: dict[tuple[int, int], Labels] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def read(self, file: UploadedFile) -> None:
        """Read an annotation file; of two about one slice, the first counts."""
        try:
            found = dict(self._read_file(file))
        except UnknownFormatError:
            return  # a document of another kind, such as the sidecar of a scan
        except DataError as error:
            self.faults.append(str(error).replace(str(file.path), file.name))
            return
        repeated = found.keys() & self.labels.keys()
        if repeated:
            self.faults.append(f"{file.name}: its slices have a mask from another file; leave one of them out")
        self.labels |= {place: labels for place, labels in found.items() if place not in repeated}

    def _read_file(self, file: UploadedFile) -> Iterator[tuple[tuple[int, int], Labels]]:
        name = file.name.lower()
        if name.endswith(DOCUMENTS):
            yield from self._read_document(file)
        elif name.endswith(PICTURES):
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
            yield place, _draw_labels(image, self._size_hw(place))

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
        stem = _last(name)
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


def _draw_labels(image: ImageAnnotation, size_hw: tuple[int, int]) -> Labels:
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
    shapes: Sequence[object] = image.original.shapes if image.original else ()
    shape: object = None
    for order, (region, known) in enumerate(zip(image.regions, image.region_labels, strict=True)):
        if order < len(shapes) and shapes[order] is not None:  # else a further part of the shape before
            shape = shapes[order]
        extra = shape.get("attributes") if isinstance(shape, dict) else None
        text = str(known.get(LESION) or (extra.get(LESION) if isinstance(extra, dict) else "") or "")
        number = int(text) if text.isdecimal() and len(text) < 4 else order + 1
        yield min(max(number, 1), MOST_LESIONS), region
