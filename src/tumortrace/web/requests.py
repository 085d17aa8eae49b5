"""One request with files: its place in the queue, its folder, and its end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tumortrace.errors import DataError, TumortraceError
from tumortrace.web.engine import Engine, Place, refuse_closing
from tumortrace.web.limits import RefusalError
from tumortrace.web.replies import EventStream, reply_refusal
from tumortrace.web.request_folder import request_folder
from tumortrace.web.uploads import Upload, check_length, receive_upload

R = TypeVar("R")

Work = Callable[[Upload], Awaitable[Response]]
"""Work on an upload; its folder is there until the reply has been sent."""


class _GoneError(Exception):
    """The client left."""


class UploadReply(Response):
    """A reply that receives the files of its request, works on them and sends what comes of it.

    A place in the queue is taken before a byte of the body is read, and given back with the last byte of the reply. The
    folder of the files exists for as long. A client that leaves ends the work.
    """

    def __init__(self, engine: Engine, work: Work, *, names: Collection[str]) -> None:
        """Prepare the reply.

        Args:
            engine: Queue and threads.
            work: Function that makes the reply from the upload.
            names: Names that fields and query may have.
        """
        super().__init__()
        self._names = names
        self._engine = engine
        self._work = work
        self._reply: Response | None = None
        self._place: Place | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive, work and reply; an ASGI application."""
        request = Request(scope, receive)
        started = False

        async def note_start(message: Any) -> None:  # noqa: ANN401 - an ASGI message
            nonlocal started
            started = True
            await send(message)

        try:
            check_length(request.headers, self._engine.limits)
            self._place = self._engine.enter()
            async with request_folder(self._place) as folder:
                with _refuse_errors(folder):
                    upload = await _or_stop(self._receive(request, folder), self._engine)
                    await _or_stop(self._answer(upload, scope, receive, note_start), self._engine, receive=receive)
        except (_GoneError, ClientDisconnect):
            return
        except RefusalError as refusal:
            if started and isinstance(self._reply, EventStream):
                await self._reply.fail(send, str(refusal))
            elif not started:
                await reply_refusal(refusal)(scope, receive, send)
        finally:
            self._leave()

    def _receive(self, request: Request, folder: Path) -> Coroutine[Any, Any, Upload]:
        return receive_upload(
            request.headers,
            request.stream(),
            folder,
            limits=self._engine.limits,
            query=dict(request.query_params),
            names=self._names,
        )

    async def _answer(self, upload: Upload, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._engine.limit_time():
            self._reply = await self._work(upload)
            await self._reply(scope, receive, send)
        self._leave()  # before the files are removed: the client may send its next request at once

    def _leave(self) -> None:
        if self._place is not None:
            self._place.leave()


@contextmanager
def _refuse_errors(folder: Path) -> Iterator[None]:
    """Turn errors into refusals; a file of the request has the name in them that the client gave it.

    Args:
        folder: Folder of the request, which the client does not know.

    Raises:
        RefusalError: In place of any other error for the user: 415 for a file that cannot be used, 501 for a library
            that is not installed.
    """
    try:
        yield
    except RefusalError:
        raise
    except TumortraceError as error:
        text = re.sub(rf"{re.escape(str(folder))}/(group-[0-9]+/)?[^/]+/", "", str(error))
        raise RefusalError(415 if isinstance(error, DataError) else 501, text) from None


async def _or_stop(work: Coroutine[Any, Any, R], engine: Engine, *, receive: Receive | None = None) -> R:
    """Wait for work, unless the server ends or the client leaves; then cancel it.

    Raises:
        RefusalError: The server ends.
        _GoneError: The client left.
    """
    task = asyncio.create_task(work)
    stop = asyncio.create_task(engine.stopping.wait())
    gone = asyncio.create_task(_wait_until_gone(receive)) if receive else None
    try:
        await asyncio.wait([task, stop, *([gone] if gone else [])], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise _GoneError if gone is not None and gone.done() else refuse_closing()
    finally:
        others = [each for each in (task, stop, gone) if each is not None]
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
