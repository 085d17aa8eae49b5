"""The training index of a run: signatures and masks of its slices.

It holds what the slices look like and where their tumours are, in small: enough to recognise a copy in any orientation
and contrast, and to play the lookup table that a model has to beat. It belongs to the run folder, not to the model that
travels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.described import DescribedCases
from tumortrace.copies.signatures import Signatures
from tumortrace.errors import DataError
from tumortrace.files import write_atomically

MASK_PX = 192
"""Side of the squares that the masks are kept on, in head coordinates."""

_SCALE = 32.0  # signatures times SIDE_PX have a spread of 1 and end at about 3: 8 bits hold them well


@dataclass(frozen=True, eq=False)
class TrainingIndex:
    """Training slices, in small.

    Attributes:
        names: Their case ids.
        hashes: SHA-256 of what each shows (``hash_case``).
        patients: Patient of each slice; empty if unknown.
        signatures: Signature of each slice.
        head_masks: Their truth within the head's box, shape (N, MASK_PX, MASK_PX), bool.
        pictures: SHA-256 of each picture alone (``hash_slice``); empty in an index of an earlier version.
    """

    names: tuple[str, ...]
    hashes: tuple[str, ...]
    patients: tuple[str, ...]
    signatures: Signatures
    head_masks: NDArray[np.bool_]
    pictures: tuple[str, ...]

    def head_signatures(self) -> NDArray[np.float32]:
        """Of norm 1, shape (N, SIDE_PX, SIDE_PX), as ``similarity.References`` takes them."""
        return self.signatures.heads()


def build_training_index(seen: DescribedCases, *, only: Sequence[int] | None = None) -> TrainingIndex:
    """Keep what is worth keeping of training cases; those without annotation are not among them.

    Args:
        seen: The cases.
        only: Indices of those that count; None takes all.
    """
    chosen = range(len(seen.cases)) if only is None else only
    kept = [index for index in chosen if seen.cases[index].packed_truth is not None]
    cases = [seen.cases[index] for index in kept]
    masks = np.zeros((len(kept), MASK_PX, MASK_PX), dtype=np.bool_)
    for mask, index, case in zip(masks, kept, cases, strict=True):
        mask[:] = cut_head_mask(case.truth(), seen.signatures.head_box_xywh(index))
    return TrainingIndex(
        names=tuple(case.record.case_id for case in cases),
        hashes=tuple(case.sha256 for case in cases),
        patients=tuple(case.record.patient or "" for case in cases),
        signatures=seen.signatures.select(kept),
        head_masks=masks,
        pictures=tuple(case.picture_sha256 for case in cases),
    )


def join(first: TrainingIndex, second: TrainingIndex) -> TrainingIndex:
    """The slices of both; one that both hold, by its hash, is kept once."""
    known = set(second.hashes)
    kept = [index for index, sha256 in enumerate(first.hashes) if sha256 not in known]
    return TrainingIndex(
        names=(*(first.names[index] for index in kept), *second.names),
        hashes=(*(first.hashes[index] for index in kept), *second.hashes),
        patients=(*(first.patients[index] for index in kept), *second.patients),
        signatures=Signatures(
            np.concatenate([first.signatures.windows[kept], second.signatures.windows]),
            np.concatenate([first.signatures.boxes_xywh[kept], second.signatures.boxes_xywh]),
            np.concatenate([first.signatures.cut_ltrb[kept], second.signatures.cut_ltrb]),
        ),
        head_masks=np.concatenate([first.head_masks[kept], second.head_masks]),
        pictures=(*(first.pictures[index] for index in kept), *second.pictures),
    )


def save_training_index(training: TrainingIndex, path: Path) -> None:
    """Write a training index as a compressed ``.npz`` without pickle, atomically: about 15 kB a slice."""
    buffer = io.BytesIO()
    windows = np.rint(training.signatures.windows.astype(np.float32) * _SCALE)
    np.savez_compressed(
        buffer,
        names=np.array(training.names, dtype=np.str_),
        hashes=np.array(training.hashes, dtype=np.str_),
        patients=np.array(training.patients, dtype=np.str_),
        pictures=np.array(training.pictures, dtype=np.str_),
        windows=np.clip(windows, -127, 127).astype(np.int8),
        boxes_xywh=training.signatures.boxes_xywh,
        cut_ltrb=training.signatures.cut_ltrb,
        head_masks=np.packbits(training.head_masks),
    )
    write_atomically(path, buffer.getvalue())


def load_training_index(path: Path) -> TrainingIndex:
    """Read what ``save_training_index`` wrote.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            names, hashes, patients = (tuple(arrays[key].tolist()) for key in ("names", "hashes", "patients"))
            pictures = tuple(arrays["pictures"].tolist()) if "pictures" in arrays else ("",) * len(names)
            windows = (arrays["windows"].astype(np.float32) / _SCALE).astype(np.float16)
            signatures = Signatures(windows, arrays["boxes_xywh"], arrays["cut_ltrb"])
            bits = np.unpackbits(arrays["head_masks"])
        masks = bits.reshape(len(names), MASK_PX, MASK_PX).astype(np.bool_)
    except Exception as error:  # noqa: BLE001 - numpy, zip and zlib raise whatever a damaged byte leads them to
        raise DataError(f"{path}: cannot be read ({error}); train again, or evaluate without it") from None
    lists = (names, hashes, patients, pictures, signatures.windows, signatures.boxes_xywh)
    if len(set(map(len, lists))) > 1:
        raise DataError(f"{path}: its lists differ in length; train again, or evaluate without it")
    return TrainingIndex(names, hashes, patients, signatures, masks, pictures)


def cut_head_mask(truth: NDArray[np.bool_], box_xywh: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return a truth, shape (H, W), within the head's box, shape (MASK_PX, MASK_PX), bool."""
    x, y, width, height = box_xywh
    inside = np.ascontiguousarray(truth[y : y + height, x : x + width]).astype(np.uint8)
    return np.asarray(cv2.resize(inside, (MASK_PX, MASK_PX), interpolation=cv2.INTER_NEAREST_EXACT) > 0)
