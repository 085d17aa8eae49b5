"""DICOM segmentation objects: masks that an archive files beside their images.

pydicom and highdicom come with the extra ``formats``; only modules that need them import this one.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, DS, TM

from tumortrace import __version__
from tumortrace.data.volume import SliceSource
from tumortrace.errors import DataError
from tumortrace.inference.model import Model
from tumortrace.inference.prompts.model import PromptModel
from tumortrace.inference.results.signed import sign_dicom
from tumortrace.regular_files import open_regular
from tumortrace.wording import counted

SERIES_NUMBER = 9000
"""Number of the new series: above those that scanners give."""

_GEOMETRY = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "SpecificCharacterSet", "Modality", "ImageType", "InstanceNumber", "Rows", "Columns",
    "NumberOfFrames", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence", "DimensionIndexSequence", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
"""Attributes that place a mask on its images."""

_PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes by which an archive files an object with its patient: copied from the images if asked for, else replaced.
Nothing else is ever copied: neither addresses nor comments, institutions or private attributes."""

_USE_NIFTI = "use the NIfTI mask"

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""Attributes without which nothing can refer to an image."""

_PLACE = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}
"""Attributes that place an image, by the functional group that holds them in multi-frame files."""


@dataclass(frozen=True)
class SegOptions:
    """What a segmentation object holds.

    Attributes:
        omit_empty_frames: Whether slices without tumour have no frame. An empty mask has a frame for every slice.
        fractional: Whether it holds probabilities (FRACTIONAL) in place of masks (BINARY).
        corrected: Whether a person corrected the mask or pointed at the tumour; its algorithm is then semiautomatic.
        keep_names: Whether it names patient and study as the images do; else stand-ins take their place.
    """

    omit_empty_frames: bool = True
    fractional: bool = False
    corrected: bool = False
    keep_names: bool = False


def encode_seg(
    sources: Sequence[SliceSource],
    pixels: NDArray[Any],
    *,
    model: Model | PromptModel,
    options: SegOptions | None = None,
) -> bytes:
    """Make a DICOM segmentation object of the mask of a volume.

    Each lesion is a segment with a tracking UID of its own; a mask without lesions has one segment, which is empty.
    The object belongs to the study of its images. It names the patient as they do only if asked to; else name, birth
    date and sex are empty, and IDs and dates are stand-ins, without which no index of files (DICOMDIR) can list it.

    Args:
        sources: Place of each slice, in the order of the mask's slices: single-frame files, or frames of one
            multi-frame file.
        pixels: Shape (S, H, W): numbers of lesions from 1 and 0 elsewhere, any integer type; or, for a fractional
            object, tumour probabilities in 255ths, uint8.
        model: Model that made the mask; named as the algorithm.
        options: Content of the object; None takes the defaults.

    Returns:
        The file, explicit VR little endian, with a mark by which tumortrace recognises it.

    Raises:
        DataError: The files cannot be read or do not say where their slices lie; names the first file.
    """
    options = options or SegOptions()
    first = sources[0].path
    if len(sources) != len(pixels):
        raise DataError(
            f"{first}: a mask of {counted(len(pixels), 'slice')} for {counted(len(sources), 'image')}; "
            "give one for each"
        )
    try:
        with _silence():
            return _encode(sources, pixels, model, options)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom and highdicom raise whatever a header leads them to
        raise DataError(f"{first}: no DICOM-SEG can be made ({type(error).__name__}); {_USE_NIFTI}") from None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep pydicom and highdicom from printing what they warn of: it may be the patient's name."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for each, level in zip(loggers, before, strict=True):
                each.setLevel(level)


def _encode(
    sources: Sequence[SliceSource], pixels: NDArray[Any], model: Model | PromptModel, options: SegOptions
) -> bytes:
    paths = dict.fromkeys(source.path for source in sources)  # each file once, in the order of the slices
    images = [_read_image(path, keep_names=options.keep_names) for path in paths]
    if len({image.FrameOfReferenceUID for image in images}) > 1:
        cause = "its images name several coordinate systems (FrameOfReferenceUID)"
        raise DataError(f"{sources[0].path}: no DICOM-SEG can be made, because {cause}; {_USE_NIFTI}")
    _add_thickness(images, sources[0].path)
    frames = [(source.frame or 1) - 1 for source in sources]
    _keep_frames(images, frames)
    seg = _build(images, pixels, _describe_segments(pixels, model, options), model, options)
    _restore_numbers(seg, frames)
    if not options.keep_names:
        seg.PatientIdentityRemoved, seg.DeidentificationMethod = "YES", "tumortrace: patient and study not copied"
    with io.BytesIO() as file:
        seg.save_as(file)
        return sign_dicom(file.getvalue())


def _read_image(path: Path, *, keep_names: bool) -> Dataset:
    """Read what places a mask on an image, and its patient or a stand-in; attributes that are wrong are empty."""
    wanted = [*_GEOMETRY, *(_PATIENT if keep_names else ())]
    with open_regular(path) as file:
        image = dcmread(file, force=True, stop_before_pixels=True, specific_tags=wanted)  # old files have no mark
    _check_place(image, path)
    _set_patient(image, keep_names=keep_names)
    if not image.get("FrameOfReferenceUID"):
        # Anonymisers remove it, and nothing can be placed without one: a new one, the same for all of a series.
        image.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(image.SeriesInstanceUID)])
    return image


def _set_patient(image: Dataset, *, keep_names: bool) -> None:
    """Put patient and study into a form that is valid, or stand-ins into their place; texts become UTF-8."""
    for keyword in _PATIENT:
        valid = keyword in image and _is_valid(keyword, image.get(keyword))
        setattr(image, keyword, str(image.get(keyword) or "") if valid else "")
    if not keep_names:
        study = hashlib.sha256(str(image.StudyInstanceUID).encode()).hexdigest()
        image.PatientID, image.StudyID = f"anonymous-{study[:12]}", "anonymous"
        image.StudyDate, image.StudyTime = "19000101", "000000"
    for keyword in ("PatientName", "ReferringPhysicianName"):
        name = str(image.get(keyword))
        if name and not {"^", "="} & set(name):
            setattr(image, keyword, f"{name}^")  # of one component, which is only now valid
    image.SpecificCharacterSet = "ISO_IR 192"  # highdicom takes not every combination that scanners write


def _add_thickness(images: Sequence[Dataset], path: Path) -> None:
    """State the thickness of slices that do not, since an object must: the distance between their planes."""
    lacking = [image for image in images if "ImagePositionPatient" in image and not image.get("SliceThickness")]
    if not lacking:
        return
    normal = np.cross(*np.reshape([float(value) for value in images[0].ImageOrientationPatient], (2, 3)))
    depths = [np.dot([float(value) for value in image.ImagePositionPatient], normal) for image in images]
    step = float(np.median(np.abs(np.diff(depths)))) if len(images) > 1 else 0.0
    thickness = step or abs(float(images[0].get("SpacingBetweenSlices") or 0))
    if not thickness:
        raise DataError(f"{path}: no DICOM-SEG can be made, because the image states no SliceThickness; {_USE_NIFTI}")
    for image in lacking:
        image.SliceThickness = DS(thickness, auto_format=True)


def _check_place(image: Dataset, path: Path) -> None:
    """Refuse an image to which nothing can refer, or which does not say where it lies."""
    missing = [keyword for keyword in _NEEDED if not image.get(keyword)]
    groups = [
        group
        for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
        for group in image.get(sequence) or ()
    ]
    stated = [image, *(group.get(sequence)[0] for group in groups for sequence in _PLACE if group.get(sequence))]
    missing += [keyword for keyword in _PLACE.values() if not any(each.get(keyword) for each in stated)]
    if missing:
        names = ", ".join(missing)
        raise DataError(f"{path}: no DICOM-SEG can be made, because the image states no {names}; {_USE_NIFTI}")


def _is_valid(keyword: str, value: object) -> bool:
    """Whether an attribute of the patient is what the standard allows; scanners are less strict than its readers."""
    text = str(value or "")
    if keyword == "PatientSex":
        return text in {"M", "F", "O"}
    kind = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}.get(keyword)
    try:
        return kind is None or not text or kind(text) is not None
    except ValueError:
        return False


def _keep_frames(images: Sequence[Dataset], frames: Sequence[int]) -> None:
    """Change images in memory, so that highdicom finds a file or frame for each slice of a mask, in their order.

    All get the orientation of the first, which differs by rounding alone. A multi-frame file states it once, and keeps
    the frames of the mask's slices alone: those of other echoes or times lie at the same places.
    """
    if len(images) == len(frames) and all(int(image.get("NumberOfFrames") or 1) == 1 for image in images):
        for image in images:
            if "ImageOrientationPatient" in images[0]:
                image.ImageOrientationPatient = images[0].ImageOrientationPatient
        return
    if len(images) != 1:
        raise DataError(f"{len(images)} multi-frame files; a DICOM-SEG refers to one, or to single-frame files")
    (image,) = images
    _share_geometry(image, frames[0])
    groups = image.PerFrameFunctionalGroupsSequence
    image.PerFrameFunctionalGroupsSequence = [groups[frame] for frame in frames]
    image.NumberOfFrames = len(frames)


def _restore_numbers(seg: Dataset, frames: Sequence[int]) -> None:
    """Let an object refer to the frames by their numbers in the file, in place of those among the mask's slices."""
    derivations = (group.get("DerivationImageSequence", ()) for group in seg.PerFrameFunctionalGroupsSequence)
    sources = (source for items in derivations for item in items for source in item.SourceImageSequence)
    for source in {id(source): source for source in sources}.values():  # segments share them
        if "ReferencedFrameNumber" in source:
            source.ReferencedFrameNumber = frames[source.ReferencedFrameNumber - 1] + 1


