"""Consoles, progress bars and lines that stay, on stderr or stdout."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from tumortrace.errors import printable

T = TypeVar("T")

_shown: ContextVar[bool] = ContextVar("shown", default=False)
"""Whether progress is shown: in commands and scripts, not in programs that import tumortrace."""


class _Console(Console):
    """A console on which each text is one line, because the name of a file may hold line breaks and escape codes."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - those of rich
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Go on where the reader has ended; rich would end the command in the midst of its work, with status 1."""
        drop_output(self.file)


def open_console(*, stderr: bool = False) -> Console:
    """Open a console that prints text as it is: a file's name may hold brackets and colons.

    Each text is one line; several lines are several arguments of ``print``, with a line break as ``sep``.
    """
    return _Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def drop_output(file: IO[str]) -> None:
    """Let what is still printed go nowhere: its reader, such as ``head``, has ended."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def open_progress() -> Progress:
    """Open a progress display on stderr, a context manager; its tasks take a ``note`` shown behind the count."""
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


@contextmanager
def show_progress() -> Iterator[None]:
    """Show bars and lines of the work within, as a command does."""
    with _showing(shown=True):
        yield


@contextmanager
def silence() -> Iterator[None]:
    """Show no bars and no lines from the work within, for a caller that shows progress in its own way."""
    with _showing(shown=False):
        yield


@contextmanager
def _showing(*, shown: bool) -> Iterator[None]:
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


def track(items: Iterable[T], description: str, *, total: int) -> Generator[T, None, None]:
    """Yield items, with a bar that counts them."""
    with open_progress() as progress:
        task = progress.add_task(description, total=total, note="")
        for item in items:
            yield item
            progress.advance(task)
