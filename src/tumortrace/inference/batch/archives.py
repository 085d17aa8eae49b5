"""Files in tar and zip archives, read one by one.

Only a compressed tar with scans is unpacked, into a temporary file without a name: slices are not read in its order.
"""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tumortrace.data.folders import is_hidden
from tumortrace.errors import DataError, describe_cause
from tumortrace.inference.batch.found_files import FoundFile
from tumortrace.regular_files import open_regular
from tumortrace.stored_path import Source

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
"""Endings of the files that are taken for archives, in lower case."""

MOST_MEMBER_BYTES = 2**29
"""Largest member that is read; the largest picture that is decoded takes less."""

MOST_MEMBERS = 2_000_000
"""Largest number of members: the list of a zip is read whole."""

MOST_UNPACKED_BYTES = 2**33
"""Largest temporary file that a compressed tar is unpacked into."""

_MOST_DIRECTORY_BYTES = 2**28  # the list of entries of a zip
_LONGEST_HEADER = 2**20  # what a tar says of one member, long names included
_TAR_BLOCK = 512
_CHUNK = 2**20
_LOCAL = struct.Struct("<4s5H3I2H")  # header of a zip's member, in front of its name
_UTF8 = 0x800  # flag of a zip's member whose name is UTF-8
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True, slots=True)
class TarMember:
    """Content of one file in a tar that is not compressed.

    Attributes:
        archive: Path of the archive.
        begin: Place of its first byte.
        size: Its size in bytes.
    """

    archive: str
    begin: int
    size: int

    def read(self) -> bytes:
        """Return the content; ``DataError`` if the archive has changed or cannot be read."""
        try:
            with open_regular(self.archive) as file:
                file.seek(self.begin)
                return _whole(file.read(self.size), self.size, self.archive)
        except OSError as error:
            raise _unreadable(self.archive, error) from None

    def stamp(self) -> tuple[int, str]:
        """Return size, and what changes with the archive."""
        return self.size, f"{_stamp(self.archive)} {self.begin}"


@dataclass(frozen=True, slots=True)
class PackedTarMember(TarMember):
    """Content of one file in a compressed tar: fast if the members are read in their order."""

    def read(self) -> bytes:
        """Return the content; ``DataError`` if the archive has changed or cannot be read."""
        with _lock:
            try:
                return _whole(_stream(self.archive, self.begin).read(self.size), self.size, self.archive)
            except (OSError, EOFError, zlib.error) as error:
                close_streams()
                raise _unreadable(self.archive, error) from None


@dataclass(frozen=True, slots=True)
class UnpackedTarMember(TarMember):
    """Content of one file in a compressed tar: fast in any order, for the tar is unpacked as far as it is read."""

    def read(self) -> bytes:
        """Return the content; ``DataError`` if the archive has changed, is too large or cannot be read."""
        with _lock:
            try:
                return _whole(_unpack(self.archive).read(self.begin, self.size), self.size, self.archive)
            except (OSError, EOFError, zlib.error) as error:
                close_streams()
                raise _unreadable(self.archive, error) from None


