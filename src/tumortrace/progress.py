"""Progress on stderr, for any work that may take longer than two seconds: bars on a terminal, lines everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


def open_progress() -> Progress:
    """A progress display on stderr; use it as a context manager. Its tasks take a ``note`` shown behind the count."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def tell(line: str) -> None:
    """Print a line on stderr that stays, in a log file too."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


def track(items: Iterable[T], description: str, *, total: int) -> Iterator[T]:
    """Pass items on, with a bar that counts them."""
    with open_progress() as progress:
        task = progress.add_task(description, total=total, note="")
        for item in items:
            yield item
            progress.advance(task)
