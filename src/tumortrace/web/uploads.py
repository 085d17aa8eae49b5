"""Receiving of files: a multipart body becomes files in a folder of the request."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.datastructures import Headers

from tumortrace.data.folders import join, name_of, parent_of
from tumortrace.errors import printable
from tumortrace.files import is_disk_fault
from tumortrace.web.limits import Limits, RefusalError, Unpacked, refuse_disk

logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # a refusal says what is wrong, to the client

FILE = "file"
"""Name of the field with a picture or scan; it may come many times."""

FOLDERS = {FILE: "scan"}
"""Folders of fields by name: a series is named by the folder that its files lie in."""

LONGEST_NAME = 200
"""Bytes of a file's name that are kept."""

DEEPEST = 8
"""Folders of a file's path that are kept, the last ones."""

LONGEST_FIELD = 1024
"""Bytes of a field that is no file."""

PROMPT = "prompt"
"""Name of the field with a box and clicks."""

LONGEST_FIELDS = {PROMPT: 16 * 2**10}
"""Bytes of the fields that may be longer."""


@dataclass(frozen=True)
class UploadedFile:
    """A file of a request.

    Attributes:
        part: Name of the field that it came in.
        name: Path that the client gave, made safe: relative, with forward slashes.
        path: File that holds it.
    """

    part: str
    name: str
    path: Path


@dataclass(frozen=True)
class Upload:
    """All that a request brought.

    Attributes:
        folder: Folder of the files.
        files: Files in the order they came.
        fields: Values of the other fields and of the query; the last one where a name comes again.
        unpacked: Count of unpacked files and bytes, which all parts of the request share.
    """

    folder: Path
    files: tuple[UploadedFile, ...]
    fields: dict[str, str] = field(default_factory=dict)
    unpacked: Unpacked = field(default_factory=Unpacked)

    def of_part(self, part: str) -> tuple[UploadedFile, ...]:
        """Return the files of one field."""
        return tuple(file for file in self.files if file.part == part)


async def receive_upload(
    headers: Headers,
    body: AsyncIterator[bytes],
    folder: Path,
    *,
    limits: Limits,
    query: Mapping[str, str],
    names: Collection[str],
) -> Upload:
    """Write the files of a multipart body into a folder while they arrive.

    Args:
        headers: Headers of the request.
        body: Its body, in pieces.
        folder: Folder for the files; one folder a field is made in it.
        limits: Limits on bytes, parts and time.
        query: Values of the query.
        names: Names that fields and query may have.

    Raises:
        RefusalError: It is no multipart body, encoded or damaged, exceeds a limit, or has a field of another name.
    """
    check_length(headers, limits)
    for name in query:
        _check_name(name, names)
    form = _Form(folder, limits, names)
    if (encoding := headers.get("content-encoding", "identity")).lower() != "identity":
        raise RefusalError(415, f"the body is encoded ({printable(encoding)[:40]}); send it without Content-Encoding")
    parser = _open_parser(headers.get("content-type", ""), form)
    received = 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for piece in body:
                received += len(piece)
                if received > limits.request_bytes:
                    raise _too_many_bytes(limits)
                await _run(parser.write, piece)  # parses, and writes to the disk
            await _run(parser.finalize)
    except FormParserError:
        raise RefusalError(400, "the body is damaged or ends too soon; send multipart/form-data again") from None
    except TimeoutError:
        text = f"the body took longer than {limits.upload_seconds:g} s; send fewer files"
        raise RefusalError(408, text, limit="upload_seconds") from None
    except OSError as error:
        raise refuse_disk(error) from None
    finally:
        form.close()
    if not form.ended:
        raise RefusalError(400, "the body ends too soon; send multipart/form-data again")
    return Upload(folder, tuple(form.files), {**query, **form.fields})


