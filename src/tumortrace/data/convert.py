"""Conversion of annotations to masks and back, without loss.

What was finished before an interruption stays usable: the lists beside the results are written even then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from tumortrace.data.annotations import coco, cvat, labelme, labelstudio, via, yolo
from tumortrace.data.annotations.records import ImageAnnotation, Writer, list_classes
from tumortrace.data.bitmap import split_lesions
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.folders import is_picture, join, list_tree, name_of, parent_of
from tumortrace.data.masks import read_mask
from tumortrace.data.names import natural_key
from tumortrace.data.own_files import Write, open_output
from tumortrace.data.pairs import PAIRS, Pair, check_pairs, encode_pairs, encode_patients, read_pairs
from tumortrace.data.parts import PARTS, name_in_part
from tumortrace.data.png_writing import encode_mask
from tumortrace.errors import DataError
from tumortrace.files import refuse_inside, sync_folders_once
from tumortrace.json_csv import encode_json, read_json
from tumortrace.progress import track
from tumortrace.wording import counted

AnnotationTarget = Literal["via", "coco", "labelme", "cvat", "labelstudio", "yolo"]

WRITERS: Mapping[AnnotationTarget, Writer] = {
    "via": via.WRITER,
    "coco": coco.WRITER,
    "labelme": labelme.WRITER,
    "cvat": cvat.WRITER,
    "labelstudio": labelstudio.WRITER,
    "yolo": yolo.WRITER,
}
"""How each format is written."""

MASK_SUFFIX = "_mask.png"
FINDINGS = "findings.json"
_PART_FOLDERS = tuple(part.upper() for part in PARTS)


Traced = tuple[str, ImageAnnotation | None, list[Finding]]
"""The part's folder, the record of an image (None if it could not be read), and its findings."""


