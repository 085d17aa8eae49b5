"""Out of memory, in one line that says what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tumortrace.config import Config
from tumortrace.errors import RunFailedError

# Texts of torch's errors for the CPU and for GPU libraries, which have no class of their own.
_TEXTS = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")


@contextmanager
def explain_memory(config: Config, *, reading: bool = False) -> Iterator[None]:
    """Turn the out-of-memory errors of Python, numpy and torch into one line that says what to try.

    Args:
        config: Settings of the run.
        reading: Whether slices are being read into memory, where neither batches nor the network matter.

    Raises:
        RunFailedError: In place of an out-of-memory error; all others pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(text in str(error) for text in _TEXTS):
            raise
        size_hw, batch = list(config.recipe.size_hw), config.training.batch_size
        where = f"recipe.size_hw={size_hw}" if reading else f"training.batch_size={batch} and recipe.size_hw={size_hw}"
        ways = _ways_with_size(config) if reading else [*_ways_with_batch(config), *_ways_with_size(config)]
        ways += ["fewer slices"] if reading else ["a narrower network.widths"]
        raise RunFailedError(f"out of memory at {where}; try {', or '.join(ways)}") from None


def _ways_with_batch(config: Config) -> list[str]:
    batch = config.training.batch_size
    return [f"--set training.batch_size={batch // 2}"] if batch > 1 else []


def _ways_with_size(config: Config) -> list[str]:
    step = 2**config.network.poolings
    size_hw = list(config.recipe.size_hw)
    smaller_hw = [max(side // 2 // step, 1) * step for side in size_hw]
    return [f"--set 'recipe.size_hw={smaller_hw}'"] if smaller_hw != size_hw else []
