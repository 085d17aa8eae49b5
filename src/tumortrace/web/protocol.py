"""Deadlines of a connection: uvicorn itself waits for ever."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tumortrace.json_csv import Document

CHECK_SECONDS = 0.5
"""Time between two looks at a connection."""

MOST_CONNECTIONS = 256
"""Connections at a time; one more is closed at once, before file descriptors run out."""

SEND_BUFFER_BYTES = 2**16
"""Buffer of the system for each connection: what lies in it counts as read by the client."""


@dataclass(frozen=True)
class Deadlines:
    """How long a connection may take.

    Attributes:
        header_s: Seconds for the header of a request, from its first byte; for the first one from the connection.
        window_s: Seconds in which a body, or the reading of a reply, has to move on.
        body_bytes: Bytes of a body that have to arrive in each window.
        reply_bytes: Bytes of a reply that a client has to read in each window.
        drain_s: Seconds for the rest of a request whose reply has been sent already.
    """

    header_s: float = 10.0
    window_s: float = 5.0
    body_bytes: int = 5 * 2**10
    reply_bytes: int = 32 * 2**10
    drain_s: float = 3.0


DEADLINES = Deadlines()


class DeadlineProtocol(H11Protocol):
    """uvicorn's protocol with deadlines for each phase of a request.

    A silent client is closed within two windows, a trickling one within one more.
    """

    deadlines = DEADLINES

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the first phase, unless there are too many connections."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._received = 0
        self._received_at_reply = -1
        self._refused = False
        self._phase = ""
        self._since = 0.0
        self._at_start = 0
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count what arrives, and throw it away once the request has been refused."""
        self._received += len(data)
        if not self._refused:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Let the next request have its own time; while none has begun, uvicorn's time for idle connections counts."""
        self._received_at_reply = self._received
        self._phase = ""
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Begin a new window: the client has read on."""
        self._phase = ""
        super().resume_writing()

    def shutdown(self) -> None:
        """Close the connection once its request is answered, also where it was malformed."""
        with suppress(h11.LocalProtocolError):
            super().shutdown()

    def _check(self) -> None:
        """Look at the phase of the connection, and close it where the phase takes too long."""
        self._timer = self.loop.call_later(CHECK_SECONDS, self._check)
        phase, moved = self._find_phase()
        now = self.loop.time()
        if phase != self._phase:
            self._phase, self._since, self._at_start = phase, now, moved
            return
        elapsed, limits = now - self._since, self.deadlines
        if phase == "header" and elapsed >= limits.header_s:
            self._refuse(f"the header of the request took longer than {limits.header_s:g} s")
        elif phase == "drain" and elapsed >= limits.drain_s:
            self.transport.abort()
        elif phase in {"body", "reply"} and elapsed >= limits.window_s:
            least = limits.body_bytes if phase == "body" else limits.reply_bytes
            if moved - self._at_start >= least:
                self._since, self._at_start = now, moved
            elif phase == "body":
                self._refuse(f"the body of the request arrives too slowly, less than {least} bytes in {elapsed:.0f} s")
            else:
                self.transport.abort()

    def _find_phase(self) -> tuple[str, int]:
        """Return the phase of the connection, and how many bytes have moved in it."""
        waiting = self.transport.get_write_buffer_size()
        if self._refused or (self.transport.is_closing() and not waiting):
            return "drain", 0
        if waiting:
            return "reply", -waiting
        if self.conn.their_state is h11.IDLE:
            return ("idle" if self._received == self._received_at_reply else "header"), 0
        if self.conn.their_state is h11.SEND_BODY:
            if self.conn.our_state in (h11.DONE, h11.MUST_CLOSE):
                return "drain", 0
            return ("paused" if self.flow.read_paused else "body"), self._received
        return "work", 0

    def _refuse(self, text: str) -> None:
        """End a request that arrives too slowly: in words where it has begun, and where no reply has.

        The connection is closed a little later. Bytes that arrive at a closed one would make the system of the client
        throw the words away.
        """
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (self._received and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)):
            self.transport.abort()
            return
        self._write_error(408, b"Request Timeout", {"error": f"{text}; send it again", "limit": "time"})
        self.transport.write_eof()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the form of all other errors, and close the connection."""
        self._write_error(400, b"Bad Request", {"error": f"{msg.rstrip('.').lower()}; speak HTTP/1.1"})
        self.transport.close()

    def _write_error(self, status: int, reason: bytes, document: Document) -> None:
        body = json.dumps(document).encode()
        headers: list[Any] = [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"), (b"connection", b"close"),
        ]  # fmt: skip
        response = h11.Response(status_code=status, headers=headers, reason=reason)
        with suppress(h11.LocalProtocolError):
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
