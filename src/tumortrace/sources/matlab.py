"""Arrays from MATLAB 7.3 files, checked before they are read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumortrace.errors import DataError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OLD = b"MATLAB 5.0"
_FILTERS = frozenset({1, 2, 3})  # deflate, shuffle, checksum; others would load a plug-in


def read_fields(
    data: bytes, name: str, *, group: str, fields: tuple[str, ...], most_values: int
) -> tuple[NDArray[Any], ...]:
    """Read arrays of a MATLAB 7.3 file.

    Type, size and storage of each are checked first: a few bytes can claim gigabytes, and a link can lead into another
    file.

    Args:
        data: Content of the file.
        name: Name of the file, for messages.
        group: Name of the structure that holds the arrays; empty for the file itself.
        fields: Names of the arrays.
        most_values: Largest number of values in an array.

    Returns:
        The arrays with MATLAB's order of axes (rows, columns), which HDF5 stores reversed.

    Raises:
        DataError: It is no such file, is damaged, lacks an array, or stores one in another way.
    """
    import h5py

    if data.startswith(_OLD):
        raise DataError(f"{name}: a MATLAB 5 file; expected version 7.3, as published; download it again")
    if _SIGNATURE not in data[:1024]:
        raise DataError(f"{name}: not a MATLAB 7.3 file; download it again")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            place = _get(file, group, h5py.Group, name) if group else file
            return tuple(_read_array(_get(place, field, h5py.Dataset, name), name, most_values) for field in fields)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - on a damaged file HDF5 may raise anything
        raise DataError(f"{name}: cannot be read as a MATLAB 7.3 file ({error}); download it again") from None


def _get(group: Any, key: str, kind: type, name: str) -> Any:  # noqa: ANN401 - h5py has no types
    import h5py

    if not isinstance(group.get(key, getlink=True), h5py.HardLink) or not isinstance(found := group[key], kind):
        raise DataError(f"{name}: {key} is missing; is it a file of this dataset?")
    return found


def _read_array(dataset: Any, name: str, most_values: int) -> NDArray[Any]:  # noqa: ANN401 - h5py has no types
    creation = dataset.id.get_create_plist()
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    chunk = int(np.prod(dataset.chunks or (1,), dtype=object))
    if dataset.dtype.kind not in "iuf" or dataset.external or dataset.is_virtual or not filters <= _FILTERS:
        raise DataError(f"{name}: {dataset.name} is stored in an unusual way; download it again")
    if dataset.size is None or max(int(dataset.size), chunk) > most_values:
        raise DataError(f"{name}: {dataset.name} has shape {dataset.shape}, more than {most_values:,} values")
    return np.asarray(dataset[()]).T
