"""DICOM frames of any files, in any order, put together as volumes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from tumortrace.data.dicom.geometry import (
    SAME_DIRECTION,
    SAME_MM,
    TILTED_DEGREES,
    Directions,
    Stack,
    measure_depths,
    measure_stack,
    name_plane,
    read_directions,
)
from tumortrace.data.dicom.image import Frame
from tumortrace.data.dicom.pixels import read_grey
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.data.slice import Slice
from tumortrace.data.volume import SliceSource, Volume

CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Beginning of the SOP classes of secondary captures."""

PROJECTIONS = frozenset(
    {"PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "MIN_IP", "VOLUME_RENDER", "STDDEV_P", "PROJECTION"}
)
"""Values of ImageType that mark a projection through many slices."""

SAME_SIDE_MM, SAME_MS = 0.001, 0.015
"""Differences of pixel spacings and of echo times, which are rounded to 0.01 ms, up to which they are the same."""

_BY_NUMBER = "the order of their numbers"


@dataclass(frozen=True, eq=False)
class DicomReader:
    """Decoder of the slices of one series; see ``SliceReader``.

    Attributes:
        frames: Frames in the order of the slices.
    """

    frames: tuple[Frame, ...]

    def read(self, index: int) -> Slice:
        """Decode one slice."""
        return read_grey(self.frames[index])

    def inspect(self) -> tuple[Finding, ...]:
        """Return nothing: headers were checked when the series was opened."""
        return ()


@dataclass(frozen=True, eq=False)
class Group:
    """Frames of one volume, in order, and what distinguishes it from the others of its series.

    Attributes:
        frames: Frames in the order of the slices.
        directions: Directions of rows and columns; None if the slices have no known place.
        marks: Values that distinguish it, by name, such as ``{"echo": "echo-2"}``.
        findings: Warnings from its making.
    """

    frames: tuple[Frame, ...]
    directions: Directions | None
    marks: dict[str, str]
    findings: tuple[Finding, ...] = ()


def group_frames(frames: Iterable[Frame]) -> tuple[list[Group], list[Finding]]:
    """Split frames into volumes: by series, coordinate system, matrix, spacing, orientation, echo and time.

    Files without SeriesInstanceUID are one series if they share folder, coordinate system and number, else one each.

    Where places still repeat, frames are split by what else differs at one place (image type, b-value, gradient,
    acquisition), and else by the order of their numbers. Each split is a finding. Frames that all name one place, and
    differ in nothing else, are one volume of unknown places.

    Returns:
        The volumes in the order of their first frames, and findings on files left out: copies.
    """
    unique, findings = _drop_copies(frames)
    series: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in unique:
        series[frame.series_key].append(frame)
    alone = Counter(members[0].path.parent for members in series.values() if _is_alone(members))
    groups = []
    for members in series.values():
        systems = _list_systems(members)
        apart = len(set(systems)) == len(systems) > 1
        parts = _split_series(members, by_system=len(set(systems)) > 1 and not apart)
        told = (
            *_tell_nameless(members, alone[members[0].path.parent]),
            *_tell_systems(members, apart=apart),
            *_tell_split(parts, len(members)),
        )
        for part in parts:
            groups += [
                Group(group.frames, group.directions, group.marks, (*told, *group.findings))
                for group in _split_places(part)
            ]
    return groups, findings


def make_volume(group: Group, *, name: str, file: str) -> Volume:
    """Make a volume of a group.

    Args:
        group: Frames in order.
        name: Name of the volume.
        file: File or folder that the user named.
    """
    first = group.frames[0]
    positions = None if group.directions is None else _positions(group.frames)
    stack = None
    if group.directions is not None and positions is not None:
        stack = measure_stack(group.directions, positions, first.spacing_mm, first.thickness_mm)
    alone = first.thickness_mm if len(group.frames) == 1 else None
    return Volume(
        name=name,
        file=file,
        kind="dicom",
        reader=DicomReader(group.frames),
        sources=tuple(SliceSource(frame.path, frame.number) for frame in group.frames),
        size_hw=first.image.size_hw,
        spacing_mm=first.spacing_mm,
        step_mm=alone if stack is None else stack.step_mm,
        affine=None if stack is None else stack.affine,
        positions_mm=positions,
        series_uid=first.series or None,
        modality=first.modality or None,
        findings=(*_tell_kind(first), *group.findings, *_tell_geometry(group, stack)),
    )


def _drop_copies(frames: Iterable[Frame]) -> tuple[list[Frame], list[Finding]]:
    """Drop files whose object is already there under another name."""
    kept: list[Frame] = []
    findings: dict[Path, Finding] = {}
    seen: dict[Hashable, Path] = {}
    for frame in frames:
        # Some anonymisers give all files one UID; then their places tell them apart.
        path = seen.setdefault((frame.instance, frame.number, frame.position, frame.order), frame.path)
        if path == frame.path:
            kept.append(frame)
        else:
            other = path.name if path.parent == frame.path.parent else path
            findings[frame.path] = left_out(
                "dicom-copy", str(frame.path), f"the same object as {other} (SOPInstanceUID)", "remove one of them"
            )
    return kept, list(findings.values())


def _is_alone(frames: Sequence[Frame]) -> bool:
    """Whether frames are of one file that states no series."""
    return not frames[0].series and len({frame.path for frame in frames}) == 1


def _tell_nameless(frames: Sequence[Frame], alone: int) -> tuple[Finding, ...]:
    """Say what is made of files that state no series; ``alone`` of the folder are no part of a larger one."""
    if frames[0].series or (_is_alone(frames) and alone == 1):
        return ()
    if _is_alone(frames):
        cause = f"no SeriesInstanceUID: {alone} files of the folder are a scan each"
        remedy = "export them with SeriesInstanceUID, if they belong together"
    else:
        count = len({frame.path for frame in frames})
        cause = f"no SeriesInstanceUID: {count} files of one folder and coordinate system are taken as one series"
        remedy = "check that they belong together"
    return (warning("series-unknown", str(frames[0].path), cause, remedy),)


@dataclass(frozen=True, eq=False)
class _Part:
    """Frames of one series that agree in what never differs within a volume."""

    frames: list[Frame]
    directions: Directions | None
    marks: dict[str, str]


def _list_systems(frames: Sequence[Frame]) -> list[str]:
    """The coordinate system of each file that names one.

    Some anonymisers give each file a system of its own; then none counts. Others remove it from some files.
    """
    systems = {frame.path: frame.frame_of_reference for frame in frames}
    return [system for system in systems.values() if system]


def _tell_systems(frames: Sequence[Frame], *, apart: bool) -> tuple[Finding, ...]:
    if not apart:
        return ()
    cause = "each file names a coordinate system of its own (FrameOfReferenceUID); they are taken as one"
    return (warning("systems-differ", str(frames[0].path), cause, "check that the files belong together"),)


def _split_series(frames: Sequence[Frame], *, by_system: bool) -> list[_Part]:
    found: list[Directions] = []
    spacings: list[tuple[float, ...]] = []
    times: list[tuple[float, ...]] = []
    parts: dict[tuple[Any, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        turn = _find_direction(frame, found)
        spacing = _find_alike(frame.spacing_mm or (), spacings, SAME_SIDE_MM)
        number, time_ms = frame.echo
        echo = number, _find_alike(() if time_ms is None else (time_ms,), times, SAME_MS)
        key = (
            turn, frame.image.size_hw, spacing, by_system and frame.frame_of_reference, echo, frame.time,
            frame.image.options["samples_per_pixel"],
        )  # fmt: skip
        parts[key].append(frame)
    directions = [None if turn is None else found[turn] for turn, *_ in parts]
    marks = [_mark(members[0], turned) for members, turned in zip(parts.values(), directions, strict=True)]
    return [
        _Part(members, turned, _distinguish(mark, marks))
        for members, turned, mark in zip(parts.values(), directions, marks, strict=True)
    ]


def _find_direction(frame: Frame, found: list[Directions]) -> int | None:
    """The number of a frame's orientation among those found; None if place or orientation is unknown."""
    directions = None if frame.position is None else read_directions(frame.orientation)
    if directions is None:
        return None
    if found:
        distances = np.abs(np.stack(found) - directions).max(axis=(1, 2))
        same = np.flatnonzero(distances <= SAME_DIRECTION)
        if len(same):
            return int(same[0])
    found.append(directions)
    return len(found) - 1


def _find_alike(values: tuple[float, ...], found: list[tuple[float, ...]], most: float) -> int:
    """The number of the values among those found, from which they differ by rounding alone."""
    for number, other in enumerate(found):
        if len(values) == len(other) and all(abs(a - b) <= most for a, b in zip(values, other, strict=True)):
            return number
    found.append(values)
    return len(found) - 1


def _mark(frame: Frame, directions: Directions | None) -> dict[str, str]:
    """What may distinguish a part from others, as parts of a name."""
    height, width = frame.image.size_hw
    number, time = frame.echo
    spacing = "x".join(f"{side:.3g}" for side in frame.spacing_mm or ())
    return {
        "orientation": "no-orientation" if directions is None else name_plane(directions),
        "matrix": f"{height}x{width}",
        "spacing": f"{spacing}mm" if spacing else "no-spacing",
        "echo": f"echo-{number}" if number is not None else f"te-{time:g}ms" if time is not None else "no-echo",
        "echo time": f"te-{time:g}ms" if time is not None else "no-te",
        "time": f"time-{frame.time}" if frame.time is not None else "no-time",
        "samples": "grey" if frame.image.options["samples_per_pixel"] == 1 else "colour",
    }


def _distinguish(mark: dict[str, str], marks: Sequence[dict[str, str]]) -> dict[str, str]:
    return {name: value for name, value in mark.items() if len({other[name] for other in marks}) > 1}


def _tell_split(parts: Sequence[_Part], count: int) -> tuple[Finding, ...]:
    if len(parts) == 1:
        return ()
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in (mark for part in parts for mark in part.marks.items()):
        if value not in values[name]:
            values[name].append(value)
    differing = [f"{name} ({', '.join(found[:4])})" for name, found in values.items()] or ["coordinate system"]
    places = [tuple(np.round(frame.position, 2)) for part in parts for frame in part.frames if frame.position]
    same = " at repeated positions" if len(set(places)) < len(places) else ""
    file = str(parts[0].frames[0].path)
    cause = f"one series of {count} images holds {len(parts)} volumes{same}, which differ in {', '.join(differing)}"
    return (warning("series-split", file, cause, "each is a volume of its own"),)


def _split_places(part: _Part) -> list[Group]:
    """Put a part in order; split it where places repeat, or ignore the one place that all frames name for no reason."""
    frames = sorted(part.frames, key=lambda frame: frame.order)
    if part.directions is None:
        return [Group(tuple(frames), None, part.marks)]
    rows = _number_places(frames, part.directions)
    repeats = max(np.bincount(rows))
    if repeats == 1:
        return [Group(_in_order(frames, rows), part.directions, part.marks)]
    how, keys = _explain_repeats(frames, rows)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for at, key in enumerate(keys):
        members[key].append(at)
    places = len(set(rows.tolist()))
    if places == 1 and how == _BY_NUMBER:
        cause = f"all {len(frames)} images name the same position, which is ignored: they are read as one series"
        told = warning("places-repeat", str(frames[0].path), cause, "export them with the position of each slice")
        return [Group(tuple(frames), None, part.marks, (told,))]
    cause = f"positions repeat: {len(frames)} images at {places} positions, split into {len(members)} volumes by {how}"
    told = warning("places-repeat", str(frames[0].path), cause, "choose the one that you mean")
    return [
        Group(
            _in_order([frames[at] for at in chosen], rows[chosen]),
            part.directions,
            {**part.marks, "part": f"part-{number}"},
            (told,),
        )
        for number, chosen in enumerate(members.values(), start=1)
    ]


def _number_places(frames: Sequence[Frame], directions: Directions) -> NDArray[np.int64]:
    """The number of each frame's plane, counted along the normal."""
    depths = measure_depths(directions, _positions(frames))
    order = np.argsort(depths, kind="stable")
    numbers = np.empty(len(frames), dtype=np.int64)
    numbers[order] = np.cumsum(np.diff(depths[order], prepend=depths[order[0]]) > SAME_MM)
    return numbers


def _explain_repeats(frames: Sequence[Frame], rows: NDArray[np.int64]) -> tuple[str, list[Hashable]]:
    """What splits frames so that no place repeats, and the key of each frame."""
    names = [name for name in frames[0].varying if len({frame.varying[name] for frame in frames}) > 1]
    for chosen in ([name] for name in names):
        keys: list[Hashable] = [frame.varying[chosen[0]] for frame in frames]
        if _is_unique(rows, keys):
            return chosen[0], keys
    keys = [tuple(frame.varying[name] for name in names) for frame in frames]
    if names and _is_unique(rows, keys):
        return " and ".join(names), keys
    seen: dict[int, int] = defaultdict(int)
    turns: list[Hashable] = []
    for row in rows.tolist():
        turns.append(seen[row])
        seen[row] += 1
    return _BY_NUMBER, turns


def _is_unique(rows: NDArray[np.int64], keys: Sequence[Hashable]) -> bool:
    return len(set(zip(rows.tolist(), keys, strict=True))) == len(keys)


def _in_order(frames: Sequence[Frame], rows: NDArray[np.int64]) -> tuple[Frame, ...]:
    return tuple(frames[at] for at in np.argsort(rows, kind="stable"))


def _positions(frames: Sequence[Frame]) -> NDArray[np.float64]:
    return np.array([frame.position for frame in frames], dtype=np.float64)


def _tell_kind(frame: Frame) -> list[Finding]:
    """What kind of picture it is, if no plain MR slice."""
    file, found = str(frame.path), []
    kinds = {word.upper() for word in frame.image_type}
    if frame.sop_class.startswith(CAPTURES):
        cause = f"a secondary capture (modality {frame.modality or 'unknown'}), not an image of a scanner"
        found.append(warning("capture", file, cause, "give the original series"))
    elif frame.modality != "MR":
        name = UID(frame.sop_class).name.removesuffix(" Storage") if frame.sop_class else "unknown kind"
        cause = f"modality {frame.modality or 'unknown'} ({name}), not MR"
        found.append(warning("modality", file, cause, "give MR slices; masks of others mean nothing"))
    if "LOCALIZER" in kinds or "SCOUT" in kinds:
        found.append(warning("localizer", file, "a localizer", "give the diagnostic series"))
    if kinds & PROJECTIONS:
        found.append(warning("projection", file, "a projection through many slices", "give the slices themselves"))
    if frame.image.options["samples_per_pixel"] == 3 or frame.image.photometric == "PALETTE COLOR":
        found.append(warning("colour", file, f"colour ({frame.image.photometric}), read as grey", "give grey slices"))
    if not frame.image.photometric:
        cause = "no PhotometricInterpretation: taken as MONOCHROME2, in which large values are bright"
        found.append(warning("photometric-unknown", file, cause, "check that air is dark; export it again if not"))
    return found


def _tell_geometry(group: Group, stack: Stack | None) -> list[Finding]:
    first = group.frames[0]
    file, found = str(first.path), []
    if first.spacing_mm is None:
        found.append(
            warning("spacing-unknown", file, "no PixelSpacing: the spacing is unknown", "areas are not given in mm2")
        )
    if stack is None:
        cause = "no position or orientation: left and right are unknown"
        if len(group.frames) > 1:
            cause = f"no positions: {len(group.frames)} slices in the order of their numbers, left and right unknown"
        found.append(warning("orientation-unknown", file, cause, "check the order of the slices"))
        return found
    if stack.odd:
        found.append(_tell_gaps(group.frames, stack))
    if stack.tilt_degrees > TILTED_DEGREES:
        cause = (
            f"slices are tilted by {stack.tilt_degrees:.1f} degrees against the line of their positions (gantry tilt)"
        )
        found.append(warning("tilt", file, cause, "volumes count the distance between planes"))
    if not stack.odd and first.spacing_mm is not None and stack.affine is None:
        cause = f"slices are shifted within their planes by up to {stack.shift_mm:.1f} mm"
        found.append(warning("shifted", file, cause, "no single matrix places them"))
    return found


def _tell_gaps(frames: Sequence[Frame], stack: Stack) -> Finding:
    usual = stack.usual_mm
    gaps = [
        f"{stack.steps_mm[gap]:.2f} mm between slices {gap + 1} ({frames[gap].path.name}) and {gap + 2} "
        f"({frames[gap + 1].path.name})"
        for gap in stack.odd[:3]
    ]
    more = f" and {len(stack.odd) - 3} more" if len(stack.odd) > 3 else ""
    cause = f"uneven steps: {'; '.join(gaps)}{more}, elsewhere {usual:.2f} mm; slices are missing or were left out"
    return warning("uneven", str(frames[0].path), cause, "nothing is interpolated, and no volume in mm3 is given")
