"""The layout with scans: DICOM series and NIfTI files, with SEG or NIfTI masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumortrace.data.cases import CaseRecord
from tumortrace.data.dicom.patients import read_patient_key
from tumortrace.data.dicom.segmentation import Segmentation, read_segmentation
from tumortrace.data.findings import Finding, warning
from tumortrace.data.layouts.opening import Opening
from tumortrace.data.layouts.scan_masks import LaidMask, choose_labels, lay_nifti, lay_seg
from tumortrace.data.layouts.scan_names import is_mask_name, match_scans, read_scan_name
from tumortrace.data.names import make_unique
from tumortrace.data.parts import part_of
from tumortrace.data.patients import find_patients_by_folder
from tumortrace.data.scans import open_files, strip_suffix
from tumortrace.data.volume import Volume, VolumeMask
from tumortrace.errors import DataError, split_remedy
from tumortrace.wording import counted


@dataclass(frozen=True, eq=False)
class _Found:
    """What the files of a folder are: scans, NIfTI masks and DICOM segmentations."""

    scans: tuple[Volume, ...]
    masks: tuple[Volume, ...]
    segs: tuple[Segmentation, ...]


def open_scans(opening: Opening, files: Sequence[str]) -> None:
    """Use scans and their masks: each slice of a scan with a mask is a case.

    A scan without a mask is a finding, and its slices are known as pictures without truth.

    Args:
        opening: The dataset while it is opened.
        files: Its DICOM and NIfTI files.
    """
    found = _sort_files(opening, files)
    truths: dict[int, list[tuple[str, VolumeMask]]] = {}
    for path, laid in _lay_masks(opening, found):
        for number, mask in _choose(opening, path, laid, found.scans).items():
            truths.setdefault(number, []).append((_within(opening, path), mask))
    patients = _name_patients(opening, found.scans, {number: masks[0][0] for number, masks in truths.items()})
    for number, volume in enumerate(found.scans):
        _add_scan(opening, volume, truths.get(number, []), patients[number])


def _sort_files(opening: Opening, files: Sequence[str]) -> _Found:
    """Open scans and masks; what is neither is a finding."""
    root = opening.tree.root
    own = [file for file in files if file in opening.machine_made]
    for file in own:
        cause = "segment wrote it (see results.json); it is neither a scan nor a truth"
        opening.leave_out("not-a-slice", file, cause, "keep results elsewhere")
    opened = open_files([root / file for file in files if file not in own], root=root, file=str(root))
    masks = tuple(volume for volume in opened.volumes if _is_mask(opening, volume))
    scans = [volume for volume in opened.volumes if volume not in masks]
    names = make_unique([volume.name for volume in scans])
    segs = []
    for finding in opened.findings:
        seg = _read_seg(opening, Path(finding.file)) if finding.kind == "dicom-no-image" else None
        if seg is not None:
            segs.append(seg)
        elif finding.file not in {str(root / each.file) for each in opening.findings}:
            opening.findings.append(_relative(opening, finding))
    opening.findings += [_relative(opening, finding) for volume in scans for finding in volume.findings]
    named = tuple(replace(volume, name=name) for volume, name in zip(scans, names, strict=True))
    return _Found(named, masks, tuple(segs))


def _is_mask(opening: Opening, volume: Volume) -> bool:
    """Whether a NIfTI file is a mask: a table says so, or else its name."""
    file = _within(opening, volume.sources[0].path)
    if volume.kind != "nifti" or file in opening.scan_masks:
        return False
    return file in opening.scan_masks.values() or is_mask_name(volume.name)


def _find_candidates(opening: Opening, found: _Found) -> Iterator[list[int]]:
    """Yield the scans that each NIfTI mask belongs to: by a table, or else by its name."""
    scans = [read_scan_name(volume.name) for volume in found.scans]
    masks = [read_scan_name(volume.name, mask=True) for volume in found.masks]
    listed: dict[str, list[int]] = {}
    for number, volume in enumerate(found.scans):
        if mask := opening.scan_masks.get(_within(opening, volume.sources[0].path)):
            listed.setdefault(mask, []).append(number)
    for volume, name in zip(found.masks, masks, strict=True):
        yield listed.get(_within(opening, volume.sources[0].path)) or match_scans(name, scans, masks)


def _read_seg(opening: Opening, path: Path) -> Segmentation | None:
    """Read a segmentation; None for another object, and for one that cannot be read, which is then a finding."""
    try:
        return read_segmentation(path)
    except DataError as error:
        _refuse(opening, path, error)
        return None


def _lay_masks(opening: Opening, found: _Found) -> Iterator[tuple[Path, LaidMask]]:
    """Lay each mask on its scans; one that fits none is a finding."""
    for seg in found.segs:
        try:
            yield seg.path, lay_seg(seg, found.scans)
        except DataError as error:
            _refuse(opening, seg.path, error)
            continue
        if seg.kind == "FRACTIONAL":
            cause = "a fractional segmentation: probabilities of a half and above count as tumour"
            opening.findings.append(warning("seg-fractional", _within(opening, seg.path), cause, "give a binary one"))
    for mask, candidates in zip(found.masks, _find_candidates(opening, found), strict=True):
        path = mask.sources[0].path
        try:
            yield path, lay_nifti(mask, candidates, found.scans, opening.label_names)
        except DataError as error:
            _refuse(opening, path, error)


def _choose(opening: Opening, path: Path, laid: LaidMask, scans: Sequence[Volume]) -> dict[int, VolumeMask]:
    """The mask of the labels that count, by the number of the scan; none if it has other labels only."""
    file = _within(opening, path)
    if laid.labels:
        opening.labels.setdefault("label", Counter()).update(laid.labels.values())
        opening.labelled_files.append(file)
    try:
        chosen = choose_labels(laid, opening.label, path)
    except DataError as error:
        _refuse(opening, path, error)
        return {}
    if len(laid.masks) > 1:
        names = ", ".join(scans[number].name for number in laid.masks)
        cause = f"it lies on {len(laid.masks)} scans of one geometry ({names}) and serves each"
        remedy = "keep one of them if the model is for one contrast"
        opening.findings.append(warning("mask-serves-several", file, cause, remedy))
    return {number: mask.choose(chosen) for number, mask in laid.masks.items()}


def _add_scan(opening: Opening, volume: Volume, masks: Sequence[tuple[str, VolumeMask]], patient: str) -> None:
    """Add each slice of a scan as a case with the first of its masks; without one, as a picture without truth."""
    if len(masks) > 1:
        others = ", ".join(file for file, _ in masks[1:])
        cause = f"several masks fit it; {masks[0][0]} is used, and not {others}"
        remedy = "leave one mask for each scan; if each marks a lesion, unite them first"
        opening.findings.append(warning("duplicate-record", volume.name, cause, remedy))
    if not masks:
        cause = f"a scan of {counted(len(volume), 'slice')} without a mask; it is not taken as free of tumour"
        opening.leave_out("annotation-missing", volume.name, cause, "add its mask as NAME_mask.nii.gz or DICOM-SEG")
    mask = masks[0][1] if masks else None
    part = part_of(f"{volume.name}/x") or opening.part_of(_within(opening, volume.sources[0].path))
    for index, source in enumerate(volume.sources):
        case_id = f"{volume.name}/slice-{index:03}"
        record = CaseRecord(case_id, part, source.path, mask, patient, volume=volume, index=index)
        (opening.records if masks else opening.unannotated).append(record)


def _name_patients(opening: Opening, scans: Sequence[Volume], masks: dict[int, str]) -> list[str]:
    """The patient of each scan, who is never on two sides of a split.

    A table names the patient. Else DICOM series of one PatientID (without one, of one study) are one patient, who gets
    a number in place of the ID, and with it the name of the folder: number 1 of another folder is another patient. But
    folders count where all series have the same ID, as some anonymisers write it. Else a folder names the patient, or
    BIDS. Other scans that share a mask are one patient of its name.
    """
    places = [f"{volume.name}/slice" if volume.kind == "dicom" else volume.name for volume in scans]
    by_folder = find_patients_by_folder(places)
    keys = [read_patient_key(volume) for volume in scans]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(filter(None, keys)), start=1)}
    patients = []
    for number, (volume, place, key) in enumerate(zip(scans, places, keys, strict=True)):
        files = dict.fromkeys(_within(opening, source.path) for source in volume.sources)
        named = next((opening.patients[file] for file in files if file in opening.patients), None)
        counted = f"DICOM patient {numbers[key]} of {opening.tree.root.resolve().name}" if key else None
        first, second = (counted, by_folder.get(place)) if len(numbers) > 1 else (by_folder.get(place), counted)
        name = read_scan_name(volume.name)
        mask = read_scan_name(strip_suffix(masks[number]), mask=True).path if number in masks else ""
        patients.append(named or first or second or name.subject.partition("_")[0] or mask or volume.name)
    return patients


def _refuse(opening: Opening, path: Path, error: DataError) -> None:
    cause, remedy = split_remedy(error, path)
    opening.leave_out("mask-unusable", _within(opening, path), cause, remedy or "correct it")


def _relative(opening: Opening, finding: Finding) -> Finding:
    return replace(finding, file=_within(opening, Path(finding.file)))


def _within(opening: Opening, path: Path) -> str:
    return path.relative_to(opening.tree.root).as_posix()
