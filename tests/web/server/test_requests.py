"""A request from its first byte to its end, without sockets: places, folders, clients that leave."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response

from tumortrace.web.engine import Engine
from tumortrace.web.limits import Limits
from tumortrace.web.requests import UploadReply
from tumortrace.web.uploads import Upload

BODY = b'--BB\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\ndata\r\n--BB--\r\n'
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/",
    "query_string": b"a=1",
    "headers": [(b"content-type", b"multipart/form-data; boundary=BB")],
}
Work = Callable[[Upload], Awaitable[Response]]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine("fast", limits=Limits(queue=1), workers=2)
    yield engine
    engine.shut_down()


async def ask(engine: Engine, work: Work, *, leave_after_s: float = 60.0) -> list[dict[str, Any]]:
    """Send the body; leave after a while."""
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(leave_after_s)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:  # noqa: ANN401 - an ASGI message
        sent.append(message)

    await UploadReply(engine, work, names=("file", "a"))(SCOPE, receive, send)
    return sent


def test_the_folder_is_there_until_the_reply_is_sent_and_not_longer(engine, temporary):
    seen: list[Path] = []

    async def work(upload: Upload) -> Response:
        assert upload.files[0].path.read_bytes() == b"data"
        assert upload.fields == {"a": "1"}
        seen.append(upload.folder)
        return PlainTextResponse("done")

    sent = asyncio.run(ask(engine, work))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert seen[0].parent == temporary
    assert not list(temporary.iterdir())


def test_a_place_is_given_back_whatever_happens(engine, temporary):
    async def fail(_upload: Upload) -> Response:
        raise ZeroDivisionError

    async def work(_upload: Upload) -> Response:
        return PlainTextResponse("done")

    async def ask_in_turn() -> int:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await ask(engine, fail)
        await ask(engine, work, leave_after_s=0.0)
        return (await ask(engine, work))[0]["status"]

    assert asyncio.run(ask_in_turn()) == 200
    assert not list(temporary.iterdir())


def test_a_client_that_leaves_gets_nothing_and_what_a_thread_still_writes_is_removed_after_it(engine, temporary):
    ended: list[float] = []

    def write_slowly(folder: Path) -> None:
        for index in range(6):
            time.sleep(0.3)
            (folder / "again").mkdir(parents=True, exist_ok=True)
            (folder / f"again/{index}").write_bytes(b"data")
        ended.append(time.monotonic())

    async def work(upload: Upload) -> Response:
        await engine.run(write_slowly, upload.folder)
        return PlainTextResponse("done")

    async def leave() -> float:
        started = time.monotonic()
        assert await ask(engine, work, leave_after_s=0.1) == []
        return time.monotonic() - started

    assert asyncio.run(leave()) < 1.7  # 0.1 s until it leaves, and a second for the thread
    while not ended or list(temporary.iterdir()):
        assert not ended or time.monotonic() - ended[0] < 5
        time.sleep(0.02)


def test_work_that_no_thread_has_begun_is_dropped(engine, temporary):
    begun: list[int] = []

    def take_time(index: int) -> None:
        begun.append(index)
        time.sleep(0.3)

    async def work(_upload: Upload) -> Response:
        await asyncio.gather(*(engine.run(take_time, index) for index in range(10)))
        return PlainTextResponse("done")

    asyncio.run(ask(engine, work, leave_after_s=0.1))
    time.sleep(0.5)
    assert len(begun) == 2  # as many as there are threads
    assert not list(temporary.iterdir())


def test_a_bug_is_500_in_one_line(make_client, monkeypatch):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("with\nlines")

    monkeypatch.setattr("tumortrace.web.app._describe_model", fail)

    async def ask_for_model() -> tuple[int, str]:
        async with make_client(raise_bugs=False) as client:
            reply = await client.get("/api/model")
            return reply.status_code, reply.text

    status, text = asyncio.run(ask_for_model())
    assert status == 500
    assert text == '{"error":"a fault of the server (ZeroDivisionError); its log says more"}'


@pytest.mark.parametrize("where", ["tumortrace.web.uploads._Form.on_part_data", "tumortrace.web.archives._unpack"])
def test_a_full_disk_is_503_in_one_line(post, make_zip, monkeypatch, temporary, where):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = {"study.zip": make_zip({"a.png": b"1"}), "scan.nii": b"nifti"}
    with monkeypatch.context() as patched:
        patched.setattr(where, fail)
        reply = post(files)
    assert reply.status_code == 503
    assert reply.headers["retry-after"]
    assert "No space left on device" in reply.json()["error"]
    assert not list(temporary.iterdir())
