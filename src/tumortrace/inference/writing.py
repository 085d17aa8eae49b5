"""Faults in writing results: those of the disk, and those of one file's name."""

from __future__ import annotations

import errno

_DISK_FAULTS = {
    number
    for number, name in errno.errorcode.items()
    if name in {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EMFILE", "ENFILE"}  # Windows lacks some
}


def is_disk_fault(error: Exception) -> bool:
    """Return whether the next file would meet the same fault; any other is due to the names of one picture's files.

    Args:
        error: Error that was raised in writing.
    """
    return isinstance(error, OSError) and error.errno in _DISK_FAULTS
