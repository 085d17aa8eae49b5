"""Decoding of compressed frames in processes of their own, for a server.

The decoders are native code. A fault in one of them would end the server, and a hostile frame could keep it busy.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from tumortrace.children import Child, Head, Message, serve
from tumortrace.data.dicom import pixels

LIMIT_S = 20.0
"""Seconds that a process may take for one frame."""

LIMIT_BYTES = 2**31
"""Memory that a process may take, beyond what it has from its start."""


class _Decoder(Child):
    """One process, which decodes a frame at a time."""

    def __init__(self) -> None:
        super().__init__("tumortrace.data.dicom.apart")

    def decode(self, data: bytes, settings: dict[str, Any]) -> NDArray[Any]:
        """Decode a frame; ``RuntimeError`` if the decoder refuses it, ``OSError`` if the process ends."""
        timer = threading.Timer(LIMIT_S, self.kill)
        timer.start()
        try:
            head, arrays = self.ask(settings, np.frombuffer(data, np.uint8))
        finally:
            timer.cancel()
        if "error" in head:
            raise RuntimeError(head["error"])
        return arrays[0]


class DecoderPool:
    """Processes that are started when they are first needed; one that ends is replaced."""

    def __init__(self, most: int) -> None:
        """Prepare the pool.

        Args:
            most: Number of processes at a time: as many as threads ask for frames.
        """
        self._free: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
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
            child = child or _Decoder()
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

    def _give_back(self, child: _Decoder | None, *, keep: bool = True) -> None:
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


def _limit_memory() -> None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    with suppress(OSError, ValueError):
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))


def _answer(settings: Head, arrays: Sequence[NDArray[Any]]) -> Message:
    settings["transfer_syntax_uid"] = UID(settings["transfer_syntax_uid"])
    try:
        return {}, [pixels.decode_codestream(arrays[0].tobytes(), settings)]
    except Exception as error:  # noqa: BLE001 - on damaged bytes a decoder may raise anything
        return {"error": type(error).__name__}, []


if __name__ == "__main__":
    _limit_memory()
    serve(_answer)
