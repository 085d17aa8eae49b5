from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies.audit import audit_document, refuse_foreign_audit, write_audit
from tumortrace.copies.compare import SAME_SLICE
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset, open_any, open_dataset
from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.reporting.audit_page import write_audit_page
from tumortrace.reporting.tables import tables_of_audit

DrawHead = Callable[..., NDArray[np.uint8]]
WriteCase = Callable[..., CaseRecord]


@pytest.fixture
def audited(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path) -> tuple[Dataset, Survey]:
    """Two TRAIN slices, one of them mirrored in VAL with an outline of its own; another VAL slice; a broken file."""
    outline, wider = np.zeros((170, 140), dtype=np.bool_), np.zeros((170, 140), dtype=np.bool_)
    outline[60:80, 50:60], wider[60:80, 50:64] = True, True
    records = (
        write_case("t1", draw_head(1), outline, patient="p"),
        write_case("t2", draw_head(2), outline),
        write_case("v1", draw_head(1)[:, ::-1], wider[:, ::-1], part="val"),
        write_case("v2<b>", draw_head(3), outline, part="val", patient="p"),
        CaseRecord("gone.png", "val", tmp_path / "gone.png", tmp_path / "gone_mask.png"),
    )
    dataset = Dataset(tmp_path, records, (Finding("image-missing", "left out", "x.png", "no such image", "add it"),))
    return dataset, survey_cases(dataset.records)


def test_what_an_audit_says(audited: tuple[Dataset, Survey]):
    document = audit_document(*audited)
    assert (document["n"], document["parts"], document["groups"]) == (4, {"TRAIN": 2, "VAL": 2}, 3)
    assert document["leaked"] == {"VAL": {"images": 1, "of": 2, "into": "TRAIN"}}
    assert document["patients_across_parts"] == ["p"]
    assert document["group_sizes"] == {"1": 2, "2": 1}
    (group,) = document["largest_groups"]
    assert (group["size"], group["files"], group["linked_share"]) == (2, ["t1.png", "v1.png"], 1.0)
    assert document["agreement"]["dice"]["mean"] == pytest.approx(400 / 480, abs=0.02)
    lookup = document["baselines"]["nearest_training_mask"]
    # v1 is a copy of a training slice, and v2 shows the patient of one: neither is clean.
    assert (lookup["leaked"]["n"], lookup["clean"]["n"], lookup["all"]["n"]) == (2, 0, 2)
    assert [finding["kind"] for finding in document["findings"]] == ["image-missing", "unreadable"]
    assert sum(document["similarities"]["counts"]) >= 1


def test_copied_masks_score_on_copies_and_on_clean_slices(draw_head: DrawHead, write_case: WriteCase, tmp_path: Path):
    outline, wider, empty = (np.zeros((170, 140), dtype=np.bool_) for _ in range(3))
    outline[60:80, 50:60], wider[60:80, 50:64] = True, True
    records = (
        write_case("t1", draw_head(1), outline),
        write_case("t2", draw_head(2), empty),
        write_case("v1", draw_head(1)[:, ::-1], wider[:, ::-1], part="val"),
        write_case("v2", draw_head(3), outline, part="val"),
        write_case("v3", draw_head(2), outline, part="val"),  # a copy of a tumour-free training slice
    )
    few, all_five = (
        audit_document(Dataset(tmp_path, some, ()), survey_cases(some))["baselines"]["nearest_training_mask"]
        for some in (records[:4], records)
    )
    assert (few["leaked"]["n"], few["clean"]["n"]) == (1, 1)
    assert few["leaked"]["mean_dice"] == pytest.approx(400 / 480, abs=0.03)
    assert (all_five["leaked"]["n"], all_five["clean"]["n"]) == (2, 1)


