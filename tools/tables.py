"""Tables of README and docs, written from committed CSV files and model cards.

``python -m tools.tables`` fills every block between ``<!-- table NAME -->`` and ``<!-- end -->``. With ``--check`` it
only compares, and exits with status 1 where text and numbers differ. NAME is a file of ``docs/results/tables/``, whose
caption stands in ``captions.toml`` beside it; ``card:MODEL`` for the scores of a shipped model; or ``rooms`` and
``imports`` for the architecture.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from tools.architecture import draw_rooms, list_rooms

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "docs" / "results" / "tables"
WEIGHTS = ROOT / "src" / "tumortrace" / "weights"
BLOCK = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write or check every page; return the exit status."""
    captions = tomllib.loads((TABLES / "captions.toml").read_text(encoding="utf-8"))
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = fill_page(old, captions)
        if new != old and "--check" in sys.argv:
            stale.append(page.relative_to(ROOT))
        elif new != old:
            page.write_text(new, encoding="utf-8")
    for page in stale:
        print(f"{page}: a table differs from its numbers; run: python -m tools.tables", file=sys.stderr)
    return 1 if stale else 0


def fill_page(text: str, captions: dict[str, Any]) -> str:
    """Return a page with each table block written from its numbers."""
    return BLOCK.sub(lambda block: block[1] + make_table(block[2], captions) + block[4], text)


def make_table(name: str, captions: dict[str, Any]) -> str:
    """Return a table as Markdown, with its caption below.

    Raises:
        KeyError: The table has no caption.
        OSError: There are no such numbers.
    """
    if name.startswith("card:"):
        return _make_card_table(name.removeprefix("card:"))
    if name == "rooms":
        return _to_markdown(list_rooms())
    if name == "imports":
        return draw_rooms()
    with (TABLES / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = [[f"{int(cell):,}" if cell.isdecimal() else cell for cell in row] for row in csv.reader(file)]
    return _to_markdown(rows) + "\n" + _make_caption(captions[name])


def _make_card_table(model: str) -> str:
    """Return a model's scores: a row a measure, a column a source; with the interval and the number behind each."""
    card = json.loads((WEIGHTS / f"{model}.json").read_text(encoding="utf-8"))
    sources = sorted({source for scores in card["scores"].values() for source in scores})
    rows = [["measured", *sources]]
    for title, scores in card["scores"].items():
        rows.append([title, *(_make_card_cell(scores.get(source)) for source in sources)])
    return _to_markdown(rows)


def _make_card_cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    interval = f" ({score['ci95'][0]:.3f} to {score['ci95'][1]:.3f})" if score["ci95"] else ""
    return f"{score['value']:.3f}{interval}, n = {score['n']:,}"


def _to_markdown(rows: list[list[str]]) -> str:
    columns = list(zip(*rows[1:], strict=True))
    rule = ["---:" if all(re.match(r"[-+0-9]|$", cell) for cell in column) else "---" for column in columns]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [rows[0], rule, *rows[1:]])


def _make_caption(caption: dict[str, str]) -> str:
    parts = (caption.get("machine"), f"commit `{caption['commit']}`", caption["date"])
    where = ", ".join(part for part in parts if part)
    return f"*{caption['text']} ({where}.)*\n"


if __name__ == "__main__":
    sys.exit(main())