async def _run(function: Callable[..., object], *args: object) -> None:
    """Run a short function in a thread; one that is cancelled is waited for, since it writes files."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def check_length(headers: Headers, limits: Limits) -> None:
    """Refuse a body that says itself that it is too long, before any of it is read.

    Raises:
        RefusalError: ``Content-Length`` exceeds the limit.
    """
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.request_bytes:
        raise _too_many_bytes(limits)


def folder_of(part: str) -> str:
    """Return the name of the folder for the files of one field."""
    return FOLDERS.get(part) or make_safe(part).replace("/", "_")


def make_safe(name: str) -> str:
    """Return a client's path as a relative one that stays within its folder.

    Both kinds of slashes separate folders. Drive letters, control characters and steps upwards vanish.

    Args:
        name: Path as the client gave it.

    Returns:
        At most ``DEEPEST`` folders and a name; ``"file"`` if nothing is left.
    """
    text = printable(name).replace("\\", "/")
    parts = [re.sub(r"[\x00-\x1f:]", "_", part).strip() for part in re.sub(r"^[A-Za-z]:", "", text).split("/")]
    kept = [_shorten(part) for part in parts if part.strip(".")]
    return "/".join(kept[-DEEPEST:]) or "file"


def _shorten(part: str) -> str:
    """Cut a name in the middle of its stem, so that its suffixes stay."""
    data = part.encode()
    if len(data) <= LONGEST_NAME:
        return part
    end = data[-40:].decode(errors="ignore")
    return data[: LONGEST_NAME - 40].decode(errors="ignore") + end


def _check_name(name: str, names: Collection[str]) -> None:
    """Refuse a field that means nothing: a misspelt one would be ignored, and its default taken for what was asked."""
    if name not in names:
        raise RefusalError(400, f"{printable(name)[:40]}: no field of this request; it may have {', '.join(names)}")


def _too_many_bytes(limits: Limits) -> RefusalError:
    text = f"the request has more than the limit of {limits.request_bytes:,} bytes; send fewer or smaller files"
    return RefusalError(413, text, limit="request_bytes")


def _open_parser(content_type: str, form: _Form) -> MultipartParser:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise RefusalError(415, "the body is no multipart/form-data; send the picture or scan as the field 'file'")
    callbacks = {name: getattr(form, name) for name in dir(_Form) if name.startswith("on_")}
    try:
        return MultipartParser(boundary.encode("latin-1"), callbacks)  # type: ignore[arg-type]
    except (FormParserError, UnicodeEncodeError):
        raise RefusalError(400, "the boundary of the multipart body is malformed; send it again") from None


class _Form:
    """Files and fields while they arrive; the parser calls the functions that begin with ``on_``."""

    def __init__(self, folder: Path, limits: Limits, names: Collection[str]) -> None:
        self.files: list[UploadedFile] = []
        self.fields: dict[str, str] = {}
        self.ended = False
        self._folder = folder
        self._limits = limits
        self._names = names
        self._count = 0
        self._taken: set[tuple[str, str]] = set()
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._file: BinaryIO | None = None
        self._name = ""
        self._value = bytearray()

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def on_part_begin(self) -> None:
        self._count += 1
        if self._count > self._limits.parts:
            text = f"the request has more than the limit of {self._limits.parts:,} parts; send fewer files, or a zip"
            raise RefusalError(413, text, limit="parts")
        self._headers = {}
        self._header = (bytearray(), bytearray())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def on_headers_finished(self) -> None:
        message = Message()
        text = self._headers.get(b"content-disposition", b"").decode(errors="replace")
        message["content-disposition"] = " ".join(text.split())
        name = message.get_param("name", header="content-disposition")
        file_name = message.get_filename()
        if not isinstance(name, str) or not name:
            raise RefusalError(400, "a part of the body has no name; send files as the field 'file'")
        _check_name(name, self._names)
        self._name, self._value = name, bytearray()
        if file_name is not None:
            self._open(make_safe(file_name))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._value.extend(data[start:end])
        longest = LONGEST_FIELDS.get(self._name, LONGEST_FIELD)
        if len(self._value) > longest:
            text = f"the field {self._name!r} is longer than {longest} bytes; shorten it, or send a file as 'file'"
            raise RefusalError(413, text, limit="field")

    def on_part_end(self) -> None:
        if self._file is None:
            self.fields[self._name] = self._value.decode(errors="replace")
        self.close()

    def on_end(self) -> None:
        self.ended = True

    def _open(self, name: str) -> None:
        """Open a new file in the folder of its field, under a name that no other has there."""
        part = folder_of(self._name)
        unique, number = name, 1
        while (part, unique.casefold()) in self._taken or self._is_folder(part, unique):
            number += 1
            stem, dot, suffix = name_of(name).partition(".")
            unique = join(parent_of(name), f"{stem}-{number}{dot}{suffix}")
        self._taken.add((part, unique.casefold()))
        path = self._folder / part / unique
        with suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = path.open("xb")
        except OSError as error:
            if is_disk_fault(error):
                raise
            raise RefusalError(400, f"{name}: cannot be received ({error.strerror}); rename it") from None
        self.files.append(UploadedFile(self._name, unique, path))

    def _is_folder(self, part: str, name: str) -> bool:
        return (self._folder / part / name).is_dir()
