"""Several datasets compared: shared slices by part, second outlines, classes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace import audit
from tumortrace.copies import across
from tumortrace.copies.agreement import OutlinePair
from tumortrace.copies.compare import CopyPair
from tumortrace.copies.survey import Survey
from tumortrace.data.dataset import open_apart
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores

DrawHead = Callable[..., NDArray[np.uint8]]


def box(head: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    mask = np.zeros_like(head)
    mask[top : top + side, left : left + side] = 255
    return mask


def write_dataset(root: Path, rows: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8], str]]) -> Path:
    """Write images, masks and their classes; the folder of an image is its part."""
    for image, head, mask, _ in rows:
        for kind, pixels in (("images", head), ("masks", mask)):
            path = root / Path(image).parent / kind / Path(image).name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, np.ascontiguousarray(pixels))
    with (root / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "mask", "class", "plane"])
        for image, _, _, tumour_class in rows:
            folder, name = Path(image).parent.as_posix(), Path(image).name
            table.writerow([f"{folder}/images/{name}", f"{folder}/masks/{name}", tumour_class, "axial"])
    return root


@pytest.fixture
def two(tmp_path: Path, draw_head: DrawHead) -> tuple[Path, Path]:
    """A has heads 0 to 2 undivided; B has a copy of 0 in TRAIN, and of 0 and 1 in TEST beside head 3."""
    heads = [draw_head(seed) for seed in range(4)]
    masks = [box(head, 70, 60, 12) for head in heads]
    first = [(f"all/{n}.png", heads[n], masks[n], "glioma") for n in range(3)]
    moved = box(heads[0], 70, 66, 12)  # 12 x 6 of 12 x 12 pixels in common: Dice 0.5
    second = [
        ("train/p.png", heads[0][:, ::-1], moved[:, ::-1], "glioma"),
        ("test/q.png", heads[0], moved, "glioma"),
        ("test/r.png", heads[1], box(heads[1], 70, 60, 24), "meningioma"),  # 144 of 144 and 576: Dice 0.4
        ("test/s.png", heads[3], masks[3], "glioma"),
    ]
    return write_dataset(tmp_path / "A", first), write_dataset(tmp_path / "B", second)


def test_what_two_datasets_share(two: tuple[Path, Path]):
    document = audit(two).document
    assert [(one["name"], one["n"], one["groups"], one["parts"]) for one in document["datasets"]] == [
        ("A", 3, 3, {"": 3}),
        ("B", 4, 3, {"TRAIN": 1, "TEST": 3}),
    ]
    assert document["groups"] == 4
    assert document["shared"] == [{"part": "B TEST", "with": "B TRAIN", "images": 1, "of": 3}]
    assert document["leakage"] == [
        "1 image of 3 in B TEST shows a slice that is in B TRAIN too",
        "2 images of 3 in B TEST show a slice that is in A too",
    ]
    (pair,) = document["across"]
    assert (pair["first"], pair["second"], pair["slices"], pair["pairs"]) == ("A", "B", 2, 3)
    counts = {(each["part"], each["with"]): (each["images"], each["of"]) for each in pair["shared"]}
    assert counts == {
        ("A", "B TRAIN"): (1, 3),
        ("A", "B TEST"): (2, 3),
        ("B TRAIN", "A"): (1, 1),
        ("B TEST", "A"): (2, 3),
    }


def test_second_outlines_and_classes(two: tuple[Path, Path]):
    result = audit(two)
    (pair,) = result.document["across"]
    agreement = pair["agreement"]
    assert (agreement["pairs"], agreement["groups"], agreement["independent_groups"]) == (2, 2, 2)
    assert agreement["effective_groups"] == 2.0
    assert agreement["dice"]["mean"] == pytest.approx(0.45, abs=0.03)  # of 0.5 and 0.4
    by_class = agreement["by"]["class"]
    assert by_class["named differently"]["dice"]["mean"] == pytest.approx(0.4, abs=0.03)
    assert agreement["by"]["plane"] == {}  # all are axial
    assert [example["first"] for example in agreement["examples"]] == ["A/all/images/1.png", "A/all/images/0.png"]
    assert pair["classes"]["compared"] == 3
    (conflict,) = pair["classes"]["conflicts"]
    assert (conflict["first_class"], conflict["second_class"]) == ("glioma", "meningioma")
    (finding,) = [each for each in result.findings if each.kind == "classes-disagree"]
    assert finding.file == "B/test/images/r.png"


MakeSurvey = Callable[..., Survey]


def outlines_of(survey: Survey, pairs: Sequence[CopyPair], tp: Mapping[int, int]) -> list[OutlinePair]:
    """Outlines of which Dice is ``tp`` hundredths or, above 100, thousandths, by the index of the pair's first case."""
    return [
        OutlinePair(
            *(case.record.case_id for case in survey.cases_of(pair)),
            group=survey.groups[pair.first],
            block=survey.blocks[pair.first],
            counts=PixelCounts(tp[pair.first], *[(1000 if tp[pair.first] > 100 else 100) - tp[pair.first]] * 2, 9),
            surface=SurfaceScores(1.0, 0.0, 0.0),
        )
        for pair in pairs
    ]


