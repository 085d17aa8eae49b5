"""Tracks of CVAT videos: the shapes between their keyframes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import zip_longest
from xml.etree.ElementTree import Element

from tumortrace.data.annotations.shapes import ShapeError, excerpt, parse_number
from tumortrace.errors import DataError

_MOVING = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}
"""Numbers that CVAT changes evenly between the keyframes of a track, by the kind of shape."""

_WITH_AREA = frozenset({"box", "ellipse", "polygon", "mask"})
_MOST_FRAMES = 20_000
_MOST_MOVED = 50_000
_ENDLESS = 2**31


def spread_tracks(document: Element) -> tuple[dict[int, list[Element]], dict[int, str]]:
    """Spread the tracks of a video over its frames. Boxes and ellipses move evenly from one keyframe to the next.

    Returns:
        The shapes of each frame that tracks mark; and, for frames on which an outline or mask is on its way, the name
        of the track: only CVAT knows how it changes between keyframes.

    Raises:
        DataError: The tracks have more shapes than are read.
    """
    frames = _Frames(_read_step(document))
    for track in document.findall("track"):
        frames.add(track)
    return frames.shapes, frames.find_unknown()


def read_degrees(shape: Element) -> float:
    """Return how far a shape is turned, in degrees, clockwise on the screen; ``ShapeError`` if it is no number."""
    return parse_number(shape.get("rotation", "0"), "rotation")


class _Frames:
    """The shapes of each frame, and the spans between keyframes in which a track is not known."""

    def __init__(self, step: int) -> None:
        self.shapes: dict[int, list[Element]] = {}
        self._step = step
        self._unknown: list[tuple[int, int, str]] = []
        self._count = 0

    def add(self, track: Element) -> None:
        keyframes = sorted((child for child in track if _is_frame(child.get("frame", ""))), key=_frame_of)
        for shape, later in zip_longest(keyframes, keyframes[1:]):
            visible = self.shapes.setdefault(_frame_of(shape), [])
            if shape.get("outside") != "1":
                shape.set("label", track.get("label", ""))
                visible.append(shape)
                self._fill(shape, later, excerpt(track.get("id")))

    def find_unknown(self) -> dict[int, str]:
        """The track of each frame that lies in a span; the last one where there are several."""
        frames = sorted(self.shapes)
        unknown: dict[int, str] = {}
        for first, last, name in self._unknown:
            within = frames[bisect_right(frames, first) : bisect_left(frames, last)]
            self._limit(len(within))
            unknown |= dict.fromkeys(within, name)
        return unknown

    def _fill(self, shape: Element, later: Element | None, track: str) -> None:
        """Add a shape to the frames up to its next keyframe, or note that they are unknown."""
        first, last = _frame_of(shape), _ENDLESS if later is None else _frame_of(later)
        keys = _MOVING.get(shape.tag)
        if keys is not None and later is not None:
            self._limit(max(last - first, 0) // self._step)
        if shape.tag not in _WITH_AREA or last - first <= self._step:
            return
        moved: dict[int, Element] | None = None
        if later is not None and keys is not None and later.tag == shape.tag:
            moved = self._move_all(shape, later, keys)
        if moved is None:
            self._unknown.append((first, last, track))
        for frame, each in (moved or {}).items():
            self.shapes.setdefault(frame, []).append(each)

    def _move_all(self, shape: Element, later: Element, keys: Sequence[str]) -> dict[int, Element] | None:
        first, last = _frame_of(shape), _frame_of(later)
        if last - first > _MOST_FRAMES * self._step:
            return None
        frames = range(first + self._step, last, self._step)
        try:
            return {at: _move(shape, later, keys, (at - first) / (last - first)) for at in frames}
        except ShapeError:  # the damaged keyframe is named where it is read
            return None

    def _limit(self, count: int) -> None:
        self._count += count
        if self._count > _MOST_MOVED:
            raise DataError(f"tracks of more than {_MOST_MOVED:,} shapes in all; export fewer frames")


def _move(shape: Element, later: Element, keys: Sequence[str], part: float) -> Element:
    """A box or ellipse on its way to the next keyframe, as CVAT shows it: it turns by the shorter way."""
    moved = Element(shape.tag, shape.attrib)
    for key in keys:
        start, end = (parse_number(each.get(key), key) for each in (shape, later))
        moved.set(key, repr(start + (end - start) * part))
    turn = (read_degrees(later) - read_degrees(shape) + 180) % 360 - 180
    moved.set("rotation", repr(read_degrees(shape) + turn * part))
    return moved


def _is_frame(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _frame_of(shape: Element) -> int:
    return int(shape.get("frame", ""))


def _read_step(document: Element) -> int:
    """Frames from one annotated frame to the next, as the job selected them."""
    step = (document.findtext(".//frame_filter") or "").removeprefix("step=")
    return max(1, int(step)) if step.isdecimal() and len(step) < 9 else 1
