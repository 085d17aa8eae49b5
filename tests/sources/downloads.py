"""Generated downloads with the structure of the published ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

IMAGE = np.arange(30, dtype=np.int16).reshape(5, 6) * 100
"""A picture of 5 rows and 6 columns, all values different."""

MASK = np.zeros((5, 6), np.uint8)
MASK[1, 2:5] = 1


def write_mat(path: Path, *, patient: str = "100360", label: float = 2, **changes: NDArray[np.generic] | None) -> None:
    """A file as MATLAB 7.3 writes it: axes reversed, text as numbers, 512 bytes of header before the HDF5."""
    fields = {
        "PID": np.array([[ord(letter)] for letter in patient], np.uint16),
        "image": IMAGE.T,
        "label": np.array([[label]]),
        "tumorBorder": np.array([[1.5], [2.5]]),
        "tumorMask": MASK.T,
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in fields.items():
            if values is not None:
                file.create_dataset(f"cjdata/{name}", data=values, compression="gzip" if values.size > 20 else None)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\x00\x02IM")


def write_folds(path: Path, folds: list[int]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cvind"] = np.array([folds], float)


def png(pixels: NDArray[np.generic]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpeg(pixels: NDArray[np.generic]) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def grey(value: int) -> NDArray[np.uint8]:
    return np.full((5, 6), value, np.uint8)


def write_lgg(folder: Path, patient: str, count: int) -> None:
    """Slices of one patient: three channels with the slice's number in each, a mask in every second slice."""
    (folder / patient).mkdir(parents=True)
    for number in range(1, count + 1):
        channels = np.stack([grey(10 + number), grey(20 + number), grey(30 + number)], axis=2)
        channels[0, 0] = (1, 2, 3)
        tifffile.imwrite(folder / patient / f"{patient}_{number}.tif", channels)
        mask = MASK * np.uint8(255 * (number % 2))
        tifffile.imwrite(folder / patient / f"{patient}_{number}_mask.tif", mask)


def zip_folder(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return target


def write_figshare(download: Path) -> Path:
    """Six slices of three patients in two zips, the author's folds beside them, as figshare serves the article."""
    for number in range(1, 7):
        half = "1-3" if number < 4 else "4-6"
        write_mat(download.parent / half / f"{number}.mat", patient=f"10{(number + 1) // 2}", label=1 + number % 3)
    download.mkdir()
    for half in ("1-3", "4-6"):
        zip_folder(download.parent / half, download / f"brainTumorDataPublic_{half}.zip")
    write_folds(download / "cvind.mat", [1, 1, 2, 2, 3, 3])
    (download / "README.txt").write_text("about")
    return download


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
