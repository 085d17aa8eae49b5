"""Self-contained HTML pages that open offline and print well.

The markup lies in ``templates/``. Jinja2 escapes every text that is put into it; only what a function here returns is
markup.
"""

from __future__ import annotations

import base64
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

import tumortrace
from tumortrace.data.png_writing import encode_png
from tumortrace.errors import DataError
from tumortrace.files import write_atomically
from tumortrace.reporting.figures import encode_figure

_TEMPLATES = Path(__file__).with_name("templates")
_LONGEST_WORD = 24  # characters
_OURS = b'<meta name="generator" content="tumortrace '
_HEAD = 512  # bytes in which that stands


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        title: Its heading, as text.
        body: Markup.
    """

    title: str
    body: Markup


@dataclass(frozen=True)
class Chapter:
    """Sections that belong together; the only chapter of a page needs no title.

    Attributes:
        title: Its heading, as text.
        sections: Its sections; those without a body are omitted.
    """

    title: str
    sections: Sequence[Section]


def page(title: str, lead: str, chapters: Sequence[Chapter]) -> str:
    """Return a whole page, with a list of contents of one level, or of two where there are several chapters.

    Args:
        title: The title, as text.
        lead: One line below it, as text.
        chapters: The chapters in order; those without a section are omitted.
    """
    shown = [(chapter, [section for section in chapter.sections if section.body]) for chapter in chapters]
    contents = [
        {
            "title": chapter.title,
            "anchor": f"c{number}",
            "sections": [
                {"title": section.title, "anchor": f"c{number}s{index}", "body": section.body}
                for index, section in enumerate(sections)
            ],
        }
        for number, (chapter, sections) in enumerate(shown)
        if sections
    ]
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    template = _environment().get_template("page.html")
    return template.render(title=title, lead=lead, chapters=contents, style=style, version=tumortrace.__version__)


def refuse_foreign_page(path: Path) -> None:
    """Refuse to write a page over a file that tumortrace did not write as a page, told by its content.

    Raises:
        DataError: The name does not end in .html or .htm, or another file stands there.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path}: a page's name must end in .html; choose another --out")
    if path.is_file():
        with path.open("rb") as file:
            if _OURS not in file.read(_HEAD):
                raise DataError(f"{path}: is not a page that tumortrace wrote; choose another --out, or remove it")


def write_page(path: Path, markup: str) -> None:
    """Write a page; what is no text, as in the path of a folder whose name is not UTF-8, is escaped.

    Raises:
        DataError: Another file or a folder stands there (``refuse_foreign_page``).
    """
    refuse_foreign_page(path)
    write_atomically(path, markup.encode(errors="backslashreplace"))


def paragraph(words: str) -> Markup:
    """Return a paragraph of text."""
    return _part("paragraph", words)


def heading(words: str) -> Markup:
    """Return a heading within a section."""
    return _part("heading", words)


def verbatim(words: str) -> Markup:
    """Return text whose line breaks are kept."""
    return _part("verbatim", words)


def headline(boxes: Iterable[tuple[str, str]]) -> Markup:
    """Return large numbers side by side, each with its label."""
    return _part("headline", list(boxes))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1) -> Markup:
    """Return a table of text; a row of one cell is a heading across.

    Args:
        head: Headings of the columns.
        rows: Rows of equally many cells.
        text_columns: Number of columns, from the left, that hold words and not numbers.
    """
    cells = [[_cell(cell, index < text_columns) for index, cell in enumerate(row)] for row in rows]
    return _part("table", [_cell(cell, index < text_columns, breaks=False) for index, cell in enumerate(head)], cells)


def findings(found: Sequence[Mapping[str, Any]], *, shown: int, file: str) -> Markup:
    """Return the faults of the data: how many of which kind, and a table of the first ones.

    Args:
        found: Findings as the documents hold them.
        shown: Largest number of rows in the table.
        file: The file that names them all.
    """
    if not found:
        return paragraph("None: every image was read and every outline drawn.")
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(each["kind"] for each in found).most_common())
    rows = [[each["file"], each["cause"], each["severity"], each["remedy"]] for each in found[:shown]]
    more = paragraph(f"And {len(found) - shown} more, in {file}.") if len(found) > shown else Markup()
    return paragraph(counts) + table(["file", "cause", "severity", "remedy"], rows, text_columns=4) + more


def chart(figure: Figure, *, alt: str, caption: str) -> Markup:
    """Return a matplotlib figure as a picture that stays sharp in print."""
    return _figure("image/svg+xml", encode_figure(figure, "svg"), alt=alt, caption=caption)


def picture(pixels: NDArray[np.uint8], *, alt: str, caption: str) -> Markup:
    """Return a picture, shape (H, W) grey or (H, W, 3) red-green-blue, uint8."""
    return _figure("image/png", encode_png(pixels), alt=alt, caption=caption)


def gallery(figures: Iterable[Markup]) -> Markup:
    """Return figures side by side, as many as fit."""
    return _part("gallery", list(figures))


def colour_key(entries: Iterable[tuple[str, tuple[int, int, int]]]) -> Markup:
    """Return the meaning of colours.

    Args:
        entries: Words, and red, green and blue from 0 to 255.
    """
    return _part("colour_key", list(entries))


@functools.cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)


def _part(name: str, *values: object) -> Markup:
    """Fill a macro of ``parts.html``, which escapes what is not markup."""
    macro = getattr(_environment().get_template("parts.html").module, name)
    return Markup(macro(*values))  # noqa: S704 - the macro's own markup


def _cell(content: object, words: bool, *, breaks: bool = True) -> dict[str, object]:  # noqa: FBT001 - of a column
    """Return a cell: words stand left, and only what is longer than any word, a path or a hash, may break inside."""
    text = str(content)
    long = breaks and any(len(word) > _LONGEST_WORD for word in text.split())
    names = ["text"] * words + ["long"] * long
    return {"text": text, "kind": Markup(f' class="{" ".join(names)}"') if names else ""}  # noqa: S704 - fixed names


def _figure(kind: str, data: bytes, *, alt: str, caption: str) -> Markup:
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return _part("figure", source, alt, caption)
