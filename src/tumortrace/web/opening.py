"""Content of an upload: pictures and volumes, within limits, not yet decoded."""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumortrace.data.nifti.stream import is_gzip
from tumortrace.data.pictures import is_object, read_header
from tumortrace.data.scans import find_kind, open_single_slice
from tumortrace.errors import DataError, TumortraceError, installed
from tumortrace.files import is_disk_fault
from tumortrace.inference.batch.archives import is_archive
from tumortrace.inference.batch.find_inputs import Inputs, find_inputs
from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.regular_files import open_regular
from tumortrace.signed_png import is_signed_png
from tumortrace.web.archives import is_zip, unpack_zip
from tumortrace.web.limits import Limits, RefusalError, Unpacked, refuse_disk
from tumortrace.web.uploads import FILE, Upload, folder_of

MOST_ANNOTATION_BYTES = 2**25
"""Largest annotation file that is read for the picture in it: parsed, it takes ten times its size."""

MOST_DEFLATED_BYTES = 2**28
"""Largest data set that a deflated DICOM file may unpack to: each thread holds one in memory."""

_CHUNK = 2**20


@dataclass(frozen=True)
class Opened:
    """Pictures and volumes of one request.

    Attributes:
        folder: Folder that they lie in.
        inputs: Pictures and volumes.
        sizes_hw: Height and width of each picture as its header says; None where it does not.
    """

    folder: Path
    inputs: Inputs
    sizes_hw: tuple[tuple[int, int] | None, ...]

    @property
    def items(self) -> tuple[PictureFile | VolumeFile, ...]:
        """Pictures, then volumes: the items of a reply, by their numbers."""
        return (*self.inputs.pictures, *self.inputs.volumes)

    def list_sizes(self) -> Iterator[tuple[str, tuple[int, int], int]]:
        """Yield name, height and width, and number of slices of each picture and volume of known size."""
        for picture, size_hw in zip(self.inputs.pictures, self.sizes_hw, strict=True):
            if size_hw is not None:
                yield self.localise(picture.path), size_hw, 1
        for item in self.inputs.volumes:
            yield self.localise(item.file), item.volume.size_hw, len(item.volume)

    def localise(self, path: str) -> str:
        """Return a text in which paths are those that the client knows."""
        return _localise(path, self.folder)


def open_upload(upload: Upload, limits: Limits) -> Opened:
    """Unpack zips, find pictures and volumes, and check sizes by their headers.

    Args:
        upload: The upload.
        limits: Limits on files, bytes and pixels.

    Raises:
        RefusalError: There is nothing to segment, or a limit is exceeded.
        TumortraceError: A library for scans is not installed.
    """
    files = upload.of_part(FILE)
    if not files:
        raise RefusalError(400, f"the request has no file; send a picture or scan as the field '{FILE}'")
    folder = upload.folder / folder_of(FILE)
    single = _unpack_zips([(file.name, folder / file.name) for file in files], limits, upload.unpacked)
    _unpack_files(folder, limits, upload.unpacked)
    try:
        inputs = find_inputs([str(folder if single is None or is_archive(str(single)) else single)])
    except DataError as error:
        raise RefusalError(415, _localise(str(error), folder)) from None
    inputs = _pass_over_masks(inputs)
    opened = Opened(folder, inputs, tuple(_read_size_hw(picture) for picture in inputs.pictures))
    _check_pixels(opened, limits)
    return opened


def _unpack_zips(files: Sequence[tuple[str, Path]], limits: Limits, unpacked: Unpacked) -> Path | None:
    """Replace each zip by a folder of its name without suffix; return the only file if no more came."""
    for name, path in files:
        if is_zip(path):
            folder = path.with_suffix("")
            while folder.exists():
                folder = folder.with_name(f"{folder.name}-unpacked")
            unpack_zip(path, folder, name=name, limits=limits, unpacked=unpacked)
            path.unlink()
    single = files[0][1]
    return single if len(files) == 1 and single.exists() else None


