"""The functions for programs: the commands' answers and errors, returned instead of printed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import tumortrace
from tumortrace.api.arguments import check_output
from tumortrace.config import Config, config_from_tables, to_toml
from tumortrace.data.cases import read_case
from tumortrace.data.geometry import rasterize_region
from tumortrace.data.png_writing import write_png
from tumortrace.errors import ConfigError, DataError
from tumortrace.inference.folder_default import write_folder_default
from tumortrace.locks import lock_folder
from tumortrace.phantoms.slices import draw_phantom

TINY = {
    "recipe": {"size_hw": [32, 32]},
    "network": {"widths": [4, 8]},
    "training": {"epochs": 1, "batch_size": 5, "keep": "last", "device": "cpu", "threads": 1},
}


@pytest.fixture
def tiny() -> Config:
    return config_from_tables(TINY)


def test_from_a_dataset_to_a_report_without_a_word(phantom_data, tiny, tmp_path, capfd):
    dataset = tumortrace.open_dataset(phantom_data)
    trained = tumortrace.train(dataset, out=tmp_path / "run", config=tiny)
    assert (trained.train_count, trained.val_count, trained.kept_epoch) == (10, 4, 1)
    scored = tumortrace.evaluate(dataset, model=tmp_path / "run", part="val", out=tmp_path / "val")
    assert scored.summary["n"] == 4
    assert "summary.json" in scored.files
    again = tumortrace.evaluate(dataset, model=str(tmp_path / "run"), part="val", out=tmp_path / "more" / "val")
    compared = tumortrace.compare([tmp_path / "val", tmp_path / "more" / "val"])
    assert all(difference.mean == 0 for difference in compared.differences)
    page = tumortrace.report([tmp_path / "run", tmp_path / "val"], out=tmp_path / "page.html")
    assert page.path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert again.summary["dice"] == scored.summary["dice"]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_run_in_the_current_folder_bears_its_name(phantom_data, tiny, tmp_path, monkeypatch):
    (tmp_path / "mine" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    assert check_output("deeper/..", phantom_data) == check_output(".", phantom_data) == tmp_path / "mine"
    run = tumortrace.train(phantom_data, out=".", config=tiny).folder
    assert tumortrace.open_model(".").name == "mine"
    assert write_folder_default(run, reason="better") == tmp_path / "tumortrace-default.json"


def test_the_folder_above_a_link_is_the_one_that_the_system_opens(phantom_data, tmp_path):
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "runs")
    assert check_output(tmp_path / "link" / "..", phantom_data) == tmp_path / "disk"


def _write_scans(folder: Path) -> Path:
    """Three scans of three slices each with their masks; the first slice of each is free of tumour."""
    rng = np.random.default_rng(3)
    for patient in ("p1", "p2", "p3"):
        phantoms = [draw_phantom(rng, size_hw=(120, 100), kind="bright") for _ in range(3)]
        marks = [np.zeros((120, 100), np.uint8)]
        marks += [rasterize_region(phantom.regions[0], (120, 100)).astype(np.uint8) for phantom in phantoms[1:]]
        for name, planes in (("t1", [phantom.pixels for phantom in phantoms]), ("seg", marks)):
            voxels = np.ascontiguousarray(np.stack(planes).T)
            path = folder / patient / f"{patient}_{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-2, -2, 5, 1])), path)
    return folder


def test_scans_with_masks_are_trained_on_scored_and_audited(tiny, tmp_path):
    data = _write_scans(tmp_path / "data")
    trained = tumortrace.train(data, out=tmp_path / "run", config=tiny)
    assert trained.train_count == 9
    scored = tumortrace.evaluate(data, model=str(tmp_path / "run"), part="all", out=tmp_path / "scores")
    assert scored.summary["n"] == 9
    assert scored.summary["false_alarms"]["tumour_free_slices"] == 3
    rows = (tmp_path / "scores" / "per_image.csv").read_text().splitlines()
    assert rows[1].startswith("p1/p1_t1/slice-000,")
    audited = tumortrace.audit(data)
    assert audited.document["n"] == 9
    divided = tumortrace.split(data, folds=3)
    sides = {(case["file"].partition("/")[0], case["side"]) for case in divided.document["cases"]}
    assert len(sides) == 3  # each patient on one side


def test_an_evaluation_without_a_folder_writes_nothing(phantom_data, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scored = tumortrace.evaluate(phantom_data, model=str(tiny_run))
    assert scored.summary["n"] == len(scored.evaluation.scores) == 5
    assert scored.files == ()
    assert list(tmp_path.iterdir()) == []


def test_audit_and_split_return_their_tables(phantom_data):
    audited = tumortrace.audit(phantom_data)
    assert audited.document["n"] == 19 + 3  # three healthy slices without annotation
    assert audited.leakage == ()
    assert {finding.kind for finding in audited.faults} == {"annotation-missing"}
    divided = tumortrace.split(phantom_data, folds=2)
    assert list(divided.split.sides) == ["1", "2"]
    assert len(divided.document["cases"]) == 14  # TEST stays out of folds
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = audited.to_pandas()
    assert list(table.columns) == ["file", "split", "group", "transform", "similarity", "nearest"]
    assert pandas.api.types.is_float_dtype(table["similarity"])
    assert list(divided.to_pandas()["side"].unique()) in (["1", "2"], ["2", "1"])


def test_an_audit_replaces_no_file_of_anyone_and_writes_beside_no_other_run(phantom_data, tmp_path):
    (tmp_path / "groups.csv").write_text("mine")
    with pytest.raises(DataError, match=r"holds groups\.csv, but no audit"):
        tumortrace.audit(phantom_data, out=tmp_path)
    assert (tmp_path / "groups.csv").read_text() == "mine"
    with lock_folder(tmp_path / "busy"), pytest.raises(DataError, match="another run of tumortrace is writing there"):
        tumortrace.audit(phantom_data, out=tmp_path / "busy")


def test_a_folder_in_use_is_refused_before_the_data_is_read(tmp_path):
    (tmp_path / "data").mkdir()  # reading it would fail
    for work in (tumortrace.train, tumortrace.crossval, tumortrace.sweep):
        with (
            lock_folder(tmp_path / "run"),
            pytest.raises(DataError, match="another run of tumortrace is writing there"),
        ):
            work(tmp_path / "data", out=tmp_path / "run")


def test_what_says_how_folders_are_opened_is_refused_for_an_open_dataset(phantom_data, tiny_run, tmp_path):
    dataset = tumortrace.open_dataset(phantom_data)
    with pytest.raises(DataError, match=r"negatives = '.*healthy' is for folders, .* give it to open_dataset"):
        tumortrace.split(dataset, negatives=tmp_path / "healthy")
    with pytest.raises(DataError, match="label = 'oedema' is for folders"):
        tumortrace.evaluate(dataset, model=tiny_run, label="oedema")
    with pytest.raises(DataError, match=r"label = 'oedema' is for .* omit it from this call and its settings"):
        tumortrace.train(dataset, out=tmp_path / "run", config="smoke", overrides=["training.label=oedema"])


def test_results_are_shown_in_a_line(phantom_data):
    dataset = tumortrace.open_dataset(phantom_data)
    assert repr(dataset).endswith(": 19 cases (train 10, val 4, test 5), 1 finding>")
    assert repr(tumortrace.audit(phantom_data)) == "<AuditResult: 22 images, 22 different slices, 1 finding>"
    assert repr(tumortrace.split(phantom_data, folds=2)) == "<SplitResult: 14 cases on 2 sides, 1 finding>"
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert dataset.to_pandas()["part"].value_counts().to_dict() == {"train": 10, "test": 5, "val": 4}


def test_one_folder_needs_no_list_around_it(tiny_run, tmp_path):
    page = tmp_path / "page.html"
    assert tumortrace.report(str(tiny_run), out=page).path == page
    with pytest.raises(DataError, match="name at least two folders"):
        tumortrace.compare(str(tiny_run))
    with pytest.raises(DataError, match="no folder to report on; give what train, evaluate or crossval wrote"):
        tumortrace.report([])


def test_results_are_frozen(phantom_data):
    audited = tumortrace.audit(phantom_data)
    with pytest.raises(dataclasses.FrozenInstanceError):
        audited.document = {}


def test_a_split_replaces_a_split_and_no_other_file(phantom_data, tmp_path):
    tumortrace.split(phantom_data, out=tmp_path / "split.json")
    again = tumortrace.split(phantom_data, folds=2, out=tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text())["cases"] == again.document["cases"]
    for name, content in (("notes.txt", "mine"), ("coco.json", '{"images": []}'), ("list.json", "[1]")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=f"{name}: exists and is no split of tumortrace"):
            tumortrace.split(phantom_data, out=tmp_path / name)
        assert (tmp_path / name).read_text() == content


def test_a_program_meets_the_checks_of_the_commands(phantom_data, tiny, tiny_run, tmp_path):
    with pytest.raises(DataError, match="lies inside the data folder"):
        tumortrace.train(phantom_data, out=phantom_data / "run", config=tiny)
    with pytest.raises(DataError, match="lies inside the data folder"):
        tumortrace.evaluate(tumortrace.open_dataset(phantom_data), model=str(tiny_run), out=phantom_data / "TEST" / "x")
    with pytest.raises(DataError, match="lies inside the data folder"):  # beside the folders of its parts
        tumortrace.split(tumortrace.open_dataset(phantom_data), out=phantom_data / "split.json")
    (tmp_path / "notes.txt").touch()
    for function in (tumortrace.train, tumortrace.audit, tumortrace.crossval, tumortrace.evaluate, tumortrace.sweep):
        with pytest.raises(DataError, match=r"notes.txt: a file, where a folder is to be"):
            function("not opened", out=tmp_path / "notes.txt")
    with pytest.raises(DataError, match="--out is empty"):
        tumortrace.audit(phantom_data, out=" ")
    with pytest.raises(DataError, match="is a training run, it has config"):
        tumortrace.evaluate(phantom_data, model=str(tiny_run), out=tiny_run)
    with pytest.raises(ConfigError, match="holds a run already"):
        tumortrace.train(phantom_data, out=tiny_run, config=tiny)
    with pytest.raises(ConfigError, match="--resume takes its settings from the run"):
        tumortrace.train(phantom_data, out=tiny_run, config=tiny, resume=True)
    with pytest.raises(ConfigError, match="give its file with --split"):
        tumortrace.train(phantom_data, out=tmp_path / "x", config=tiny, fold=1)
    with pytest.raises(ConfigError, match=r"--folds 3: --by source makes each dataset a fold; omit one of them"):
        tumortrace.crossval([phantom_data], out=tmp_path / "x", config=tiny, folds=3, by="source")
    assert not (tmp_path / "x").exists()


def test_weights_left_by_a_stopped_run_do_not_start_another(phantom_data, tiny, tiny_run, tmp_path):
    plain = tumortrace.train(phantom_data, out=tmp_path / "plain", config=tiny)
    (tmp_path / "stale").mkdir()
    # A warm start that was stopped within its first epoch leaves its weights behind.
    (tmp_path / "stale" / "config.toml").write_bytes((tmp_path / "plain" / "config.toml").read_bytes())
    (tmp_path / "stale" / "first.safetensors").write_bytes((tiny_run / "best.safetensors").read_bytes())
    fresh = tumortrace.train(phantom_data, out=tmp_path / "stale", config=tiny)
    assert np.isclose(plain.rows[0].train_loss, fresh.rows[0].train_loss, rtol=0, atol=0)


def write_two_labels(folder: Path) -> Path:
    """A picture with a square of 9 pixels labelled tumour and another one labelled skull."""
    write_png(folder / "a.png", np.full((20, 30), 90, dtype=np.uint8))
    shapes = {"tumour": (2, 4), "skull": (10, 6)}  # first column and row of a square of 4 px
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": x, "y": y, "width": 3, "height": 3},
            "region_attributes": {"label": label},
        }
        for label, (x, y) in shapes.items()
    ]
    size = (folder / "a.png").stat().st_size
    record = {"filename": "a.png", "size": size, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps({f"a.png{size}": record}))
    return folder


def test_a_label_chooses_the_regions_that_are_tumour(tmp_path):
    folder = write_two_labels(tmp_path / "data")
    united = tumortrace.open_dataset(folder)
    assert [finding.kind for finding in united.findings] == ["labels-united"]
    chosen = tumortrace.open_dataset(folder, label="tumour")
    case, _ = read_case(chosen.records[0])
    assert case.truth.sum() == 9
    assert case.truth[4:7, 2:5].all()
    with pytest.raises(DataError, match="no region is labelled 'nose'"):
        tumortrace.open_dataset(folder, label="nose")


def test_a_sweep_takes_the_label_of_its_base(tiny, tmp_path, monkeypatch):
    labelled = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, label="tumour"))
    (tmp_path / "base.toml").write_text(to_toml(labelled))
    (tmp_path / "space.toml").write_text(f"base = '{tmp_path / 'base.toml'}'\n[grid]\n'training.epochs' = [1]\n")
    opened = []
    monkeypatch.setattr("tumortrace.trials.sweep.run_sweep", lambda dataset, *_, **__: opened.append(dataset))
    data, config = write_two_labels(tmp_path / "data"), str(tmp_path / "space.toml")
    tumortrace.sweep(data, out=tmp_path / "out", config=config)
    tumortrace.sweep(data, out=tmp_path / "out", config=config, label="skull")
    truths = [read_case(dataset.records[0])[0].truth for dataset in opened]
    assert [truth.sum() for truth in truths] == [9, 9]
    assert truths[0][4:7, 2:5].all()
    assert truths[1][6:9, 10:13].all()


def test_every_name_of_the_front_door_is_documented():
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    for name in tumortrace._API:
        assert f"tumortrace.{name}" in readme, name
