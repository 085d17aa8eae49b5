"""Processes that answer questions for this one, over pipes.

``multiprocessing`` would run the caller's script once more in each process, unless that script guards against it, and
leave its processes behind where this one is killed. Here a process runs a module of ours, and ends when its pipe does.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

Head = dict[str, Any]
"""What JSON can hold of a message."""

Message = tuple[Head, Sequence[NDArray[Any]]]
"""A head and arrays of any shapes and real dtypes."""

_LENGTH = struct.Struct("<Q")


class Child:
    """A process that answers one question at a time."""

    def __init__(self, module: str) -> None:
        """Start the process.

        Args:
            module: Full name of the module that it runs, which calls ``serve``.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interruption at the terminal is for this process
        )

    def ask(self, head: Head, *arrays: NDArray[Any]) -> Message:
        """Send a question and wait for the answer.

        Raises:
            OSError: The process has ended, or ends before it has answered.
        """
        try:
            _send(cast("BinaryIO", self._process.stdin), head, arrays)
            return _receive(cast("BinaryIO", self._process.stdout))
        except (EOFError, ValueError):  # of a pipe that has been closed meanwhile
            raise OSError("the process ended") from None

    def kill(self) -> None:
        """End the process at once; a question that it has not answered fails."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and wait until it has."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def serve(answer: Callable[[Head, Sequence[NDArray[Any]]], Message]) -> None:
    """Answer the questions of the process that started this one, until it ends.

    Args:
        answer: Function of a question's head and arrays.
    """
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            question = _receive(questions)
        except EOFError:
            return
        head, arrays = answer(*question)
        _send(answers, head, arrays)


def _send(file: BinaryIO, head: Head, arrays: Sequence[NDArray[Any]]) -> None:
    whole = [np.ascontiguousarray(array) for array in arrays]
    text = json.dumps([head, [[array.dtype.str, array.shape] for array in whole]]).encode()
    file.write(_LENGTH.pack(len(text)) + text)
    file.writelines(array.reshape(-1).view(np.uint8).data for array in whole)
    file.flush()


def _receive(file: BinaryIO) -> Message:
    (length,) = _LENGTH.unpack(_read(file, _LENGTH.size))
    head, described = json.loads(_read(file, length))
    arrays = []
    for name, shape in described:
        dtype = np.dtype(name)
        content = _read(file, dtype.itemsize * int(np.prod(shape)))
        arrays.append(np.frombuffer(content, dtype).reshape(shape))
    return head, arrays


def _read(file: BinaryIO, length: int) -> bytearray:
    content = bytearray(length)
    if length and cast("Any", file).readinto(content) < length:
        raise EOFError
    return content
