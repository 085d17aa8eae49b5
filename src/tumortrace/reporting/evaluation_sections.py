"""Sections of a report on an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from tumortrace.choices import Colours
from tumortrace.copies.agreement import ABOVE_THE_ANNOTATORS
from tumortrace.evaluation.folder import StoredEvaluation
from tumortrace.evaluation.verdict import Verdict, judge
from tumortrace.json_csv import Document
from tumortrace.reporting import cells, html
from tumortrace.reporting.charts import (
    BLUE,
    ORANGE,
    Dot,
    draw_dot_groups,
    draw_dots,
    draw_froc,
    draw_reliability,
    draw_risk,
    draw_trade_off,
)
from tumortrace.reporting.gallery import draw_gallery
from tumortrace.reporting.html import Section
from tumortrace.reporting.tables import NAMES, list_rates
from tumortrace.wording import counted, listed, percent

_FINDINGS = 50


def evaluation_sections(evaluation: StoredEvaluation, *, colours: Colours) -> list[Section]:
    """Show what came out: the number and its verdict, pictures, and every other score.

    Args:
        evaluation: Evaluation from ``read_evaluation``.
        colours: Colours of the comparisons in the gallery.
    """
    summary = evaluation.summary
    verdict = judge(summary)
    return [
        Section(verdict.heading, _headline(summary, verdict)),
        Section("In one picture", _draw_in_one_picture(summary, verdict)),
        Section("Gallery, worst first", draw_gallery(evaluation, colours=colours)),
        Section("All metrics", _tabulate_metrics(summary)),
        Section("Lesions and false alarms", _name_leaked(summary, _describe_detection(summary))),
        Section("Subgroups", _name_leaked(summary, _draw_subgroups(summary))),
        Section("Calibration and review", _name_leaked(summary, _describe_calibration(summary))),
        Section("Faults of the data", html.findings(summary["findings"], shown=_FINDINGS, file="summary.json")),
    ]


def model_section(evaluation: StoredEvaluation, *, beside_runs: bool) -> Section:
    """Show what the model file states of itself, for an evaluation without its run.

    Args:
        evaluation: Evaluation from ``read_evaluation``.
        beside_runs: Whether the page shows runs as well; it then asks for none.
    """
    known = {key: evaluation.summary[key] for key in ("model", "card", "training")}
    hint = "" if beside_runs else " Settings and manifest are in its run folder; if you have it, report on it as well."
    words = html.paragraph(f"The model as its file describes it.{hint}")
    return Section("Model", words + html.verbatim(json.dumps(known, indent=1)))


def _headline(summary: Document, verdict: Verdict) -> Markup:
    dice, card = verdict.scores["dice"], summary["number_card"]
    behind = verdict.scores["n"] - dice["undefined"]
    images = f"{behind} of {verdict.images}" if dice["undefined"] else verdict.images
    boxes = [
        (cells.number(dice["mean"]), f"mean Dice on {images}, 95 % interval {cells.interval(dice['ci95'])}"),
        (str(behind), f"of {counted(summary['n'], 'scored image')} behind this number"),
        (str(card["groups"]), f"{'group' if card['groups'] == 1 else 'groups'} of copies and patients"),
    ]
    words = [*summary["verdict"], f"To cite: {card['text']}"]
    return html.headline(boxes) + Markup().join(map(html.paragraph, words))


def _draw_in_one_picture(summary: Document, verdict: Verdict) -> Markup:
    dots = [_dot("model", verdict.scores["dice"], BLUE)]
    dots += [_dot(name.replace("_", " "), dice, ORANGE) for name, dice in verdict.baselines.items()]
    dots = [dot for dot in dots if dot.mean == dot.mean]
    if not dots:
        return Markup()
    agreement = summary["agreement"]
    yardstick = _dot("two outlines agree (mean and 95 % interval)", agreement["dice"], BLUE) if agreement else None
    figure = draw_dots(dots, xlabel=f"mean Dice on {verdict.images}", yardstick=yardstick)
    caption = (
        f"Model and baselines on {verdict.images}, with 95 % intervals over groups. Squares are predictions without a "
        "network."
    )
    if agreement:
        pairs = counted(agreement["pairs"], "pair")
        caption += f" Two outlines of one slice are compared in {pairs}, also of other images of this data."
    return html.chart(figure, alt="Mean Dice of model and baselines beside the annotators", caption=caption)


def _dot(label: str, spread: Document, colour: str) -> Dot:
    mean = float("nan") if spread["mean"] is None else float(spread["mean"])
    return Dot(label, mean, spread["ci95"], colour)


def _tabulate_metrics(summary: Document) -> Markup:
    unit, tolerance, clean = summary["distance_unit"], summary["tolerance"], summary["clean"]
    all_clean = clean is not None and clean["n"] == summary["n"]
    rows: list[Sequence[object]] = [[f"all {counted(summary['n'], 'image')}{', all clean' if all_clean else ''}"]]
    rows += _metric_rows(summary)
    if clean and clean["n"] and not all_clean:
        rows += [[counted(clean["n"], "clean image")], *_metric_rows(clean)]
    if summary["agreement"]:
        agreement = summary["agreement"]
        pairs, slices = counted(agreement["pairs"], "pair"), counted(agreement["groups"], "slice")
        rows += [[f"annotators: {pairs} of outlines of {slices}"], *_metric_rows(agreement)]
    head = ["metric", "mean", "95 % interval", "median", "5 %", "95 %", "min", "max", "undefined"]
    words = (
        f"NSD: fraction of the borders within {tolerance:g} {unit} of each other. HD95 and ASSD: 95th percentile and "
        f"mean of the distances between the borders, in {unit}. 5 % and 95 % are percentiles over images, not an "
        "interval of the mean."
    )
    shown = html.table(head, rows) + html.paragraph(words) + _describe_pooled(summary["pooled"])
    return shown + _tabulate_outlined_twice(summary["outlined_twice"])


def _metric_rows(scores: Document) -> list[Sequence[object]]:
    keys = ("median", "p05", "p95", "min", "max")
    return [
        [
            name,
            cells.number(scores[metric]["mean"]),
            cells.interval(scores[metric]["ci95"]),
            *(cells.number(scores[metric][key]) for key in keys),
            scores[metric]["undefined"],
        ]
        for metric, name in NAMES.items()
        if metric in scores
    ]


def _describe_pooled(pooled: Document | None) -> Markup:
    if pooled is None or not _count_scored(pooled):
        return Markup()
    dice, patients = pooled["dice"], counted(_count_scored(pooled), "patient")
    return html.paragraph(
        f"Dice over all pixels of a patient, mean over {patients}: {cells.number(dice['mean'])} (95 % interval "
        f"{cells.interval(dice['ci95'])})."
    )


def _count_scored(pooled: Document) -> int:
    """Count the patients that have a Dice: one without tumour, of whom nothing was marked, has none."""
    return int(pooled["patients"] - pooled["dice"]["undefined"])


def _name_leaked(summary: Document, shown: Markup) -> Markup:
    """Say above what is shown, if anything, that it counts training images too, unlike the number of the page."""
    leaked = summary["training"]["leaked_images"]
    if not leaked or not shown:
        return shown
    verb = "shares" if leaked == 1 else "share"
    words = (
        f"On {counted(summary['n'], 'image')}; {leaked} of them {verb} a slice or a patient with the training slices."
    )
    return html.paragraph(words) + shown


def _describe_detection(summary: Document) -> Markup:
    rows = [[name, cells.number(value), cells.interval(bounds), n] for name, value, bounds, n in list_rates(summary)]
    shown = html.table(["", "value", "95 % interval", "of"], rows)
    points, chosen = summary["froc"], summary["calibration"]["peak_threshold"]
    if len(points) < 2 or points[0]["sensitivity"] is None:
        return shown
    own = "that of the recipe for the next model" if summary["folds"] else "the model's own"
    words = (
        "Each point is one peak threshold, the probability that a lesion has to reach somewhere. The filled point is "
        f"{own}, with 95 % intervals over heads."
    )
    alt = "Lesions found against false lesions per head (FROC)"
    charts = [html.chart(draw_froc(points, chosen=chosen), alt=alt, caption=f"Free-response ROC. {words}")]
    if points[0]["painted"] is not None:
        alt = "Mean Dice of slices with tumour against false alarms on tumour-free slices"
        caption = (
            "The trade-off that the thresholds are fitted to: a higher one gives fewer false alarms and misses more."
        )
        charts.append(html.chart(draw_trade_off(points, chosen=chosen), alt=alt, caption=caption))
    return shown + html.gallery(charts)


def _draw_subgroups(summary: Document) -> Markup:
    """Draw the mean Dice of each subgroup with tumour: a tumour-free image has a Dice of 0, or none."""
    groups = {
        title: [
            _dot(f"{name} (n {scores['n'] - scores['dice']['undefined']})", scores["dice"], BLUE)
            for name, scores in members.items()
            if scores["recall"]["mean"] is not None
        ]
        for title, members in summary["by"].items()
    }
    compared = {title: dots for title, dots in groups.items() if len(dots) > 1}
    shown = Markup()
    if compared:
        figure = draw_dot_groups(compared, xlabel="mean Dice")
        caption = "Mean Dice, with 95 % intervals over groups; n is the number of images that have a Dice."
        shown += html.chart(figure, alt=f"Mean Dice by {listed(list(compared))}", caption=caption)
    pooled = _tabulate_pooled(summary["by"])
    return (shown + pooled) or html.paragraph(
        "The images with tumour are not of several kinds; there is nothing to compare."
    )


def _tabulate_pooled(by: Document) -> Markup:
    """Tabulate Dice over all pixels of a patient, by what divides whole patients or their slices."""
    rows: list[Sequence[object]] = [
        [title, name, _count_scored(scores["pooled"]), cells.number(dice["mean"]), cells.interval(dice["ci95"])]
        for title in ("tumour class", "plane", "tumour size", "source")
        for name, scores in by[title].items()
        if len(by[title]) > 1 and scores["pooled"] is not None and name != "no tumour"
        for dice in [scores["pooled"]["dice"]]
        if dice["mean"] is not None
    ]
    if not rows:
        return Markup()
    head = ["by", "", "patients", "pooled Dice", "95 % interval"]
    return html.paragraph("Dice over all pixels of a patient's slices of one kind.") + html.table(
        head, rows, text_columns=2
    )


def _tabulate_outlined_twice(twice: Document | None) -> Markup:
    if twice is None:
        return Markup()
    rows: list[Sequence[object]] = [_twice_row("all", "", twice)]
    for title, members in twice["by"].items():
        if len(members) > 1:
            rows += [_twice_row(title, name, each) for name, each in members.items()]
    words = (
        "Slices that were outlined twice, the same ones for the model and for two outlines of each. "
        f"{ABOVE_THE_ANNOTATORS}"
    )
    head = ["by", "", "slices", "Dice of the model", "95 % interval", "Dice of two outlines", "95 % interval"]
    return html.paragraph(words) + html.table(head, rows, text_columns=2)


def _twice_row(title: str, name: str, each: Document) -> Sequence[object]:
    sides = (each[side] for side in ("model", "annotators"))
    return [title, name, each["n"], *(cell for side in sides for cell in _mean_cells(side))]


def _mean_cells(spread: Document) -> tuple[object, object]:
    return cells.number(spread["mean"]), cells.interval(spread["ci95"])


def _describe_temperature(summary: Document) -> str:
    """Say how far probabilities were off before the temperature; nothing of a model that has none."""
    calibration = summary["calibration"]
    if not summary["folds"] and calibration["temperature"] == 1:
        return ""
    which = "each fold's temperature" if summary["folds"] else f"the temperature of {calibration['temperature']:.2f}"
    return f" ({calibration['ece_before']:.3f} before {which})"


def _describe_calibration(summary: Document) -> Markup:
    calibration = summary["calibration"]
    if not calibration["risk_coverage"] or calibration["ece"] is None:
        return Markup()
    caught = calibration["caught"]
    words = (
        "Near mask and truth, probability and fraction of tumour differ by "
        f"{calibration['ece']:.3f} on average over {len(calibration['bins'])} ranges of probability"
        f"{_describe_temperature(summary)}. "
    )
    if caught is not None:
        low = calibration["low_masks"]
        words += (
            f"Reviewing the least confident {percent(calibration['flagged_share'])} of the masks catches "
            f"{round(caught * low)} of {counted(low, 'mask')} with a Dice below {calibration['low_dice']:g}."
        )
    left = html.chart(
        draw_reliability(calibration),
        alt="Reliability plot",
        caption="On the dashed line, a probability of 0.7 is right 7 times in 10. Below: the number of pixels.",
    )
    right = html.chart(
        draw_risk(calibration),
        alt="Risk-coverage curve",
        caption="From left to right, the least confident masks are set aside; the mean Dice of the others should rise.",
    )
    return html.paragraph(words) + html.gallery([left, right])
