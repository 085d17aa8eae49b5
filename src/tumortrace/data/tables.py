"""Text files and CSV tables as other systems write them."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.errors import DataError
from tumortrace.json_csv import MOST_TEXT_BYTES
from tumortrace.regular_files import read_regular_file

LONGEST_FIELD = 2**23
"""Characters of the longest cell: an outline of many vertices."""

csv.field_size_limit(LONGEST_FIELD)

MOST_LINES = 1_000_000
"""Largest number of lines in a table."""

_DELIMITERS = (",", ";", "\t")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Table:
    """A CSV table.

    Attributes:
        header: The names of the columns as the file spells them.
        rows: The cells of each row by their column; a missing cell is empty. Rows without any text are left out.
    """

    header: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    def find_column(self, names: Iterable[str]) -> str | None:
        """The first of the names that is a column, whatever its case, blanks and underscores."""
        by_key = {column_key(column): column for column in reversed(self.header)}
        return next((by_key[key] for key in map(column_key, names) if key in by_key), None)


def read_text(path: Path, *, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """Read a text file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Args:
        path: The file.
        most_bytes: Size above which it is refused.

    Raises:
        DataError: The file cannot be read, is too large, or is neither.
    """
    return decode_text(read_regular_file(path, most_bytes=most_bytes), path)


def decode_text(data: bytes, path: Path) -> str:
    """Return the text of a file's content, UTF-8 or UTF-16 with a mark.

    Raises:
        DataError: It is neither.
    """
    try:
        return data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from None


def parse_table(text: str) -> Table:
    """Parse CSV text whose cells are divided by commas, semicolons or tabs, and whose lines end in any usual way.

    A ``#`` before the header and a first line ``sep=;`` are passed over.

    Raises:
        csv.Error: The text is not CSV, or longer than any table.
    """
    if max(text.count("\n"), text.count("\r")) > MOST_LINES:
        raise csv.Error(f"more than the limit of {MOST_LINES:,} lines")
    if len(text) > 2 * LONGEST_FIELD and _find_longest_line(text) > 2 * LONGEST_FIELD:
        raise csv.Error(f"a line longer than the limit of {2 * LONGEST_FIELD:,} characters")
    declared = re.match(r"\s*\"?sep=(.)\"?(\r\n?|\n)", text, flags=re.IGNORECASE)
    # A tab before the header is the end of a first name that is empty, as of an index.
    body = re.sub(r"\A(\s*[\r\n])?[# ]*", "", text[declared.end() :] if declared else text)
    delimiter = declared[1] if declared else _find_delimiter(re.split(r"[\r\n]", body, maxsplit=1)[0])
    header, *lines = list(csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)) or [[]]
    names = tuple(name.strip() for name in header)
    rows = (dict(zip(names, [*line, *[""] * (len(names) - len(line))], strict=False)) for line in lines)
    return Table(names, tuple(row for row in rows if any(cell.strip() for cell in row.values())))


def _find_longest_line(text: str) -> int:
    longest = start = 0
    while (end := text.find("\n", start)) >= 0:
        longest, start = max(longest, end - start), end + 1
    return max(longest, len(text) - start)


def column_key(name: str) -> str:
    """A column's name without case, blanks, underscores and other signs: ``Patient ID`` and ``patient_id`` are one."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold())


def list_columns(header: Sequence[str]) -> str:
    """The columns of a table for a message."""
    return ", ".join(header) or "none"


def _find_delimiter(header: str) -> str:
    """The delimiter that divides a header into the most cells; a comma where none does."""
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=unquoted.count)
