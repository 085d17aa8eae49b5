"""Opening of scans: the volumes behind a file or folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.folders import is_picture, list_tree
from tumortrace.data.names import make_unique
from tumortrace.data.pictures import DICOM_HEAD, is_dicom
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError, require_extra, split_remedy
from tumortrace.regular_files import open_regular
from tumortrace.wording import command_line

if TYPE_CHECKING:
    from tumortrace.data.dicom.series import Group

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
"""Endings of the files that are taken for NIfTI, in lower case."""

PAIR_SUFFIXES = NIFTI_SUFFIXES[2:]
"""Those of the two halves of a pair, header and voxels."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""Endings of the files that are taken for DICOM, in lower case; others are known by their first bytes."""


@dataclass(frozen=True)
class OpenedVolumes:
    """What a file or folder holds.

    Attributes:
        volumes: Volumes: NIfTI files in the order given, then DICOM series in the order of their first files.
        findings: Files that are scans by their kind and yet no volume (``left out``, each with its reason), and
            warnings that concern no single volume.
        others: Files of other kinds, such as pictures and texts.
    """

    volumes: tuple[Volume, ...]
    findings: tuple[Finding, ...]
    others: tuple[str, ...]


def open_volumes(path: os.PathLike[str] | str, *, series_uid: str | None = None) -> OpenedVolumes:
    """Open the volumes of a file or of a folder with its subfolders. Headers are read, pixels are not.

    DICOM files may have any names and come in any order. They become volumes by series, and within a series by
    orientation, matrix, spacing, echo and time.

    Args:
        path: A DICOM or NIfTI file, or a folder.
        series_uid: SeriesInstanceUID of the only series to open; None opens all volumes.

    Raises:
        DataError: There is no such file or folder, or no series of that UID.
        TumortraceError: A library for scans is not installed.
    """
    root = Path(path)
    if not root.is_dir():
        if not root.exists():
            raise DataError(f"{path}: no such file or folder; check the path")
        return open_files([root], root=root.parent, file=str(path), series_uid=series_uid)
    tree = list_tree(root)
    opened = open_files([root / file for file in tree.files], root=root, file=str(path), series_uid=series_uid)
    return OpenedVolumes(opened.volumes, (*tree.findings, *opened.findings), opened.others)


def open_files(files: Sequence[Path], *, root: Path, file: str, series_uid: str | None = None) -> OpenedVolumes:
    """Open the volumes among files that are already listed.

    Args:
        files: Files to look at.
        root: Folder below which they lie; the volumes' names are relative to it.
        file: File or folder that the user named.
        series_uid: SeriesInstanceUID of the only series to open; None opens all volumes.

    Raises:
        DataError: There is no series of that UID.
        TumortraceError: A library for scans is not installed.
    """
    kinds = {path: find_kind(path) for path in files}
    images = [path for path, kind in kinds.items() if kind == "dicom"]
    volumes, findings = _open_niftis([path for path, kind in kinds.items() if kind == "nifti"], root=root, file=file)
    if images:
        series, faults = _open_series(images, files=files, root=root, file=file)
        volumes, findings = volumes + series, findings + faults
    if series_uid is not None:
        there = {volume.series_uid for volume in volumes}
        volumes = [volume for volume in volumes if volume.series_uid == series_uid]
        if not volumes:
            command = command_line("info", file)
            raise DataError(f"{file}: no series {series_uid} among {len(there - {None})}; list them with: {command}")
    return OpenedVolumes(tuple(volumes), tuple(findings), tuple(str(path) for path in files if kinds[path] is None))


def open_single_slice(path: Path) -> Volume:
    """Open a DICOM or NIfTI file that holds one slice, as a volume of this slice.

    Raises:
        DataError: The file makes no volume, or one of several slices.
        TumortraceError: A library for scans is not installed.
    """
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        volumes, findings = _open_niftis([path], root=path.parent, file=str(path))
    else:
        volumes, findings = _open_series([path], files=[path], root=path.parent, file=str(path))
    if not volumes:
        raise DataError(f"{path}: {findings[0].cause}; {findings[0].remedy}")
    count = sum(map(len, volumes))
    if count > 1:
        raise DataError(f"{path}: {count} slices, and one is needed here; give it to predict_volume")
    return volumes[0]


def find_kind(path: Path) -> str | None:
    """Return ``"dicom"`` or ``"nifti"`` for a file that is a scan by its first bytes or its name; None for others."""
    name = path.name.lower()
    if is_picture(name):
        return None
    try:
        with open_regular(path) as file:
            head = file.read(DICOM_HEAD)
    except OSError:  # the reader of its kind says why
        head = b""
    if is_dicom(head, path=Path("unnamed")):
        return "dicom"
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    return "dicom" if name.endswith(DICOM_SUFFIXES) or _looks_old(head) else None


