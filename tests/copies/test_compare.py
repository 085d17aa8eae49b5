"""Windows as registration needs them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.compare import Views
from tumortrace.copies.signatures import measure_signature, stack_signatures

DrawHead = Callable[..., NDArray[np.uint8]]


def test_the_views_of_a_batch_go_with_it_and_do_not_wait_for_the_collector(draw_head: DrawHead):
    views = Views.of(stack_signatures([measure_signature(draw_head(1))]))
    assert views.get(0, 1) is views.get(0, 1)
    gone = weakref.ref(views)
    gc.disable()
    try:
        del views
        assert gone() is None
    finally:
        gc.enable()
