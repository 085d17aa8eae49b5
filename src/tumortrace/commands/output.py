"""What commands print: results on stdout, notes and faults on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tumortrace.progress import drop_output, open_console
from tumortrace.run_folder import has_begun
from tumortrace.wording import command_line, counted

if TYPE_CHECKING:
    from tumortrace.data.findings import Finding

console = open_console()
log = open_console(stderr=True)


def choose_model(model: str | None) -> str:
    """Return the model that was named, or else the default of the folder, which is said on stderr.

    Args:
        model: Name or path as given to ``--model``; None without one.

    Returns:
        Name or path; ``"default"``, the shipped model, in a folder that names none.
    """
    from tumortrace.inference.folder_default import find_folder_default

    found = None if model else find_folder_default()
    if found is not None:
        log.print(found.describe())
        return str(found.model)
    return model or "default"


def print_json(document: dict[str, Any]) -> None:
    """Print a document on stdout as its file holds it."""
    print_lines([json.dumps(document, indent=2), "\n"])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout as they are, untouched by rich; nothing where stdout is closed."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.writelines(lines)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output(sys.stdout)


def print_scores(document: dict[str, Any]) -> None:
    """Print the tables of an evaluation and its verdict, from what its ``summary.json`` holds."""
    from tumortrace.reporting.tables import tables_of_scores

    for table in tables_of_scores(document):
        console.print(table)
    for sentence in document["verdict"]:
        console.print(sentence)
    console.print(f"To cite: {document['number_card']['text']}")


def report_findings(findings: Sequence[Finding], *, listed_in: Path | str) -> None:
    """Print the faults of the data on stderr: counted by kind, then a line for each cause, the worst ones first.

    Args:
        findings: The faults.
        listed_in: File that lists them all, or the command that does.
    """
    from tumortrace.data.findings import count_by_kind, group_by_cause

    if not findings:
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in count_by_kind(findings).items())
    log.print(f"{counted(len(findings), 'finding')} in the data: {counts} (all in {listed_in})")
    for first, count in group_by_cause(sorted(findings, key=lambda finding: finding.severity)):
        log.print(f"  {first.line()}" + (f" (and {count - 1} more such)" if count > 1 else ""))


@contextmanager
def name_next_command(words: Callable[[], Sequence[str]]) -> Iterator[None]:
    """On an interruption, print the command that continues the work.

    Args:
        words: Function that returns the words of that command after ``tumortrace``.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.print(f"continue with: {command_line(*words())}")
        raise


def words_to_continue(run: Path, *, drop: Sequence[str]) -> list[str]:
    """Return the words of the command that continues a run, or starts it again if it has not begun.

    Args:
        run: The run folder.
        drop: Options with a value that do not go with ``--resume``.
    """
    words = sys.argv[1:]
    return resume_words(words, out=run, drop=drop) if has_begun(run) else words


def resume_words(words: Sequence[str], *, out: Path, drop: Sequence[str]) -> list[str]:
    """Return the words of a command with ``--resume`` and ``--out``, without options that do not go with them.

    Args:
        words: Words of the command that was interrupted.
        out: Folder that it wrote to.
        drop: Options with a value to leave out.
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        name, separator, _ = word.partition("=")
        if name in drop:
            if not separator:
                next(rest, None)  # its value
        else:
            kept.append(word)
    names = {word.partition("=")[0] for word in kept}
    kept += [] if "--out" in names else ["--out", str(out)]
    return kept if "--resume" in names else [*kept, "--resume"]


def exit_if_unreadable(findings: Sequence[Finding]) -> None:
    """End with 1, finished but not with every file, if a file of the data could not be read."""
    if any(finding.kind == "unreadable" for finding in findings):
        raise typer.Exit(1)
