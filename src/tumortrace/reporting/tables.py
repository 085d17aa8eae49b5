"""Tables for a terminal of 80 columns, made from the JSON documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from textwrap import fill

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

from tumortrace.json_csv import Document
from tumortrace.reporting.cells import doubt_models, explain_widths, groups, independent_groups, interval, number, parts
from tumortrace.wording import counted, listed, percent

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
    """Return an evaluation's metrics with intervals, beside the annotators and predictions without a network.

    Args:
        document: Content of ``summary.json``.
    """
    clean = document["clean"]
    all_clean = clean is not None and clean["n"] == document["n"]
    some_clean = clean is not None and 0 < clean["n"] < document["n"]
    threshold = "each fold at its own threshold" if document["folds"] else f"threshold {document['threshold']:g}"
    table = open_table(
        f"{document['model']['name']}, {threshold}; distances in {document['distance_unit']}, "
        f"95 % intervals of the mean over {counted(document['groups'], 'group')} of copies and patients; "
        "5 % and 95 %: percentiles over images",
        "",
        numbers=("mean", "95 % interval", "median", "5 %", "95 %", "undef."),
    )
    table.columns[0].no_wrap = True
    _add_metrics(table, f"all {counted(document['n'], 'image')}{', all clean' if all_clean else ''}", document)
    if some_clean:
        _add_metrics(table, counted(clean["n"], "clean image"), clean)
    elif not all_clean:
        table.add_row("clean images: unknown" if clean is None else "no clean images")
    if document["pooled"]:
        table.add_section()
        table.add_row(
            f"Dice pooled ({counted(document['pooled']['patients'], 'patient')})", *_cells(document["pooled"]["dice"])
        )
    table.add_section()
    table.add_row("Dice without a network")
    for name, scores in document["baselines"].items():
        table.add_row(f"  {name.replace('_', ' ')}", *_cells(scores["dice"]))
        if some_clean:
            table.add_row("    clean images", *_cells(scores["clean"]["dice"]))
    _add_annotators(table, document)
    return [table, _table_of_detection(document)]


def list_rates(document: Document) -> list[tuple[str, float | None, Sequence[float] | None, int]]:
    """List what was found at all, and the false alarms: name, value, interval, and the number that it is a mean of.

    Args:
        document: Content of ``summary.json``.
    """
    lesions, images, alarms = document["lesions"], document["images"], document["false_alarms"]
    shares = {
        "lesions found": lesions["sensitivity"],
        "marked lesions that touch a tumour": lesions["precision"],
        "images with a tumour that are marked anywhere": images["sensitivity"],
        "tumour-free images left empty": images["specificity"],
    }
    painted, false = alarms["painted"], alarms["false_lesions_per_head"]
    rates = [(name, share["value"], share["ci95"], share["n"]) for name, share in shares.items()]
    return [
        *rates,
        (
            "tumour-free images with a false alarm (over 0.1 % of the frame)",
            painted["share"],
            painted["ci95"],
            alarms["tumour_free_slices"],
        ),
        ("false lesions per head", false["mean"], false["ci95"], alarms["heads"]),
    ]


def table_of_split(document: Document) -> Table:
    """Return what each side of a split holds.

    Args:
        document: Content of the split's file.
    """
    headings = ("side", "cases", "distinct", "patients", "tumour-free", "> 1 lesion", "median tumour")
    table = open_table("Sides of the split; distinct: without copies", numbers=headings)
    for name, side in document["sides"].items():
        share = side["median_tumour_share"]
        counts = [side[key] for key in ("cases", "groups", "patients", "tumour_free", "several_lesions")]
        table.add_row(name, *map(str, counts), "-" if share is None else percent(share, 1))
    return table


def tables_of_audit(document: Document) -> list[Table]:
    """Return what an audit found, in a few lines.

    Args:
        document: Content of ``audit.json``.
    """
    names = [dataset["name"] for dataset in document["datasets"]]
    table = _open_facts(f"Audit of {document['root'] if len(names) == 1 else listed(names)}")
    for row in (*_rows_of_images(document), *_rows_of_copies(document), *_rows_of_scores(document)):
        table.add_row(*row)
    return [table, *(each for pair in document["across"] for each in tables_of_pair(pair))]


def _rows_of_images(document: Document) -> Iterator[tuple[str, str]]:
    """Yield how many images there are, of how many slices."""
    yield "images", f"{document['n']} ({parts(document['parts'])})"
    yield "different slices", f"{document['groups']} (registered similarity below {document['same_slice']})"
    if document["unannotated"]:
        yield "images without annotation", f"{document['unannotated']}, compared as pictures"
    if document["blank"]:
        yield "blank images", f"{document['blank']}, compared with nothing"
    for dataset in document["datasets"] if len(document["datasets"]) > 1 else []:
        yield dataset["name"], f"{counted(dataset['n'], 'image')} of {counted(dataset['groups'], 'slice')}"


def _rows_of_copies(document: Document) -> Iterator[tuple[str, str]]:
    """Yield what several images, parts or groups have in common."""
    yield "pairs of copies", str(document["pairs"])
    for pair in document["shared"]:
        yield f"{pair['part']} images with a copy in {pair['with']}", f"{pair['images']} of {pair['of']}"
    patients = document["patients"]
    named = f"{patients['patients']}, named for {patients['images']} of {counted(document['n'], 'image')}"
    yield "patients", named if patients["patients"] else "unknown, so only copies were checked (a pairs.csv names them)"
    for group in document["largest_groups"][:3]:
        share = group["linked_share"]
        linked = f"{'all' if share == 1 else percent(share)} of its pairs linked directly"
        least = f"least similar {group['lowest_similarity']:.2f}"
        yield f"group {group['group']}", f"{counted(group['size'], 'image')}; {linked}, {least}"
    if document["patients_across_parts"]:
        yield "patients in several parts", str(len(document["patients_across_parts"]))


def _rows_of_scores(document: Document) -> Iterator[tuple[str, str]]:
    """Yield how far models, annotators and copied masks agree with the outlines."""
    if doubtful := document.get("doubtful"):
        words = f"{doubtful['contradicted']} of {doubtful['judged']}, by models not trained on their slices"
        doubts = doubt_models(doubtful)
        yield "outlines contradicted", f"{words}; {doubts}" if doubts else words
    if agreement := document["agreement"]:
        distance = f"HD95 {_mean(agreement['hd95'])} {agreement['distance_unit']}"
        scores = f"Dice {_mean(agreement['dice'])}, NSD {_mean(agreement['nsd'])}, {distance}"
        counts = f"{counted(agreement['pairs'], 'pair')} of outlines, {counted(agreement['groups'], 'slice')}"
        yield "annotators agree", f"{scores} ({counts}; 95 % intervals over {independent_groups(agreement)})"
    if document["baselines"]:
        scored = {side: each for side, each in document["baselines"]["nearest_training_mask"].items() if each["n"]}
        sides = (
            f"{side} {number(each['mean_dice'])} (n {each['n'] - each['undefined']})" for side, each in scored.items()
        )
        yield "Dice of copying TRAIN masks", ", ".join(sides)


def tables_of_pair(pair: Document) -> list[Table]:
    """Return what two datasets share, and how their outlines of the same slices agree."""
    table = _open_facts(f"{pair['first']} and {pair['second']}: {counted(pair['slices'], 'slice')} in both")
    for shared in pair["shared"]:
        table.add_row(
            f"{shared['part']} images with a copy in {shared['with']}", f"{shared['images']} of {shared['of']}"
        )
    if pair["copied"]:
        table.add_row("outlines copied", f"{counted(pair['copied'], 'pair')}, not counted")
    if pair["classes"]["compared"]:
        conflicts = len(pair["classes"]["conflicts"])
        table.add_row("named another class", f"{conflicts} of {counted(pair['classes']['compared'], 'pair')} of copies")
    return [table, _table_of_agreement(pair)] if pair["agreement"] else [table]


def _table_of_agreement(pair: Document) -> Table:
    headings = ("Dice", "95 % interval", "groups", "note", "pairs", "< 0.5")
    table = open_table(f"Outlines of {pair['first']} against {pair['second']}", "", numbers=headings)
    rows = [("all", pair["agreement"])]
    for sort, kinds in pair["agreement"]["by"].items():
        rows += [(f"{sort}: {kind}", scores) for kind, scores in kinds.items()]
    for name, scores in rows:
        dice = [number(scores["dice"]["mean"]), interval(scores["dice"]["ci95"])]
        table.add_row(name, *dice, *groups(scores), str(scores["pairs"]), percent(scores["below_half"]))
    table.caption = explain_widths(groups(scores)[1] for _, scores in rows)
    return table


def _add_metrics(table: Table, heading: str, scores: Document) -> None:
    table.add_section()
    table.add_row(heading)
    for metric, name in NAMES.items():
        table.add_row(f"  {name}", *_cells(scores[metric]))


def _add_annotators(table: Table, document: Document) -> None:
    agreement, twice = document["agreement"], document["outlined_twice"]
    if agreement:
        table.add_section()
        table.add_row(f"annotators ({counted(agreement['pairs'], 'pair')})")
        for metric in ("dice", "nsd"):
            table.add_row(f"  {NAMES[metric]} of two outlines", *_cells(agreement[metric]))
    if twice:
        table.add_section()
        table.add_row(f"{counted(twice['n'], 'slice')} outlined twice")
        for side in ("model", "annotators"):
            table.add_row(f"  Dice of the {side}", *_cells(twice[side]))


def _table_of_detection(document: Document) -> Table:
    table = open_table("Lesions found and false alarms", "", numbers=("value", "95 % interval", "of"))
    for name, value, bounds, n in list_rates(document):
        table.add_row(name, number(value), interval(bounds), str(n))
    return table


def open_table(title: str, *words: str, numbers: Sequence[str] = ()) -> Table:
    """Return a table without rows, for a terminal.

    Args:
        title: Its title.
        words: Headings of columns of words, which wrap.
        numbers: Headings of columns of numbers behind them, which do not.
    """
    table = _FittingTable(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title=title)
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


class _FittingTable(Table):
    """A table between lines that wrap at the terminal's width, as wide as fits.

    It omits its last columns, and says which, where the terminal would cut all of them.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = copy(self)
        table.title, table.caption = None, None  # which a table would wrap at its own width, or not at all
        while len(table.columns) > 2 and _least_width(table.columns) > options.max_width:
            table.columns = table.columns[:-1]
        omitted = [str(column.header) for column in self.columns[len(table.columns) :]]
        yield _wrap(console, str(self.title), options)
        yield from Table.__rich_console__(table, console, options)
        if self.caption:
            yield _wrap(console, str(self.caption), options)
        if omitted:
            yield _wrap(console, f"Columns omitted in this narrow terminal: {listed(omitted)}", options)


