"""The report: one page on runs and evaluations, the number to believe first."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumortrace.data.slice import write_atomically
from tumortrace.errors import DataError
from tumortrace.report import html
from tumortrace.report.charts import (
    BLUE,
    GREY,
    ORANGE,
    Dot,
    draw_dots,
    draw_reliability,
    draw_risk,
    draw_training,
)
from tumortrace.report.comparison import Colours
from tumortrace.report.figures import draw_losses, read_metrics
from tumortrace.report.gallery import draw_gallery
from tumortrace.report.html import Section
from tumortrace.report.tables import NAMES
from tumortrace.runfolder import CONFIG, MANIFEST, METRICS

Document = Mapping[str, Any]

_FINDINGS = 50


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
    sections = [_compare(scored)] if len(scored) > 1 else []
    for material in materials:
        prefix = f"{material.folder.name}: " if len(materials) > 1 else ""
        sections += [Section(prefix + s.title, s.body) for s in _sections(material, colours)]
    lead = ", ".join(str(folder) for folder in folders)
    title = (
        f"Report on {scored[0].summary['model']['name']}" if scored and scored[0].summary else "Report on a training"
    )
    write_atomically(out, html.page(title, lead, sections).encode())
    return [] if scored else ["no evaluation among the folders: the page has no scores; add what evaluate wrote"]


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


def _sections(material: Material, colours: Colours) -> list[Section]:
    summary = material.summary
    parts: list[tuple[str, Callable[[], str]]] = [("What was trained on what", lambda: _training(material))]
    if summary is not None:
        parts = [
            ("The number to believe", lambda: _headline(summary)),
            ("In one picture", lambda: _picture(summary)),
            *parts,
            ("All metrics", lambda: _metrics(summary)),
        ]
    parts.append(("Training curves", lambda: _curves(material)))
    if summary is not None:
        parts += [
            ("Subgroups", lambda: _subgroups(summary)),
            ("Calibration and review", lambda: _calibration(summary)),
            ("Gallery, worst first", lambda: draw_gallery(material.folder, material.rows, colours=colours)),
            ("Faults of the data", lambda: _findings(summary["findings"])),
        ]
    parts.append(("Manifest", lambda: _manifests(material)))
    return [Section(title, build()) for title, build in parts]


def _headline(summary: Document) -> str:
    clean = summary["clean"]
    believed, words = (clean, "on clean images") if clean and clean["n"] else (summary, "on all images")
    boxes = [
        (
            html.number(believed["dice"]["mean"]),
            f"mean Dice {words}, 95 % interval {html.interval(believed['dice']['ci95'])}",
        ),
        (str(believed["n"]), f"{words.removeprefix('on ')}, of {summary['n']} scored"),
        (str(summary["groups"]), "different slices among them: copies count once in the intervals"),
    ]
    shown = "".join(f"<div><b>{html.text(value)}</b><span>{html.text(label)}</span></div>" for value, label in boxes)
    sentences = [_judge(summary, believed)]
    if clean is None:
        sentences.append(
            "It is unknown what the model was trained on, so copies of training slices may be among these."
        )
    elif not clean["n"]:
        sentences.append(
            "Every image has a copy among the training slices: this score says nothing about new patients."
        )
    elif clean["n"] < summary["n"]:
        sentences.append(
            f"{summary['n'] - clean['n']} of {summary['n']} images show a slice that was in training as well, turned "
            f"or re-contrasted; with them the mean is {html.number(summary['dice']['mean'])}."
        )
    if clean and 0 < clean["n"] < 20:
        sentences.append(f"Only {clean['n']} images are clean: too few to tell much; cross-validate by groups instead.")
    return f'<div class="headline">{shown}</div>' + "".join(
        html.paragraph(sentence) for sentence in sentences if sentence
    )


def _ci(spread: Document) -> str:
    return html.interval(spread["ci95"])


def _judge(summary: Document, believed: Document) -> str:
    """The score against the best trivial baseline and the annotators, in words."""
    baselines: dict[str, float] = {}
    for baseline, scores in summary["baselines"].items():
        score = (scores if believed is summary else scores["clean"])["dice"]["mean"]
        if score is not None:
            baselines[baseline] = score
    mean, words = believed["dice"]["mean"], ""
    if mean is None:
        return "No image has a Dice."
    if baselines:
        name = max(baselines, key=lambda each: baselines[each])
        verb = "beats" if mean > baselines[name] else "is below"
        words = f"It {verb} the best prediction without a network ({name.replace('_', ' ')}: {baselines[name]:.3f})."
    if summary["agreement"]:
        ceiling = summary["agreement"]["dice"]["mean"]
        words += (
            f" Two annotators' outlines of one slice agree at {ceiling:.3f}: no model can honestly score above that."
        )
    return words


def _picture(summary: Document) -> str:
    dots: list[Dot] = []
    clean = summary["clean"]
    if clean and clean["n"]:
        dots.append(_dot(f"model, {clean['n']} clean images", clean["dice"], BLUE))
    dots.append(_dot(f"model, all {summary['n']} images", summary["dice"], BLUE if not dots else GREY))
    for name, scores in summary["baselines"].items():
        dots.append(_dot(name.replace("_", " "), scores["dice"], ORANGE))
    agreement = summary["agreement"]
    ceiling = _dot("two annotators agree (mean and 95 % interval)", agreement["dice"], BLUE) if agreement else None
    figure = draw_dots([dot for dot in dots if dot.mean == dot.mean], xlabel="mean Dice", ceiling=ceiling)
    caption = "Mean Dice with 95 % intervals over groups of copies. Squares: predictions that need no network."
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
                f"{data['count']} cases, {data['sha256'][:12]}",
                f"{manifest['parameters']:,}",
                f"{manifest['kept_epoch']}",
                f"{manifest['epoch_seconds'] / 60:.1f} min",
                f"{manifest['device']}, seed {manifest['seed']}",
            ]
        )
    if not rows:
        card = material.summary["card"] if material.summary else {}
        known = f"trained on data {str(card.get('trained_on', 'unknown'))[:12]}, seed {card.get('seed', 'unknown')}"
        return html.paragraph(f"The model's card says: {known}. Give the run folder as well to see how it was trained.")
    head = ["run", "learnt from (sha256)", "parameters", "kept epoch", "epochs took", "on"]
    config = (next(iter(material.runs.values())) / CONFIG).read_text(encoding="utf-8")
    return html.table(head, rows, text_columns=2) + f"<pre>{html.text(config)}</pre>"


def _metrics(summary: Document) -> str:
    unit, tolerance = summary["distance_unit"], summary["tolerance"]
    rows: list[Sequence[object]] = [[f"all {summary['n']} images"], *_metric_rows(summary)]
    if summary["clean"] and summary["clean"]["n"]:
        rows += [[f"{summary['clean']['n']} clean images"], *_metric_rows(summary["clean"])]
    if summary["agreement"]:
        agreement = summary["agreement"]
        rows += [[f"annotators: {agreement['pairs']} pairs of outlines of {agreement['groups']} slices"]]
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


def _findings(findings: Sequence[Document]) -> str:
    if not findings:
        return html.paragraph("None: every image was read and every outline drawn.")
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(f["kind"] for f in findings).most_common())
    rows = [[f["file"], f["cause"], f["severity"], f["remedy"]] for f in findings[:_FINDINGS]]
    more = (
        html.paragraph(f"And {len(findings) - _FINDINGS} more, in summary.json.") if len(findings) > _FINDINGS else ""
    )
    return html.paragraph(counts) + html.table(["file", "what", "so it is", "remedy"], rows, text_columns=4) + more


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


def _compare(materials: Sequence[Material]) -> Section:
    dots = []
    for material in materials:
        if material.summary is not None:
            clean = material.summary["clean"]
            known = clean and clean["n"]
            words = f"{clean['n']} clean" if known else f"all {material.summary['n']}"
            scores = clean if known else material.summary
            dots.append(_dot(f"{material.folder.name} ({words})", scores["dice"], BLUE))
    figure = draw_dots(dots, xlabel="mean Dice")
    caption = "Intervals that overlap say little about a difference on the same cases: use tumortrace compare for that."
    return Section("Side by side", html.chart(figure, alt="Mean Dice of several evaluations", caption=caption))