@dataclass(frozen=True, slots=True)
class ZipMember:
    """Content of one file in a zip.

    Attributes:
        archive: Path of the archive.
        header: Place of its header.
        packed: Its size in the archive, in bytes.
        size: Its size.
        checksum: Its CRC-32.
        deflated: Whether it is compressed.
    """

    archive: str
    header: int
    packed: int
    size: int
    checksum: int
    deflated: bool

    def read(self) -> bytes:
        """Return the content; ``DataError`` if it is damaged."""
        try:
            with open_regular(self.archive) as file:
                file.seek(self.header)
                fields = _LOCAL.unpack(file.read(_LOCAL.size))
                file.seek(fields[-2] + fields[-1], 1)  # name and extra field
                data = file.read(self.packed)
            data = zlib.decompressobj(-15).decompress(data, self.size + 1) if self.deflated else data
        except (OSError, struct.error, zlib.error) as error:
            raise _unreadable(self.archive, error) from None
        if zlib.crc32(_whole(data, self.size, self.archive)) != self.checksum:
            raise DataError(f"{self.archive}: a member is damaged (its checksum is another); make the archive again")
        return data

    def stamp(self) -> tuple[int, str]:
        """Return size and checksum."""
        return self.size, f"{self.checksum:08x}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Content that was read ahead, or why it could not be.

    Attributes:
        content: The content, or the reason.
        source: Its source.
    """

    content: bytes | str
    source: Source

    def read(self) -> bytes:
        """Return the content; ``DataError`` if it could not be read."""
        if isinstance(self.content, str):
            raise DataError(self.content)
        return self.content

    def stamp(self) -> tuple[int, str]:
        """Return the stamp of its source."""
        return self.source.stamp()


def is_archive(path: str) -> bool:
    """Return whether a path is that of an archive by its suffix."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def load_ahead(source: Source | None) -> Source | None:
    """Read a source whose members come fast only in their order; others are returned as they are."""
    if not isinstance(source, PackedTarMember):
        return source
    try:
        return Loaded(source.read(), source)
    except DataError as error:
        return Loaded(str(error), source)


def allow_any_order(source: Source) -> Source:
    """Return a source whose members are read in any order; a compressed tar is then unpacked into a temporary file."""
    if isinstance(source, PackedTarMember):
        return UnpackedTarMember(source.archive, source.begin, source.size)
    return source


@contextmanager
def keep_streams() -> Iterator[None]:
    """Keep a compressed archive open from member to member, until the block ends."""
    try:
        yield
    finally:
        close_streams()


def close_streams() -> None:
    """Close the compressed archive that was read last."""
    for kept in (_streams, _unpacked):
        while kept:
            kept.popitem()[1].close()


def list_members(path: str) -> Iterator[FoundFile]:
    """Yield the files in an archive in their order, hidden ones left out.

    A member with an unsafe name, a link, an encrypted or too large one, and an archive that is damaged or whose list
    is too long come with their fault.

    Args:
        path: Path of the archive.
    """
    seen: set[str] = set()
    members = _list_zip(path) if path.lower().endswith(".zip") else _list_tar(path)
    try:
        for name, cause, source in islice(members, MOST_MEMBERS):
            place = PurePosixPath(name.replace("\\", "/"))
            if any(is_hidden(part) or part == "__MACOSX" for part in place.parts if part != ".."):
                continue
            known = _find_unsafe(name, place) or cause or ("comes twice" if place.as_posix() in seen else "")
            seen.add(place.as_posix())
            shown = f"{path}/{PurePosixPath(name)}"  # "./x.png", as tar writes it, is named like x.png
            yield FoundFile(shown, len(path) + 1, f"{shown}: {known}; it is not read" if known else "", source=source)
        if next(members, None) is not None:
            yield _refuse_rest(path, f"it has more than {MOST_MEMBERS:,} members")
    except Exception as error:  # noqa: BLE001 - on damaged bytes tarfile and zipfile may raise anything
        yield _refuse_rest(path, describe_cause(error))


def _refuse_rest(path: str, cause: str) -> FoundFile:
    return FoundFile(path, 0, f"{path}: the archive cannot be read to its end ({cause}); make it again")


def _list_tar(path: str) -> Iterator[tuple[str, str, Source | None]]:
    with open_regular(path) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
        kind = PackedTarMember if packed else TarMember
        with tarfile.TarFile(fileobj=_Guarded(file)) as archive:  # type: ignore[arg-type] # what it reads by
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined] # which would keep all
                if member.isdir():
                    continue
                fault = "" if member.isreg() and not member.issparse() else "a link, a device or a file with holes"
                yield member.name, fault or _find_large(member.size), kind(path, member.offset_data, member.size)
            file.seek(archive.offset)  # where tarfile stopped, without a word if it was at a damaged header
            if file.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
                raise DataError("it lacks its end mark")


