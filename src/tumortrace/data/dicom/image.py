"""Headers of DICOM files: how pixels are stored, where each frame lies."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID, JPEGExtended12Bit

from tumortrace.data.dicom.stream import UNDEFINED, Parsed, PixelElement, parse, reading_header
from tumortrace.data.dicom.tags import Lookup, read_number, read_numbers, read_text, read_words
from tumortrace.data.samples import MEGAPIXELS, MOST_PIXELS_A_SIDE, most_pixels
from tumortrace.errors import DataError
from tumortrace.wording import counted

MOST_FRAMES = 20_000
"""Largest number of frames in one file."""

DICOMDIR = "1.2.840.10008.1.3.10"
"""SOP class of an index of files."""

RT_OUTLINES = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of the outlines of radiotherapy."""

REFUSED = {
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map segmentation",
}
"""SOP classes whose pixels are no picture."""

_UNKNOWN = "an object of unknown kind"

MONOCHROME = ("MONOCHROME1", "MONOCHROME2", "")
"""Grey pictures; if a header does not say, one sample a pixel is taken as MONOCHROME2."""

COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")

_MOSAIC_COUNT = Tag(0x0019100A)  # Siemens: NumberOfImagesInMosaic

_PALETTE = tuple(
    f"{segmented}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for segmented, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_TAGS = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SliceThickness", "EchoTime", "EchoNumbers",
    "InversionTime", "SpacingBetweenSlices", "TriggerTime", "DiffusionBValue", "DiffusionGradientOrientation",
    "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber", "AcquisitionTime", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "TemporalPositionIdentifier",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    *_PALETTE, "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "0019100A",
)  # fmt: skip
"""All that is read of a file: no name, no date of birth, no description."""


class NoImageError(DataError):
    """A DICOM object that is sound and no picture: a report, a segmentation, an index."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """How one file stores its pixels.

    Attributes:
        path: The file.
        syntax: Transfer syntax.
        element: Place of the pixels.
        frames: Number of frames.
        size_hw: Height and width of each in pixels.
        photometric: Photometric interpretation, such as ``"MONOCHROME2"``; empty if the header does not say.
        options: Settings of pydicom's decoder.
        padding: Smallest and largest stored value of pixels that are padding; None without any.
        tables: Colour palette or table of grey values, as tags; None without any.
    """

    path: Path
    syntax: UID
    element: PixelElement
    frames: int
    size_hw: tuple[int, int]
    photometric: str
    options: dict[str, Any]
    padding: tuple[int, int] | None
    tables: Dataset | None

    def name_frame(self, number: int) -> str:
        """Return the file, with the number of a frame where it holds several."""
        return str(self.path) if self.frames == 1 else f"{self.path}, frame {number}"


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a file, and what distinguishes it from the others.

    Attributes:
        image: File that holds it.
        number: Number in the file, from 1.
        instance: SOPInstanceUID of the file.
        series: SeriesInstanceUID; empty if unknown.
        series_number: Number of the series, for names; None if unknown.
        modality: Modality; empty if unknown.
        sop_class: SOP class of the file.
        image_type: Values of ImageType or FrameType.
        position: Place (x, y, z) of the first pixel, in millimetres; None if unknown.
        orientation: Direction cosines of rows and columns, six numbers; None if unknown.
        frame_of_reference: UID of the coordinate system; empty if unknown.
        spacing_mm: Distance between rows and between columns; None if unknown.
        thickness_mm: Thickness of the slice, or else its stated distance to the next one; None if unknown.
        slope: Factor of the stored values.
        intercept: Summand of the stored values.
        window: Centre and width of the first window; None if there is none.
        echo: Number and time of the echo, rounded; None for what is unknown.
        time: Number of the time point; None if unknown.
        varying: Other values that may distinguish frames at one place, by name.
        order: Acquisition, instance and frame number.
    """

    image: ImageFile
    number: int
    instance: str
    series: str
    series_number: int | None
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    frame_of_reference: str
    spacing_mm: tuple[float, float] | None
    thickness_mm: float | None
    slope: float
    intercept: float
    window: tuple[float, float] | None
    echo: tuple[int | None, float | None]
    time: int | None
    varying: dict[str, object]
    order: tuple[int, int, int]

    @property
    def path(self) -> Path:
        """The file."""
        return self.image.path

    @property
    def series_key(self) -> Hashable:
        """What the frames of a series share; without a UID, folder and coordinate system, else the file alone."""
        if self.series:
            return self.series
        if self.frame_of_reference and self.position:
            return self.path.parent, self.frame_of_reference, self.series_number
        return self.path


