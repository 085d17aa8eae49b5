"""ONNX Runtime's session, for several threads and processes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tumortrace.errors import DataError, ModelError, first_line
from tumortrace.inference.onnx_file import MOST_BYTES, read_onnx
from tumortrace.machine import usable_cores
from tumortrace.regular_files import read_regular_file


class Session:
    """A session that a pickled or forked process opens again from its file.

    Attributes:
        path: The ONNX file.
        sha256: Hash of that file when it was first opened; a file that has changed since is refused.
        threads: Threads of ONNX Runtime within one slice; 0 takes all that the process may use.
        expected: Hash that the card of a shipped model states; empty for all others.
    """

    def __init__(self, path: Path, *, threads: int = 0, sha256: str = "", expected: str = "") -> None:
        """Open a model file.

        Args:
            path: The ONNX file.
            threads: Threads within one slice; 0 takes all that the process may use.
            sha256: Hash that the file had when it was first opened; empty takes what is there.
            expected: Hash that the card of a shipped model states; empty for all others.

        Raises:
            ModelError: The file cannot be read, is no ONNX file that may be run, or has another hash.
        """
        self.expected = expected
        self.path = path
        self.threads = threads
        self.sha256 = sha256
        self._place = path  # as it is given, for messages
        self._opened: onnxruntime.InferenceSession | None = self._open()
        self._place = path.absolute()  # a process that opens it again may be in another folder
        _SESSIONS.add(self)

    @property
    def runtime(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's own session in this process."""
        opened = self._opened
        if opened is None:
            opened = self._opened = self._open()
        return opened

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network.

        Args:
            images: Shape (N, 1, H, W).

        Returns:
            Logits, shape (N, 2, H, W).

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        (logits,) = self.run_all({"images": images})
        return logits

    def run_all(self, inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run a network of any inputs and return all of its outputs, in their order.

        Args:
            inputs: An array for each input, by its name.

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        try:
            outputs = self.runtime.run(None, inputs)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no public base class
            raise ModelError(f"{self.path}: cannot be run ({first_line(error)}); export the model again") from None
        return [np.asarray(output) for output in outputs]

    def leave_to_parent(self) -> None:
        """Give up the session of the parent process after a fork: its threads did not come along.

        To destroy it would wait for them for ever, so that it is never destroyed.
        """
        if self._opened is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._opened))
            self._opened = None

    def _open(self) -> onnxruntime.InferenceSession:
        try:
            data = read_regular_file(self._place, most_bytes=MOST_BYTES)
        except DataError as error:
            raise ModelError(str(error)) from None
        sha256 = hashlib.sha256(data).hexdigest()
        if self.sha256 not in ("", sha256):
            raise ModelError(f"{self.path}: the file has changed since the model was opened; open the model again")
        self.sha256 = sha256
        if self.expected != sha256:
            self._check(data)
        try:
            opened = open_runtime(data, threads=self.threads)
            _read_names(opened)
        except Exception as error:  # noqa: BLE001 - as above
            cause = _describe(error)
            raise ModelError(
                f"{self.path}: not an ONNX model ({cause}); give a file that tumortrace exported"
            ) from None
        return opened

    def _check(self, data: bytes) -> None:
        """Refuse a file that is no model of ours before ONNX Runtime sees it; a shipped one is known by its hash."""
        if self.expected:
            raise ModelError(
                f"{self.path}: not the model of this version (its SHA-256 differs from its card's); install tumortrace "
                "again"
            )
        try:
            read_onnx(data)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (str(self._place), self.threads, self.sha256, self.expected)


_SESSIONS: weakref.WeakSet[Session] = weakref.WeakSet()


def _reopen(path: str, threads: int, sha256: str, expected: str) -> Session:
    return Session(Path(path), threads=threads, sha256=sha256, expected=expected)


def open_runtime(data: bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a model on the CPU, unchecked and without a word about other hardware.

    Args:
        data: Content of its file.
        threads: Number of CPU threads; 0 for as many as the process may use.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    # Threads that spin between slices take a core from decoding, and on a shared machine from each other: 15 ms, not 5.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: its warnings are about its own optimiser
    # Without enable_fallback=0 it prints about other hardware, and tries the same again.
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _read_names(opened: onnxruntime.InferenceSession) -> None:
    """Read the names and shapes of a network once: ``UnicodeDecodeError`` where they are damaged."""
    for value in (*opened.get_inputs(), *opened.get_outputs()):
        _ = value.name, value.shape


def _describe(error: Exception) -> str:
    """Return why ONNX Runtime cannot open a model; of an operator set that it lacks, both versions."""
    found = re.search(r"Opset (\d+) is under development.* till opset (\d+)", str(error), re.DOTALL)
    if found:
        return f"it needs operator set {found[1]}, and this onnxruntime knows those up to {found[2]}"
    return first_line(error)


def _leave_all_to_parent() -> None:
    for session in list(_SESSIONS):
        session.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_leave_all_to_parent)
