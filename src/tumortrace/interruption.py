"""Ending a program on a signal: once, for certain, and with time to tidy up."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress
from types import FrameType
from typing import NoReturn

ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does: a polite kill and a closed terminal. Windows has no SIGHUP."""

REPEAT_SECONDS = 0.05
"""Time after which an interruption that was swallowed is raised again."""

PATIENCE_SECONDS = 5.0
"""Time after which another signal interrupts again, even while the program tidies up."""

STUCK_SECONDS = 2.0
"""Time that threads have to end after an interruption; one that reads from a dead network folder never does."""


class _Interruption(KeyboardInterrupt):
    """An interruption by a signal."""


class Interrupter:
    """A handler of signals that interrupts the program once, and for certain.

    Python swallows an exception that is raised in ``__del__`` or in the callback of a weak reference, and so do some
    libraries. An interruption that ceases to exist before the program has ended was swallowed: it is raised again.

    Attributes:
        over: Whether the program has been interrupted or has ended; further signals are then ignored.
    """

    def __init__(self) -> None:
        """Remember which outputs are terminals: a closed one no longer says so."""
        self.over = False
        self._raised: weakref.ref[_Interruption] | None = None
        self._raised_at = 0.0
        self._terminals = [number for number in (1, 2) if os.isatty(number)]

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Interrupt, unless an interruption is under way: signals come in twos and must not stop the tidying up."""
        under_way = self._raised is not None and self._raised() is not None
        if self.over or (under_way and time.monotonic() - self._raised_at < PATIENCE_SECONDS):
            return
        if number == getattr(signal, "SIGHUP", None):
            _silence(self._terminals)
        raise self._make()

    def _make(self) -> _Interruption:
        """Make an interruption that is referred to by nothing but its way up the stack."""
        interruption = _Interruption()
        self._raised, self._raised_at = weakref.ref(interruption, self._repeat), time.monotonic()
        return interruption

    def _repeat(self, _gone: object) -> None:
        if not self.over and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)


def interrupt_on_signals() -> Interrupter:
    """Take endings for interruptions, unless somebody wants otherwise: ``nohup`` has SIGHUP ignored."""
    interrupter = Interrupter()
    if threading.current_thread() is not threading.main_thread():
        return interrupter
    heard = [ending for ending in ENDINGS if signal.getsignal(ending) is signal.SIG_DFL]
    for number in [*heard, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]:
        signal.signal(number, interrupter)
    sys.unraisablehook = _pass_over_interruptions
    return interrupter


def _pass_over_interruptions(unraisable: sys.UnraisableHookArgs) -> None:
    """Print what was swallowed as Python does, but for an interruption: it comes again."""
    if not issubclass(unraisable.exc_type, _Interruption):
        sys.__unraisablehook__(unraisable)


def _silence(descriptors: list[int]) -> None:
    """Let output go nowhere: to write to a closed terminal is an error, which would hide the interruption."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)


def exit_program(code: int) -> NoReturn:
    """End the program, even where a thread never ends: Python would wait for it."""
    deadline = time.monotonic() + STUCK_SECONDS
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    working = [thread for thread in others if not thread.daemon]
    for thread in working:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in working):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, or its reader has ended
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
