"""Names of parts, and of folders for images and masks."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

PARTS = ("train", "val", "test")

PART_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folder of a part is called, in any letter case."""

IMAGE_WORDS = ("images", "image", "imgs", "img", "scans", "slices")
"""What a folder of images is called, in any letter case, alone or with the part: ``train_images``, ``imagesTr``."""

MASK_WORDS = ("masks", "mask", "labels", "label", "segmentations", "segmentation", "seg", "annotations", "ann", "gt")
"""What a folder of masks is called, likewise."""

Role = Literal["images", "masks"]

_PART_OF_WORD = {word: part for part, words in PART_WORDS.items() for word in words}
_ROLE_OF_WORD: dict[str, Role] = {}
_ROLE_OF_WORD.update(dict.fromkeys(IMAGE_WORDS, "images"))
_ROLE_OF_WORD.update(dict.fromkeys(MASK_WORDS, "masks"))
_NNUNET = re.compile(r"(images|labels)(tr|ts|val)")
_PART_AND_YEAR = re.compile(r"^(train|val|test)20\d\d$")  # as COCO calls its folders
_NNUNET_PARTS = {"tr": "train", "ts": "test", "val": "val"}


class FolderName(NamedTuple):
    """What the name of a folder says: the part that it holds, and whether it holds images or masks."""

    part: str
    role: Role | None


@lru_cache(maxsize=10_000)
def read_folder_name(name: str) -> FolderName:
    """Read the name of one folder, such as ``TRAIN``, ``masks``, ``train_images`` or ``labelsTr``.

    Returns:
        An empty part and no role where any word of the name is another one.
    """
    lowered = re.sub(r"ground[ _-]?truth", "gt", name.casefold())
    if nnunet := _NNUNET.fullmatch(lowered):
        return FolderName(_NNUNET_PARTS[nnunet[2]], _ROLE_OF_WORD[nnunet[1]])
    words = [_PART_AND_YEAR.sub(r"\1", word) for word in re.split(r"[ _-]", lowered)]
    parts = [_PART_OF_WORD[word] for word in words if word in _PART_OF_WORD]
    roles = [_ROLE_OF_WORD[word] for word in words if word in _ROLE_OF_WORD]
    if len(parts) > 1 or len(roles) > 1 or len(parts) + len(roles) < len(words):
        return FolderName("", None)
    return FolderName(parts[0] if parts else "", roles[0] if roles else None)


def part_in_name(stem: str) -> str:
    """The part that the name of a file says, such as ``instances_train2017``; ``""`` if it says none or several."""
    words = re.split(r"[^a-z]+", stem.casefold())
    parts = {_PART_OF_WORD[word] for word in words if word in _PART_OF_WORD}
    return parts.pop() if len(parts) == 1 else ""


def part_of(path: str) -> str:
    """The part that a file belongs to by the outermost folder that names one; ``""`` if none does."""
    folders = PurePosixPath(path).parts[:-1]
    return next((part for folder in folders if (part := read_folder_name(folder).part)), "")


def is_below_masks(path: str) -> bool:
    """Whether a file lies in a folder of masks."""
    return any(read_folder_name(folder).role == "masks" for folder in PurePosixPath(path).parts[:-1])


def name_in_part(path: str, *, role: Role | None = None) -> str:
    """A file's path within its part and, if a role is given, within the folder of that role."""
    parts = PurePosixPath(path).parts
    names = [read_folder_name(folder) for folder in parts[:-1]]
    start = next((index + 1 for index, name in enumerate(names) if name.part), 0)
    if role and start < len(names) and names[start].role == role:
        start += 1
    return "/".join(parts[start:])
