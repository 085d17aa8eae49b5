"""The folder with the student paper's labels: what is written is what its rules give, and it opens as a dataset."""

from __future__ import annotations

import cv2
import numpy as np
from reproduction.worth_of_the_score import regions_of

from reproduction import paper_labels, paper_rules
from tumortrace.data.cases import read_cases
from tumortrace.data.dataset import open_dataset


def test_what_is_written_are_the_student_papers_labels(phantom_data, tmp_path):
    whole = open_dataset(phantom_data)
    written, empty = paper_labels.write_labelled(whole, tmp_path)
    records = whole.select("train")
    assert written == len(records)
    labels = [paper_rules.label(regions_of(record), case.slice.size_hw) for record, case, _ in read_cases(records)]
    assert empty == sum(not label.any() for label in labels)
    opened = open_dataset(tmp_path)
    assert len(opened.records) == written
    by_name = {
        record.case_id.rpartition("/")[2].rpartition(".")[0]: case for record, case, _ in read_cases(opened.records)
    }
    for record, label in zip(records, labels, strict=True):
        case = by_name[record.case_id.rpartition("/")[2].rpartition(".")[0]]
        np.testing.assert_array_equal(case.truth, label)
        assert case.slice.pixels.shape == paper_rules.SIZE_HW


def test_the_labels_lose_pixels_of_the_truth(phantom_data, tmp_path):
    whole = open_dataset(phantom_data)
    paper_labels.write_labelled(whole, tmp_path)
    kept = true = 0.0
    for record, case, _ in read_cases(whole.select("train")):
        name = record.case_id.rpartition("/")[2].rpartition(".")[0]
        kept += (cv2.imread(str(tmp_path / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0).mean()
        true += case.truth.mean()
    assert kept < true