def _unpack_files(folder: Path, limits: Limits, unpacked: Unpacked) -> None:
    """Unpack compressed NIfTI files in their places, once and within the limit; check what decoders would unpack.

    The reader recognises an unpacked file by its bytes. It reads slices straight from it, while it would unpack a
    compressed file again whenever another one was read in between.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        kind, left = find_kind(path), limits.unpacked_bytes - unpacked.total_bytes
        if kind == "nifti" and is_gzip(path):
            unpacked.total_bytes += _unpack_gzip(path, most_bytes=left)
        elif (kind == "dicom" and _inflates_beyond(path, min(left, MOST_DEFLATED_BYTES))) or _is_long_json(path):
            raise _too_large(path)


def _unpack_gzip(path: Path, *, most_bytes: int) -> int:
    """Unpack a file in its place; return its new size. A damaged file stays: its reader says what is wrong."""
    unpacked = path.with_name(f".{path.name[-100:]}.unpacked")
    size = 0
    try:
        with gzip.open(path) as source, unpacked.open("xb") as target:
            while piece := source.read(_CHUNK):
                size += len(piece)
                if size > most_bytes:
                    raise _too_large(path)
                target.write(piece)
        unpacked.replace(path)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and is_disk_fault(error):
            raise refuse_disk(error) from None
    finally:
        unpacked.unlink(missing_ok=True)
    return size


def _inflates_beyond(path: Path, limit_bytes: int) -> bool:
    if not installed("formats"):
        return False
    from tumortrace.data.dicom.stream import inflates_beyond

    return inflates_beyond(path, limit_bytes)


def _is_long_json(path: Path) -> bool:
    if path.stat().st_size <= MOST_ANNOTATION_BYTES:
        return False
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return is_object(data)


def _too_large(path: Path) -> RefusalError:
    return RefusalError(413, f"{path.name}: unpacks to more than is read; send a part of it", limit="unpacked_bytes")


def _localise(text: str, folder: Path) -> str:
    """Name files as the client did, in place of those in the folder of the request."""
    return text.replace(f"{folder}/", "").replace(str(folder), folder.name)


def _pass_over_masks(inputs: Inputs) -> Inputs:
    """Move masks and overlays that tumortrace drew to the files that are passed over.

    Raises:
        RefusalError: Nothing else is left.
    """
    signed = [picture for picture in inputs.pictures if is_signed_png(Path(picture.path))]
    pictures = tuple(picture for picture in inputs.pictures if picture not in signed)
    if not (pictures or inputs.volumes or inputs.refused):
        raise RefusalError(415, f"{Path(signed[0].path).name}: a mask that tumortrace drew; send the picture itself")
    return replace(inputs, pictures=pictures, own=(*inputs.own, *(picture.path for picture in signed)))


def _read_size_hw(picture: PictureFile) -> tuple[int, int] | None:
    """Height and width of a picture, upright, by its header; None where the decoder has to say what is wrong."""
    try:
        with open_regular(picture.path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_header(data).size_hw
    except (OSError, ValueError, DataError):
        return _read_scan_size_hw(Path(picture.path))


def _read_scan_size_hw(path: Path) -> tuple[int, int] | None:
    """The same of a DICOM file that is called like a picture."""
    try:
        return open_single_slice(path).size_hw
    except TumortraceError:
        return None


def _check_pixels(opened: Opened, limits: Limits) -> None:
    total = count = 0
    for name, size_hw, slices in opened.list_sizes():
        pixels = size_hw[0] * size_hw[1]
        if pixels > limits.pixels:
            text = f"{name}: {size_hw[1]} x {size_hw[0]} pixels, more than the limit of {limits.pixels:,}"
            raise RefusalError(413, f"{text}; send a smaller picture", limit="pixels")
        total += pixels * slices
        count += slices
    if count > limits.slices:
        text = f"the request has {count:,} slices, more than the limit of {limits.slices:,}; send fewer"
        raise RefusalError(413, text, limit="slices")
    if total > limits.voxels:
        text = f"the request has {total:,} pixels in all slices, more than the limit of {limits.voxels:,}"
        raise RefusalError(413, f"{text}; send fewer slices", limit="voxels")
