"""Names of scans and of their masks, and which belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tumortrace.data.names import spelling_key
from tumortrace.data.pairs import strip_mask_word
from tumortrace.data.parts import is_below_masks, read_folder_name
from tumortrace.data.patients import lie_apart

_SUBJECT = re.compile(r"(sub-[a-z0-9]+(?:_ses-[a-z0-9]+)?)(?:_|$)")  # BIDS


@dataclass(frozen=True)
class ScanName:
    """The name of a scan or mask, in lower case.

    Attributes:
        folder: Its folder; folders of images or masks are passed over, but for the part that they name.
        stem: Its name without suffix; for a mask, without the word that says so, which may leave nothing.
        subject: Subject and session where it is named by BIDS; empty elsewhere.
    """

    folder: str
    stem: str
    subject: str

    @property
    def path(self) -> str:
        """Folder and name."""
        return f"{self.folder}/{self.stem}".strip("/")


def is_mask_name(path: str) -> bool:
    """Whether a scan is a mask by its name or folder.

    Args:
        path: Path within the dataset, without suffix.
    """
    return is_below_masks(path) or strip_mask_word(spelling_key(path)) is not None


def read_scan_name(path: str, *, mask: bool = False) -> ScanName:
    """Read the name of a scan or mask.

    Args:
        path: Path within the dataset, without suffix.
        mask: Whether it is the name of a mask.
    """
    *folders, stem = PurePosixPath(spelling_key(path)).parts
    plain = []
    for folder in folders:
        name = read_folder_name(folder)
        plain += [name.part] if name.role and name.part else [] if name.role else [folder]
    stripped = strip_mask_word(stem) if mask else None
    subject = _SUBJECT.match(stem)
    return ScanName("/".join(plain), stem if stripped is None else stripped, subject[1] if subject else "")


def match_scans(mask: ScanName, scans: Sequence[ScanName], masks: Sequence[ScanName] = ()) -> list[int]:
    """Find the scans that a mask belongs to by its name.

    The first of these rules that finds any decides: the same folder and name; the same folder and a name that goes on
    after that of the mask (``p1_t1``, ``p1_0000``); for a mask without a name of its own (``seg``), the scans in its
    folder and the series whose files lie there; the same name in another folder, unless the folders name two patients
    or parts, or a scan of that name has a mask beside it (``p1/scan_mask`` is not of ``p2/scan``); the same subject and
    session of BIDS.

    Args:
        mask: Name of the mask.
        scans: Names of all scans.
        masks: Names of all masks.

    Returns:
        Numbers of the scans, in their order.
    """
    beside = [number for number, scan in enumerate(scans) if scan.folder == mask.folder]
    namesakes = [number for number, scan in enumerate(scans) if mask.stem and scan.stem == mask.stem]
    own = {each.path for each in masks}
    goes_on = tuple(mask.stem + mark for mark in "_-. ")
    rules = (
        [number for number in beside if scans[number].stem == mask.stem],
        [number for number in beside if mask.stem and scans[number].stem.startswith(goes_on)],
        [number for number, scan in enumerate(scans) if not mask.stem and _lies_in(scan, mask.folder)],
        [number for number in namesakes if not lie_apart(mask.path, scans[number].path)]
        if not any(scans[number].path in own for number in namesakes)
        else [],
        [number for number, scan in enumerate(scans) if mask.subject and scan.subject == mask.subject],
    )
    return next((found for found in rules if found), [])


def _lies_in(scan: ScanName, folder: str) -> bool:
    return folder in {scan.folder, scan.path} or scan.path.startswith(f"{folder}_series-")