def test_agreement_is_described_by_class_plane_and_size(make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch):
    # Case n of A has a copy n + 6 in B, but 8 of A has its copy 2 in B. A pixel is 1 of 10,000 of the frame.
    areas = [199, 200, 900, 500, 0, 801, *[500] * 2, 800, *[500] * 3]
    sources = ["A", "A", "B", "A", "A", "A", "B", "B", "A", "B", "B", "B"]
    made = make_survey(links=[(n, n + 6) for n in range(6)], patients=[""] * 12, sources=sources, areas=areas)
    classes = ["glioma", "glioma", "", "", "Glioma", "", "", "meningioma", "", "", "glioma", "pituitary"]
    planes = ["axial", "axial", "", "", "", "axial", "axial", "sagittal", "", "", "", ""]
    cases = tuple(
        replace(case, record=replace(case.record, tumour_class=name, plane=plane))
        for case, name, plane in zip(made.cases, classes, planes, strict=True)
    )
    dice = {0: 90, 1: 49, 8: 50, 3: 998, 5: 0}  # 4 has no tumour; the outline of 3 was copied
    monkeypatch.setattr(across, "compare_outlines", lambda pairs, survey: outlines_of(survey, pairs, dice))
    (both,) = across.compare_datasets(replace(made, cases=cases))
    agreement = both["agreement"]
    assert (both["slices"], both["pairs"], both["copied"], agreement["pairs"]) == (6, 6, 1, 4)
    assert agreement["dice"]["mean"] == pytest.approx((0.9 + 0.49 + 0.5 + 0) / 4)
    assert agreement["below_half"] == 0.5  # 0.49 and 0
    means = {kind: {each: row["dice"]["mean"] for each, row in rows.items()} for kind, rows in agreement["by"].items()}
    assert means == {
        "class": {"glioma": 0.9, "named differently": 0.49, "pituitary": 0.0, "unnamed": 0.5},
        "plane": {"axial": 0.45, "named differently": 0.49, "unnamed": 0.5},
        "size": {"small": 0.9, "medium": pytest.approx(0.495), "large": 0.0},
    }
    assert [(each["first"], each["second"]) for each in agreement["examples"]] == [
        ("c5", "c11"),
        ("c1", "c7"),
        ("c8", "c2"),
        ("c0", "c6"),
    ]
    assert both["classes"]["compared"] == 2
    assert [(each["first"], each["second"]) for each in both["classes"]["conflicts"]] == [("c1", "c7")]


def test_blank_images_are_no_slices_of_a_dataset(make_survey: MakeSurvey):
    survey = make_survey(links=[(0, 1)], patients=[""] * 4, sources=["A"] * 4, parts=["train", "", "train", "test"])
    last = replace(survey.cases[3], thumbnail=np.zeros((96, 96), np.uint8))
    (described,) = across.describe_datasets(replace(survey, cases=(*survey.cases[:3], last)))
    assert described == {"name": "A", "n": 4, "groups": 2, "parts": {"TRAIN": 2, "TEST": 1, "": 1}}


def test_examples_go_from_the_worst_to_the_best_agreement(make_survey: MakeSurvey, monkeypatch: pytest.MonkeyPatch):
    links = [(n, n + 15) for n in range(15)]
    survey = make_survey(links=links, patients=[""] * 30, sources=["A"] * 15 + ["B"] * 15)
    dice = {n: 40 - n for n in range(15)}
    monkeypatch.setattr(across, "compare_outlines", lambda pairs, survey: outlines_of(survey, pairs, dice))
    (both,) = across.compare_datasets(survey)
    assert [each["dice"] for each in both["agreement"]["examples"]] == [n / 100 for n in range(26, 41, 2)]


def test_outlines_that_were_copied_along_do_not_count_as_agreement(draw_head: DrawHead, tmp_path: Path):
    one, other = draw_head(0), draw_head(1)
    first = [("all/0.png", one, box(one, 60, 60, 20), "glioma"), ("all/1.png", other, box(other, 60, 60, 20), "glioma")]
    again = [first[0], ("all/1.png", other, box(other, 70, 60, 20), "glioma")]  # Dice 0.5
    roots = [write_dataset(tmp_path / name, rows) for name, rows in [("A", first), ("B", again), ("C", first)]]
    some, copies, _ = audit(roots, out=tmp_path / "out").document["across"]
    assert (some["copied"], some["agreement"]["pairs"]) == (1, 1)
    assert some["agreement"]["dice"]["mean"] == pytest.approx(0.5, abs=0.03)
    assert (copies["copied"], copies["agreement"]) == (2, None)
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Annotators cannot be compared. 2 pairs of outlines left out: one is a copy of the other." in page


def test_the_page_shows_each_pair_of_datasets(two: tuple[Path, Path], tmp_path: Path):
    audit(two, out=tmp_path / "out")
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Audit of A and B" in page
    assert "outline of A" in page
    assert "they differ in 1." in page


def test_one_dataset_is_compared_with_no_other(two: tuple[Path, Path]):
    document = audit(two[0]).document
    assert document["across"] == []
    assert document["shared"] == []


def test_a_folder_is_given_once(two: tuple[Path, Path]):
    with pytest.raises(DataError, match="is given twice"):
        open_apart([two[0], two[0]])
    with pytest.raises(DataError, match="name at least one folder"):
        open_apart([])
    with pytest.raises(DataError, match=r"A/all: lies inside .*A, so its images would count twice"):
        open_apart([two[0], two[1], two[0] / "all"])