def may_be_of_series(path: Path, series_uid: str) -> bool:
    """Return whether a file that cannot be read as an image may belong to a DICOM series.

    Args:
        path: The file.
        series_uid: SeriesInstanceUID of the series.

    Returns:
        False for a NIfTI file, and for a DICOM file whose header names another series.
    """
    if find_kind(path) != "dicom":
        return False
    from tumortrace.data.dicom.stream import parse
    from tumortrace.data.dicom.tags import read_text

    try:
        found = read_text(parse(path, ["SeriesInstanceUID"]).dataset, "SeriesInstanceUID")
    except DataError:
        return True
    return found in ("", series_uid)


def strip_suffix(name: str) -> str:
    """Return a scan's file name without its suffix; ``.nii.gz`` counts as one. Dots of other names stay."""
    for suffix in sorted((*NIFTI_SUFFIXES, *DICOM_SUFFIXES), key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def _looks_old(head: bytes) -> bool:
    """Whether a file begins with a DICOM tag, as files without the mark do."""
    known = head[:4] in {b"\x08\x00\x05\x00", b"\x08\x00\x00\x00", b"\x08\x00\x08\x00", b"\x02\x00\x00\x00"}
    return known and len(head) == DICOM_HEAD


def _open_niftis(paths: Sequence[Path], *, root: Path, file: str) -> tuple[list[Volume], list[Finding]]:
    volumes: list[Volume] = []
    findings: list[Finding] = []
    if not paths:
        return volumes, findings
    require_extra("formats", purpose="read NIfTI files")
    from tumortrace.data.nifti.reader import open_nifti

    headers = {strip_suffix(str(path)) for path in paths if path.name.lower().endswith((".hdr", ".hdr.gz"))}
    chosen = [path for path in paths if not _is_second_half(path, headers)]
    names = make_unique([_relative(path, root, strip_suffix(path.name)) for path in chosen])
    for path, name in zip(chosen, names, strict=True):
        try:
            volumes.append(open_nifti(path, name=name, file=file))
        except DataError as error:
            findings.append(_refused("scan-refused", path, error))
    return volumes, findings


def _is_second_half(path: Path, headers: set[str]) -> bool:
    return path.name.lower().endswith((".img", ".img.gz")) and strip_suffix(str(path)) in headers


def _open_series(
    paths: Sequence[Path], *, files: Iterable[Path], root: Path, file: str
) -> tuple[list[Volume], list[Finding]]:
    require_extra("formats", purpose="read DICOM files")
    from tumortrace.data.dicom.directory import count_missing
    from tumortrace.data.dicom.image import NoImageError, read_frames
    from tumortrace.data.dicom.series import group_frames, make_volume

    frames, findings = [], []
    for path in paths:
        if path.name.upper() == "DICOMDIR" and len(paths) > 1:
            findings.append(count_missing(path, files))
            continue
        try:
            frames += read_frames(path)
        except NoImageError as error:
            findings.append(_refused("dicom-no-image", path, error))
        except DataError as error:
            findings.append(_refused("scan-refused", path, error))
    groups, copies = group_frames(frames)
    names = _name_groups(groups, root)
    return [make_volume(group, name=name, file=file) for group, name in zip(groups, names, strict=True)], [
        *findings,
        *copies,
    ]


def _name_groups(groups: Sequence[Group], root: Path) -> list[str]:
    """A name for each volume: its only file, or else its folder, with what distinguishes it from the others there."""
    bases = [_base_name({frame.path for frame in group.frames}, root) for group in groups]
    series = {(base, group.frames[0].series_key) for base, group in zip(bases, groups, strict=True)}
    shared = Counter(base for base, _ in series)
    names = []
    for base, group in zip(bases, groups, strict=True):
        number = group.frames[0].series_number
        parts = [f"series-{number}"] if shared[base] > 1 and number is not None else []
        marks = [value for mark, value in group.marks.items() if mark != "echo time" or "echo" not in group.marks]
        names.append("_".join([base, *parts, *marks]))
    return make_unique(names)


def _base_name(paths: set[Path], root: Path) -> str:
    if len(paths) == 1:
        (path,) = paths
        return _relative(path, root, strip_suffix(path.name))
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    relative = os.path.relpath(folder, root).replace(os.sep, "/")
    return (root.resolve().name or "scan") if relative == os.curdir else relative


def _relative(path: Path, root: Path, name: str) -> str:
    return PurePosixPath(os.path.relpath(path.with_name(name), root).replace(os.sep, "/")).as_posix()


def _refused(kind: str, path: Path, error: DataError) -> Finding:
    cause, remedy = split_remedy(error, path)
    return left_out(kind, str(path), cause, remedy or "give another file")
