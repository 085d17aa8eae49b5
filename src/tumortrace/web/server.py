"""Running of the server: its socket, its signals and its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from tumortrace.errors import TumortraceError
from tumortrace.web.app import make_app
from tumortrace.web.engine import SHUTDOWN_SECONDS, Engine
from tumortrace.web.protocol import DeadlineProtocol
from tumortrace.web.request_folder import remove_abandoned

LONGEST_HEADER = 32 * 2**10
"""Bytes that the header of a request may have."""

KEEP_ALIVE_SECONDS = 5
"""Time that an idle connection is kept for the next request."""

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def serve(engine: Engine, *, host: str, port: int, announce: Callable[[str], None], runs: Path | None = None) -> None:
    """Serve until a signal ends it; first remove what servers that were killed left.

    Args:
        engine: Queue, threads and models.
        host: Address or name to listen on.
        port: Port; 0 takes a free one.
        announce: Function that is called with the address of the page once it is reachable.
        runs: Folder of runs whose curves may be shown.

    Raises:
        TumortraceError: The address cannot be listened on.
        OSError: There is no folder for temporary files.
    """
    tempfile.gettempdir()
    remove_abandoned()
    listener = _listen(host, port)
    config = uvicorn.Config(
        make_app(engine, host=host, runs=runs),
        http=DeadlineProtocol,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=LONGEST_HEADER,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(SHUTDOWN_SECONDS) + 2,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # bugs with their traceback; strangers' faults are none
    shown = f"[{host}]" if ":" in host else host
    _Server(config, engine, lambda: announce(f"http://{shown}:{listener.getsockname()[1]}")).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which announces itself and ends without raising its signals again."""

    def __init__(self, config: uvicorn.Config, engine: Engine, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._engine = engine
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._engine.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """End within seconds; a second Ctrl-C would have uvicorn leave requests and their folders behind."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal; the command has ended well then."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _ENDINGS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        cause = os.strerror(number) if number and number > 0 else str(error)
        raise TumortraceError(
            f"{host}:{port}: cannot be listened on ({cause}); choose another --port or --host"
        ) from None
    listener.setblocking(False)
    return listener
