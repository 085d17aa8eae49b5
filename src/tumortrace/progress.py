"""Progress on stderr, for any work that may take longer than two seconds: bars on a terminal, and lines that stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

_shown: ContextVar[bool] = ContextVar("shown", default=False)
"""Whether progress is shown: in commands and scripts, not in programs that import tumortrace."""


def open_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: a file's name may hold brackets and colons."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def open_progress() -> Progress:
    """A progress display on stderr; use it as a context manager. Its tasks take a ``note`` shown behind the count."""
    console = open_console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not _shown.get() or not console.is_terminal,
    )


def tell(line: str) -> None:
    """Print a line on stderr that stays, in a log file too."""
    if _shown.get():
        open_console(stderr=True).print(line)


def show_progress() -> None:
    """Show bars and lines from now on, as a command does."""
    _shown.set(True)


@contextmanager
def silence() -> Iterator[None]:
    """No bars and no lines from the work within, for a caller that shows how it goes on in its own way."""
    token = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(token)


def track(items: Iterable[T], description: str, *, total: int) -> Iterator[T]:
    """Pass items on, with a bar that counts them."""
    with open_progress() as progress:
        task = progress.add_task(description, total=total, note="")
        for item in items:
            yield item
            progress.advance(task)