def read_frames(path: Path) -> list[Frame]:
    """Read the header of a DICOM file.

    Returns:
        Its frames, at least one.

    Raises:
        DataError: The file is damaged or truncated, holds no picture, or stores one in a way that is not read.
    """
    parsed = parse(path, _TAGS)
    with reading_header(path):
        _refuse_other_objects(parsed.dataset, parsed.pixels, path)
        image = read_layout(parsed, path)
        return [_read_frame(parsed.dataset, image, index) for index in range(image.frames)]


def read_layout(parsed: Parsed, path: Path, *, bits: Sequence[int] = (8, 16, 32)) -> ImageFile:
    """Read how a file stores its pixels, and check it against the size of the file.

    Args:
        parsed: Its tags.
        path: The file.
        bits: Numbers of bits a pixel that are allowed.

    Raises:
        DataError: There are no pixels, fewer than the header says, or they are stored in a way that is not read.
    """
    header, element, syntax = parsed.dataset, parsed.pixels, parsed.syntax
    if element is None:
        raise DataError(f"{path}: no pixels, or cut off; copy it again from its source")
    frames = read_number(header, "NumberOfFrames") or 1
    rows, columns = _require(header, "Rows", path), _require(header, "Columns", path)
    photometric = read_text(header, "PhotometricInterpretation")
    samples = read_number(header, "SamplesPerPixel") or (3 if photometric in COLOURS[:-1] else int(photometric != ""))
    _check_layout(path, frames, (rows, columns), photometric, samples)
    options = {
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": samples,
        "photometric_interpretation": "MONOCHROME2" if photometric in MONOCHROME else photometric,
        "planar_configuration": read_number(header, "PlanarConfiguration") or 0,
        "pixel_keyword": element.keyword,
        "bits_allocated": _require(header, "BitsAllocated", path),
        "transfer_syntax_uid": syntax,
    }
    if element.keyword == "PixelData":
        options["bits_stored"] = read_number(header, "BitsStored") or options["bits_allocated"]
        options["pixel_representation"] = read_number(header, "PixelRepresentation") or 0
    _check_bits(options, read_number(header, "HighBit"), path, bits)
    _check_syntax(syntax, options, path)
    _check_length(path, element, frames, options)
    offsets = (header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths"))
    if all(offsets):
        options["extended_offsets"] = offsets
    return ImageFile(
        path, syntax, element, frames, (rows, columns), photometric, options,
        _read_padding(header, options), _read_tables(header, photometric),
    )  # fmt: skip


def _refuse_other_objects(header: Dataset, element: PixelElement | None, path: Path) -> None:
    sop_class = UID(read_text(header, "SOPClassUID"))
    kind = sop_class.name.removesuffix(" Storage") if sop_class.name != sop_class else _UNKNOWN
    if sop_class == DICOMDIR:
        raise NoImageError(f"{path}: an index of files (DICOMDIR), not a picture; give the folder beside it")
    if sop_class == RT_OUTLINES:
        cause = "outlines of radiotherapy (RT Structure Set), which are not read"
        raise NoImageError(f"{path}: {cause}; convert them to DICOM-SEG or to a NIfTI mask")
    if sop_class in REFUSED:
        raise NoImageError(f"{path}: {REFUSED[sop_class]}, not a picture; give the images")
    if element is None and ("Image" in kind or kind == _UNKNOWN):
        raise DataError(f"{path}: no pixels ({kind}): cut off, or never there; copy it again from its source")
    if element is None:
        raise NoImageError(f"{path}: no pixels ({kind}), not a picture; give image files")
    if "MOSAIC" in read_words(header, "ImageType"):
        raise DataError(f"{path}: {_describe_mosaic(header)}; split it into slices, with dcm2niix")


def _describe_mosaic(header: Dataset) -> str:
    """Say how many slices a mosaic holds, where Siemens' private header says it."""
    value = header[_MOSAIC_COUNT].value if _MOSAIC_COUNT in header else None
    count = int.from_bytes(value, "little") if isinstance(value, bytes) else value
    many = count if isinstance(count, int) and 0 < count < MOST_FRAMES else "many"
    return f"a mosaic of {many} slices in one picture, whose places only a private header states"


def _check_layout(path: Path, frames: int, size_hw: tuple[int, int], photometric: str, samples: int) -> None:
    rows, columns = size_hw
    if not 1 <= frames <= MOST_FRAMES:
        raise DataError(f"{path}: {frames} frames; at most {MOST_FRAMES:,} are read")
    if rows * columns > most_pixels() or max(size_hw) > MOST_PIXELS_A_SIDE:
        raise DataError(
            f"{path}: {rows} x {columns} pixels, more than the limit of {most_pixels():,} ({MOST_PIXELS_A_SIDE:,} a "
            f"side); give a smaller picture, or raise the limit with {MEGAPIXELS}"
        )
    expected = {1: (*MONOCHROME, "PALETTE COLOR"), 3: COLOURS[:-1]}
    if photometric not in expected.get(samples, ()):
        shown = photometric if photometric.replace("_", " ").replace(" ", "").isalnum() else "unknown"
        raise DataError(f"{path}: {samples} samples a pixel of kind {shown or 'unknown'}; export it as MONOCHROME2")


def _check_bits(options: dict[str, Any], high_bit: int | None, path: Path, bits: Sequence[int]) -> None:
    allocated, stored = options["bits_allocated"], options.get("bits_stored")
    if stored is None:
        return
    if allocated not in bits or not 1 <= stored <= allocated:
        raise DataError(f"{path}: {stored} bits in {allocated} a pixel; export it with 8 or 16 bits")
    if high_bit is not None and high_bit != stored - 1 and not options["transfer_syntax_uid"].is_compressed:
        raise DataError(f"{path}: {stored} bits below bit {high_bit} of {allocated}; export it again")


def _check_syntax(syntax: UID, options: dict[str, Any], path: Path) -> None:
    if syntax == JPEGExtended12Bit and options.get("bits_stored") != 8:
        raise DataError(f"{path}: lossy JPEG of 12 bits (JPEG Extended), which is not read; export it uncompressed")
    name = syntax.name if syntax.name != syntax else f"unknown ({syntax})"
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise DataError(f"{path}: transfer syntax {name}, which is not read; export it uncompressed")


def _check_length(path: Path, element: PixelElement, frames: int, options: dict[str, Any]) -> None:
    """Check the declared sizes against the file, before anything is allocated."""
    if options["transfer_syntax_uid"].is_encapsulated:
        if element.length != UNDEFINED or element.held < 8 * frames + 8:
            raise DataError(
                f"{path}: pixels missing ({element.held:,} bytes for {counted(frames, 'frame')}); copy it again"
            )
        return
    pixels = options["rows"] * options["columns"] * frames
    samples = 2 if options["photometric_interpretation"] == "YBR_FULL_422" else options["samples_per_pixel"]
    needed = -(-pixels * samples * options["bits_allocated"] // 8)
    held = 0 if element.length == UNDEFINED else min(element.length, element.held)
    if held < needed:
        raise DataError(f"{path}: pixels missing ({held:,} of {needed:,} bytes); copy it again from its source")


def _read_padding(header: Dataset, options: dict[str, Any]) -> tuple[int, int] | None:
    first = read_number(header, "PixelPaddingValue")
    if first is None or options.get("pixel_representation") is None:
        return None
    last = read_number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(end, options) for end in (first, first if last is None else last)]
    return min(ends), max(ends)


def _as_stored(value: int, options: dict[str, Any]) -> int:
    """A value in the type of the pixels: writers often leave the sign out."""
    bits = options["bits_allocated"]
    value %= 1 << bits
    return value - (1 << bits) if options["pixel_representation"] and value >> (bits - 1) else value


def _read_tables(header: Dataset, photometric: str) -> Dataset | None:
    names = _PALETTE if photometric == "PALETTE COLOR" else ("ModalityLUTSequence",)
    found = [name for name in names if header.get(name)]
    if not found:
        return None
    tables = Dataset()
    tables.set_original_encoding(*header.original_encoding)
    for name in found:
        tables[name] = header[name]
    return tables


def _read_frame(header: Dataset, image: ImageFile, index: int) -> Frame:
    get = Lookup.of_frame(header, index)
    spacing = get.numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    thickness = get.numbers("PixelMeasuresSequence", "SliceThickness", 1) or get.numbers(
        "PixelMeasuresSequence", "SpacingBetweenSlices", 1
    )
    slope = get.numbers("PixelValueTransformationSequence", "RescaleSlope", 1)
    intercept = get.numbers("PixelValueTransformationSequence", "RescaleIntercept", 1)
    return Frame(
        image=image,
        number=index + 1,
        instance=read_text(header, "SOPInstanceUID") or str(image.path),
        series=read_text(header, "SeriesInstanceUID"),
        series_number=read_number(header, "SeriesNumber"),
        modality=_read_modality(header),
        sop_class=read_text(header, "SOPClassUID"),
        image_type=get.words("FrameType") or read_words(header, "ImageType"),
        position=get.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=get.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        frame_of_reference=read_text(header, "FrameOfReferenceUID"),
        spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        slope=slope[0] if slope and slope[0] else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        window=_read_window(get),
        echo=_read_echo(get),
        time=get.whole("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
        varying=_read_varying(get, header),
        order=(
            get.whole("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber") or 0,
            read_number(header, "InstanceNumber") or 0,
            index,
        ),
    )


def _read_modality(header: Dataset) -> str:
    """The modality; empty if it is none of the short codes that the standard has."""
    value = read_text(header, "Modality").strip().upper()
    return value if value.isalnum() and value.isascii() and len(value) <= 16 else ""


def _read_window(get: Lookup) -> tuple[float, float] | None:
    """The first window; a width of 1 or less counts as none."""
    item = get.item("FrameVOILUTSequence")
    centre, width = (read_numbers(item, keyword, 0) for keyword in ("WindowCenter", "WindowWidth"))
    return (centre[0], width[0]) if centre and width and width[0] > 1 else None


def _read_echo(get: Lookup) -> tuple[int | None, float | None]:
    time = read_numbers(get.item("MREchoSequence"), "EffectiveEchoTime", 1) or read_numbers(get.header, "EchoTime", 1)
    numbers = read_numbers(get.header, "EchoNumbers", 0)
    return int(numbers[0]) if numbers else None, round(time[0], 2) if time else None


def _read_varying(get: Lookup, header: Dataset) -> dict[str, object]:
    """What may distinguish frames at one place, the most telling first."""
    diffusion = get.item("MRDiffusionSequence")
    gradient = next(
        (read_numbers(items[0], "DiffusionGradientOrientation", 3)
         for items in [diffusion.get("DiffusionGradientDirectionSequence")] if items),
        read_numbers(diffusion, "DiffusionGradientOrientation", 3),
    )  # fmt: skip
    return {
        "image type": get.words("FrameType") or read_words(header, "ImageType"),
        "complex part": read_text(get.item("MRImageFrameTypeSequence"), "ComplexImageComponent"),
        "b-value": read_numbers(diffusion, "DiffusionBValue", 1),
        "gradient": gradient,
        "inversion time": read_numbers(header, "InversionTime", 1),
        "trigger time": read_numbers(header, "TriggerTime", 1),
        "acquisition": get.whole("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    }


def _require(header: Dataset, keyword: str, path: Path) -> int:
    value = read_number(header, keyword)
    if value is None or value < 1:
        found = "missing" if header.get(keyword) is None else "not one whole number above 0"
        raise DataError(f"{path}: {keyword} is {found} in its header; export it again as DICOM")
    return value
