"""Decoding of compressed frames in processes of their own, for a server.

The decoders are native code. A fault in one of them would end the server, and a hostile frame could keep it busy.
"""

from __future__ import annotations

import json
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from tumortrace.data.dicom import pixels

LIMIT_S = 20.0
"""Seconds that a process may take for one frame."""

LIMIT_BYTES = 2**31
"""Memory that a process may take, beyond what it has from its start."""

_HEAD = struct.Struct("<IQ")  # lengths of the description and of the bytes behind it


class _Child:
    """One process, which decodes a frame at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "tumortrace.data.dicom.apart"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interruption at the terminal is for the server
        )

    def decode(self, data: bytes, settings: dict[str, Any]) -> NDArray[Any]:
        """Decode a frame; ``RuntimeError`` if the decoder refuses it, ``OSError`` if the process ends."""
        timer = threading.Timer(LIMIT_S, self._process.kill)
        timer.start()
        try:
            _send(cast("BinaryIO", self._process.stdin), settings, data)
            head, content = _receive(cast("BinaryIO", self._process.stdout))
        except EOFError:
            raise OSError("the decoder ended") from None
        finally:
            timer.cancel()
        if "error" in head:
            raise RuntimeError(head["error"])
        return np.frombuffer(bytearray(content), np.dtype(head["dtype"])).reshape(head["shape"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


class DecoderPool:
    """Processes that are started when they are first needed; one that ends is replaced."""

    def __init__(self, most: int) -> None:
        """Prepare the pool.

        Args:
            most: Number of processes at a time: as many as threads ask for frames.
        """
        self._free: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._closed = False
        for _ in range(most):
            self._free.put(None)

    def decode(self, data: bytes, settings: dict[str, Any]) -> NDArray[Any]:
        """Decode a frame as ``pixels.decode_codestream`` does.

        Raises:
            RuntimeError: The decoder refuses it.
            OSError: The decoder crashed, or took too long.
        """
        child = self._free.get()
        try:
            child = child or _Child()
            result = child.decode(data, settings)
        except RuntimeError:
            self._give_back(child)
            raise
        except BaseException:
            if child is not None:
                child.close()
            self._give_back(None)
            raise
        self._give_back(child)
        return result

    def close(self) -> None:
        """End all processes that are idle, and others once they are."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._give_back(self._free.get_nowait(), keep=False)

    def _give_back(self, child: _Child | None, *, keep: bool = True) -> None:
        if child is not None and (self._closed or not keep):
            child.close()
            child = None
        if keep:
            self._free.put(child)


@contextmanager
def decode_apart(most: int) -> Iterator[DecoderPool]:
    """Let compressed frames be decoded in other processes while the block runs.

    Args:
        most: Number of processes at a time.
    """
    pool = DecoderPool(most)
    before = pixels.set_decoder(pool.decode)
    try:
        yield pool
    finally:
        pixels.set_decoder(before)
        pool.close()


def _send(file: BinaryIO, head: dict[str, Any], content: bytes) -> None:
    text = json.dumps(head).encode()
    file.write(_HEAD.pack(len(text), len(content)) + text)
    file.write(content)
    file.flush()


def _receive(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    text_bytes, content_bytes = _HEAD.unpack(head)
    text, content = file.read(text_bytes), file.read(content_bytes)
    if len(content) < content_bytes:
        raise EOFError
    return json.loads(text), content


def _limit_memory() -> None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    with suppress(OSError, ValueError):
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))


def serve() -> None:
    """Decode frames from stdin to stdout until it ends."""
    given, replies = sys.stdin.buffer, sys.stdout.buffer
    _limit_memory()
    while True:
        try:
            settings, data = _receive(given)
        except EOFError:
            return
        settings["transfer_syntax_uid"] = UID(settings["transfer_syntax_uid"])
        try:
            decoded = np.ascontiguousarray(pixels.decode_codestream(data, settings))
        except Exception as error:  # noqa: BLE001 - on damaged bytes a decoder may raise anything
            _send(replies, {"error": type(error).__name__}, b"")
            continue
        _send(replies, {"dtype": decoded.dtype.str, "shape": decoded.shape}, decoded.tobytes())


if __name__ == "__main__":
    serve()
