"""The layout with a ``pairs.csv``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tumortrace.data.findings import warning
from tumortrace.data.folders import Tree, is_picture, name_of, parent_of
from tumortrace.data.layouts.opening import Opening, is_below_any
from tumortrace.data.lookup import FileLookup
from tumortrace.data.pairs import PAIRS, Pair, PairsTable, check_pairs, read_pairs
from tumortrace.data.parts import Role, is_below_masks, read_folder_name
from tumortrace.data.scans import NIFTI_SUFFIXES
from tumortrace.errors import DataError


class _Row(NamedTuple):
    """A row whose image is there; the mask is None if it is not."""

    image: str
    mask: str | None
    pair: Pair


def open_table(opening: Opening, folder: str) -> None:
    """Use the ``pairs.csv`` of a folder, if there is one: its pairs are cases, its patients are known."""
    tree = opening.tree
    file = next((each for each in tree.files_in(folder) if name_of(each).casefold() == PAIRS), None)
    if file is None:
        return
    opening.used.add(file)
    try:
        table = read_pairs(tree.root / file)
    except DataError as error:
        opening.faults[folder] = str(error)
        return
    if table.fault:
        opening.findings.append(warning("pairs-columns", file, *table.fault))
    rows = _find_rows(opening, folder, table)
    opening.patients |= {row.image: row.pair.patient for row in rows if row.pair.patient}
    opening.parts |= {row.image: row.pair.part for row in rows if row.pair.part}
    opening.kinds |= {row.image: (row.pair.tumour_class, row.pair.plane) for row in rows}
    opening.scan_masks |= {row.image: row.mask for row in rows if row.mask and _is_scan(row.image)}
    rows = [row for row in rows if not _is_scan(row.image)]
    if table.names_masks and (rows or not opening.scan_masks):
        opening.listed |= {_image_folder_of(row.image) for row in rows} | set(_folders(tree, folder, "images"))
        _add_cases(opening, rows)


def _is_scan(file: str) -> bool:
    """Whether a file is a NIfTI file by its suffix."""
    return file.lower().endswith(NIFTI_SUFFIXES)


def _image_folder_of(image: str) -> str:
    """The folder of images that an image lies in, itself or further up; its own folder if there is none."""
    folder = parent_of(image)
    while folder and read_folder_name(name_of(folder)).role != "images":
        folder = parent_of(folder)
    return folder or parent_of(image)


def _find_rows(opening: Opening, folder: str, table: PairsTable) -> list[_Row]:
    """The rows whose image is there; the others are findings."""
    tree = opening.tree
    image_folders, mask_folders = _folders(tree, folder, "images"), _folders(tree, folder, "masks")
    prefix = "".join(f"{name}/" for name in (image_folders[:1] or [folder]) if name)
    pairs, faults = check_pairs(table.pairs, prefix=prefix)
    opening.findings += faults
    images = FileLookup(file for file in tree.files if not is_below_masks(file))
    masks = FileLookup(
        file for file in tree.files if (is_picture(file) or _is_scan(file)) and not is_below_any(file, image_folders)
    )
    for pair in table.pairs:
        found = masks.find(pair.mask, folders=[*mask_folders, folder]) if pair.mask else []
        opening.used.update(file for file in found if not _is_scan(file))
    rows = []
    for pair in pairs:
        found = images.find(pair.image, folders=[*image_folders, folder])
        if len(found) == 1:
            mask = masks.find(pair.mask, folders=[*mask_folders, folder]) if pair.mask else []
            rows.append(_Row(found[0], mask[0] if len(mask) == 1 and mask != found else None, pair))
        else:
            lack = f"{len(found)} images have this name" if found else "there is no such image"
            cause = f"named in {PAIRS} with mask {pair.mask or '(none)'}, but {lack}"
            opening.leave_out("image-missing", prefix + pair.image, cause, "add the image or drop its row")
    return rows


def _add_cases(opening: Opening, rows: Sequence[_Row]) -> None:
    served = Counter(row.mask for row in {row.image: row for row in rows}.values())
    for image, mask, pair in rows:
        if image in opening.used:
            cause = "listed again in other letters; its first row is used"
            opening.findings.append(warning("duplicate-record", image, cause, "leave one row an image"))
        elif mask is None:
            cause = f"no mask {pair.mask} in masks/" if pair.mask else f"its row in {PAIRS} names no mask"
            opening.leave_out("annotation-missing", image, cause, "add the mask; all black if free of tumour")
        elif served[mask] > 1:
            cause = f"its mask {mask} serves {served[mask]} images in {PAIRS}, so none of them uses it"
            opening.leave_out("mask-shared", image, cause, "give each image a mask of its own")
            opening.used.add(mask)
        else:
            opening.add_mask_case(image, mask, patient=pair.patient)


def _folders(tree: Tree, folder: str, role: Role) -> list[str]:
    """The folders of images, or of masks, directly in a folder."""
    return [child for child in tree.children(folder) if read_folder_name(name_of(child)).role == role]
