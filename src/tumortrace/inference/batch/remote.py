"""Files in buckets and other remote stores, read one by one through pyarrow."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tumortrace.data.folders import is_hidden, name_of
from tumortrace.data.names import natural_key
from tumortrace.errors import DataError, TumortraceError
from tumortrace.inference.batch.archives import MOST_MEMBER_BYTES
from tumortrace.inference.batch.found_files import FoundFile

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_REMOTE = re.compile(r"(s3|gs|gcs|abfs|abfss|hdfs)://.", re.ASCII)
_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS = 10.0, 30.0, 3


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Content of one object.

    Attributes:
        url: Address of the object, as it is shown.
        store: Address by which its store is opened; empty for its own.
        path: Path in the store; empty for that of its own address.
    """

    url: str
    store: str = ""
    path: str = ""

    def read(self) -> bytes:
        """Return the content; ``DataError`` if it cannot be read or is too large."""
        system, path = self._open()
        try:
            with system.open_input_stream(path, compression=None) as stream:  # a .gz is read as it is
                data: bytes = stream.read(MOST_MEMBER_BYTES + 1)
        except (OSError, ValueError) as error:
            raise _unreadable(self.url, error) from None
        if len(data) > MOST_MEMBER_BYTES:
            raise DataError(f"{self.url}: more than the limit of {MOST_MEMBER_BYTES:,} bytes; give a smaller file")
        return data

    def stamp(self) -> tuple[int, str]:
        """Return size and time of change; ``DataError`` if they are unknown."""
        system, path = self._open()
        try:
            found = system.get_file_info(path)
        except (OSError, ValueError) as error:
            raise _unreadable(self.url, error) from None
        return found.size or 0, str(found.mtime_ns)

    def _open(self) -> tuple[FileSystem, str]:
        system, path = _open(self.store or self.url)
        return system, self.path or path


def is_remote(text: str) -> bool:
    """Return whether an input is an address such as ``s3://bucket/prefix``."""
    return _REMOTE.match(text) is not None


def list_objects(url: str) -> Iterator[FoundFile]:
    """Yield the objects behind an address in natural order, prefix by prefix, hidden ones left out.

    Args:
        url: Address of an object or of a prefix.

    Raises:
        DataError: There is nothing, or the store cannot be reached or refuses.
        TumortraceError: pyarrow is not installed.
    """
    system, path = _open(url)
    from pyarrow.fs import FileType

    shown = url.rstrip("/")
    try:
        kind = system.get_file_info(path).type
        if kind == FileType.NotFound:
            raise DataError(f"{url}: nothing there; check the bucket and the prefix")
        if kind == FileType.File:
            yield FoundFile(shown, len(shown) - len(name_of(shown)), named=True, source=RemoteFile(shown))
            return
        for one, fault in _walk(system, path):
            # Only the given address opens the store: paths lack account and host, and may hold blanks.
            address = f"{shown}/{one.removeprefix(path).lstrip('/')}".rstrip("/")
            source = None if fault else RemoteFile(address, url, one)
            yield FoundFile(address, len(shown) + 1, f"{address}: {fault}" if fault else "", source=source)
    except (OSError, ValueError) as error:
        raise _unreadable(url, error) from None


def _walk(system: FileSystem, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of objects in natural order; a folder with objects that cannot be listed comes with its fault."""
    from pyarrow.fs import FileSelector, FileType

    for found in sorted(system.get_file_info(FileSelector(folder)), key=lambda one: natural_key(one.base_name)):
        if is_hidden(found.base_name):
            continue
        if found.type != FileType.Directory:
            yield found.path, ""
        elif found.path.rstrip("/") == folder.rstrip("/"):  # as of p//x.png in p: it would list itself for ever
            yield folder, "names with an empty part (//) are not read; rename them"
        else:
            yield from _walk(system, found.path)


def _open(url: str) -> tuple[FileSystem, str]:
    """The file system of an address, and the path in it."""
    if importlib.util.find_spec("pyarrow") is None:
        raise TumortraceError(f"{url}: pyarrow is needed; install it with: pip install 'tumortrace[cluster]'")
    scheme, _, path = url.partition("://")
    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        return _open_s3(endpoint), path.rstrip("/")
    from pyarrow.fs import FileSystem

    try:
        system, inside = FileSystem.from_uri(url)
    except (OSError, ValueError) as error:
        raise _unreadable(url, error) from None
    return system, inside.rstrip("/") or inside


@lru_cache(maxsize=4)
def _open_s3(endpoint: str) -> FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    parts = urlsplit(endpoint)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return S3FileSystem(
        endpoint_override=parts.netloc or None,
        scheme=parts.scheme or "https",
        region=region,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _unreadable(url: str, error: Exception) -> DataError:
    return DataError(f"{url}: cannot be read ({' '.join(str(error).split())}); check the address and the credentials")
