"""Pictures that people point at, kept in memory between two clicks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from tumortrace.inference.batch.found_files import PictureFile
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.web.opening import Opened

MOST_PICTURES = 8
"""Pictures that are kept; one more takes the place of that which was longest unused."""

MOST_PIXELS = 2**24
"""Pixels of all of them together, of about six bytes each; a larger picture is not kept."""

KEPT_SECONDS = 600.0
"""Time after its last use at which a picture is forgotten."""


@dataclass(frozen=True, eq=False)
class PointedPicture:
    """A picture that a person points at.

    Attributes:
        key: SHA-256 of its file: only who has the file can ask about it.
        session: The picture, and what is known of it between two prompts.
        item: The picture as its request named it; its file is gone.
        opened: All that came with it.
        lock: Lock of the session, which serves one thread at a time.
    """

    key: str
    session: PromptSession
    item: PictureFile
    opened: Opened
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        height, width = self.session.image.size_hw
        return height * width


class PointedPictures:
    """The pictures used last, within bounds of number, size and time; for the thread of the event loop."""

    def __init__(self) -> None:
        """Begin without pictures."""
        self._pictures: OrderedDict[str, tuple[PointedPicture, float]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._pictures)

    def find(self, key: str) -> PointedPicture | None:
        """Return a picture that is still kept; it counts as used now."""
        found = self._pictures.pop(key, None)
        if found is None:
            return None
        self._pictures[key] = found[0], time.monotonic()
        return found[0]

    def keep(self, picture: PointedPicture) -> bool:
        """Keep a picture for ``KEPT_SECONDS`` after its last use, in the place of others if need be.

        Returns:
            Whether it is kept: a picture of more than ``MOST_PIXELS`` is not.
        """
        if picture.pixels > MOST_PIXELS:
            return False
        self._pictures[picture.key] = picture, time.monotonic()
        self._pictures.move_to_end(picture.key)  # it may have been sent before
        while len(self) > MOST_PICTURES or sum(one.pixels for one, _ in self._pictures.values()) > MOST_PIXELS:
            self._pictures.popitem(last=False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.forget_unused)
        return True

    def forget_unused(self) -> None:
        """Forget the pictures that nobody has asked about for ``KEPT_SECONDS``, and come back for the next one."""
        self._timer = None
        while self._pictures:
            key, (_, used) = next(iter(self._pictures.items()))
            left = used + KEPT_SECONDS - time.monotonic()
            if left > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self.forget_unused)
                return
            del self._pictures[key]

    def clear(self) -> None:
        """Forget all pictures."""
        self._pictures.clear()
