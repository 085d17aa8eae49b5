"""The report: what a reader must find on the page, whatever folders it is made from; and nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from markupsafe import escape
from matplotlib.figure import Figure

import tumortrace
from tumortrace.data.findings import Finding
from tumortrace.errors import DataError, TumortraceError
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.inference.model import open_model
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.reporting import evaluation_sections, side_by_side
from tumortrace.reporting.page import write_report
from tumortrace.reporting.run_sections import find_runs

MakeScore = Callable[..., CaseScore]


@pytest.fixture(scope="module")
def scores(tiny_run: Path, phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "tiny-test"
    tumortrace.evaluate(phantom_data, model=open_model(str(tiny_run), threads=1), out=out)
    return out


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def sections(page: str) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", page)


def test_a_run_and_its_evaluation_fill_every_section(tiny_run: Path, scores: Path, tmp_path: Path):
    assert write_report([tiny_run, scores], tmp_path / "report.html") == []
    page = read(tmp_path / "report.html")
    assert headings(page) == ["tiny-test", "tiny"]
    assert sections(page) == [
        "The number to believe, from few images", "In one picture", "Gallery, worst first", "All metrics",
        "Lesions and false alarms", "Subgroups", "Calibration and review", "Faults of the data", "Model",
        "Training curves", "Training data", "Settings", "Manifest",
    ]  # fmt: skip
    links = re.findall(r'<a href="#.*?">(.*?)</a>', page)
    assert links == ["tiny-test", *sections(page)[:9], "tiny", *sections(page)[9:]]
    assert "mean Dice on 5 clean images" in page
    assert page.count("Four panels of TEST/") == 5
    assert "learning_rate = 0.003" in page
    assert "Research software, not a medical device" in page


def test_a_page_that_shows_the_run_does_not_ask_for_it(tiny_run: Path, scores: Path, tmp_path: Path):
    words = "if you have it, report on it as well."
    for folders, asks in (([scores], True), ([tiny_run, scores], False)):
        write_report(folders, tmp_path / "page.html")
        assert (words in (tmp_path / "page.html").read_text()) == asks


def test_the_page_asks_nothing_of_anyone(tiny_run: Path, scores: Path, tmp_path: Path):
    write_report([tiny_run, scores], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', page))
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', page))
    for outside in ("<script", "<link", "@import", "url(", "http"):
        assert outside not in re.sub(r'src="data:[^"]*"', "", page)


def test_the_same_folders_give_the_same_bytes(scores: Path, tmp_path: Path):
    pages = []
    for name in ("one.html", "two.html"):
        write_report([scores], tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_the_colours_of_the_student_paper_are_an_option(scores: Path, tmp_path: Path):
    write_report([scores], tmp_path / "safe.html")
    write_report([scores], tmp_path / "report.html", colours="paper")
    assert "yellow: tumour, found" in read(tmp_path / "safe.html")
    assert "white: tumour, found" in read(tmp_path / "report.html")
    assert read(tmp_path / "safe.html") != read(tmp_path / "report.html")


def test_several_evaluations_stand_side_by_side(scores: Path, tmp_path: Path):
    shutil.copytree(scores, tmp_path / "again")
    write_report([scores, tmp_path / "again"], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert headings(page) == ["Side by side", "tiny-test", "again"]
    assert "All on the same 5 images, clean for every model." in page


def test_evaluations_in_folders_of_one_name_are_distinguished(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folders = [tmp_path / "first" / "val", tmp_path / "second" / "val"]
    for folder in folders:
        shutil.copytree(scores, folder)
    drawn: list[str] = []
    monkeypatch.setattr(
        side_by_side, "draw_dots", lambda dots, **_: drawn.extend(dot.label for dot in dots) or Figure()
    )
    write_report(folders, tmp_path / "both.html")
    assert headings(read(tmp_path / "both.html")) == ["Side by side", "first/val", "second/val"]
    assert drawn == ["first/val", "second/val"]
    with pytest.raises(DataError, match="named twice"):
        write_report([folders[0], folders[0]], tmp_path / "both.html")


def test_the_page_and_the_summary_hold_the_same_verdict(scores: Path, tmp_path: Path):
    write_report([scores], tmp_path / "report.html")
    page, summary = read(tmp_path / "report.html"), json.loads((scores / "summary.json").read_text())
    assert summary["verdict"]
    for sentence in summary["verdict"]:
        assert f"<p>{escape(sentence)}</p>" in page


def test_images_that_are_all_clean_stand_there_once(scores: Path, tmp_path: Path):
    write_report([scores], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert "all 5 images, all clean" in page
    assert page.count('<td class="text">recall</td>') == 1


def test_a_report_never_replaces_the_evaluation_it_is_made_from(scores: Path, tmp_path: Path):
    before = {path: path.read_bytes() for path in scores.rglob("*") if path.is_file()}
    for name in ("summary.json", "per_image.csv", "page.pdf"):
        with pytest.raises(DataError, match=r"must end in \.html"):
            write_report([scores], scores / name)
    notes = tmp_path / "notes.html"
    notes.write_text("<p>mine</p>")
    with pytest.raises(DataError, match="not a page that tumortrace wrote"):
        write_report([scores], notes)
    assert notes.read_text() == "<p>mine</p>"
    assert {path: path.read_bytes() for path in scores.rglob("*") if path.is_file()} == before


def test_a_cut_table_is_refused(scores: Path, tmp_path: Path):
    shutil.copytree(scores, tmp_path / "cut")
    table = tmp_path / "cut" / "per_image.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match=r"per_image\.csv: has 1 rows, not the 5"):
        write_report([tmp_path / "cut"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_title_names_every_model(tiny_run: Path, make_score: MakeScore, scores: Path, tmp_path: Path):
    other = write_scores(tmp_path / "other", make_score)
    for folders, title in (
        ([scores], "Report on tiny"),
        ([tiny_run, scores], "Report on tiny"),
        ([scores, other], "Report on tiny and &lt;i&gt;m&lt;/i&gt;"),
        ([tiny_run], "Report on training of tiny"),
    ):
        write_report(folders, tmp_path / "report.html")
        assert f"<h1>{title}</h1>" in read(tmp_path / "report.html")


def test_a_run_alone_has_no_scores_and_says_so(tiny_run: Path, tmp_path: Path):
    (line,) = write_report([tiny_run], tmp_path / "report.html")
    assert "no evaluation among the folders" in line
    assert headings(read(tmp_path / "report.html")) == [
        "Training curves", "Training data", "Settings", "Manifest",
    ]  # fmt: skip


def test_ten_folds_come_in_their_order(tmp_path: Path):
    for number in range(1, 11):
        (tmp_path / f"fold-{number}").mkdir()
        (tmp_path / f"fold-{number}" / "manifest.json").touch()
    assert [*find_runs(tmp_path, "cv")] == [f"fold-{number}" for number in range(1, 11)]


def test_settings_that_are_gone_are_one_line(tiny_run: Path, tmp_path: Path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run" / "config.toml").unlink()
    with pytest.raises(TumortraceError, match=r"config\.toml"):
        write_report([tmp_path / "run"], tmp_path / "report.html")


def write_scores(folder: Path, make_score: MakeScore, **fields: object) -> Path:
    scores = tuple(make_score(f"<b>y{i}</b>", PixelCounts(i, 1, 1, 90), **fields) for i in range(5))
    finding = Finding("image-missing", "left out", "<script>alert(1)</script>", "none & nothing", "add it")
    write_evaluation(Evaluation(scores, (finding,), {"name": "<i>m</i>", "sha256": ""}, 0.5), folder)
    return folder


def test_names_are_text_and_never_markup(make_score: MakeScore, tmp_path: Path):
    write_report([write_scores(tmp_path / "scores", make_score)], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert "<script" not in page
    assert "<i>m</i>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "none &amp; nothing" in page


@pytest.mark.parametrize(
    ("clean", "heading", "words"),
    [
        (True, "The number to believe, from few images", "Only 5 images are clean"),
        (False, "Not a number to believe: no image is clean", "the model was trained on what it is scored on"),
        (
            None,
            "Not a number to believe: it is unknown which images are clean",
            "Not a number to believe: cannot check for training copies: training.npz is missing",
        ),
    ],
)
def test_the_headline_says_what_the_number_is_worth(
    make_score: MakeScore, tmp_path: Path, clean: bool | None, heading: str, words: str  # noqa: FBT001 - a parameter
):  # fmt: skip
    write_report([write_scores(tmp_path / "scores", make_score, clean=clean)], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert headings(page)[0] == heading
    assert words in page


def test_the_headline_counts_the_groups_behind_its_number(make_score: MakeScore, tmp_path: Path):
    leaked = [make_score(f"y{i}", PixelCounts(i, 1, 1, 90), clean=False) for i in range(3)]
    clean = [make_score(f"z{i}", PixelCounts(9, 1, 1, 90), group="one patient") for i in range(2)]
    scores = (*leaked, *clean)  # 5 images in 4 groups, of which the 2 clean ones are one
    write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": ""}, 0.5), tmp_path / "scores")
    write_report([tmp_path / "scores"], tmp_path / "report.html")
    boxes = re.findall(r"<div><b>(.*?)</b><span>(.*?)</span></div>", read(tmp_path / "report.html"))
    assert boxes[1:] == [("2", "of 5 scored images behind this number"), ("1", "group of copies and patients")]


def test_images_and_patients_without_a_dice_are_behind_no_number(make_score: MakeScore, tmp_path: Path):
    ill = [make_score(f"y{i}", PixelCounts(9, 1, 1, 90), patient="p", group="p") for i in range(2)]
    healthy = [make_score(f"z{i}", PixelCounts(0, 0, 0, 100), patient=f"q{i}", group=f"q{i}") for i in range(3)]
    write_evaluation(Evaluation((*ill, *healthy), (), {"name": "m", "sha256": ""}, 0.5), tmp_path / "scores")
    write_report([tmp_path / "scores"], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert re.findall(r"<b>(.*?)</b><span>mean Dice on 2 of (.*?), 95", page) == [("0.900", "5 clean images")]
    assert "<b>2</b><span>of 5 scored images behind this number</span>" in page
    assert "<b>1</b><span>group of copies and patients</span>" in page
    assert "Dice over all pixels of a patient, mean over 1 patient: 0.900" in page
    write_evaluation(Evaluation(tuple(healthy), (), {"name": "m", "sha256": ""}, 0.5), tmp_path / "healthy")
    write_report([tmp_path / "healthy"], tmp_path / "healthy.html")
    assert "Dice over all pixels of a patient" not in read(tmp_path / "healthy.html")


def test_a_model_without_a_temperature_has_no_calibration_before_it(scores: Path, tmp_path: Path):
    shutil.copytree(scores, tmp_path / "scores")
    summary = json.loads((path := tmp_path / "scores" / "summary.json").read_text())
    summary["calibration"] |= {"ece": 0.0244, "ece_before": 0.0366}
    for temperature, words in ((1.0, ". "), (1.5, " (0.037 before the temperature of 1.50). ")):
        summary["calibration"]["temperature"] = temperature
        path.write_text(json.dumps(summary))
        write_report([tmp_path / "scores"], tmp_path / "report.html")
        assert f"by 0.024 on average over 15 ranges of probability{words}" in read(tmp_path / "report.html")


def test_sections_that_count_training_images_say_so(make_score: MakeScore, tmp_path: Path):
    scores = tuple(make_score(f"y{i}", PixelCounts(9, 1, 1, 90), clean=i > 0) for i in range(3))
    for listed, times in ((scores, 3), (scores[1:], 0)):  # lesions, subgroups, calibration
        write_evaluation(Evaluation(listed, (), {"name": "m", "sha256": ""}, 0.5), tmp_path / f"{times}")
        write_report([tmp_path / f"{times}"], tmp_path / "report.html")
        words = "On 3 images; 1 of them shares a slice or a patient with the training slices."
        assert read(tmp_path / "report.html").count(words) == times


def test_tumour_free_images_are_no_subgroup_with_a_dice(
    make_score: MakeScore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counts = {
        "a": (1, 0, 0, 99),
        "b": (5, 0, 0, 95),
        "c": (0, 0, 0, 100),
        "d": (0, 9, 0, 91),
    }  # small, medium, two free
    planes = {"a": "axial", "b": "coronal", "c": "coronal", "d": "coronal"}
    scores = tuple(make_score(name, PixelCounts(*each), plane=planes[name]) for name, each in counts.items())
    write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": ""}, 0.5), tmp_path / "scores")
    drawn: dict[str, list[str]] = {}
    monkeypatch.setattr(
        evaluation_sections,
        "draw_dot_groups",
        lambda groups, **_: (
            drawn.update({title: [dot.label for dot in dots] for title, dots in groups.items()}) or Figure()
        ),
    )
    write_report([tmp_path / "scores"], tmp_path / "report.html")
    assert drawn["tumour size"] == ["small (< 2%) (n 1)", "medium (n 1)"]
    assert drawn["plane"] == ["axial (n 1)", "coronal (n 2)"]  # the false alarm counts, the empty one not


def test_the_bad_masks_that_a_review_catches_are_counted(make_score: MakeScore, tmp_path: Path):
    """Of ten masks, two have a Dice of 0.2; one of these is among the least confident two."""
    bad = {0: 0.1, 5: 0.95}
    scores = tuple(
        make_score(
            f"y{i}", PixelCounts(*((1, 4, 4, 91) if i in bad else (9, 1, 1, 89))), confidence=bad.get(i, 0.9 - i / 50)
        )
        for i in range(10)
    )
    write_evaluation(Evaluation(scores, (), {"name": "m", "sha256": ""}, 0.5), tmp_path / "scores")
    write_report([tmp_path / "scores"], tmp_path / "report.html")
    words = "Reviewing the least confident 20 % of the masks catches 1 of 2 masks with a Dice below 0.5."
    assert words in read(tmp_path / "report.html")


def test_a_cross_validation_names_the_temperatures_of_its_folds(make_score: MakeScore, tmp_path: Path):
    scores = tuple(make_score(f"y{i}", PixelCounts(9, 1, 1, 90), fold=str(i)) for i in (1, 2))
    evaluation = Evaluation(scores, (), {"name": "m", "sha256": ""}, 0.5, temperature=1.3)
    for folds, words in (([], "the temperature of 1.30"), ([{"fold": "1"}], "each fold&#39;s temperature")):
        write_evaluation(evaluation, tmp_path / "scores", folds=folds)
        write_report([tmp_path / "scores"], tmp_path / "report.html")
        assert f" before {words})" in read(tmp_path / "report.html")


def test_a_model_below_a_lookup_table_is_told_so(make_score: MakeScore, tmp_path: Path):
    better = {"all_background": PixelCounts(0, 0, 5, 87), "nearest_training_mask": PixelCounts(50, 0, 0, 42)}
    write_report([write_scores(tmp_path / "scores", make_score, baselines=better)], tmp_path / "report.html")
    text = read(tmp_path / "report.html")
    assert "is below the best prediction without a network (nearest training mask: 1.000)" in text


def test_pictures_that_do_not_fit_are_left_out(scores: Path, tmp_path: Path):
    shutil.copytree(scores, tmp_path / "scores")
    first, second, *_ = sorted((tmp_path / "scores" / "gallery").rglob("*.png"))
    first.write_bytes(b"no picture")
    cv2.imwrite(str(second), np.zeros((3, 4), dtype=np.uint8))
    write_report([tmp_path / "scores"], tmp_path / "report.html")
    assert read(tmp_path / "report.html").count("Four panels of TEST/") == 3


def test_folders_that_are_nothing_to_report_on(tmp_path: Path, make_score: MakeScore):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a finished run nor an evaluation"):
        write_report([tmp_path / "empty"], tmp_path / "report.html")
    with pytest.raises(DataError, match="nosuch: no such folder; give what"):
        write_report([tmp_path / "nosuch"], tmp_path / "report.html")
    folder = write_scores(tmp_path / "scores", make_score)
    (folder / "per_image.csv").unlink()
    with pytest.raises(DataError, match=r"per_image\.csv: cannot be read"):
        write_report([folder], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
