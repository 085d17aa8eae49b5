"""The report: one page on runs and evaluations: what came out and what it is worth first, where it came from last."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumortrace.errors import DataError
from tumortrace.files import Document, write_atomically
from tumortrace.reporting import html
from tumortrace.reporting.charts import (
    BLUE,
    ORANGE,
    Dot,
    draw_dots,
    draw_reliability,
    draw_risk,
    draw_training,
)
from tumortrace.reporting.error_map import Colours
from tumortrace.reporting.figures import draw_losses, read_metrics
from tumortrace.reporting.gallery import draw_gallery
from tumortrace.reporting.html import Section
from tumortrace.reporting.side_by_side import draw_side_by_side
from tumortrace.reporting.tables import NAMES
from tumortrace.reporting.verdict import Verdict, judge
from tumortrace.reporting.words import counted, listed
from tumortrace.run_folder import CONFIG, MANIFEST, METRICS

_FINDINGS = 50
_NAMED = 3  # models that the title calls by name


@dataclass(frozen=True, eq=False)
class Material:
    """What a folder holds that a report can show.

    Attributes:
        folder: Its path.
        summary: Of an evaluation or a cross-validation; None for a run alone.
        rows: Of its ``per_image.csv``.
        runs: Run folders in it, itself or its folds, by name.
    """

    folder: Path
    summary: Document | None
    rows: tuple[dict[str, str], ...]
    runs: dict[str, Path]


def write_report(folders: Sequence[Path], out: Path, *, colours: Colours = "safe") -> list[str]:
    """Write one self-contained page.

    Args:
        folders: Runs, evaluations and cross-validations.
        out: The page.
        colours: Of the comparisons in the gallery.

    Returns:
        What the page leaves out, a line each.

    Raises:
        DataError: A folder is none of these, or a file in it cannot be read.
    """
    materials = [_read(folder) for folder in folders]
    scored = [material for material in materials if material.summary is not None]
    compared = [(material.folder.name, material.rows) for material in scored]
    sections = [Section("Side by side", draw_side_by_side(compared))] if len(scored) > 1 else []
    ordered = scored + [material for material in materials if material.summary is None]
    parts = [(material, part) for material in ordered for part in _results(material, colours)]
    parts += [(material, part) for material in ordered for part in _details(material)]
    for material, part in parts:
        prefix = f"{material.folder.name}: " if len(materials) > 1 else ""
        sections.append(Section(prefix + part.title, part.body))
    lead = ", ".join(str(folder) for folder in folders)
    write_atomically(out, html.page(_title(materials), lead, sections).encode())
    return [] if scored else ["no evaluation among the folders: the page has no scores; add what evaluate wrote"]


def _title(materials: Sequence[Material]) -> str:
    """By the models that the page is on, all or none of them."""
    names = dict.fromkeys(m.folder.name if m.summary is None else str(m.summary["model"]["name"]) for m in materials)
    what = "training of " if all(material.summary is None for material in materials) else ""
    return f"Report on {what}{listed(list(names)) if len(names) <= _NAMED else f'{len(names)} models'}"


def _read(folder: Path) -> Material:
    summary_path, table = folder / "summary.json", folder / "per_image.csv"
    runs = {folder.name: folder} if (folder / MANIFEST).is_file() else {}
    runs |= {path.parent.name: path.parent for path in sorted(folder.glob(f"fold-*/{MANIFEST}"))}
    if not summary_path.is_file() and not runs:
        raise DataError(f"{folder}: neither a finished run nor an evaluation; give what train or evaluate wrote")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8")) if summary_path.is_file() else None
        text = table.read_text(encoding="utf-8") if summary is not None else ""
        rows = tuple(csv.DictReader(text.splitlines()))
        if summary is not None:
            _ = summary["dice"]["mean"], summary["by"], summary["calibration"]["bins"]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); evaluate again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder}: not an evaluation of this version ({error}); evaluate again") from None
    return Material(folder, summary, rows, runs)


def _results(material: Material, colours: Colours) -> list[Section]:
    """What came out: the number and its verdict, pictures, and every other score."""
    summary = material.summary
    if summary is None:
        return [Section("Training curves", _curves(material))]
    verdict = judge(summary)
    return [
        Section(verdict.heading, _headline(summary, verdict)),
        Section("In one picture", _picture(summary, verdict)),
        Section("Gallery, worst first", draw_gallery(material.folder, material.rows, colours=colours)),
        Section("All metrics", _metrics(summary)),
        Section("Subgroups", _subgroups(summary)),
        Section("Calibration and review", _calibration(summary)),
        Section("Faults of the data", html.findings(summary["findings"], shown=_FINDINGS, file="summary.json")),
        Section("Training curves", _curves(material)),
    ]


def _details(material: Material) -> list[Section]:
    """What it came from."""
    return [
        Section("What was trained on what", _training(material)),
        Section("Settings", _settings(material)),
        Section("Manifest", _manifests(material)),
    ]


def _headline(summary: Document, verdict: Verdict) -> str:
    dice = verdict.scores["dice"]
    boxes = [
        (html.number(dice["mean"]), f"mean Dice on {verdict.images}, 95 % interval {html.interval(dice['ci95'])}"),
        (str(verdict.scores["n"]), f"of {counted(summary['n'], 'scored image')} behind this number"),
        (str(summary["groups"]), f"different slices among all {summary['n']}: copies count once in the intervals"),
    ]
    shown = "".join(f"<div><b>{html.text(value)}</b><span>{html.text(label)}</span></div>" for value, label in boxes)
    return f'<div class="headline">{shown}</div>' + "".join(map(html.paragraph, verdict.sentences))


def _picture(summary: Document, verdict: Verdict) -> str:
    dots = [_dot("model", verdict.scores["dice"], BLUE)]
    dots += [_dot(name.replace("_", " "), dice, ORANGE) for name, dice in verdict.baselines.items()]
    dots = [dot for dot in dots if dot.mean == dot.mean]
    if not dots:
        return ""
    agreement = summary["agreement"]
    ceiling = _dot("two annotators agree (mean and 95 % interval)", agreement["dice"], BLUE) if agreement else None
    figure = draw_dots(dots, xlabel=f"mean Dice on {verdict.images}", ceiling=ceiling)
    caption = (
        f"Model and baselines on {verdict.images}, with 95 % intervals over groups of copies. Squares: predictions "
        "that need no network."
    )
    if agreement:
        pairs = counted(agreement["pairs"], "pair")
        caption += f" The annotators are compared on whatever was outlined twice: {pairs} of outlines."
    return html.chart(figure, alt="Mean Dice of model and baselines beside the annotators", caption=caption)


def _dot(label: str, spread: Document, colour: str) -> Dot:
    mean = float("nan") if spread["mean"] is None else float(spread["mean"])
    return Dot(label, mean, spread["ci95"], colour)


def _training(material: Material) -> str:
    rows = []
    for name, folder in material.runs.items():
        manifest = _load_manifest(folder)
        data = manifest["data"]["train"]
        rows.append(
            [
                name,
                f"{counted(data['count'], 'case')}, {data['sha256'][:12]}",
                f"{manifest['parameters']:,}",
                f"{manifest['kept_epoch']}",
                f"{manifest['epoch_seconds'] / 60:.1f} min",
                f"{manifest['device']}, seed {manifest['seed']}",
            ]
        )
    if not rows:
        card = material.summary["card"] if material.summary else {}
        known = f"trained on data {str(card.get('trained_on', 'unknown'))[:12]}, seed {card.get('seed', 'unknown')}"
        return html.paragraph(f"The model's card says: {known}. Its run folder, given as well, says how.")
    head = ["run", "learnt from (sha256)", "parameters", "kept epoch", "epochs took", "on"]
    return html.table(head, rows, text_columns=2)


def _settings(material: Material) -> str:
    """Of the run; the folds of a cross-validation have the same."""
    if not material.runs:
        return ""
    path = next(iter(material.runs.values())) / CONFIG
    try:
        return f"<pre>{html.text(path.read_text(encoding='utf-8'))}</pre>"
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a run folder as train wrote it") from None


def _metrics(summary: Document) -> str:
    unit, tolerance = summary["distance_unit"], summary["tolerance"]
    rows: list[Sequence[object]] = [[f"all {counted(summary['n'], 'image')}"], *_metric_rows(summary)]
    if summary["clean"] and summary["clean"]["n"]:
        rows += [[counted(summary["clean"]["n"], "clean image")], *_metric_rows(summary["clean"])]
    if summary["agreement"]:
        agreement = summary["agreement"]
        pairs, slices = counted(agreement["pairs"], "pair"), counted(agreement["groups"], "slice")
        rows += [[f"annotators: {pairs} of outlines of {slices}"]]
        rows += _metric_rows(agreement)
    head = ["metric", "mean", "95 % interval", "median", "5 %", "95 %", "min", "max", "undefined"]
    rates = [
        ["lesions found", summary["lesions"]["sensitivity"]],
        ["marked lesions that touch a tumour", summary["lesions"]["precision"]],
        ["images with a tumour that are marked at all", summary["images"]["sensitivity"]],
        ["tumour-free images left empty", summary["images"]["specificity"]],
        ["tumour-free images with over 0.1 % painted", summary["images"].get("false_alarms")],
    ]
    shares = [[name, html.number(rate["value"]), html.interval(rate["ci95"]), rate["n"]] for name, rate in rates]
    words = (
        f"NSD: share of the borders within {tolerance:g} {unit} of each other. HD95 and ASSD: 95th percentile and mean "
        f"of the distances between the borders, in {unit}. 5 % and 95 % are percentiles over images, not of the mean."
    )
    return html.table(head, rows) + html.paragraph(words) + html.table(["", "share", "95 % interval", "of"], shares)


def _metric_rows(scores: Document) -> list[Sequence[object]]:
    keys = ("median", "p05", "p95", "min", "max")
    return [
        [
            name,
            html.number(scores[metric]["mean"]),
            html.interval(scores[metric]["ci95"]),
            *(html.number(scores[metric][key]) for key in keys),
            scores[metric]["undefined"],
        ]
        for metric, name in NAMES.items()
        if metric in scores
    ]


def _curves(material: Material) -> str:
    runs = {name: read_metrics(folder / METRICS) for name, folder in material.runs.items()}
    if len(runs) == 1:
        ((name, rows),) = runs.items()
        kept = int(_load_manifest(material.runs[name])["kept_epoch"])
        return html.chart(draw_losses(rows, kept_epoch=kept), alt="Loss by epoch", caption="Loss by epoch of the run.")
    if not runs:
        return ""
    caption = "Training loss of each fold. What is held out was not looked at while training."
    return html.chart(draw_training(runs), alt="Training loss by epoch of each fold", caption=caption)


def _subgroups(summary: Document) -> str:
    shown = ""
    for title, members in summary["by"].items():
        dots = [_dot(f"{name} (n {scores['n']})", scores["dice"], BLUE) for name, scores in members.items()]
        dots = [dot for dot in dots if dot.mean == dot.mean]
        if len(members) > 1 and dots:
            figure = draw_dots(dots, xlabel=f"mean Dice by {title}")
            shown += html.chart(figure, alt=f"Mean Dice by {title}", caption=f"By {title}, with 95 % intervals.")
    return shown or html.paragraph("All images are of one kind: there is nothing to compare.")


def _calibration(summary: Document) -> str:
    calibration = summary["calibration"]
    if not calibration["risk_coverage"] or calibration["ece"] is None:
        return ""
    caught = calibration["caught"]
    share = f"{calibration['flagged_share']:.0%}"
    words = (
        f"In the band around tumour and prediction, probabilities are off by {calibration['ece']:.3f} on average "
        f"({calibration['ece_before']:.3f} before the temperature of {calibration['temperature']:.2f}). "
    )
    if caught is not None:
        words += (
            f"Looking again at the least confident {share} of the masks catches {caught:.0%} of those with a Dice "
            f"below {calibration['low_dice']:g}."
        )
    left = html.chart(
        draw_reliability(calibration),
        alt="Reliability plot",
        caption="On the dashed line, a probability of 0.7 is right 7 times in 10. Below: how many pixels that is.",
    )
    right = html.chart(
        draw_risk(calibration),
        alt="Risk-coverage curve",
        caption="From left to right, the least confident masks are set aside. The curve of a useful confidence rises.",
    )
    return html.paragraph(words) + f'<div class="gallery">{left}{right}</div>'


def _manifests(material: Material) -> str:
    shown = ""
    for name, folder in material.runs.items():
        manifest = _load_manifest(folder)
        manifest.pop("findings")  # in a section of their own
        for part in ("train", "val"):
            manifest["data"][part].pop("cases", None)  # a hash a case: the file holds them
        shown += f"<h3>{html.text(name)}</h3><pre>{html.text(json.dumps(manifest, indent=1))}</pre>"
    if material.summary is not None and not shown:
        known = {key: material.summary[key] for key in ("model", "card")}
        shown = f"<pre>{html.text(json.dumps(known, indent=1))}</pre>"
    return shown


def _load_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = manifest["data"]["train"]["count"], manifest["parameters"], manifest["kept_epoch"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a manifest of this version ({error}); give a run folder as train wrote it"
        ) from None
    return manifest
