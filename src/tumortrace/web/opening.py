"""Content of an upload: pictures and volumes, within limits, not yet decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from tumortrace.data.samples import ORIENTATION, QUARTER_TURNED
from tumortrace.errors import DataError
from tumortrace.inference.find_inputs import Inputs, find_inputs
from tumortrace.inference.pictures import PictureFile
from tumortrace.inference.volume_files import VolumeFile
from tumortrace.signed_png import is_signed_png
from tumortrace.web.archives import is_zip, unpack_zip
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.uploads import FILE, Upload

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")  # Pillow knows many more

UPLOAD = "scan"
"""Name of a series whose files lie in no folder."""


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

    def localise(self, path: str) -> str:
        """Return a text in which paths are those that the client knows."""
        return path.replace(f"{self.folder}/", "").replace(str(self.folder), UPLOAD)


def open_upload(upload: Upload, limits: Limits, *, part: str = FILE) -> Opened:
    """Unpack zips, find pictures and volumes, and check sizes by their headers.

    Args:
        upload: The upload.
        limits: Limits on files, bytes and pixels.
        part: Field of the files.

    Raises:
        RefusalError: There is nothing to segment, or a limit is exceeded.
        TumortraceError: A library for scans is not installed.
    """
    files = upload.of_part(part)
    if not files:
        raise RefusalError(400, f"the request has no file; send a picture or scan as the field '{part}'")
    folder = upload.folder / part
    for file in files:
        if is_zip(file.path):
            target = upload.folder / UPLOAD if len(files) == 1 else file.path.with_name(f"{file.path.name}.d")
            unpack_zip(file.path, target, name=file.name, limits=limits)
            file.path.unlink()
            folder = target if len(files) == 1 else folder
    if folder.name == part and part != UPLOAD:
        folder = folder.rename(folder.with_name(UPLOAD))
    named = len(files) == 1 and len(list(folder.rglob("*"))) == 1
    try:
        inputs = find_inputs([str(next(folder.iterdir()))] if named else [str(folder)])
    except DataError as error:
        text = str(error).replace(f"{folder}/", "").replace(str(folder), UPLOAD)
        raise RefusalError(415, text) from None
    inputs = _pass_over_masks(inputs)
    opened = Opened(folder, inputs, tuple(_read_size_hw(picture) for picture in inputs.pictures))
    _check_pixels(opened, limits)
    return opened


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
        with Image.open(picture.path, formats=_FORMATS) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) in QUARTER_TURNED
    except Image.DecompressionBombError as error:
        text = f"{Path(picture.path).name}: too many pixels ({error}); send a smaller picture"
        raise RefusalError(413, text, limit="pixels") from None
    except Exception:  # noqa: BLE001 - on a damaged file Pillow may raise anything
        return None
    return (width, height) if turned else (height, width)


def _check_pixels(opened: Opened, limits: Limits) -> None:
    total = 0
    for name, size_hw, slices in _list_sizes(opened):
        pixels = size_hw[0] * size_hw[1]
        if pixels > limits.pixels:
            text = f"{name}: {size_hw[1]} x {size_hw[0]} pixels, more than the limit of {limits.pixels:,}"
            raise RefusalError(413, f"{text}; send a smaller picture", limit="pixels")
        total += pixels * slices
    if total > limits.voxels:
        text = f"the request has {total:,} pixels in all slices, more than the limit of {limits.voxels:,}"
        raise RefusalError(413, f"{text}; send fewer slices", limit="voxels")


def _list_sizes(opened: Opened) -> Iterator[tuple[str, tuple[int, int], int]]:
    """Yield name, height and width, and number of slices of each picture and volume of known size."""
    for picture, size_hw in zip(opened.inputs.pictures, opened.sizes_hw, strict=True):
        if size_hw is not None:
            yield opened.localise(picture.path), size_hw, 1
    for item in opened.inputs.volumes:
        yield opened.localise(item.file), item.volume.size_hw, len(item.volume)
