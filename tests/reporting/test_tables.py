from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tumortrace.copies.agreement import Agreement, OutlinePair
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.summary import summary_document
from tumortrace.metrics.lesions import LesionCounts
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores
from tumortrace.progress import open_console
from tumortrace.reporting import tables
from tumortrace.reporting.tables import list_rates, table_of_split, tables_of_audit, tables_of_pair, tables_of_scores

MakeScore = Callable[..., CaseScore]

# Dice: 4/6, 6/7 and 0; precision: 2/3, 1 and undefined; recall: 2/3, 3/4 and 0.
COUNTS = [PixelCounts(2, 1, 1, 5), PixelCounts(3, 0, 1, 5), PixelCounts(0, 0, 4, 5)]


def render(tables: list[Table], *, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def evaluation(make_score: MakeScore) -> Evaluation:
    scores = tuple(make_score(f"y{i}", counts, clean=i != 1) for i, counts in enumerate(COUNTS))
    pair = OutlinePair("a", "b", "g", "g", PixelCounts(9, 1, 1, 9), SurfaceScores(0.8, 1, 1))
    return Evaluation(scores, (), {"name": "first", "sha256": "0"}, 0.25, agreement=Agreement((pair, pair), 0))


def rows_of(lines: list[str], name: str) -> list[list[str]]:
    cells = (re.split(r"\s{2,}", line.strip()) for line in lines)
    return [row for row in cells if row[0] == name]


def test_a_cross_validation_has_a_threshold_for_each_fold(evaluation: Evaluation):
    title = render(tables_of_scores(summary_document(evaluation, folds=[{"fold": "1", "threshold": 0.3}])))[0]
    assert title.startswith("first, each fold at its own threshold; distances in px")


def test_all_images_and_clean_ones_stand_below_each_other(evaluation: Evaluation):
    lines = render(tables_of_scores(summary_document(evaluation)))
    assert lines[0].startswith("first, threshold 0.25")
    assert any("all 3 images" in line for line in lines)
    assert "over 3 groups of copies and patients" in re.sub(r"\s+", " ", " ".join(lines[:3]))
    assert any("2 clean images" in line for line in lines)
    everything, clean = rows_of(lines, "Dice")
    assert (everything[1], everything[-4:]) == ("0.508", ["0.667", "0.067", "0.838", "0"])
    assert clean[1] == "0.333"
    assert rows_of(lines, "precision")[0][-1] == "1"
    assert rows_of(lines, "Dice of two outlines")[0][1] == "0.900"
    assert rows_of(lines, "images with a tumour that are marked anywhere")[0][1] == "0.667"
    assert all(len(line) <= 80 for line in lines)


def test_a_narrow_terminal_omits_columns_and_cuts_no_number(evaluation: Evaluation):
    narrow = render(tables_of_scores(summary_document(evaluation)), width=60)
    assert not any("…" in line for line in narrow)
    assert all(len(line) <= 60 for line in narrow)
    assert [row[1] for row in rows_of(narrow, "Dice")] == ["0.508", "0.333"]
    assert "Columns omitted in this narrow terminal: 5 %, 95 % and undef." in re.sub(r"\s+", " ", " ".join(narrow))
    assert "omitted" not in " ".join(render(tables_of_scores(summary_document(evaluation))))


def test_a_title_breaks_between_words_at_the_terminal_s_width(evaluation: Evaluation):
    console = open_console()
    console.file, console.width = io.StringIO(), 80
    console.print(*tables_of_scores(summary_document(evaluation)), sep="\n")
    lines = console.file.getvalue().splitlines()
    title = (
        "first, threshold 0.25; distances in px, 95 % intervals of the mean over 3 groups of copies and patients; "
        "5 % and 95 %: percentiles over images"
    )
    assert " ".join(lines[:2]) == title
    assert all(len(line) <= 80 for line in lines)
    console.print(table_of_split({"sides": {}}), tables.open_table("d" * 100), sep="\n")
    assert "d" * 100 in console.file.getvalue()  # a path stays in one piece


def test_unknown_and_missing_clean_images_are_said(evaluation: Evaluation):
    for clean, words in ((None, "clean images: unknown"), (False, "no clean images")):
        scores = tuple(replace(score, clean=clean) for score in evaluation.scores)
        lines = render(tables_of_scores(summary_document(replace(evaluation, scores=scores))))
        assert any(words in line for line in lines)


def test_images_that_are_all_clean_stand_there_once(evaluation: Evaluation):
    scores = tuple(replace(score, clean=True) for score in evaluation.scores)
    lines = render(tables_of_scores(summary_document(replace(evaluation, scores=scores))))
    assert any("all 3 images, all clean" in line for line in lines)
    assert len(rows_of(lines, "Dice")) == 1
    assert not any(line.strip().startswith(("clean images", "3 clean")) for line in lines)


def test_false_alarms_are_listed(evaluation: Evaluation, make_score: MakeScore):
    free = make_score("z", PixelCounts(0, 5, 0, 95), lesions=LesionCounts(0, 0, 2, 0))
    summary = summary_document(replace(evaluation, scores=(*evaluation.scores, free)))
    rates = {name: (value, n) for name, value, _, n in list_rates(summary)}
    assert rates["tumour-free images with a false alarm (over 0.1 % of the frame)"] == (1.0, 1)
    assert rates["false lesions per head"] == (0.5, 4)
    assert any("false lesions per head" in line for line in render(tables_of_scores(summary)))


def test_brackets_in_a_model_s_name_are_no_markup(evaluation: Evaluation):
    named = replace(evaluation, model={"name": "[bold]run[/bold]", "sha256": "0"})
    assert render(tables_of_scores(summary_document(named)))[0].startswith("[bold]run[/bold], threshold")


def test_the_sides_of_a_split():
    side = {
        "cases": 9,
        "groups": 7,
        "patients": 2,
        "tumour_free": 1,
        "several_lesions": 3,
        "median_tumour_share": 0.047,
    }
    free = {**side, "median_tumour_share": None}
    lines = render([table_of_split({"sides": {"1": side, "2": free}})])
    assert rows_of(lines, "1") == [["1", "9", "7", "2", "1", "3", "4.7 %"]]
    assert rows_of(lines, "2")[0][-1] == "-"


def test_an_audit_in_a_few_lines():
    document: dict[str, Any] = {
        "root": "data", "n": 9, "parts": {"TRAIN": 6, "VAL": 3}, "groups": 4, "pairs": 8, "same_slice": 0.85,
        "shared": [{"part": "VAL", "with": "TRAIN", "images": 2, "of": 3}], "largest_groups": [], "agreement": None,
        "baselines": None, "patients_across_parts": ["p"], "patients": {"patients": 2, "images": 5},
        "unannotated": 0, "blank": 0, "datasets": [{"name": "data"}], "across": [],
    }  # fmt: skip
    text = "\n".join(render(tables_of_audit(document)))
    assert "9 (TRAIN 6, VAL 3)" in text
    assert re.search(r"VAL images with a copy in TRAIN\s+2 of 3", text)
    assert re.search(r"patients in several parts\s+1", text)


def test_the_annotators_agreement_says_what_its_intervals_are_over():
    spread = {"mean": 0.9, "ci95": [0.8, 0.95]}
    counts = {"pairs": 41, "groups": 30, "independent_groups": 12, "effective_groups": 11.0, "distance_unit": "px"}
    agreement = {"dice": spread, "nsd": spread, "hd95": spread, **counts}
    ((_, words),) = tables._rows_of_scores({"agreement": agreement, "baselines": None})
    assert words.endswith("30 slices; 95 % intervals over 12 independent groups: slightly too narrow)")


def test_models_that_contradict_most_outlines_are_doubted_themselves():
    for contradicted, doubted in ((8, False), (9, True)):
        document = {"doubtful": {"contradicted": contradicted, "judged": 16}, "agreement": None, "baselines": None}
        ((_, words),) = tables._rows_of_scores(document)
        assert words.startswith(f"{contradicted} of 16, by models not trained on their slices")
        assert ("so probably the models are wrong" in words) == doubted


def test_a_kind_that_classes_and_planes_share_has_a_row_of_each():
    def scores(dice: float, pairs: int) -> dict[str, Any]:
        counts = {"pairs": pairs, "independent_groups": pairs, "effective_groups": pairs}
        return {"dice": {"mean": dice, "ci95": None}, "below_half": 0.25, **counts}

    pair = {"first": "A", "second": "B", "slices": 5, "shared": [], "copied": 2, "classes": {"compared": 0}}
    by = {"class": {"named differently": scores(0.8, 1)}, "plane": {"named differently": scores(0.9, 4)}, "size": {}}
    lines = render(tables_of_pair(pair | {"agreement": scores(0.7, 12) | {"by": by}}))
    words = [" ".join(line.split()) for line in lines]
    assert "all 0.700 - 12 narrow 12 25 %" in words
    assert "class: named differently 0.800 - 1 1 25 %" in words
    assert "plane: named differently 0.900 - 4 rough 4 25 %" in words
    assert " ".join(words).count("rough: over fewer than 10 groups, and mostly too narrow; narrow: over fewer") == 1
    assert "outlines copied 2 pairs, not counted" in words
