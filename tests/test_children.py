"""Messages between processes, and processes that end."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

from tumortrace.children import Child, _receive, _send


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float16).reshape(2, 3),
        np.arange(24).reshape(4, 6)[::2, ::-1],
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
    ],
)
def test_a_message_arrives_as_it_was_sent(array):
    pipe = io.BytesIO()
    _send(pipe, {"task": "ä", "list": [1, 2.5]}, [array, np.array([7], np.uint8)])
    pipe.seek(0)
    head, (first, second) = _receive(pipe)
    assert head == {"task": "ä", "list": [1, 2.5]}
    assert first.dtype == array.dtype
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second, [7])


def test_a_message_that_breaks_off_is_an_end():
    pipe = io.BytesIO()
    _send(pipe, {}, [np.arange(10)])
    for length in (0, 4, len(pipe.getvalue()) - 1):
        with pytest.raises(EOFError):
            _receive(io.BytesIO(pipe.getvalue()[:length]))


def test_a_process_that_cannot_start_its_module_is_an_error():
    child = Child("tumortrace.no_such_module")
    with pytest.raises(OSError, match=r"ended|[Pp]ipe"):
        child.ask({}, np.zeros(10**6))
    child.close()


def test_a_process_ends_with_its_pipe():
    child = Child("tumortrace.copies.apart")
    child._process.stdin.close()
    deadline = time.monotonic() + 30
    while child._process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child._process.poll() == 0
    child.close()
