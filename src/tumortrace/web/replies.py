"""Replies that several routes send: documents, errors, attachments."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tumortrace.data.folders import name_of
from tumortrace.json_csv import Document, nan_to_none
from tumortrace.web.limits import RefusalError


def _encode_document(document: Document) -> bytes:
    """Encode a document as one line of JSON, without the line's end; JSON lacks NaN and infinity: they become null."""
    try:
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(nan_to_none(document), separators=(",", ":"))
    return text.encode()


def reply_document(document: Document, *, status: int = 200) -> Response:
    """Reply with a document."""
    return Response(_encode_document(document), status_code=status, media_type="application/json")


def reply_refusal(refusal: RefusalError) -> Response:
    """Reply with the one line of a refusal, as ``{"error": ...}``; ``limit`` names the limit that was exceeded."""
    document = {"error": str(refusal)} | ({"limit": refusal.limit} if refusal.limit else {})
    reply = reply_document(document, status=refusal.status)
    if refusal.retry_after_s is not None:
        reply.headers["Retry-After"] = str(refusal.retry_after_s)
    return reply


def reply_file(data: bytes, *, media_type: str, name: str) -> Response:
    """Reply with a file that a browser saves under a name.

    Args:
        data: Content of the file.
        media_type: Type of the content.
        name: Name of the file, of whose path the last part counts. Clients that read only ASCII get ``_`` for
            characters beyond letters, digits and ``._-``.
    """
    file = name_of(name)
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in file)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file, safe='')}"
    return Response(data, media_type=media_type, headers={"Content-Disposition": disposition})


class EventStream(Response):
    """A reply of JSON documents, one a line, each sent when it is there."""

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncGenerator[Document, None]) -> None:
        """Prepare the reply.

        Args:
            lines: Documents, drawn as the client reads.
        """
        super().__init__()
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines; an ASGI application."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._lines) as lines:
            async for line in lines:
                await send({"type": "http.response.body", "body": _encode_document(line) + b"\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, send: Send, text: str) -> None:
        """End a stream that has begun, with an error as its last line.

        Args:
            send: Way to the client.
            text: The error.
        """
        line = _encode_document({"type": "error", "item": None, "message": text}) + b"\n"
        await send({"type": "http.response.body", "body": line, "more_body": False})