def _list_zip(path: str) -> Iterator[tuple[str, str, Source | None]]:
    with open_regular(path) as raw, zipfile.ZipFile(_Guarded(raw, _MOST_DIRECTORY_BYTES)) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            mode = entry.external_attr >> 16
            fault = _find_large(max(entry.file_size, entry.compress_size))
            if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
                fault = "a link or device"
            if entry.flag_bits & 1:
                fault = "encrypted"
            elif entry.compress_type not in _METHODS:
                fault = "packed by a rare method"
            deflated = entry.compress_type == zipfile.ZIP_DEFLATED
            sizes = entry.compress_size, entry.file_size
            yield read_entry_name(entry), fault, ZipMember(path, entry.header_offset, *sizes, entry.CRC, deflated)


def read_entry_name(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry of a zip; macOS and Info-ZIP write UTF-8 without the flag, which zipfile misreads."""
    try:
        return entry.filename if entry.flag_bits & _UTF8 else entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


class _Guarded:
    """A file that refuses to be read in large pieces: a header that claims gigabytes is a bomb."""

    def __init__(self, file: BinaryIO, most_bytes: int = _LONGEST_HEADER) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Read some bytes."""
        data = self._file.read(min(size, self._most_bytes + 1) if size >= 0 else self._most_bytes + 1)
        if len(data) > self._most_bytes:
            raise DataError("its list of members is too long")
        return data


def _find_unsafe(name: str, place: PurePosixPath) -> str:
    unsafe = place.is_absolute() or ".." in place.parts or not place.parts or ":" in place.parts[0]
    return "an unsafe name" if unsafe or not name.isprintable() else ""


def _find_large(size: int) -> str:
    if 0 <= size <= MOST_MEMBER_BYTES:
        return ""
    return f"{size:,} bytes, more than the limit of {MOST_MEMBER_BYTES:,}"


class _Unpacked:
    """A compressed file, unpacked into a temporary one as far as it was read."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._packed = gzip.open(archive, "rb")  # noqa: SIM115 - kept for the next member
        self._file = tempfile.TemporaryFile(prefix="tumortrace-")  # noqa: SIM115 - likewise
        self._size = 0

    def read(self, begin: int, size: int) -> bytes:
        """Read bytes of the unpacked content; fewer at its end."""
        while self._size < begin + size and (piece := self._packed.read(_CHUNK)):
            if self._size + len(piece) > MOST_UNPACKED_BYTES:
                raise DataError(
                    f"{self._archive}: unpacks to more than the limit of {MOST_UNPACKED_BYTES:,} bytes; give its scans "
                    "in a zip or in a tar that is not compressed"
                )
            self._file.seek(self._size)
            self._file.write(piece)
            self._size += len(piece)
        self._file.seek(begin)
        return self._file.read(size)

    def close(self) -> None:
        """Close both files; the temporary one goes with it."""
        self._packed.close()
        self._file.close()


_lock = threading.Lock()
_streams: dict[str, gzip.GzipFile] = {}
_unpacked: dict[str, _Unpacked] = {}


def _stream(archive: str, begin: int) -> gzip.GzipFile:
    """The one compressed archive that is open, at a place; going back begins anew."""
    stream = _streams.get(archive)
    if stream is None:
        close_streams()
        stream = _streams[archive] = gzip.open(archive, "rb")  # noqa: SIM115 - kept for the next member
    stream.seek(begin)
    return stream


def _unpack(archive: str) -> _Unpacked:
    """The one compressed archive that is unpacked now; a changed one begins anew."""
    version = f"{archive} {_stamp(archive)}"
    found = _unpacked.get(version)
    if found is None:
        close_streams()
        found = _unpacked[version] = _Unpacked(archive)
    return found


def _whole(data: bytes, size: int, archive: str) -> bytes:
    if len(data) != size:
        raise DataError(f"{archive}: a member is truncated ({len(data):,} of {size:,} bytes); make the archive again")
    return data


def _stamp(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return f"{status.st_size} {status.st_mtime_ns}"


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path}: a member cannot be read ({describe_cause(error)}); make the archive again")
