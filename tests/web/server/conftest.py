"""A server without sockets, with the small model, and a picture that it can segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import httpx
import numpy as np
import pytest

from tumortrace.phantoms.slices import draw_phantom
from tumortrace.web.app import make_app
from tumortrace.web.engine import Engine
from tumortrace.web.limits import Limits

MakeClient = Callable[..., httpx.AsyncClient]


def png_of(pixels: np.ndarray) -> bytes:
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    return cv2.imencode(".png", ordered)[1].tobytes()


@pytest.fixture(scope="session")
def scan_png() -> bytes:
    """A generated slice with a tumour, 320 rows of 272 pixels."""
    return png_of(draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)


@pytest.fixture(scope="session")
def make_client() -> Iterator[MakeClient]:
    """Open a client of a server with limits of its own; one model for all."""
    engines = []

    def make(*, host: str = "127.0.0.1", base: str = "http://127.0.0.1:8080", **limits: float) -> httpx.AsyncClient:
        engine = Engine("fast", limits=replace(Limits(), **limits))
        engines.append(engine)
        transport = httpx.ASGITransport(make_app(engine, host=host))
        return httpx.AsyncClient(transport=transport, base_url=base, timeout=60)

    yield make
    for engine in engines:
        engine.shut_down()
