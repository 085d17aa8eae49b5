"""An evaluation's folder: what is written is read back, what was changed or is not ours is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tumortrace.copies.leakage import Leak
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import DataError
from tumortrace.evaluation.evaluate import CaseScore, Evaluation
from tumortrace.evaluation.folder import (
    COLUMNS,
    claim_folder,
    comparison_path,
    figure_path,
    gallery_path,
    image_row,
    name_folders,
    read_evaluation,
    read_evaluations,
    write_evaluation,
)
from tumortrace.json_csv import write_csv
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.metrics.surface import SurfaceScores

MakeScore = Callable[..., CaseScore]

HASHES = {"TEST/a.png": "hash of TEST/a.png", "TEST/b,c.png": "hash of TEST/b,c.png"}


@pytest.fixture
def evaluation(make_score: MakeScore) -> Evaluation:
    """One clean case, and a copy of a training slice in which nothing is defined."""
    undefined = SurfaceScores(math.nan, math.nan, math.nan)
    scores = (
        make_score("TEST/a.png", PixelCounts(2, 1, 1, 96), group="g1", patient="p 7"),
        make_score(
            "TEST/b,c.png",
            PixelCounts(0, 0, 0, 100),
            group="g2",
            clean=False,
            leak=Leak("TRAIN/t.png", 0.97, "copy"),
            surface=undefined,
        ),
    )
    return Evaluation(scores, (), {"name": "m", "sha256": "5ha"}, 0.45)


@pytest.fixture
def folder(evaluation: Evaluation, tmp_path: Path) -> Path:
    write_evaluation(evaluation, tmp_path / "scores")
    return tmp_path / "scores"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a picture")
    return path


def test_the_table_holds_the_promised_columns(folder: Path):
    lines = (folder / "per_image.csv").read_text().splitlines()
    assert lines[0].startswith(
        "file,part,group,clean,tp,fp,fn,tn,precision,recall,dice,iou,nsd,hd95,confidence,assd,true_lesions,"
    )
    assert lines[1].startswith(
        "TEST/a.png,test,g1,true,2,1,1,96,0.666667,0.666667,0.666667,0.500000,0.500000,4.000000,0.500000,1.500000,1,1,"
    )
    with (folder / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["clean"] for row in rows] == ["true", "false"]
    assert (rows[1]["nearest"], rows[1]["similarity"]) == ("TRAIN/t.png", "0.970000")
    assert (rows[1]["dice"], rows[1]["hd95"], rows[0]["nearest"]) == ("", "", "")


def test_what_is_written_is_read_back(evaluation: Evaluation, folder: Path):
    stored = read_evaluation(folder, name="scores")
    for row, score in zip(stored.rows, evaluation.scores, strict=True):
        for (column, read), written in zip(asdict(row).items(), asdict(image_row(score)).values(), strict=True):
            assert read == pytest.approx(written, abs=5e-7, nan_ok=True), column
            assert type(read) is type(written), column
    assert stored.summary == json.loads((folder / "summary.json").read_text())
    assert stored.summary["table"]["rows"] == 2


def test_unknown_cleanness_is_an_empty_cell(evaluation: Evaluation, tmp_path: Path):
    unknown = tuple(replace(score, clean=None) for score in evaluation.scores)
    write_evaluation(replace(evaluation, scores=unknown), tmp_path)
    assert [row.clean for row in read_evaluation(tmp_path, name="x").rows] == [None, None]


def test_a_table_that_was_cut_short_is_refused(folder: Path):
    table = folder / "per_image.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match=r"per_image\.csv: has 1 rows, not the 2 that summary\.json was computed from"):
        read_evaluation(folder, name="scores")


@pytest.mark.parametrize("change", [lambda text: text.replace("0.666667", "0.966667"), lambda text: text + "\n"])
def test_a_table_that_was_edited_is_refused(folder: Path, change: Callable[[str], str]):
    table = folder / "per_image.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(DataError, match=r"per_image\.csv: .*that summary\.json was computed from; evaluate again"):
        read_evaluation(folder, name="scores")


def test_a_table_of_another_version_is_refused(evaluation: Evaluation, folder: Path):
    write_csv(folder / "per_image.csv", [{"file": score.file} for score in evaluation.scores], columns=["file"])
    summary = json.loads((folder / "summary.json").read_text())
    summary["table"]["sha256"] = hashlib.sha256((folder / "per_image.csv").read_bytes()).hexdigest()
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match=r"scores: not an evaluation of this version \('clean'\); evaluate again"):
        read_evaluation(folder)


def test_what_is_no_evaluation_is_one_line(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"none/summary\.json: cannot be read"):
        read_evaluation(tmp_path / "none", name="none")
    (folder / "per_image.csv").unlink()
    with pytest.raises(DataError, match=r"per_image\.csv: cannot be read"):
        read_evaluation(folder, name="scores")
    for text in ("{}", "[]", "{", '{"n": 1, "table": 3}'):
        (folder / "summary.json").write_text(text)
        touch(folder / "per_image.csv")
        with pytest.raises(DataError, match="not an evaluation of this version"):
            read_evaluation(folder, name="scores")


def test_folders_of_one_name_are_distinguished(tmp_path: Path):
    assert name_folders([tmp_path / "x" / "val", tmp_path / "y" / "val"]) == ["x/val", "y/val"]
    assert name_folders([tmp_path / "x" / "val", tmp_path / "x"]) == ["val", "x"]
    assert name_folders([Path("/val"), Path("/a/val")]) == ["/val", "a/val"]
    assert name_folders([]) == []
    with pytest.raises(DataError, match="named twice"):
        read_evaluations([tmp_path / "x" / "val", tmp_path / "y" / ".." / "x" / "val"])


def test_an_empty_folder_is_claimed_and_unfinished_until_it_is_written(evaluation: Evaluation, tmp_path: Path):
    claim_folder(tmp_path / "new", model="5ha", hashes=HASHES)
    with pytest.raises(DataError, match=r"new: the evaluation was interrupted; evaluate again"):
        read_evaluation(tmp_path / "new", name="new")
    claim_folder(tmp_path / "new", model="5ha", hashes=HASHES)  # again, after the interruption
    write_evaluation(evaluation, tmp_path / "new")
    assert len(read_evaluation(tmp_path / "new", name="new").rows) == 2


def test_the_same_evaluation_loses_its_own_pictures_and_nothing_else(folder: Path):
    own = [
        touch(path)
        for path in (
            comparison_path(folder, "TEST/a.png"),
            comparison_path(folder, "TEST/b,c.png"),
            gallery_path(folder, "TEST/a.png"),
            figure_path(folder, "best"),
        )
    ]
    notes = [touch(folder / name) for name in ("comparisons/notes.txt", "figures/mine.png", "report.html")]
    claim_folder(folder, model="5ha", hashes=HASHES)
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in notes)


def test_another_evaluation_s_folder_is_refused_and_left_alone(folder: Path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="holds the evaluation of another model"):
        claim_folder(folder, model="other", hashes=HASHES)
    with pytest.raises(DataError, match="holds the evaluation of another dataset or part"):
        claim_folder(folder, model="5ha", hashes={"TEST/a.png": "changed"})
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["per_image.csv", "gallery/x.png", "comparisons/x.png", "figures/x.png"])
def test_files_of_unknown_origin_are_refused(name: str, tmp_path: Path):
    touch(tmp_path / name)
    with pytest.raises(DataError, match=rf"holds {name.partition('/')[0]} but no summary\.json"):
        claim_folder(tmp_path, model="5ha", hashes=HASHES)


def test_a_summary_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "summary.json").write_text('{"total": 3}')
    with pytest.raises(DataError, match=r"summary\.json is not an evaluation's"):
        claim_folder(tmp_path, model="5ha", hashes=HASHES)
    assert (tmp_path / "summary.json").read_text() == '{"total": 3}'


@pytest.mark.parametrize("name", ["config.toml", "model.onnx"])
def test_a_training_run_is_refused(name: str, tmp_path: Path):
    touch(tmp_path / name)
    with pytest.raises(DataError, match=rf"is a training run, it has {name}"):
        claim_folder(tmp_path, model="5ha", hashes=HASHES)


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path):
    for place in (comparison_path, gallery_path):
        with pytest.raises(DataError, match="leads out of"):
            place(tmp_path, "../../elsewhere")


def test_the_data_hash_is_that_of_the_summary(evaluation: Evaluation, folder: Path):
    summary = read_evaluation(folder, name="x").summary
    assert summary["data"]["sha256"] == hash_part({score.file: score.sha256 for score in evaluation.scores})
    assert hash_part(HASHES) == summary["data"]["sha256"]