def test_files_of_an_audit(audited: tuple[Dataset, Survey], tmp_path: Path):
    dataset, survey = audited
    document = audit_document(dataset, survey)
    write_audit(document, survey, tmp_path / "out")
    text = (tmp_path / "out" / "groups.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "file,split,group,transform,similarity,nearest"
    rows = {row["file"]: row for row in csv.DictReader(text.splitlines())}
    assert len(rows) == 4
    assert rows["t1.png"]["group"] == rows["v1.png"]["group"]
    assert (rows["v1.png"]["split"], rows["v1.png"]["nearest"]) == ("VAL", "t1.png")
    assert rows["v1.png"]["transform"] == "mirrored left-right"
    assert float(rows["v1.png"]["similarity"]) > 0.99
    assert rows["t2.png"]["transform"] == ""
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == document
    assert json.loads((tmp_path / "out" / "findings.json").read_text()) == document["findings"]
    refuse_foreign_audit(tmp_path / "out")  # another audit may replace this one


@pytest.mark.parametrize("name", ["groups.csv", "findings.json", "audit.json"])
def test_files_that_no_audit_wrote_are_not_replaced(name: str, tmp_path: Path):
    refuse_foreign_audit(tmp_path)
    (tmp_path / name).write_text("[1]")
    with pytest.raises(DataError, match=rf": holds {name}, but no audit of tumortrace; choose another --out$"):
        refuse_foreign_audit(tmp_path)


def test_the_page_shows_the_pairs_and_needs_nothing_else(audited: tuple[Dataset, Survey], tmp_path: Path):
    dataset, survey = audited
    write_audit_page(survey, audit_document(dataset, survey), tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "1 of 2" in page
    assert "t1.png and v1.png" in page
    assert "mirrored left-right" in page
    assert "no such image" in page
    for outside in ("<script", "http://", "https://", 'src="/', "@import", "url("):
        assert outside not in page.replace("http://www.w3.org", "")


def test_a_copied_mask_that_is_as_empty_as_the_truth_has_no_dice(
    draw_head: DrawHead, write_case: WriteCase, tmp_path: Path
):
    """One pixel of a large slice is lost where masks are kept in small."""
    size_hw = (900, 800)
    pixel = np.zeros(size_hw, dtype=np.bool_)
    pixel[301, 301] = True
    records = (
        write_case("t", draw_head(1, size_hw), pixel),
        write_case("v", draw_head(2, size_hw), np.zeros(size_hw, dtype=np.bool_), part="val"),
    )
    survey = survey_cases(records)
    document = audit_document(Dataset(tmp_path, records, ()), survey)
    undefined = {"n": 1, "undefined": 1, "mean_dice": None, "ci95": None}
    lookup = {"all": undefined, "leaked": undefined | {"n": 0, "undefined": 0}, "clean": undefined}
    assert document["baselines"] == {"nearest_training_mask": lookup}
    write_audit_page(survey, document, tmp_path / "audit.html")
    words = "mean Dice - on all (0), - on clean (0); a tumour marked on a tumour-free image counts as 0."
    assert words in (tmp_path / "audit.html").read_text(encoding="utf-8")
    cells = [cell for table in tables_of_audit(document) for column in table.columns for cell in column.cells]
    assert "all - (n 0), clean - (n 0)" in cells


def test_a_folder_of_pictures_without_annotations(draw_head: DrawHead, tmp_path: Path):
    for name, pixels in (("TRAIN/a", draw_head(1)), ("TRAIN/b", draw_head(2)), ("VAL/c", draw_head(1)[::-1])):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    dataset = open_any(tmp_path / "data")
    survey = survey_cases(dataset.records)
    document = audit_document(dataset, survey)
    assert (document["agreement"], document["baselines"]) == (None, None)
    assert document["leaked"]["VAL"]["images"] == 1
    write_audit_page(survey, document, tmp_path / "audit.html")
    assert (tmp_path / "audit.html").stat().st_size > 10_000
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture there"):
        open_any(tmp_path / "empty")


def test_annotations_that_are_broken_are_not_passed_over(draw_head: DrawHead, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), draw_head(1))
    (tmp_path / "via.json").write_text("{")
    with pytest.raises(DataError, match=r"via\.json"):
        open_any(tmp_path)


def test_br35h_is_a_hundred_slices(br35h: Path):
    dataset = open_dataset(br35h)
    survey = survey_cases(dataset.records)
    document = audit_document(dataset, survey)
    assert 90 < document["groups"] < 120  # 801 pictures of about 105 slices
    assert document["leaked"]["VAL"]["images"] > 0.9 * document["leaked"]["VAL"]["of"]
    assert document["leaked"]["TEST"]["images"] > 0.8 * document["leaked"]["TEST"]["of"]
    assert document["largest_groups"][0]["size"] > 20
    lookup = document["baselines"]["nearest_training_mask"]
    assert lookup["all"]["mean_dice"] > 0.87
    assert lookup["clean"]["mean_dice"] < 0.5
    between = [p.similarity for p in survey.scored if survey.groups[p.first] != survey.groups[p.second]]
    assert max(between) < SAME_SLICE - 0.05  # a valley
