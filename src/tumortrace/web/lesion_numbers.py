"""Masks in which each pixel names its lesion, as the page keeps them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
"""Number of the lesion that each pixel belongs to, 0 for background; shape (H, W)."""

MOST_LESIONS = 254
"""Largest number of a lesion."""

PLAIN = 255
"""Value of the tumour in a mask that does not say which lesion a pixel belongs to."""
