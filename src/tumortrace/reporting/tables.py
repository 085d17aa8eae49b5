"""Tables for a terminal of 80 columns, from the documents that the files hold."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table

from tumortrace.files import Document
from tumortrace.reporting.words import counted

NAMES = {
    "precision": "precision",
    "recall": "recall",
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "hd95": "HD95",
    "assd": "ASSD",
}
"""How metrics are written."""


def tables_of_scores(document: Document) -> list[Table]:
    """Table I with intervals for all images and for the clean ones, ceiling and baselines, and what was found at all.

    Args:
        document: Of ``summary.json``.
    """
    clean = document["clean"]
    model = document["model"]["name"]
    table = _open_table(
        f"{model}, threshold {document['threshold']:g}; distances in {document['distance_unit']}, 95 % intervals of "
        "the mean over groups of copies"
    )
    table.add_column("", no_wrap=True)
    for heading in ("mean", "95 % interval", "median", "5 %", "95 %", "undef."):
        table.add_column(heading, justify="right", no_wrap=True)
    _add_metrics(table, f"all {counted(document['n'], 'image')}, {counted(document['groups'], 'group')}", document)
    if clean is None:
        table.add_row("clean images: unknown")
    elif clean["n"]:
        _add_metrics(table, counted(clean["n"], "clean image"), clean)
    else:
        table.add_row("no clean images")
    table.add_section()
    table.add_row("Dice without a network")
    for name, scores in document["baselines"].items():
        table.add_row(f"  {name.replace('_', ' ')}", *_cells(scores["dice"]))
        if clean and clean["n"]:
            table.add_row("    clean images", *_cells(scores["clean"]["dice"]))
    agreement = document["agreement"]
    if agreement:
        table.add_section()
        table.add_row(f"annotators ({counted(agreement['pairs'], 'pair')})")
        for metric in ("dice", "nsd"):
            table.add_row(f"  {NAMES[metric]} of two outlines", *_cells(agreement[metric]))
    return [table, _table_of_detection(document)]


def table_of_split(document: Document) -> Table:
    """What each side of a split holds.

    Args:
        document: Of the split's file.
    """
    table = _open_table("Sides of the split")
    for heading in ("side", "cases", "slices", "patients", "tumour-free", "> 1 lesion", "median tumour"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, side in document["sides"].items():
        share = side["median_tumour_share"]
        counts = [side[key] for key in ("cases", "groups", "patients", "tumour_free", "several_lesions")]
        table.add_row(name, *map(str, counts), "-" if share is None else f"{share:.1%}")
    return table


def tables_of_audit(document: Document) -> list[Table]:
    """What an audit found, in a few lines.

    Args:
        document: Of ``audit.json``.
    """
    table = _open_table(f"Audit of {document['root']}")
    table.show_header = False
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    parts = ", ".join(f"{name or 'undivided'} {count}" for name, count in document["parts"].items())
    table.add_row("images", f"{document['n']} ({parts})")
    table.add_row("different slices", f"{document['groups']} (registered similarity below {document['same_slice']})")
    table.add_row("pairs of copies", str(document["pairs"]))
    for part, leak in document["leaked"].items():
        table.add_row(f"{part} images with a copy in {leak['into']}", f"{leak['images']} of {leak['of']}")
    for group in document["largest_groups"][:3]:
        linked = (
            f"{group['linked_share']:.0%} of its pairs linked directly, least alike {group['lowest_similarity']:.2f}"
        )
        table.add_row(f"group {group['group']}", f"{counted(group['size'], 'image')}; {linked}")
    if document["patients_across_parts"]:
        table.add_row("patients in several parts", str(len(document["patients_across_parts"])))
    if document["agreement"]:
        agreement = document["agreement"]
        table.add_row(
            "annotators agree",
            f"Dice {_mean(agreement['dice'])}, NSD {_mean(agreement['nsd'])}, HD95 {_mean(agreement['hd95'])} px "
            f"({counted(agreement['pairs'], 'pair')} of outlines, {counted(agreement['groups'], 'slice')})",
        )
    if document["baselines"]:
        lookup = document["baselines"]["nearest_training_mask"]
        sides = (f"{side} {score['mean_dice']:.3f} (n {score['n']})" for side, score in lookup.items() if score["n"])
        table.add_row("Dice of copying TRAIN masks", ", ".join(sides))
    return [table]


def _add_metrics(table: Table, heading: str, scores: Document) -> None:
    table.add_section()
    table.add_row(heading)
    for metric, name in NAMES.items():
        table.add_row(f"  {name}", *_cells(scores[metric]))


def _table_of_detection(document: Document) -> Table:
    lesions, images = document["lesions"], document["images"]
    table = _open_table("Found or missed")
    table.add_column("", no_wrap=True)
    for heading in ("share", "95 % interval", "of"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("lesions found", *_share(lesions["sensitivity"]))
    table.add_row("marked lesions that touch a tumour", *_share(lesions["precision"]))
    table.add_row("images with a tumour that are marked", *_share(images["sensitivity"]))
    table.add_row("tumour-free images left empty", *_share(images["specificity"]))
    table.add_row("tumour-free images with over 0.1 % painted", *_share(images["false_alarms"]))
    return table


def _open_table(title: str) -> Table:
    return Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left", title=title)


def _share(share: Document) -> list[str]:
    if share["value"] is None:
        return ["-", "-", str(share["n"])]
    return [f"{share['value']:.3f}", _interval(share["ci95"]), str(share["n"])]


def _cells(spread: Document) -> list[str]:
    values = [_number(spread[key]) for key in ("median", "p05", "p95")]
    return [_number(spread["mean"]), _interval(spread["ci95"]), *values, str(spread["undefined"])]


def _mean(spread: Document) -> str:
    return f"{_number(spread['mean'])} [{_interval(spread['ci95'])}]"


def _interval(bounds: list[float] | None) -> str:
    return "-" if bounds is None else f"{_number(bounds[0])} to {_number(bounds[1])}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
