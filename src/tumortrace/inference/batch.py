"""Many pictures: which files a user means, a mask for each, and one ``results.json`` that leaves nothing out."""

from __future__ import annotations

import glob
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumortrace.data.dataset import natural_key, refuse_inside
from tumortrace.data.slice import IMAGE_SUFFIXES, read_slice, write_atomically, write_png
from tumortrace.errors import DataError
from tumortrace.inference.model import Model
from tumortrace.inference.overlay import draw_overlay
from tumortrace.inference.segmenter import Prediction, predict
from tumortrace.progress import track


@dataclass(frozen=True)
class Picture:
    """One file to segment, and the name that its results go by.

    Attributes:
        path: The file.
        name: Path of its results within the output folder, without the ``_mask.png``.
    """

    path: Path
    name: str


def find_pictures(inputs: Sequence[str]) -> tuple[list[Picture], list[Path]]:
    """The pictures that files, folders (searched through, links followed) and glob patterns stand for.

    Args:
        inputs: As typed by the user. A file that stands for itself is taken whatever its suffix.

    Returns:
        The pictures in natural order of each input, each file once; and the files of other types, which are skipped.
        Hidden files and folders below a folder are in neither.

    Raises:
        DataError: An input that does not exist, a folder that cannot be opened, or not one picture in all of them.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # absolute path -> the file, and its path relative to its input
    others: dict[Path, Path] = {}
    for text in inputs:
        for path, relative in _expand(text):
            if path.suffix.lower() in IMAGE_SUFFIXES or path == Path(text):
                found.setdefault(path.absolute(), (path, relative))
            else:
                others.setdefault(path.absolute(), path)
    if not found:
        raise DataError(f"{' '.join(inputs)}: no picture there (JPEG, PNG or TIFF); {len(others)} other files")
    names = _unique_names([relative for _, relative in found.values()])
    pictures = [Picture(path, name) for (path, _), name in zip(found.values(), names, strict=True)]
    return pictures, [path for absolute, path in others.items() if absolute not in found]


def segment_pictures(
    model: Model, pictures: Sequence[Picture], *, out: Path, skipped: Iterable[Path] = (), overlay: bool = False
) -> dict[str, Any]:
    """Segment pictures one by one; a file that fails is named in the results and the rest go on.

    Writes ``NAME_mask.png`` (0 and 255, the picture's own size), ``NAME_overlay.png`` on demand, and ``results.json``,
    the last also when the run is interrupted.

    Args:
        model: From ``open_model``.
        pictures: From ``find_pictures``.
        out: The folder to write to.
        skipped: Files that were passed over, for the record.
        overlay: Whether to draw each mask over its picture.

    Returns:
        What ``results.json`` holds.

    Raises:
        DataError: A file that is not from an earlier run stands where a mask or overlay should go.
    """
    _refuse_overwriting(pictures, out)
    results: dict[str, Any] = {
        "model": {"name": model.name, "sha256": model.sha256, "threshold": model.recipe.threshold},
        "images": [],
        "volumes": [],
        "skipped": [str(path) for path in skipped],
    }
    _write_results(results, out)  # before the first mask, so that even a killed run's folder is known as ours
    try:
        for picture in track(pictures, "Segmenting", total=len(pictures)):
            results["images"].append(_segment_one(model, picture, out=out, overlay=overlay))
    finally:
        _write_results(results, out)
    return results


def refuse_out_in_inputs(out: Path, inputs: Sequence[str]) -> None:
    """Refuse to write among the pictures that are read.

    Raises:
        DataError: ``out`` lies within one of the input folders, or an input does not exist.
    """
    for path in (path for text in inputs for path in _match(text)):
        if path.is_dir():
            refuse_inside(out, path)


def _write_results(results: dict[str, Any], out: Path) -> None:
    write_atomically(out / "results.json", (json.dumps(results, indent=2) + "\n").encode())


def _refuse_overwriting(pictures: Sequence[Picture], out: Path) -> None:
    if (out / "results.json").is_file():
        return  # what stands there is from an earlier run, and may be replaced
    for picture in pictures:
        for target in _targets(picture, out):
            if target.exists():
                raise DataError(
                    f"{target}: exists, and no results.json beside it says that it is ours; choose another --out"
                )


def _targets(picture: Picture, out: Path) -> tuple[Path, Path]:
    """Where the mask and the overlay of a picture go."""
    return out / f"{picture.name}_mask.png", out / f"{picture.name}_overlay.png"


def _segment_one(model: Model, picture: Picture, *, out: Path, overlay: bool) -> dict[str, Any]:
    started = time.perf_counter()
    record: dict[str, Any] = {"file": str(picture.path), "slice_index": None, "mask": None}
    try:
        image = read_slice(picture.path)
    except DataError as error:
        for stale in _targets(picture, out):
            stale.unlink(missing_ok=True)  # of an earlier run, when the file could still be read
        failure = {"status": "error", "reason": str(error), "tumour": None, "confidence": None, "review": True}
        nothing: dict[str, Any] = {"area_px": None, "area_mm2": None, "lesions": []}
        return {**record, **failure, **nothing, "seconds": round(time.perf_counter() - started, 4)}
    prediction = predict(model, image)
    mask_path, overlay_path = _targets(picture, out)
    write_png(mask_path, prediction.mask.astype(np.uint8) * np.uint8(255))
    overlay_path.unlink(missing_ok=True)  # an earlier model's overlay beside this mask would mislead
    if overlay:
        write_png(overlay_path, draw_overlay(image.pixels, prediction.mask))
    measured = _describe(prediction, spacing_mm=image.spacing_mm)
    return {
        **record,
        "mask": mask_path.relative_to(out).as_posix(),
        **measured,
        "seconds": round(time.perf_counter() - started, 4),
    }


def _describe(prediction: Prediction, *, spacing_mm: tuple[float, float] | None) -> dict[str, Any]:
    area_px = int(prediction.mask.sum())
    return {
        "status": "ok",
        "reason": prediction.reason,
        "tumour": area_px > 0,
        "confidence": round(prediction.confidence, 4),
        "review": prediction.review,
        "area_px": area_px,
        "area_mm2": area_px * spacing_mm[0] * spacing_mm[1] if spacing_mm else None,
        "lesions": [asdict(lesion) for lesion in prediction.lesions],
    }


def _expand(text: str) -> list[tuple[Path, Path]]:
    """Files behind one input, each with its path relative to that input."""
    pairs: list[tuple[Path, Path]] = []
    for path in _match(text):
        if path.is_dir():
            files = [(file, file.relative_to(path)) for file in _walk(path)]
            pairs += sorted(files, key=lambda pair: natural_key(str(pair[1])))
        else:
            pairs.append((path, Path(path.name)))
    return pairs


def _match(text: str) -> list[Path]:
    """What one input stands for: the file or folder of that name, or else all that match it as a pattern."""
    if Path(text).exists():
        return [Path(text)]
    matches = sorted(glob.glob(text, recursive=True), key=natural_key)  # noqa: PTH207 - the pattern may be absolute
    if not matches:
        raise DataError(f"{text}: no such file or folder; check the path")
    return [Path(match) for match in matches]


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones left out; links are followed, each folder is entered once."""
    seen: set[str] = set()
    for parent, children, names in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        real = os.path.realpath(parent)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = sorted(name for name in children if not name.startswith("."))
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be opened ({error.strerror}); check the folder's permissions") from error


def _unique_names(relatives: list[Path]) -> list[str]:
    """A name for each file: its path without suffix; where two meet, with suffix; where these meet too, numbered."""
    plain = [str(path.with_suffix("").as_posix()) for path in relatives]
    meets = Counter(plain)
    names = [path.as_posix() if meets[name] > 1 else name for path, name in zip(relatives, plain, strict=True)]
    taken: set[str] = set()
    for index, name in enumerate(names):
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique)
        names[index] = unique
    return names
