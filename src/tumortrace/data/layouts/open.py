"""Opening one folder: every layout in turn, then what is left over."""

from __future__ import annotations

from tumortrace.data.annotations.labels import find_united
from tumortrace.data.annotations.voc_boxes import BOXES
from tumortrace.data.findings import Finding, warning
from tumortrace.data.folders import Tree, is_picture
from tumortrace.data.geometry import is_box
from tumortrace.data.layouts.annotated import open_annotations
from tumortrace.data.layouts.label_names import find_label_names
from tumortrace.data.layouts.masks import open_mask_folders, open_masks_beside
from tumortrace.data.layouts.opening import Opening
from tumortrace.data.layouts.table import open_table
from tumortrace.data.layouts.voc import open_voc
from tumortrace.data.layouts.yolo import open_yolo
from tumortrace.data.names import natural_key
from tumortrace.data.parts import PARTS
from tumortrace.data.scans import find_kind
from tumortrace.errors import installed

FEWEST_REGIONS = 20
"""Fewest regions of a dataset for a statement on most of them."""


def open_layouts(tree: Tree, *, label: str | None) -> Opening:
    """Find the cases of a folder and its subfolders, whichever layouts they have.

    Tables come first, from the outermost folder inwards. Then come folders of images beside folders of masks, class
    masks, annotation files and label files, from the innermost folder outwards. Masks beside their images come after
    them, and scans with their masks last.

    Args:
        tree: The files of the folder.
        label: Label of the regions that count, where regions are labelled; None for all regions.
    """
    opening = Opening(tree, label)
    find_label_names(opening)
    outermost_first = sorted(tree.folders, key=lambda folder: len(folder.split("/")) if folder else 0)
    for folder in outermost_first:
        open_table(opening, folder)
    for folder in reversed(outermost_first):
        open_mask_folders(opening, folder)
        open_voc(opening, folder)
        open_annotations(opening, folder)
        open_yolo(opening, folder)
    for folder in tree.folders:
        open_masks_beside(opening, folder)
    _open_scans(opening)
    if label is None and opening.labelled_files:
        opening.findings += find_united(opening.labelled_files[-1], opening.labels)
    opening.findings += _find_boxes(opening)
    chosen = any(opening.labels.values()) or any(record.label for record in opening.records)
    if label is not None and opening.records and not chosen:
        cause = f"no region or mask has a label, so that --label {label} chooses nothing: all of them count as tumour"
        opening.findings.append(warning("labels-missing", opening.records[0].case_id, cause, "omit --label"))
    opening.records.sort(key=lambda record: ((*PARTS, "").index(record.part), natural_key(record.case_id)))
    return opening


def _find_boxes(opening: Opening) -> list[Finding]:
    """A warning where most regions of the dataset are boxes; images that are named already do not count."""
    named = {finding.file for finding in opening.findings if finding.kind == "boxes"}
    drawn = [(record.case_id, record.truth) for record in opening.records if isinstance(record.truth, tuple)]
    regions = [(case_id, region) for case_id, truth in drawn if case_id not in named for region in truth]
    boxes = [case_id for case_id, region in regions if is_box(region)]
    if len(regions) < FEWEST_REGIONS or 2 * len(boxes) <= len(regions):
        return []
    return [warning("boxes", boxes[0], f"{len(boxes)} of {len(regions)} regions {BOXES}", "outline the tumours")]


def _open_scans(opening: Opening) -> None:
    """Use the scans that no other layout used, if there are any and their libraries are installed."""
    files = [file for file in opening.tree.files if file not in opening.used and not is_picture(file)]
    files = [file for file in files if find_kind(opening.tree.root / file)]
    opening.used |= set(files)
    if files and not installed("formats"):
        cause = f"DICOM and NIfTI files are not read without the extra formats; there are {len(files)}"
        opening.leave_out("not-read", files[0], cause, "install it: pip install 'tumortrace[formats]'")
    elif files:
        from tumortrace.data.layouts.scans import open_scans

        open_scans(opening, files)
