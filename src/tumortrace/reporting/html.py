"""Pages that need nothing but themselves: no script, no request, pictures inside; they open offline and print well."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

import tumortrace

_STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --pale: #f5f7f9; --accent: #0b5c8a; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.2rem 1.4rem 4rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .6rem; padding-top: .9rem; border-top: 2px solid var(--accent); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; }
h1, h2, h3, p { overflow-wrap: anywhere; }
.lead { color: var(--soft); margin-top: 0; }
nav { margin: 1.1rem 0 0; font-size: .92rem; }
nav a { color: var(--accent); text-decoration: none; margin-right: 1rem; display: inline-block; }
.headline { display: flex; flex-wrap: wrap; gap: 1.1rem 2.2rem; margin: 1.5rem 0 .8rem; padding: 1.2rem 1.4rem;
  background: var(--pale); border-left: 5px solid var(--accent); }
.headline div { min-width: 11rem; }
.headline b { display: block; font-size: 2.3rem; line-height: 1.15; font-variant-numeric: tabular-nums; }
.headline span { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .32rem .55rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; }
td.long { min-width: 13rem; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
tr.head td { font-weight: 600; background: var(--pale); }
.wide { overflow-x: auto; }
figure { margin: 1.1rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .35rem; max-width: 46rem; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1rem 1.4rem; }
.gallery figure { margin: 0; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .5rem 0 1rem; font-size: .9rem; }
.key i { display: inline-block; width: 1em; height: 1em; margin-right: .4em; vertical-align: -.12em;
  border: 1px solid #777; }
.warn { border-left: 4px solid #d55e00; padding: .5rem .9rem; background: #fdf4ee; max-width: 46rem; }
code, pre { font: .86rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--pale); padding: .8rem 1rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3.5rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .88rem; }
@media (max-width: 34rem) { .gallery { grid-template-columns: 1fr; } body { padding: 1.2rem .8rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  figure, tr, .headline, .key { break-inside: avoid; } p { orphans: 3; widows: 3; }
  h2, h3, thead, .key, h2 + p, h3 + p, h2 + p + p { break-after: avoid; } thead { display: table-header-group; }
  .gallery { grid-template-columns: repeat(2, 1fr); } pre { white-space: pre-wrap; } .wide { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


_LONGEST_WORD = 24  # characters


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Of its heading, as text.
        body: Markup.
    """

    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page.

    Args:
        title: As text.
        lead: One line below it, as text.
        sections: In order; those without a body are left out.
    """
    shown = [section for section in sections if section.body]
    links = " ".join(f'<a href="#s{index}">{text(section.title)}</a>' for index, section in enumerate(shown))
    parts = "".join(
        f'<section id="s{index}"><h2>{text(section.title)}</h2>{section.body}</section>'
        for index, section in enumerate(shown)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f'<header><h1>{text(title)}</h1><p class="lead">{text(lead)}</p><nav>{links}</nav></header>{parts}'
        f"<footer>tumortrace {text(tumortrace.__version__)}. Research software, not a medical device.</footer>"
        "</body></html>\n"
    )


def text(value: object) -> str:
    """Anything as text that no browser takes for markup."""
    return html.escape(str(value))


def paragraph(words: str) -> str:
    """A paragraph of text."""
    return f"<p>{text(words)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, text_columns: int = 1) -> str:
    """A table of text; a row of one cell is a heading across.

    Args:
        head: Headings of the columns.
        rows: Of as many cells.
        text_columns: How many columns from the left hold words and not numbers.
    """
    top = "".join(f"<th{_kind('', index < text_columns)}>{text(cell)}</th>" for index, cell in enumerate(head))
    body = ""
    for row in rows:
        if len(row) == 1:
            body += f'<tr class="head"><td colspan="{len(head)}">{text(row[0])}</td></tr>'
        else:
            cells = "".join(f"<td{_kind(cell, i < text_columns)}>{text(cell)}</td>" for i, cell in enumerate(row))
            body += f"<tr>{cells}</tr>"
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def findings(found: Sequence[Mapping[str, Any]], *, shown: int, file: str) -> str:
    """Faults of the data: how many of which kind, and a table of the first ones.

    Args:
        found: As the documents hold them.
        shown: Rows of the table at most.
        file: That names them all.
    """
    if not found:
        return paragraph("None: every image was read and every outline drawn.")
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(each["kind"] for each in found).most_common())
    rows = [[each["file"], each["cause"], each["severity"], each["remedy"]] for each in found[:shown]]
    more = paragraph(f"And {len(found) - shown} more, in {file}.") if len(found) > shown else ""
    return paragraph(counts) + table(["file", "what", "so it is", "remedy"], rows, text_columns=4) + more


def chart(figure: Figure, *, alt: str, caption: str) -> str:
    """A matplotlib figure as a picture that stays sharp in print; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    with rc_context({"svg.hashsalt": "tumortrace", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _figure("image/svg+xml", buffer.getvalue(), alt=alt, caption=caption)


def picture(pixels: NDArray[np.uint8], *, alt: str, caption: str) -> str:
    """A picture, shape (H, W) grey or (H, W, 3) red-green-blue, uint8."""
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])
    _, encoded = cv2.imencode(".png", ordered)
    return _figure("image/png", encoded.tobytes(), alt=alt, caption=caption)


def colour_key(entries: Iterable[tuple[str, tuple[int, int, int]]]) -> str:
    """What colours mean.

    Args:
        entries: Words, and red, green and blue from 0 to 255.
    """
    items = "".join(f'<span><i style="background:rgb{rgb}"></i>{text(words)}</span>' for words, rgb in entries)
    return f'<div class="key">{items}</div>'


def number(value: Any, digits: int = 3) -> str:  # noqa: ANN401 - a JSON value
    """A number as it stands in a table; a dash for null."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """An interval as it stands in a table; a dash for null."""
    return "-" if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def _kind(cell: object, words: bool) -> str:  # noqa: FBT001 - of a cell
    """A cell's class: words stand left, and only what is longer than any word, a path or a hash, may break inside."""
    names = ["text"] * words + ["long"] * any(len(word) > _LONGEST_WORD for word in str(cell).split())
    return f' class="{" ".join(names)}"' if names else ""


def _figure(kind: str, data: bytes, *, alt: str, caption: str) -> str:
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return f'<figure><img src="{source}" alt="{text(alt)}"><figcaption>{text(caption)}</figcaption></figure>'
