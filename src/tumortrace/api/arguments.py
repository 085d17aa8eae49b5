"""Arguments of the functions for programs: opened, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from tumortrace.config import Config, load_config
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.errors import ConfigError, DataError
from tumortrace.files import refuse_inside
from tumortrace.locks import refuse_locked, refuse_unwritable

FilePath = str | PathLike[str]
Data = Dataset | FilePath | Sequence[FilePath]
"""A dataset that ``open_dataset`` opened, the folder of one, or several folders that are opened as one."""


def divide(dataset: Dataset, split: FilePath | None, fold: int | None, *, selecting: bool) -> Dataset:
    """Replace a dataset's parts by the sides of a split file; without a split it stays as it is.

    Args:
        dataset: Dataset to divide.
        split: File that ``split`` wrote.
        fold: Number of the fold that is held out.
        selecting: Whether an epoch is chosen, which takes a side of its own.

    Raises:
        ConfigError: A fold without a split.
        DataError: The split is of another dataset, or has no such fold.
    """
    if split is None:
        if fold is not None:
            raise ConfigError("--fold is a fold of a split; give its file with --split")
        return dataset
    from tumortrace.copies.split_files import apply_split, read_split

    return apply_split(dataset, read_split(Path(split)), fold=fold, selecting=selecting)


def open_data(data: Data, negatives: FilePath | None, label: str | None) -> Dataset:
    """Return a dataset as it is, or open the folders that are given in its place.

    Raises:
        DataError: As ``open_datasets``; or a dataset comes with what says how folders are opened.
    """
    if isinstance(data, Dataset):
        for name, given in (("negatives", negatives), ("label", label)):
            if given:
                raise DataError(
                    f"{name} = {str(given)!r} is for folders, and {data.given} is open already; give the folders, or "
                    "give it to open_dataset and omit it from this call and its settings"
                )
        return data
    folders = [Path(folder) for folder in list_folders(data)]
    return open_datasets(folders, negatives=Path(negatives) if negatives else None, label=label)


def list_folders(data: Data) -> Sequence[FilePath]:
    """Return the folders of data, opened or not."""
    if isinstance(data, Dataset):
        return data.roots
    return [data] if isinstance(data, str | PathLike) else list(data)


def check_output(
    out: FilePath | None, data: Data, negatives: FilePath | None = None, *, file: bool = False
) -> Path | None:
    """Return the folder to write to, or the file, by a path that ends with its name; None for None.

    Raises:
        DataError: It is empty, lies inside a folder of data, cannot be written, or another run is writing there.
    """
    if out is None:
        return None
    if not str(out).strip():
        raise DataError("--out is empty; name a file or folder to write to")
    place = Path(out)
    if place.name in {"", ".."}:  # models bear the name of their folder, and defaults lie beside it
        place = place.resolve()
    for root in [*list_folders(data), *([negatives] if negatives else [])]:
        refuse_inside(place, Path(root))
    refuse_unwritable(place.parent if file else place)
    if not file:
        refuse_locked(place)
    return place


def read_settings(config: Config | str | None, overrides: Iterable[str]) -> Config:
    """Return a configuration as it is, or read it by name or file; None reads ``default``.

    Raises:
        ConfigError: It cannot be read, or overrides go with a ``Config``.
    """
    if isinstance(config, Config):
        if list(overrides):
            raise ConfigError("overrides go with the name or file of a configuration, not with a Config")
        return config
    return load_config(config or "default", overrides)