def _wrap(console: Console, line: str, options: ConsoleOptions) -> Text:
    """Return a line broken between words alone, which the console by itself would leave to the terminal."""
    words = console.render_str(line).plain
    return Text(fill(words, options.max_width, break_long_words=False, break_on_hyphens=False), style="italic")


def _least_width(columns: Sequence[Column]) -> int:
    """Return the number of characters below which a column of numbers is cut, or one of words is hard to read."""
    widths = [max(cell_len(str(cell)) for cell in (column.header, *column.cells)) for column in columns]
    least = [width if column.no_wrap else min(width, 16) for width, column in zip(widths, columns, strict=True)]
    return sum(least) + 2 * len(columns)  # a space behind each, and one between two or at the edges


def _open_facts(title: str) -> Table:
    """Return a table of facts: a name that does not wrap and what there is to say, without headings."""
    table = open_table(title, "", "")
    table.show_header, table.columns[0].no_wrap = False, True
    return table


def _cells(spread: Document) -> list[str]:
    values = [number(spread[key]) for key in ("median", "p05", "p95")]
    return [number(spread["mean"]), interval(spread["ci95"]), *values, str(spread["undefined"])]


def _mean(spread: Document) -> str:
    return f"{number(spread['mean'])} [{interval(spread['ci95'])}]"
