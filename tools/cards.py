"""Model card and dataset cards, written from the cards of the shipped models.

``python -m tools.cards`` writes ``MODEL_CARD.md`` and ``docs/dataset_cards.md`` from the JSON files in
``src/tumortrace/weights``. With ``--check`` it only compares, and exits with status 1 where they differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tools.tables import WEIGHTS, make_table

ROOT = Path(__file__).parent.parent
MODELS = ("default", "fast", "box")
SECTIONS = {
    "Br35H": "br35h",
    "LGG": "lgg",
    "brain tumor dataset": "figshare",
    "BRISC": "brisc",
    "tumour-free": "tumour-free-slices",
    "no-tumour": "tumour-free-slices",
}
"""Headings of docs/data_sources.md by the beginning of a dataset's name."""

NOTE = "*Written by `python -m tools.cards` from the JSON files that ship with the models; do not edit it.*"


def main() -> int:
    """Write or check both pages; return the exit status."""
    cards = {name: json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")) for name in MODELS}
    pages = {
        ROOT / "MODEL_CARD.md": write_model_card(cards),
        ROOT / "docs" / "dataset_cards.md": write_dataset_cards(cards),
    }
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name}: differs from the models' JSON; run: python -m tools.cards", file=sys.stderr)
        else:
            path.write_text(pages[path], encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


def write_model_card(cards: dict[str, dict[str, Any]]) -> str:
    """Return the model card: purpose, limits, data, scores and licence of each shipped model."""
    lines = ["# Model card", "", NOTE, ""]
    for name, card in cards.items():
        lines += [f"## `{name}`", "", f"{card['summary']}.", ""]
        lines += [f"- **Intended use**: {card['intended_use']}.", f"- **Licence**: {card['licence']}."]
        lines += [f"- **SHA-256 of the model**: `{card['sha256']}`", ""]
        lines += ["### Limits", "", *(f"- {limit}" for limit in card["limits"]), ""]
        lines += ["### Training data", "", "| dataset | slices | what the mask marks | licence |", "|---|---:|---|---|"]
        lines += [_make_data_row(data) for data in card["data"]]
        lines += ["", f"SHA-256 over all training slices: `{card['data_sha256']}`", "", "### Scores", ""]
        lines += [
            f"Measured on {card['scored_on']}. In brackets 95 % confidence intervals over patients and copies.",
            "",
        ]
        lines += [make_table(f"card:{name}", {}).rstrip(), "", "### Training again", "", "```text"]
        lines += [*card["retrain"].split(" && "), "```", ""]
    return "\n".join(lines)


def write_dataset_cards(cards: dict[str, dict[str, Any]]) -> str:
    """Return the dataset cards: every dataset of any shipped model, and how many of its slices each model used."""
    datasets: dict[str, dict[str, Any]] = {data["name"]: data for card in cards.values() for data in card["data"]}
    lines = ["# Dataset cards", "", NOTE, ""]
    lines += ["This page lists the training data of the shipped models."]
    lines += ["[Data sources](data_sources.md) gives page, authors, citation and known faults of each source.", ""]
    for name, data in datasets.items():
        section = next(anchor for begin, anchor in SECTIONS.items() if name.startswith(begin))
        lines += [f"## {name}", "", f"- **What the mask marks**: {data['mask']}.", f"- **Licence**: {data['licence']}."]
        lines += [f"- **Slices used**: {_count_uses(name, cards)}.", f"- [More](data_sources.md#{section})", ""]
    return "\n".join(lines)


def _make_data_row(data: dict[str, Any]) -> str:
    return f"| {data['name']} | {data['cases']:,} | {data['mask']} | {data['licence']} |"


def _count_uses(name: str, cards: dict[str, dict[str, Any]]) -> str:
    uses = {model: data["cases"] for model, card in cards.items() for data in card["data"] if data["name"] == name}
    return ", ".join(f"{count:,} by `{model}`" for model, count in uses.items())


if __name__ == "__main__":
    sys.exit(main())
