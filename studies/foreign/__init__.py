"""Generated pictures that show no brain MR slice, to test the gate.

Every picture is made here or comes from a file inside scikit-image's wheel; nothing is fetched and no patient's picture
is stored. The made ones follow the physics of what they imitate (Hounsfield units and a window, an attenuated and
scan-converted speckle, summed attenuation on a film), because a gate that only has to refuse careless imitations
would look better than it is.

There are two sets of 100. One may be looked at while a gate is tuned; the other is for the figure that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from studies.foreign.blanks_and_noise import make_blank, make_noise
from studies.foreign.chest import make_chest_film
from studies.foreign.ct import make_ct
from studies.foreign.drawings import make_drawing
from studies.foreign.painting import Pixels
from studies.foreign.photographs import make_photograph
from studies.foreign.texts import make_text
from studies.foreign.ultrasound import make_ultrasound

__all__ = ["ForeignPicture", "foreign_pictures"]

_SEEDS = {False: 7_310, True: 918_204}


@dataclass(frozen=True, eq=False)
class ForeignPicture:
    """One picture that is not a brain MR slice.

    Attributes:
        kind: "photograph", "text", "drawing", "chest film", "ultrasound", "CT", "blank" or "noise".
        name: The kind and a number from 1, such as "CT 3"; unique within a set.
        pixels: uint8, grey of shape (H, W) or RGB of shape (H, W, 3), each side 180 to 800.
    """

    kind: str
    name: str
    pixels: Pixels


def foreign_pictures(*, held_out: bool) -> Iterator[ForeignPicture]:
    """Yield 100 pictures; the two sets (``held_out`` False and True) share no random state and no photograph.

    Args:
        held_out: False for the set to tune on, True for the set to report on.

    Yields:
        26 photographs, 12 text, 12 drawings, 12 chest films, 12 ultrasounds, 12 CTs, 5 blank, 9 noise, in that order;
        the same pixels on every call.
    """
    kinds: tuple[tuple[str, int, Callable[[np.random.Generator, int], Pixels]], ...] = (
        ("photograph", 26, partial(make_photograph, held_out=held_out)),
        ("text", 12, partial(make_text, held_out=held_out)),
        ("drawing", 12, partial(make_drawing, held_out=held_out)),
        ("chest film", 12, make_chest_film),
        ("ultrasound", 12, make_ultrasound),
        ("CT", 12, make_ct),
        ("blank", 5, make_blank),
        ("noise", 9, make_noise),
    )
    for number, (kind, count, make) in enumerate(kinds):
        for index in range(count):
            rng = np.random.default_rng([_SEEDS[held_out], number, index])
            yield ForeignPicture(kind, f"{kind} {index + 1}", make(rng, index))
