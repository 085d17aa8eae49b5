"""Opening of scans: the volumes behind a file or folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tumortrace.data.findings import Finding, left_out
from tumortrace.data.folders import list_tree
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError, require_extra

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
"""Endings of the files that are taken for NIfTI, in lower case."""


@dataclass(frozen=True)
class OpenedVolumes:
    """What a file or folder holds.

    Attributes:
        volumes: Volumes in the order of their first files.
        findings: Files that are scans by their kind and yet no volume, each with its reason, and warnings that concern
            no single volume.
        others: Files of other kinds, such as pictures and texts, which nobody looked into.
    """

    volumes: tuple[Volume, ...]
    findings: tuple[Finding, ...]
    others: tuple[str, ...]


def open_volumes(path: os.PathLike[str] | str, *, series_uid: str | None = None) -> OpenedVolumes:
    """Open the volumes of a file or of a folder with its subfolders. Headers are read, pixels are not.

    Args:
        path: A NIfTI file, or a folder.
        series_uid: SeriesInstanceUID of the only series to open; None opens all volumes.

    Raises:
        DataError: There is no such file or folder, or no series of that UID.
        TumortraceError: A library for scans is not installed.
    """
    root = Path(path)
    if not root.is_dir():
        return open_files([root], root=root.parent, file=str(path), series_uid=series_uid)
    tree = list_tree(root)
    opened = open_files([root / file for file in tree.files], root=root, file=str(path), series_uid=series_uid)
    return OpenedVolumes(opened.volumes, (*tree.findings, *opened.findings), opened.others)


def open_files(files: Iterable[Path], *, root: Path, file: str, series_uid: str | None = None) -> OpenedVolumes:
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
    volumes: list[Volume] = []
    findings: list[Finding] = []
    others: list[str] = []
    for path in files:
        if not path.name.lower().endswith(NIFTI_SUFFIXES):
            others.append(str(path))
            continue
        try:
            volumes.append(_open_nifti(path, root=root, file=file))
        except DataError as error:
            findings.append(_refused(path, error))
    if series_uid is not None:
        volumes = [volume for volume in volumes if volume.series_uid == series_uid]
        if not volumes:
            raise DataError(f"{file}: no series {series_uid}; list its series with: tumortrace info {file}")
    return OpenedVolumes(tuple(volumes), tuple(findings), tuple(others))


def _open_nifti(path: Path, *, root: Path, file: str) -> Volume:
    require_extra("formats", purpose="read NIfTI files")
    from tumortrace.data.nifti import open_nifti

    relative = PurePosixPath(os.path.relpath(path, root).replace(os.sep, "/"))
    name = relative.with_name(strip_nifti_suffix(relative.name)).as_posix()
    return open_nifti(path, name=name, file=file)


def strip_nifti_suffix(name: str) -> str:
    """Return a file name without its suffix; ``.nii.gz`` counts as one."""
    for suffix in sorted(NIFTI_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return PurePosixPath(name).stem


def _refused(path: Path, error: DataError) -> Finding:
    text = str(error).removeprefix(f"{path}: ")
    cause, _, remedy = text.rpartition("; ")
    return left_out("scan-refused", str(path), cause or text, remedy if cause else "give another file")
