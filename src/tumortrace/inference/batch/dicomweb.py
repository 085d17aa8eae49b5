"""Sending DICOM files to an archive by DICOMweb (STOW-RS), and reading them back.

The only module that opens a connection, and only on request. pydicom comes with the extra ``formats``.
"""

from __future__ import annotations

import base64
import io
import json
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from uuid import uuid4

from pydicom import Dataset, dcmread

from tumortrace.errors import DataError

SECONDS = 60
"""Time to wait for an answer."""

MOST_BYTES = 2**30
"""Largest answer that is read."""

_PARTS = 'multipart/related; type="application/dicom"'
_FAILED, _REASON = "00081198", "00081197"  # FailedSOPSequence, FailureReason


def check_url(url: str) -> SplitResult:
    """Check the address of a DICOMweb service before anything is sent.

    Args:
        url: Address of the service, to which ``/studies`` is added; ``user:password@`` before the host signs in.

    Raises:
        DataError: It is no address of that kind.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise DataError("--send takes the address of a DICOMweb service, such as https://archive.example/dicom-web")
    return parts


def send_seg(path: Path, url: str) -> None:
    """Store a DICOM file in an archive, read it back, and compare both.

    Args:
        path: The file.
        url: Address of the service; see ``check_url``.

    Raises:
        DataError: The archive cannot be reached, refuses the object, or returns another one; names the file, the
            archive's host and the reason, but nothing that the archive wrote.
    """
    parts = check_url(url)
    sent = path.read_bytes()
    try:
        seg = dcmread(io.BytesIO(sent))
        _store(sent, parts)
        place = f"/studies/{seg.StudyInstanceUID}/series/{seg.SeriesInstanceUID}/instances/{seg.SOPInstanceUID}"
        _compare(seg, *_ask(parts, place, headers={"Accept": f"{_PARTS}; transfer-syntax=*"}))
    except _RefusedError as error:
        reason = str(error)
    except HTTPError as error:
        known = error.code in set(HTTPStatus)
        reason = f"it answered {error.code}" + (f" ({HTTPStatus(error.code).phrase})" if known else "")
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        reason = getattr(cause, "strerror", None) or type(cause).__name__
    else:
        return
    raise DataError(f"{path}: not stored at {parts.hostname}: {reason}; the file is kept, send it again")


class _NoRedirects(HTTPRedirectHandler):
    """Stay at the given address: urllib would send the password to another one, and repeat a POST as a GET."""

    def redirect_request(self, *_arguments: object) -> None:
        """Follow no redirect, so that its status is an error."""


class _RefusedError(Exception):
    """The archive answered, and the object is not there as it was sent."""


def _store(data: bytes, parts: SplitResult) -> None:
    boundary = uuid4().hex
    head, tail = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n", f"\r\n--{boundary}--\r\n"
    headers = {"Content-Type": f"{_PARTS}; boundary={boundary}", "Accept": "application/dicom+json"}
    answer, _ = _ask(parts, "/studies", data=head.encode() + data + tail.encode(), headers=headers)
    try:
        failed = json.loads(answer or b"{}").get(_FAILED, {}).get("Value")
        code = failed[0].get(_REASON, {}).get("Value", ["unknown"])[0] if failed else None
    except (ValueError, AttributeError, LookupError, TypeError):
        return  # no list of failures; reading back decides
    if code is not None:
        raise _RefusedError(f"it refused the object (reason {code if isinstance(code, int) else 'unknown'})")


def _ask(
    parts: SplitResult, place: str, *, headers: dict[str, str], data: bytes | None = None
) -> tuple[bytes, Message]:
    """Send a request and return body and headers of the answer."""
    host = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + place, parts.query, ""))
    request = Request(url, data, headers)  # noqa: S310 - check_url lets http and https through alone
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials).decode()}")
    with build_opener(_NoRedirects).open(request, timeout=SECONDS) as answer:
        return answer.read(MOST_BYTES), answer.headers


def _compare(sent: Dataset, answer: bytes, headers: Message) -> None:
    """Compare masks and segments of what was sent and what came back; archives may add to the rest."""
    try:
        if headers.get_content_maintype() == "multipart":
            boundary = b"--" + str(headers.get_param("boundary")).encode()
            start = answer.index(b"\r\n\r\n", answer.index(boundary)) + 4
            answer = answer[start : answer.rindex(b"\r\n" + boundary)]
        stored = dcmread(io.BytesIO(answer), force=True)
        same = all(sent[keyword] == stored[keyword] for keyword in ("SOPInstanceUID", "SegmentSequence", "PixelData"))
    except Exception:  # noqa: BLE001 - an answer of any bytes may raise anything
        same = False
    if not same:
        raise _RefusedError("what it returned is not what was sent")
