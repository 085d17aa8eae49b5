"""The layouts with mask files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tumortrace.data.folders import is_picture, join, name_of
from tumortrace.data.layouts.opening import Opening, within
from tumortrace.data.names import spelling_key, stem_of
from tumortrace.data.pairs import MASK_ENDINGS, PAIRS, match_names, strip_image_word, strip_mask_word
from tumortrace.data.parts import is_below_masks, read_folder_name
from tumortrace.wording import counted

IMAGE_OF_MASK_MISSING = (
    "a mask without an image of its name",
    f"give both one name, in folders images/ and masks/, or list both in {PAIRS}",
)
"""Cause and remedy of a mask that no image has."""

_FURTHER = re.compile(rf"(.+[ _-](?:{'|'.join(MASK_ENDINGS)}))[ _-]\d+", flags=re.DOTALL)


def open_mask_folders(opening: Opening, folder: str) -> None:
    """Pair each folder of images directly in a folder with the folder of masks for the same part."""
    by_part: dict[str, dict[str, list[str]]] = {}
    for child in opening.tree.children(folder):
        part, role = read_folder_name(name_of(child))
        if role and opening.free_pictures(child):
            by_part.setdefault(part, {}).setdefault(role, []).append(child)
    for folders in by_part.values():
        if len(folders) == 2:
            used, *others = folders["masks"]
            _pair_folders(opening, folders["images"][0], used)
            for other in others:
                masks = opening.free_pictures(other)
                cause = f"{counted(len(masks), 'mask')} in a further folder of masks; those in {used}/ are used"
                opening.leave_out("duplicate-record", f"{other}/", cause, "leave one folder of masks")
                opening.used |= set(masks)


def open_masks_beside(opening: Opening, folder: str) -> None:
    """Pair the masks that lie beside their images, such as ``NAME_mask.tif`` beside ``NAME.tif``."""
    if is_below_masks(join(folder, "x")):
        return
    free = [file for file in opening.tree.files_in(folder) if is_picture(file)]
    free = [file for file in free if file not in opening.used and file not in opening.machine_made]
    stems = {spelling_key(stem_of(file)) for file in free}
    stems |= {plain for stem in stems if (plain := strip_image_word(stem))}
    masks = [file for file in free if strip_mask_word(spelling_key(stem_of(file))) in stems]
    if not masks:
        return
    pairs, faults, claimed = match_names([file for file in free if file not in masks], masks)
    opening.findings += faults
    opening.used |= claimed
    further = _find_further([file for file in free if file not in claimed])
    for pair in pairs:
        if pair.mask:
            _add_case(opening, pair.image, pair.mask, further)


def _pair_folders(opening: Opening, image_folder: str, mask_folder: str) -> None:
    images, masks = opening.free_pictures(image_folder), opening.free_pictures(mask_folder)
    if image_folder in opening.listed:
        cause, remedy = f"stands in {image_folder}/ but not in {PAIRS}", f"add its row to {PAIRS}"
        named = {finding.file for finding in opening.findings}
        for image in (image for image in images if image not in named):
            opening.leave_out("annotation-missing", image, cause, remedy)
        for mask in masks:
            _name_imageless(opening, mask, f"a mask that no row of {PAIRS} names", "add its row, or remove the mask")
        return
    pairs, faults, claimed = match_names(within(images, image_folder), within(masks, mask_folder))
    opening.findings += [replace(fault, file=join(image_folder, fault.file)) for fault in faults]
    opening.used |= {join(mask_folder, mask) for mask in claimed}
    shared = {fault.file for fault in faults if fault.kind == "mask-shared"}
    further = _find_further(opening.free_pictures(mask_folder))
    for pair in pairs:
        image = join(image_folder, pair.image)
        if pair.mask:
            _add_case(opening, image, join(mask_folder, pair.mask), further)
        elif pair.image not in shared:
            cause = f"no mask {stem_of(pair.image)}.png in {mask_folder}/"
            opening.leave_out("annotation-missing", image, cause, "add the mask; all black if free of tumour")
    for mask in opening.free_pictures(mask_folder):
        _name_imageless(opening, mask, *IMAGE_OF_MASK_MISSING)


def _find_further(masks: Iterable[str]) -> dict[str, list[str]]:
    """Masks whose name goes on with a number after that of another, by its stem: ``a_mask_1`` by ``a_mask``."""
    further: dict[str, list[str]] = {}
    for mask in masks:
        if match := _FURTHER.fullmatch(spelling_key(stem_of(mask))):
            further.setdefault(match[1], []).append(mask)
    return further


def _add_case(opening: Opening, image: str, mask: str, further: Mapping[str, Sequence[str]]) -> None:
    """Add an image with its mask, unless further masks hold the rest of its truth."""
    others = further.get(spelling_key(stem_of(mask)))
    if not others:
        opening.add_mask_case(image, mask)
        return
    cause = f"its mask goes on in {counted(len(others), 'further file')} ({', '.join(map(name_of, others[:3]))})"
    opening.leave_out("mask-divided", image, cause, "unite its masks in one file")
    opening.used |= {mask, *others}


def _name_imageless(opening: Opening, mask: str, cause: str, remedy: str) -> None:
    opening.leave_out("image-missing", mask, cause, remedy)
    opening.used.add(mask)
