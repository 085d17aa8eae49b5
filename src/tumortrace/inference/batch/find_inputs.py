"""The pictures and volumes behind files, folders and patterns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from tumortrace.data.findings import Finding, describe_main_cause, left_out
from tumortrace.data.folders import name_of
from tumortrace.data.scans import (
    DICOM_SUFFIXES,
    NIFTI_SUFFIXES,
    PAIR_SUFFIXES,
    find_kind,
    may_be_of_series,
    open_files,
    strip_suffix,
)
from tumortrace.data.volume import Volume
from tumortrace.errors import DataError, installed
from tumortrace.inference.batch.archives import ARCHIVE_SUFFIXES, allow_any_order
from tumortrace.inference.batch.found_files import (
    FoundFile,
    FoundFiles,
    PictureFile,
    PictureFiles,
    hash_texts,
    resolve_collisions,
)
from tumortrace.inference.batch.pictures import describe_no_pictures, sort_files
from tumortrace.inference.batch.remote import RemoteFile
from tumortrace.inference.results.bids import name_derivatives
from tumortrace.inference.results.signed import is_signed
from tumortrace.inference.results.volume_files import VolumeFile
from tumortrace.progress import tell
from tumortrace.stored_path import Source, StoredPath


@dataclass(frozen=True)
class Inputs:
    """What lies behind the inputs of a run.

    Attributes:
        pictures: Pictures, and folders that cannot be opened.
        volumes: DICOM series and NIfTI files.
        refused: Scans that cannot be opened, with their reasons.
        passed: DICOM files that are no scan of their own, with their reasons: reports, segmentations, plans, copies, an
            index. They are skipped, unless the user names such a file itself.
        skipped: Files of other types.
        own: Masks of earlier runs, which are skipped too.
    """

    pictures: Sequence[PictureFile]
    volumes: tuple[VolumeFile, ...] = ()
    refused: tuple[Finding, ...] = ()
    passed: tuple[Finding, ...] = ()
    skipped: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


def find_inputs(inputs: Sequence[str], *, series_uid: str | None = None, bids: bool = False) -> Inputs:
    """Find the pictures and volumes behind files, folders (with all subfolders, links followed) and glob patterns.

    An archive is opened if the user names it; those inside a folder are skipped, and a command says so.

    Args:
        inputs: Inputs as typed by the user.
        series_uid: SeriesInstanceUID of the only series to segment; all else is skipped, but for what cannot be read
            and may belong to it. None takes everything.
        bids: Whether the results of volumes are named as BIDS derivatives.

    Raises:
        DataError: An input does not exist, there is nothing to segment, or no series of that UID.
        TumortraceError: There are scans alone, and a library for them is not installed.
    """
    found, paths = _find(inputs)
    _tell_of_archives(found.skipped)
    if series_uid is not None:
        found = _keep_series(found, series_uid, paths, inputs)
    if not (found.volumes or found.refused or found.has_pictures):
        if found.passed:
            raise DataError(f"{' '.join(inputs)}: nothing to segment; {describe_main_cause(found.passed)}")
        raise describe_no_pictures(inputs, found.pictures, len(found.skipped) + len(found.own))
    return _name(found, bids=bids)


def _tell_of_archives(skipped: Sequence[str]) -> None:
    """Say which archives inside folders are not opened."""
    archives = [path for path in skipped if path.lower().endswith(ARCHIVE_SUFFIXES)]
    if archives:
        more = f" (and {len(archives) - 1} more such)" if len(archives) > 1 else ""
        tell(f"{archives[0]}: an archive inside a folder is not opened; name it to segment what it holds{more}")


@dataclass(frozen=True)
class _Found:
    """As ``Inputs``, before the results have names."""

    pictures: FoundFiles
    volumes: list[Volume]
    refused: list[Finding]
    passed: list[Finding]
    skipped: list[str]
    own: list[str]

    @property
    def has_pictures(self) -> bool:
        return any(not one.fault for one in self.pictures)


def _find(inputs: Sequence[str]) -> tuple[_Found, dict[str, Path]]:
    """Find what lies behind inputs, and the path by which each file that may be a scan is opened."""
    files, others = sort_files(inputs)
    named = [one for _, one in files.odd() if one.named]
    pictures = FoundFiles(one for one in files if not one.named) if named else files
    likely, unlike = [one for one in others if _may_be_scan(one)], [one.path for one in others if not _may_be_scan(one)]
    paths = _locate([*named, *likely])
    own = [one.path for one in likely if is_signed(paths[one.path])]
    ours = set(own)
    candidates = [*named, *(one for one in likely if one.path not in ours)]
    volumes, findings, rest = _open(candidates, paths, needed=all(one.fault for one in pictures))
    asked, left = {one.path for one in named}, set(rest)
    for one in named:
        if one.path in left:  # a file that the user names is taken for a picture
            pictures.append(one)
    refused = [each for each in findings if each.kind == "scan-refused" or each.file in asked]
    passed = [each for each in findings if each not in refused]
    skipped = [*(one.path for one in likely if one.path in left), *unlike]
    return _Found(pictures, volumes, refused, passed, skipped, own), paths


def _keep_series(found: _Found, series_uid: str, paths: Mapping[str, Path], inputs: Sequence[str]) -> _Found:
    """Keep one series, and what cannot be read and may belong to it; the rest is skipped."""
    others = [each for each in found.refused if not may_be_of_series(paths[each.file], series_uid)]
    readable = [one.path for one in found.pictures if not one.fault]
    return replace(
        found,
        pictures=FoundFiles(one for one in found.pictures if one.fault),  # its files may lie behind them
        volumes=_pick(found.volumes, series_uid, inputs),
        refused=[each for each in found.refused if each not in others],
        skipped=[*found.skipped, *readable, *(each.file for each in others)],
    )


def _may_be_scan(one: FoundFile) -> bool:
    """Whether a file is looked into; an object is fetched only if its suffix is that of a scan, or no word."""
    if not isinstance(one.source, RemoteFile) or one.named:
        return True
    suffix = PurePosixPath(one.path).suffix[1:]
    return one.path.lower().endswith((*NIFTI_SUFFIXES, *DICOM_SUFFIXES)) or not suffix.isalpha()


def _locate(files: Sequence[FoundFile]) -> dict[str, Path]:
    """Return the path by which each file is opened; a member of an archive knows the other half of a pair."""
    sources = {one.path: allow_any_order(one.source) for one in files if one.source is not None}
    halves: dict[str, dict[str, Source]] = defaultdict(dict)
    for path, source in sources.items():
        if path.lower().endswith(PAIR_SUFFIXES):
            halves[strip_suffix(path)][PurePosixPath(path).name] = source
    paths: dict[str, Path] = {
        path: StoredPath(path, source, halves.get(strip_suffix(path))) for path, source in sources.items()
    }
    return paths | {one.path: Path(one.path) for one in files if one.source is None}


def _open(
    candidates: Sequence[FoundFile], paths: Mapping[str, Path], *, needed: bool
) -> tuple[list[Volume], list[Finding], list[str]]:
    """Open the scans among files, input by input.

    Args:
        candidates: Files that are no pictures by their suffix.
        paths: Paths by which they are opened.
        needed: Whether there is nothing else to segment, so that libraries for scans must be there.
    """
    volumes: list[Volume] = []
    findings: list[Finding] = []
    rest: list[str] = []
    if not (needed or installed("formats")):
        scans = [one.path for one in candidates if find_kind(paths[one.path])]
        return [], _name_unread(scans), [one.path for one in candidates if one.path not in scans[:1]]
    for root, group in groupby(candidates, key=lambda one: one.path[: one.start]):
        members = list(group)
        file = members[0].path if members[0].named else root or "."
        opened = open_files([paths[one.path] for one in members], root=Path(root or "."), file=file)
        volumes += [_name_without_suffix(volume, root) for volume in opened.volumes]
        findings += opened.findings
        rest += opened.others
    return volumes, findings, rest


def _name_unread(scans: Sequence[str]) -> list[Finding]:
    """One finding for scans that are not read because their libraries are not installed; none without scans."""
    cause = f"DICOM and NIfTI files are not read without the extra formats; there are {len(scans)}"
    return [
        left_out("scan-refused", each, cause, "install it: pip install 'tumortrace[formats]'") for each in scans[:1]
    ]


def _name_without_suffix(volume: Volume, root: str) -> Volume:
    """Return a volume that has the name of its archive with the name of a folder of the same name."""
    archive = PurePosixPath(root).name
    suffix = next((end for end in ARCHIVE_SUFFIXES if archive.lower().endswith(end)), "")
    if suffix and (volume.name == archive or volume.name.startswith(f"{archive}_")):
        return replace(volume, name=archive[: -len(suffix)] + volume.name[len(archive) :])
    return volume


def _pick(volumes: Sequence[Volume], series_uid: str, inputs: Sequence[str]) -> list[Volume]:
    chosen = [volume for volume in volumes if volume.series_uid == series_uid]
    if chosen:
        return chosen
    known = [volume.series_uid for volume in volumes if volume.series_uid]
    there = f"there are {', '.join(known)}" if known else "there is no DICOM series"
    raise DataError(f"{' '.join(inputs)}: no series {series_uid}; {there}")


def _name(found: _Found, *, bids: bool) -> Inputs:
    """Name the results of all, so that no two write the same file."""
    pictures, volumes = found.pictures, found.volumes
    renamed, count = pictures.resolve_names(), len(pictures)
    stems = PictureFiles(pictures, renamed)
    scans = [volume.name for volume in volumes]
    scans = name_derivatives(scans) if bids else scans

    def plain(number: int) -> str:
        return scans[number - count] if number >= count else (stems[number].name or f"\0{number}")

    def full(number: int) -> str:
        at = number - count
        return _with_suffix(volumes[at], scans[at]) if at >= 0 else pictures.relative(number)

    total = range(count + len(scans))
    names = resolve_collisions(hash_texts(map(plain, total)), plain, full) if scans else {}
    renamed |= {number: name for number, name in names.items() if number < count}
    chosen = [names.get(count + at, name) for at, name in enumerate(scans)]
    items = tuple(VolumeFile(volume, name, bids) for volume, name in zip(volumes, chosen, strict=True))
    return Inputs(
        PictureFiles(pictures, renamed),
        items,
        refused=tuple(found.refused),
        passed=tuple(found.passed),
        skipped=tuple(found.skipped),
        own=tuple(found.own),
    )


def _with_suffix(volume: Volume, name: str) -> str:
    """A volume's name with the suffix of its file, where another file has the same name without it."""
    if volume.kind == "dicom":
        return name
    file = volume.sources[0].path.name
    return name + file[len(name_of(name)) :]
