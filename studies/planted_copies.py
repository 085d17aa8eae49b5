"""Planted copies that the search finds, and strangers that it joins.

``python studies/planted_copies.py DATA... --out FILE`` changes slices of each dataset in one way after the other and
looks for them among all of its slices. Two slices are strangers if the dataset names different patients for them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.compare import SAME_SLICE, CopyPair
from tumortrace.copies.find import find_copies
from tumortrace.copies.signatures import measure_signature, stack_signatures
from tumortrace.copies.similarity import ORIENTATIONS, orient
from tumortrace.data.components import link
from tumortrace.data.dataset import open_dataset
from tumortrace.data.slice_file import read_slice
from tumortrace.json_csv import Document, write_json

Picture = NDArray[np.uint8]
Plant = Callable[[Picture, np.random.Generator], NDArray[Any]]

PLANTED = 100


def main() -> None:
    """Measure each dataset and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of the changes to plant")
    arguments = parser.parse_args()
    chosen = {name: plant for name, plant in PLANTS.items() if not arguments.only or name in arguments.only}
    document = {folder.name: measure(folder, chosen) for folder in arguments.data}
    write_json(arguments.out, {"same_slice": SAME_SLICE, "planted": PLANTED, "datasets": document})


def measure(folder: Path, plants: dict[str, Plant]) -> Document:
    """Plant copies of a dataset's slices and count what is found."""
    records = open_dataset(folder).records
    pictures = [read_slice(record.image_path).pixels for record in records]
    patients = [record.patient for record in records]
    signatures = stack_signatures(map(measure_signature, pictures))
    start = count_cpu_seconds()
    pairs = find_copies(signatures)
    seconds = count_cpu_seconds() - start
    groups = link(len(pictures), [(pair.first, pair.second) for pair in pairs])
    strangers = sum(are_strangers(patients[pair.first], patients[pair.second]) for pair in pairs)
    print(f"{folder.name}: {len(set(groups))} groups of {len(pictures)} slices, {strangers} pairs of strangers")
    chosen = np.random.default_rng(0).permutation(len(pictures))[:PLANTED].tolist()
    found: Document = {}
    for name, plant in plants.items():
        rng = np.random.default_rng(1)
        planted = [np.ascontiguousarray(plant(pictures[index], rng)) for index in chosen]
        copies = find_copies(stack_signatures(map(measure_signature, planted)), signatures)
        found[name] = _count(copies, chosen, groups, patients)
        print(f"  {name}: {found[name]}", flush=True)
    return {
        "slices": len(pictures),
        "groups": len(set(groups)),
        "pairs": len(pictures) * (len(pictures) - 1) // 2,
        "pairs_of_strangers": strangers,
        "cpu_seconds": round(seconds, 1),
        "planted": found,
    }


def count_cpu_seconds() -> float:
    """Return the processor seconds of this process and of those that it has ended, which compare most of the pairs."""
    return sum(os.times()[:4])


def _count(copies: list[CopyPair], chosen: list[int], groups: list[int], patients: list[str | None]) -> Document:
    """Count the planted copies that lead to their own slice's group, and the pairs with a stranger."""
    found = {pair.first for pair in copies if groups[pair.second] == groups[chosen[pair.first]]}
    strangers = sum(are_strangers(patients[chosen[pair.first]], patients[pair.second]) for pair in copies)
    return {"found": len(found), "strangers": strangers}


def are_strangers(first: str | None, second: str | None) -> bool:
    """Return whether two patients are known and not the same."""
    return bool(first and second and first != second)


def turn(picture: Picture, rng: np.random.Generator) -> Picture:
    """Turn by quarters, mirror, or both."""
    turns, flip = ORIENTATIONS[rng.integers(1, 8)]
    return np.asarray(orient(picture, turns=turns, flip=flip))


def change_gamma(picture: Picture, rng: np.random.Generator) -> Picture:
    """Raise grey values to a power of 0.5 to 2."""
    top = max(int(picture.max()), 1)
    return _to_bytes(255 * (picture / top) ** np.exp(rng.uniform(np.log(0.5), np.log(2))))


def stretch(picture: Picture, rng: np.random.Generator) -> Picture:
    """Cut off up to 2 % at both ends of the grey values."""
    low, high = np.percentile(picture, [rng.uniform(0, 2), rng.uniform(98, 100)])
    return _to_bytes(255 * (picture - low) / max(high - low, 1))


def resize(picture: Picture, rng: np.random.Generator) -> Picture:
    """Resize by 0.5 to 1.5, both sides alike."""
    return _resize(picture, scale := rng.uniform(0.5, 1.5), scale)


def distort(picture: Picture, rng: np.random.Generator) -> Picture:
    """Resize both sides differently, by 0.8 to 1.25."""
    return _resize(picture, *np.exp(rng.uniform(np.log(0.8), np.log(1.25), 2)))