class _Image(NamedTuple):
    """An image that may be written: its part's folder, its path within that, and its patient where known."""

    folder: str
    name: str
    patient: str | None = None


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        count: Cases written.
        failed: Cases that could not be read; each is among the findings.
        findings: Faults of the source.
    """

    count: int
    failed: int
    findings: tuple[Finding, ...]


def convert_to_masks(source: Path, destination: Path, *, label: str | None = None) -> Conversion:
    """Write ``DST/[TRAIN|VAL|TEST/]NAME_mask.png`` (0 and 255, the image's own size) for every case of a dataset.

    NAME is the image's path within its part, without its suffix unless two images would meet. Beside the masks stands
    ``pairs.csv``, which keeps name, patient and size of each image for the way back; ``DST/findings.json`` holds the
    findings, if any. ``DST/conversion.json`` lists what was written.

    Args:
        source: A dataset.
        destination: Folder to write to; only files of earlier conversions are replaced there.
        label: Label of the regions that count; None for all.

    Raises:
        DataError: The source is no dataset, the destination lies inside it, or holds files that would be replaced and
            that no conversion wrote.
    """
    refuse_inside(destination, source)
    dataset = open_dataset(source, label=label)
    findings = list(dataset.findings)
    pairs: dict[str, list[Pair]] = {}
    names = _name_images(dataset.records)
    masks = _name_masks(dataset.records, names)
    planned = {join(record.part.upper(), masks[record.case_id]) for record in dataset.records}
    tables = {join(record.part.upper(), PAIRS) for record in dataset.records}
    with open_output(destination, [*sorted(planned), *sorted(tables), FINDINGS]) as write, sync_folders_once():
        try:
            for record, case, faults in track(read_cases(dataset.records), "Writing masks", total=len(dataset.records)):
                findings += faults
                if case is not None:
                    folder, mask = record.part.upper(), masks[record.case_id]
                    write(join(folder, mask), encode_mask(case.truth))
                    pair = Pair(names[record.case_id], mask, record.patient, record.image_path.stat().st_size)
                    pairs.setdefault(folder, []).append(pair)
        finally:
            for folder, written in pairs.items():
                write(join(folder, PAIRS), encode_pairs(written))
            _write_findings(destination, findings, write)
    count = sum(map(len, pairs.values()))
    return Conversion(count, len(dataset.records) - count, tuple(findings))


def convert_to_annotations(
    source: Path, destination: Path, to: AnnotationTarget = "via", *, label: str | None = None
) -> Conversion:
    """Write the annotations of a dataset in another format, ``DST/[TRAIN|VAL|TEST/]...``, to be put beside the images.

    What an annotator drew stays as drawn where the format has such a shape; masks become one region a lesion. Where
    the source has the same format, what tumortrace does not know of it stays as it is. Where patients are known,
    ``pairs.csv`` beside the annotations names them.

    The source is a dataset, or a folder of ``NAME_mask.png`` files (in parts or not, subfolders searched) such as
    ``convert_to_masks`` and ``segment`` write. A folder that opens as a dataset is taken as one, whatever masks lie
    beside its annotations. In a folder of masks, ``pairs.csv`` or ``results.json`` name the images; where neither does,
    the record refers to the mask file itself and a finding says so. ``DST/findings.json`` holds the findings, if any,
    and ``DST/conversion.json`` lists what was written.

    Args:
        source: A dataset or a folder of masks.
        destination: Folder to write to; only files of earlier conversions are replaced there.
        to: The format.
        label: Label of the regions that count; None for all.

    Raises:
        DataError: Nothing to convert in the source, or slices of scans; the destination lies inside it, or holds files
            that would be replaced and that no conversion wrote.
    """
    refuse_inside(destination, source)
    try:
        dataset = open_dataset(source, label=label)
    except DataError:
        masks = _find_masks(source) if source.is_dir() else []
        if not masks:
            raise
        pairs, findings = _find_images(source)
        images = [_find_image(folder, name, pairs.get(join(folder, name))) for folder, name in masks]
        return _write_annotations(_trace_masks(source, masks, pairs), destination, to, images, findings=findings)
    if any(record.volume for record in dataset.records):
        raise DataError(f"{source}: holds slices of scans, which {to} cannot name; convert them --to masks")
    names = _name_images(dataset.records)
    images = [_Image(record.part.upper(), names[record.case_id], record.patient) for record in dataset.records]
    return _write_annotations(_trace_cases(dataset), destination, to, images, findings=dataset.findings)


def _write_annotations(
    traced: Iterable[Traced],
    destination: Path,
    to: AnnotationTarget,
    images: Sequence[_Image],
    *,
    findings: Sequence[Finding],
) -> Conversion:
    """Write the files of each part, once all are read: the classes are numbered over all of them.

    Args:
        traced: Records of the images.
        destination: Folder to write to.
        to: The format.
        images: Images that may be written.
        findings: Faults of the source.
    """
    writer = WRITERS[to]
    by_folder: dict[str, list[ImageAnnotation]] = {}
    all_findings = list(findings)
    failed = 0
    names: dict[str, list[str]] = {}
    for image in images:
        names.setdefault(image.folder, []).append(image.name)
    files = {join(folder, file) for folder, listed in names.items() for file in writer.list_files(listed)}
    files |= {join(image.folder, PAIRS) for image in images if image.patient}
    planned = [*sorted(files), *writer.describe((), ()), FINDINGS]
    with open_output(destination, planned) as write, sync_folders_once():
        try:
            for folder, record, faults in traced:
                all_findings += faults
                if record is None:
                    failed += 1
                else:
                    by_folder.setdefault(folder, []).append(record)
        finally:
            records = [record for listed in by_folder.values() for record in listed]
            all_findings += _find_drawn(records, to)
            classes = list_classes(records)
            for folder, listed in by_folder.items():
                for name, content in _encode(destination / folder, writer, listed, classes).items():
                    write(join(folder, name), content)
                if patients := {record.filename: record.patient for record in listed if record.patient}:
                    write(join(folder, PAIRS), encode_patients(patients))
            for name, content in writer.describe(list(by_folder), classes).items():
                write(name, content)
            _write_findings(destination, all_findings, write)
    return Conversion(len(records), failed, tuple(all_findings))


def _encode(
    folder: Path, writer: Writer, records: Sequence[ImageAnnotation], classes: Sequence[str]
) -> Mapping[str, bytes]:
    try:
        return writer.encode(records, classes)
    except RecursionError:
        raise DataError(f"{folder}: an annotation is nested too deeply to be written; export it again") from None
    except (DataError, ValueError) as error:
        cause = str(error) if isinstance(error, DataError) else "a region has a coordinate that is not finite"
        raise DataError(f"{folder}: {cause}; nothing was written there") from None


def _find_drawn(records: Sequence[ImageAnnotation], to: AnnotationTarget) -> list[Finding]:
    """A warning that shapes were drawn or traced, since the format has no such shape; their masks stay the same."""
    kept = WRITERS[to].keeps
    drawn = Counter(
        type(region).__name__.lower() for record in records for region in record.regions if not isinstance(region, kept)
    )
    drawn.pop("bitmap", None)  # traced without loss
    if not drawn:
        return []
    shapes = " and ".join(counted(count, name) for name, count in drawn.items())
    cause = f"{shapes} written pixel by pixel, since {to} has no such shape; the masks are the same"
    return [warning("shape-drawn", ".", cause, "convert to via, cvat or labelstudio to keep the shapes")]


def _trace_cases(dataset: Dataset) -> Iterator[Traced]:
    names = _name_images(dataset.records)
    for record, case, faults in track(read_cases(dataset.records), "Tracing", total=len(dataset.records)):
        if case is None:
            yield record.part.upper(), None, faults
            continue
        # What an annotator drew stays as drawn; only a mask is divided into lesions.
        regions = record.truth if isinstance(record.truth, tuple) else tuple(split_lesions(case.truth))
        annotation = record.annotation or ImageAnnotation("", -1, regions)
        traced = replace(
            annotation,
            filename=names[record.case_id],
            size_bytes=record.image_path.stat().st_size,
            regions=regions,
            patient=record.patient,
            size_hw=case.slice.size_hw,
        )
        yield record.part.upper(), traced, faults


def _trace_masks(source: Path, masks: Sequence[tuple[str, str]], pairs: dict[str, Pair]) -> Iterator[Traced]:
    for folder, name in track(masks, "Tracing", total=len(masks)):
        path, file = source / folder / name, join(folder, name)
        try:
            mask = read_mask(path)
        except DataError as error:
            cause = str(error).removeprefix(f"{path}: ")
            yield folder, None, [left_out("unreadable", file, cause, "repair or remove it")]
            continue
        faults: list[Finding] = []
        pair = pairs.get(file)
        if pair is None:
            cause = "no pairs.csv or results.json names an image for it alone, so the record refers to the mask"
            faults.append(warning("image-unknown", file, cause, "set the file name there"))
            pair = Pair(file, name, size_bytes=path.stat().st_size)
        image, regions = pair.image.removeprefix(join(folder, "")), tuple(split_lesions(mask))
        height, width = mask.shape
        annotation = ImageAnnotation(image, pair.size_bytes, regions, patient=pair.patient, size_hw=(height, width))
        yield folder, annotation, faults


def _find_image(folder: str, mask: str, pair: Pair | None) -> _Image:
    """The image of a mask in a part's folder; without a pair, the mask itself stands for it."""
    return _Image(folder, pair.image.removeprefix(join(folder, "")), pair.patient) if pair else _Image(folder, mask)


def _find_masks(source: Path) -> list[tuple[str, str]]:
    """Each mask below a folder: its part's folder, or '' outside the parts, and its path within that."""
    masks = []
    for file in (file for file in list_tree(source).files if file.endswith(MASK_SUFFIX)):
        first, _, rest = file.partition("/")
        masks.append((first, rest) if rest and first in _PART_FOLDERS else ("", file))
    return sorted(masks, key=lambda mask: ((*_PART_FOLDERS, "").index(mask[0]), natural_key(mask[1])))


def _find_images(source: Path) -> tuple[dict[str, Pair], list[Finding]]:
    """The pairs that a folder of masks and its parts list, by the mask's path; all paths within the folder."""
    pairs: dict[str, Pair] = {}
    findings: list[Finding] = []
    for folder in ("", *_PART_FOLDERS):
        listed = _read_results(source / folder / "results.json")
        if (source / folder / PAIRS).is_file():
            listed += read_pairs(source / folder / PAIRS).pairs
        by_mask = {pair.mask: pair for pair in listed}
        checked, faults = check_pairs(by_mask.values(), prefix=join(folder, ""))
        pairs |= {join(folder, pair.mask): replace(pair, image=join(folder, pair.image)) for pair in checked}
        findings += faults
    return pairs, findings


def _read_results(path: Path) -> list[Pair]:
    """The pairs that ``segment`` wrote; an image is taken to lie where its mask lies, its size is -1 if it is gone."""
    if not path.is_file():
        return []
    try:
        images = [(record["mask"], Path(record["file"])) for record in read_json(path)["images"] if record["mask"]]
        return [
            Pair((PurePosixPath(mask).parent / file.name).as_posix(), mask, size_bytes=_size_bytes(file))
            for mask, file in images
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); segment the pictures again") from None


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _name_images(records: Sequence[CaseRecord]) -> dict[str, str]:
    """Path of each image within its part, by case_id; in a dataset of masks, within the part's folder of images.

    Where two images of a part would have one name, both keep the whole case_id.
    """
    short = {record.case_id: _short_name(record) for record in records}
    times = Counter((record.part, short[record.case_id]) for record in records)
    return {
        record.case_id: record.case_id if times[record.part, short[record.case_id]] > 1 else short[record.case_id]
        for record in records
    }


def _short_name(record: CaseRecord) -> str:
    name = name_in_part(record.case_id, role="images" if record.has_mask else None)
    if record.annotation is None or is_picture(name):
        return name
    # The picture stands in its annotation file, which is no name for it.
    return join(parent_of(name), name_of(record.annotation.filename))


def _name_masks(records: Sequence[CaseRecord], names: dict[str, str]) -> dict[str, str]:
    """Path of each case's mask within its part, by case_id: the image's, without suffix unless two would meet."""
    stems = {case_id: PurePosixPath(name).with_suffix("").as_posix() for case_id, name in names.items()}
    # A stem may meet another's stem (a.png, a.tif) or whole name (a.png.tif, a.png).
    meets = Counter((record.part, name[record.case_id]) for record in records for name in (names, stems))
    return {
        record.case_id: (names if meets[record.part, stems[record.case_id]] > 1 else stems)[record.case_id]
        + MASK_SUFFIX
        for record in records
    }


def _write_findings(destination: Path, findings: Sequence[Finding], write: Write) -> None:
    if findings:
        write(FINDINGS, encode_json([asdict(finding) for finding in findings]))
    else:
        (destination / FINDINGS).unlink(missing_ok=True)  # those of an earlier conversion