def _share_geometry(image: Dataset, frame: int) -> None:
    """State orientation and spacing of a multi-frame image once, where some scanners state them frame by frame."""
    shared = image.SharedFunctionalGroupsSequence[0]
    own = image.PerFrameFunctionalGroupsSequence[frame]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if keyword not in shared and keyword in own:
            setattr(shared, keyword, deepcopy(own.get(keyword)))


def _describe_segments(
    pixels: NDArray[Any], model: Model | PromptModel, options: SegOptions
) -> list[hd.seg.SegmentDescription]:
    kinds = hd.seg.SegmentAlgorithmTypeValues
    count = 1 if options.fractional else max(1, int(pixels.max(initial=0)))
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"tumortrace {model.name}"[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        source="tumortrace",
        parameters={"model_sha256": model.sha256, "threshold": f"{model.recipe.threshold:g}"},
    )
    return [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label="Tumour probability" if options.fractional else f"Lesion {number}",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=kinds.SEMIAUTOMATIC if options.corrected else kinds.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=hd.UID(),
            tracking_id=f"lesion {number}",
            anatomic_regions=[codes.SCT.Brain],
        )
        for number in range(1, count + 1)
    ]


def _build(
    images: Sequence[Dataset],
    frames: NDArray[Any],
    segments: Sequence[hd.seg.SegmentDescription],
    model: Model | PromptModel,
    options: SegOptions,
) -> hd.seg.Segmentation:
    kind = hd.seg.SegmentationTypeValues
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=frames.astype(np.float32) / np.float32(255) if options.fractional else _smallest_type(frames),
        segmentation_type=kind.FRACTIONAL if options.fractional else kind.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="tumortrace",
        manufacturer_model_name=f"tumortrace {model.name}"[:64],
        software_versions=__version__,
        device_serial_number=model.sha256[:16],
        omit_empty_frames=options.omit_empty_frames and bool(frames.any()),
        content_label="TUMOUR",
        content_description="Brain tumour, research use only",
        series_description="Brain tumour, research use only",
    )


def _smallest_type(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as unsigned integers of as few bytes as they need: highdicom takes no others."""
    return labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)
