"""Unpacking of a zip of scans: checked as a whole before a byte of it is written."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from tumortrace.errors import describe_cause, printable
from tumortrace.files import is_disk_fault
from tumortrace.inference.batch.archives import read_entry_name
from tumortrace.regular_files import open_regular
from tumortrace.web.limits import Limits, RefusalError, Unpacked, refuse_disk
from tumortrace.web.uploads import LONGEST_NAME

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_END, _END_LENGTH = b"PK\x05\x06", 22  # end of the central directory, without its comment
_LONG_LOCATOR, _LONG_LOCATOR_LENGTH = b"PK\x06\x07", 20  # of zip64
_LONGEST_COMMENT = 65_535
_ENTRY_BYTES = 1024  # of the central directory, on average: a name, and a few fields
_CHUNK = 2**20
_NESTED = {
    b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
}  # fmt: skip
_GZIP = b"\x1f\x8b"
_TAR_MARK, _TAR_PLACE = b"ustar", 257


def is_zip(path: Path) -> bool:
    """Whether a file is a zip by its first bytes."""
    with open_regular(path) as file:
        return file.read(4) in _SIGNATURES


def unpack_zip(path: Path, folder: Path, *, name: str, limits: Limits, unpacked: Unpacked) -> int:
    """Unpack a zip.

    Before the first file is written, all entries are checked: their names, number, sizes and first bytes.

    Args:
        path: The zip.
        folder: Empty folder for its files.
        name: Name of the zip in messages.
        limits: Limits on the number of files and their bytes.
        unpacked: Files and bytes that the request has unpacked before; those of the zip are added.

    Returns:
        Number of files.

    Raises:
        RefusalError: It is damaged, encrypted or too large, an entry leads out of the folder or is a link, or holds
            another archive.
    """
    _check_directory(path, name=name, limits=limits)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(entries, name=name, limits=limits, unpacked=unpacked)
            for entry in entries:
                _check_content(archive, entry, name=name)
            for entry in entries:
                _unpack(archive, entry, folder / _place(entry, name=name))
    except RefusalError:
        raise
    except Exception as error:  # noqa: BLE001 - on damaged bytes zipfile may raise anything
        if isinstance(error, OSError) and is_disk_fault(error):
            raise refuse_disk(error) from None
        raise RefusalError(
            415, f"{name}: the zip cannot be unpacked ({describe_cause(error)}); make it again"
        ) from None
    return len(entries)


def _check_directory(path: Path, *, name: str, limits: Limits) -> None:
    """Check the length of the list of entries: to read one of millions would take gigabytes."""
    size = path.stat().st_size
    with open_regular(path) as file:
        file.seek(max(0, size - _END_LENGTH - _LONGEST_COMMENT - _LONG_LOCATOR_LENGTH))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_LENGTH:
        raise RefusalError(415, f"{name}: the zip is truncated; make it again")
    if tail[max(0, at - _LONG_LOCATOR_LENGTH) : at].startswith(_LONG_LOCATOR):
        raise RefusalError(415, f"{name}: a zip64 archive; make a zip of fewer than 65,535 files and 4 GB")
    count = int.from_bytes(tail[at + 10 : at + 12], "little")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if count > limits.parts or length > limits.parts * _ENTRY_BYTES:
        raise _too_many(name, limits)


def _check_entries(entries: list[zipfile.ZipInfo], *, name: str, limits: Limits, unpacked: Unpacked) -> None:
    if not entries:
        raise RefusalError(415, f"{name}: the zip is empty; put pictures or scans into it")
    unpacked.files += len(entries)
    if unpacked.files > limits.parts:
        raise _too_many(name, limits)
    unpacked.total_bytes += sum(entry.file_size for entry in entries)
    if unpacked.total_bytes > limits.unpacked_bytes:
        most = f"{limits.unpacked_bytes:,}"
        text = f"{name}: the request unpacks to more than the limit of {most} bytes; send a part of it"
        raise RefusalError(413, text, limit="unpacked_bytes")
    places: set[str] = set()
    for entry in entries:
        place = _place(entry, name=name).as_posix().casefold()
        if place in places:
            raise RefusalError(415, f"{name}: {_shown(entry)} comes twice in the zip; make it again")
        places.add(place)
        if entry.flag_bits & 1:
            raise RefusalError(415, f"{name}: {_shown(entry)} is encrypted; make the zip without a password")
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise RefusalError(415, f"{name}: {_shown(entry)} is packed by a rare method; make a usual zip (deflate)")


def _too_many(name: str, limits: Limits) -> RefusalError:
    text = f"{name}: the request unpacks to more than the limit of {limits.parts:,} files; send fewer"
    return RefusalError(413, text, limit="parts")


def _place(entry: zipfile.ZipInfo, *, name: str) -> PurePosixPath:
    """The path of an entry within its folder; refuses one that leads elsewhere, and what is no file."""
    shown = read_entry_name(entry)
    path = PurePosixPath(shown.replace("\\", "/"))
    mode = entry.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise RefusalError(415, f"{name}: {_shown(entry)} is a link or device; put only files into the zip")
    odd = not shown.isprintable() or any(len(part.encode()) > LONGEST_NAME for part in path.parts)
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or odd:
        raise RefusalError(415, f"{name}: {_shown(entry)} has an unsafe name; make the zip of a folder")
    return path


def _check_content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, name: str) -> None:
    """Refuse an archive within the archive; a compressed NIfTI file is none."""
    with archive.open(entry) as file:
        head = file.read(_TAR_PLACE + len(_TAR_MARK))
    kind = next((kind for mark, kind in _NESTED.items() if head.startswith(mark)), "")
    if head.startswith(_GZIP) and not entry.filename.lower().endswith((".nii.gz", ".hdr.gz", ".img.gz")):
        kind = "gzip"
    if head[_TAR_PLACE:] == _TAR_MARK:
        kind = "tar"
    if kind:
        raise RefusalError(415, f"{name}: {_shown(entry)} is itself an archive ({kind}); unpack it first")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Write one entry; it can be no longer than its header says, which ``zipfile`` sees to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, path.open("xb") as target:
        while piece := source.read(_CHUNK):
            target.write(piece)


def _shown(entry: zipfile.ZipInfo) -> str:
    return printable(read_entry_name(entry))[:LONGEST_NAME]