def compress(picture: Picture, rng: np.random.Generator) -> Picture:
    """Store as JPEG of quality 30 to 60."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 61))])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blur by 0.5 to 1 % of the longer side."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.005, 0.01) * max(picture.shape)), dtype=np.uint8)


def sharpen(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add the fine detail once or twice again."""
    fine = picture - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.01 * max(picture.shape))
    return _to_bytes(picture + rng.uniform(1, 2) * fine)


def add_noise(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add noise of 4 % of the brightest value."""
    return _to_bytes(picture + rng.normal(0, 0.04 * picture.max(), picture.shape))


def rotate(picture: Picture, rng: np.random.Generator) -> Picture:
    """Turn by up to 10 degrees either way."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-10, 10), 1)
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height)), dtype=np.uint8)


def add_black_border(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add a black border of up to 30 % of the side at each edge."""
    return _pad(picture, rng.uniform(0, 0.3, 4), 0)


def add_white_border(picture: Picture, rng: np.random.Generator) -> Picture:
    """Add a white border of 2 to 30 % of the side at each edge."""
    return _pad(picture, rng.uniform(0.02, 0.3, 4), 255)


def crop_little(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop by up to 5 % at each edge."""
    return _crop(picture, rng.uniform(0, 0.05, 4))


def crop_one_edge(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop by 10 to 30 % at one edge."""
    cut = np.zeros(4)
    cut[rng.integers(4)] = rng.uniform(0.1, 0.3)
    return _crop(picture, cut)


def crop_sides(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop height and width by up to 30 %, shared at random by opposite edges."""
    cut = rng.uniform(0, 0.3, 2)
    part = rng.uniform(0, 1, 2)
    return _crop(picture, np.concatenate([cut * part, cut * (1 - part)]))


def crop_corner(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop two edges that meet by 10 to 30 %."""
    cut = np.zeros(4)
    first = rng.integers(4)
    cut[[first, (first + 1) % 4]] = rng.uniform(0.1, 0.3, 2)
    return _crop(picture, cut)


def crop_all(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop by up to 30 % at each edge."""
    return _crop(picture, rng.uniform(0, 0.3, 4))


def invert(picture: Picture, rng: np.random.Generator) -> Picture:
    """Exchange dark and bright."""
    del rng
    return np.asarray(255 - picture, dtype=np.uint8)


def change_all(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop a little, turn, change the contrast, resize and compress."""
    for change in (crop_little, turn, change_gamma, stretch, resize, compress):
        picture = change(np.ascontiguousarray(picture), rng)
    return picture


def change_all_and_crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop one edge by 10 to 30 %, then all of the above."""
    return change_all(crop_one_edge(picture, rng), rng)


def change_all_and_invert(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change all but the crop of one edge, then exchange dark and bright."""
    return invert(change_all(picture, rng), rng)


def _to_bytes(values: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _resize(picture: Picture, across: float, down: float) -> Picture:
    how = cv2.INTER_AREA if across * down < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, None, fx=across, fy=down, interpolation=how), dtype=np.uint8)


def _crop(picture: Picture, cut_tlbr: NDArray[np.float64]) -> Picture:
    height, width = picture.shape
    top, left, bottom, right = np.rint(cut_tlbr * [height, width, height, width]).astype(int).tolist()
    return picture[top : height - bottom, left : width - right]


def _pad(picture: Picture, cut_tlbr: NDArray[np.float64], value: int) -> Picture:
    height, width = picture.shape
    top, left, bottom, right = np.rint(cut_tlbr * [height, width, height, width]).astype(int).tolist()
    return np.pad(picture, ((top, bottom), (left, right)), constant_values=value)


PLANTS: dict[str, Plant] = {
    "quarter turn or mirror": turn,
    "gamma 0.5 to 2": change_gamma,
    "contrast stretched": stretch,
    "resized by 0.5 to 1.5": resize,
    "sides resized differently, by 0.8 to 1.25": distort,
    "JPEG of quality 30 to 60": compress,
    "blurred": blur,
    "sharpened": sharpen,
    "noise of 4 %": add_noise,
    "turned by up to 10 degrees": rotate,
    "black border, up to 30 % at each edge": add_black_border,
    "white border, 2 to 30 % at each edge": add_white_border,
    "negative": invert,
    "cropped, up to 5 % at each edge": crop_little,
    "cropped, 10 to 30 % at one edge": crop_one_edge,
    "cropped, up to 30 % of both sides": crop_sides,
    "cropped, 10 to 30 % at two edges that meet": crop_corner,
    "cropped, up to 30 % at each edge": crop_all,
    "cropped a little, turned, re-contrasted, resized, JPEG": change_all,
    "the same, and 10 to 30 % cropped at one edge": change_all_and_crop,
    "the same, without that crop, negative": change_all_and_invert,
}

if __name__ == "__main__":
    main()
