"""Workers of a server: its queue, and the threads that decode and segment."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import cv2

from tumortrace.inference.model import SHIPPED
from tumortrace.inference.segmenter import Segmenter
from tumortrace.machine import usable_cores
from tumortrace.web.limits import Limits, RefusalError
from tumortrace.web.pointed import PointedPictures

P = ParamSpec("P")
R = TypeVar("R")

SHUTDOWN_SECONDS = 2.5
"""Time for requests to finish after the server received the signal to end."""

ABANDONED_SECONDS = 1.0
"""Longest wait for work of a request that nobody waits for any more; a decoder cannot be interrupted."""

LONGEST_WAIT_S = 60
"""Longest time after which a client is asked to try again."""

_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)
_SMOOTHING = 0.2  # weight of the newest request in the mean time of one


class Place:
    """A place in the queue, which one request holds.

    Attributes:
        running: Work of the request that a thread has begun or will begin.
    """

    def __init__(self, places: set[Place]) -> None:
        """Take the place, for the task that runs and those that it starts.

        Args:
            places: All places that are taken.
        """
        self.running: set[Future[Any]] = set()
        self._places = places
        places.add(self)
        _PLACE.set(self)

    def leave(self) -> None:
        """Give the place to another request; once is enough."""
        self._places.discard(self)


class Engine:
    """Models, threads and the queue before them.

    Each thread segments a slice of its own with one thread of ONNX Runtime and of OpenCV: on few cores, several slices
    at a time are faster than several threads on one slice.

    Attributes:
        limits: Limits of the server.
        workers: Number of threads that decode and segment.
        served: Name or path of the model that requests get.
        stopping: Set when requests that are not finished are to be dropped.
        pointed: The pictures that people point at now.
    """

    def __init__(self, model: str = "default", *, limits: Limits | None = None, workers: int = 0) -> None:
        """Open the model.

        Args:
            model: Model of the server, as ``open_model`` takes it.
            limits: Limits of the server.
            workers: Threads that decode and segment; 0 takes one a core.

        Raises:
            ModelError: There is no such model.
        """
        self.limits = limits or Limits()
        self.workers = workers or usable_cores()
        self.served = model
        self.stopping = asyncio.Event()
        self.pointed = PointedPictures()
        self._segmenters = {model: Segmenter(model, threads=1)}
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tumortrace-web")
        self._places: set[Place] = set()
        self._closed = False
        self._mean_s = 1.0
        cv2.setNumThreads(1)

    @property
    def is_open(self) -> bool:
        """Whether new requests are taken."""
        return not self._closed

    def segmenter(self, name: str = "") -> Segmenter:
        """Return the segmenter of a model, opened when it is first asked for.

        Args:
            name: ``"default"`` for the model of the server, or ``"fast"``; empty is the first.

        Raises:
            RefusalError: There is no such model.
        """
        if name in ("", "default", self.served):
            return self._segmenters[self.served]
        if name not in SHIPPED:
            raise RefusalError(400, f"model={name}: no such model; give default or fast")
        with self._opening:
            if name not in self._segmenters:
                self._segmenters[name] = Segmenter(name, threads=1)
            return self._segmenters[name]

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in one of the threads. A caller that is cancelled leaves it to end by itself."""
        return await self.start(function, *args, **kwargs)

    def start(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Queue a function for one of the threads."""
        future = self._pool.submit(function, *args, **kwargs)
        place = _PLACE.get()
        if place is not None:
            place.running.add(future)
            future.add_done_callback(place.running.discard)
        return asyncio.wrap_future(future)

    def enter(self) -> Place:
        """Take a place in the queue, or refuse at once.

        Raises:
            RefusalError: All places are taken, or the server is shutting down.
        """
        if self._closed:
            raise refuse_closing()
        if len(self._places) >= self.limits.queue:
            wait_s = min(LONGEST_WAIT_S, max(1, math.ceil(self._mean_s)))
            text = f"the server is busy with {len(self._places)} requests; try again in {wait_s} s"
            raise RefusalError(503, text, limit="queue", retry_after_s=wait_s)
        return Place(self._places)

    @asynccontextmanager
    async def limit_time(self) -> AsyncIterator[None]:
        """Limit the time of what a request has done after it was received.

        Raises:
            RefusalError: The time is over.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.limits.work_seconds):
                yield
        except TimeoutError:
            text = f"the request took longer than {self.limits.work_seconds:g} s; send fewer slices"
            raise RefusalError(503, text, limit="work_seconds") from None
        finally:
            self._mean_s += _SMOOTHING * (time.monotonic() - started - self._mean_s)

    def close(self) -> None:
        """Take no more requests, and drop those that are not finished soon."""
        self._closed = True
        asyncio.get_running_loop().call_later(SHUTDOWN_SECONDS, self.stopping.set)

    def shut_down(self) -> None:
        """Forget all pictures, and end the threads once they are idle."""
        self.pointed.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)


def refuse_closing() -> RefusalError:
    """Return the refusal of a server that ends."""
    return RefusalError(503, "the server is shutting down; send the request to the next one", retry_after_s=5)
