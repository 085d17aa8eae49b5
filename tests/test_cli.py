"""The commands as a user meets them: exit codes, one clear line for each mistake, files where they were promised."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer.main

from tumortrace.cli import app
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice_file import read_slice

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands


def tumortrace(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tumortrace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def assert_one_line_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]
    assert done.stdout == ""


def test_wrong_folder(tmp_path):
    assert_one_line_error(tumortrace("train", "nowhere", cwd=tmp_path), "nowhere: no such folder")


def test_json_that_is_not_via(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text('{"hello": [1, 2]}')
    assert_one_line_error(tumortrace("train", "data", cwd=tmp_path), "a.json", "VIA")


def test_misspelt_key(phantom_data, tmp_path):
    done = tumortrace("train", phantom_data, "--set", "training.epoch=3", cwd=tmp_path)
    assert_one_line_error(done, "unknown key 'training.epoch'", "did you mean 'training.epochs'?")
    assert list(tmp_path.iterdir()) == []


def test_run_folder_without_weights(phantom_data, tmp_path):
    (tmp_path / "run" / "last").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").touch()
    assert_one_line_error(
        tumortrace("evaluate", phantom_data, "--model", "run", cwd=tmp_path), "run: training has not finished"
    )


def test_the_shipped_model_segments_and_says_its_licence(phantom_data, tmp_path):
    done = tumortrace("segment", phantom_data / "no_tumour", cwd=tmp_path)
    assert done.returncode == 0
    assert len(list((tmp_path / "tumortrace-masks").glob("*_mask.png"))) == 3
    shown = tumortrace("info", "default", cwd=tmp_path).stdout
    assert "licence of the weights: CC BY-NC-SA 4.0" in shown
    assert "not a medical device" in shown


def test_segment_sample_shows_a_mask_without_a_scan(tmp_path):
    for _ in range(2):  # what stands there from the first time is replaced
        done = tumortrace("segment", "--sample", "--out", "try", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "1 of 1 picture segmented, 1 with a tumour" in done.stdout
    names = {path.name for path in (tmp_path / "try").iterdir()}
    assert names == {"sample.png", "sample_mask.png", "sample_overlay.png", "results.json", "results.csv"}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sample.png").write_text("a user's own")
    assert_one_line_error(tumortrace("segment", "--sample", "--out", "own", cwd=tmp_path), "own/sample.png: exists")
    assert (tmp_path / "own" / "sample.png").read_text() == "a user's own"


def test_segment_sample_is_not_in_the_way_of_the_first_real_scans(phantom_data, tmp_path):
    picture = min((phantom_data / "no_tumour").iterdir())
    assert tumortrace("segment", "--sample", cwd=tmp_path).returncode == 0
    assert tumortrace("segment", picture, cwd=tmp_path).returncode == 0
    assert (tmp_path / "tumortrace-sample" / "sample_mask.png").is_file()
    assert (tmp_path / "tumortrace-masks" / f"{picture.stem}_mask.png").is_file()


def test_segment_wants_pictures_or_the_sample(phantom_data, tmp_path):
    wanted = "give pictures, folders or patterns"
    assert_one_line_error(tumortrace("segment", cwd=tmp_path), wanted)
    assert_one_line_error(tumortrace("segment", phantom_data, "--sample", cwd=tmp_path), wanted)


def test_segment_rejects_what_is_no_brain_mr_slice_and_ends_with_0(phantom_data, tiny_run, tmp_path):
    shutil.copytree(phantom_data / "no_tumour", tmp_path / "scans")
    write_png(tmp_path / "scans" / "page.png", np.full((90, 120), 255, np.uint8))
    done = tumortrace("segment", "scans", "--model", tiny_run, "--tta", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 4 pictures segmented" in done.stdout
    assert "1 rejected: no brain MR slices" in done.stdout
    assert not (tmp_path / "tumortrace-masks" / "page_mask.png").exists()


def test_segmenting_touches_no_network(phantom_data, tmp_path):
    program = (
        "import socket\n"
        "def refuse(*arguments, **options): raise AssertionError('the network was touched')\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from tumortrace.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "segment", str(phantom_data / "no_tumour"), "--overlay", "--tta"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 pictures segmented" in done.stdout


def test_part_that_the_dataset_lacks(phantom_data, tiny_run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantom_data / "VAL", data / "VAL")
    done = tumortrace("evaluate", data, "--model", tiny_run, cwd=tmp_path)
    assert_one_line_error(done, "no part 'test' here; it has: val (4)")


def test_out_inside_the_data(phantom_data, tiny_run, tmp_path):
    for command in (
        ("train", phantom_data, "--config", "smoke", "--out", phantom_data / "run"),
        ("evaluate", phantom_data, "--model", tiny_run, "--out", phantom_data / "scores"),
        ("segment", phantom_data, "--model", tiny_run, "--out", phantom_data / "masks"),
        ("convert", phantom_data, phantom_data / "masks", "--to", "masks"),
    ):
        assert_one_line_error(tumortrace(*command, cwd=tmp_path), "lies inside the data folder")


def test_resume_without_a_run_and_run_without_resume(phantom_data, tiny_run, tmp_path):
    assert_one_line_error(
        tumortrace("train", phantom_data, "--resume", "--out", "new", cwd=tmp_path), "no run to resume"
    )
    done = tumortrace("train", phantom_data, "--config", "smoke", "--out", tiny_run, cwd=tmp_path)
    assert_one_line_error(done, "holds a run already; continue it with --resume")


def test_from_a_model_that_does_not_fit_or_to_a_run_that_has_begun(phantom_data, tiny_run, tmp_path):
    done = tumortrace("train", phantom_data, "--resume", "--from", "fast", "--out", tiny_run, cwd=tmp_path)
    assert_one_line_error(done, "--resume continues from the run's own weights; omit --from")
    done = tumortrace("train", phantom_data, "--from", "nowhere", "--out", "new", cwd=tmp_path)
    assert_one_line_error(done, "nowhere: no such model")
    done = tumortrace("train", phantom_data, "--config", "smoke", "--from", "fast", "--out", "new", cwd=tmp_path)
    assert_one_line_error(done, "fast.safetensors: not the weights of this network")


def test_unknown_option_ends_with_2(tmp_path):
    done = tumortrace("segment", "x.png", "--nosuch", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert "Traceback" not in done.stderr


def test_file_where_a_folder_should_be_written(phantom_data, tiny_run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    done = tumortrace("segment", phantom_data / "no_tumour", "--model", tiny_run, "--out", "taken", cwd=tmp_path)
    assert_one_line_error(done, "taken")


def test_train_evaluate_segment_info(phantom_data, tmp_path):
    small = ["--set", "training.epochs=1", "--set", "recipe.size_hw=[32, 32]", "--set", "training.threads=1"]
    trained = tumortrace("train", phantom_data, "--config", "smoke", *small, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    run = tmp_path / "runs" / "smoke"
    expected = {"config.toml", "manifest.json", "metrics.csv", "best.safetensors", "last", "model.onnx", "losses.png"}
    assert expected <= {path.name for path in run.iterdir()}

    scored = tumortrace("evaluate", phantom_data, "--model", run, cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    scores = tmp_path / "runs" / f"smoke-{phantom_data.name}-test"
    assert {"per_image.csv", "summary.json", "comparisons", "figures", "gallery"} == {
        path.name for path in scores.iterdir()
    }
    assert json.loads((scores / "summary.json").read_text())["n"] == 5
    assert "nearest training mask" in " ".join(scored.stdout.split())

    assert "0 clean images" not in scored.stdout
    assert "5 clean images" in scored.stdout
    assert "Not a number to believe" not in scored.stdout
    learnt = tumortrace("evaluate", phantom_data, "--model", run, "--part", "train", cwd=tmp_path)
    verdict = json.loads((tmp_path / "runs" / f"smoke-{phantom_data.name}-train" / "summary.json").read_text())[
        "verdict"
    ]
    assert verdict[0].startswith("Not a number to believe: the model was trained on what it is scored on.")
    assert all(sentence in learnt.stdout for sentence in verdict)
    assert "no clean images" in learnt.stdout

    shown = tumortrace("info", run, cwd=tmp_path)
    assert shown.returncode == 0
    assert "Parameters: 120,802" in shown.stdout
    assert str(run / "network.txt") in shown.stdout.replace("\n", "")
    assert "recipe.size_hw: 32, 32" in shown.stdout


def test_evaluate_names_an_unreadable_case_and_ends_with_1(phantom_data, tiny_run, tmp_path):
    shutil.copytree(phantom_data / "TEST", tmp_path / "data" / "TEST")
    broken = min((tmp_path / "data" / "TEST").glob("*.jpg"))
    broken.write_bytes(broken.read_bytes()[:200])
    done = tumortrace("evaluate", "data", "--model", tiny_run, "--out", "scores [/new] :smile:", cwd=tmp_path)
    assert done.returncode == 1
    assert f"TEST/{broken.name}: the picture is truncated (200 bytes)" in done.stderr
    assert "Written to scores [/new] :smile:" in done.stdout
    summary = json.loads((tmp_path / "scores [/new] :smile:" / "summary.json").read_text())
    assert summary["n"] == 4
    assert [finding["kind"] for finding in summary["findings"]] == ["unreadable"]


def test_segment_names_a_broken_file_and_does_the_rest(phantom_data, tiny_run, tmp_path):
    shutil.copytree(phantom_data / "TEST", tmp_path / "scans")
    (tmp_path / "scans" / "broken.png").write_text("no picture")
    done = tumortrace("segment", "scans", "--model", tiny_run, "--overlay", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "scans/broken.png: not a picture that can be decoded; give a JPEG, PNG, TIFF, BMP, GIF or WebP file"
    ]
    results = json.loads(done.stdout)
    masks = tmp_path / "tumortrace-masks"
    assert results == json.loads((masks / "results.json").read_text())
    assert [image["status"] for image in results["images"]].count("ok") == 5
    assert results["skipped"] == ["scans/annotations_test.json"]
    for image in results["images"]:
        if image["status"] == "ok":
            mask = read_slice(masks / image["mask"]).pixels
            assert mask.shape == read_slice(tmp_path / image["file"]).size_hw
            assert set(np.unique(mask)) <= {0, 255}
            assert (masks / image["mask"].replace("_mask", "_overlay")).is_file()


@pytest.mark.usefixtures("hear_ctrl_c")
def test_interrupted_training_ends_with_130_and_goes_on_with_resume(phantom_data, tmp_path):
    settings = ["training.epochs=500", "recipe.size_hw=[32, 32]", "network.widths=[4, 8]", "training.threads=1"]
    arguments = ["train", str(phantom_data), "--config", "smoke", "--out", "run"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    running = subprocess.Popen(
        [sys.executable, "-m", "tumortrace.cli", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.strip().splitlines()[-2:] == [
        f"continue with: tumortrace train {phantom_data} --out run --resume",
        "interrupted; finished files, if any, are kept",
    ]
    assert "Traceback" not in errors

    config = tmp_path / "run" / "config.toml"
    finished = len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) - 1
    config.write_text(config.read_text().replace("epochs = 500", f"epochs = {finished + 1}"))
    resumed = tumortrace("train", phantom_data, "--resume", "--out", "run", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_convert_both_ways(phantom_data, tmp_path):
    assert tumortrace("convert", phantom_data, "masks", "--to", "masks", cwd=tmp_path).returncode == 0
    assert tumortrace("convert", "masks", "via", "--to", "via", cwd=tmp_path).returncode == 0
    assert (tmp_path / "via" / "TRAIN" / "annotations.json").is_file()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_helps_with_an_example(command, tmp_path):
    done = tumortrace(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Example: tumortrace {command}" in done.stdout


def test_audit_finds_the_leak_and_fails_only_when_asked(phantom_data, tmp_path):
    shutil.copytree(phantom_data, tmp_path / "data", ignore=shutil.ignore_patterns("no_tumour"))
    via = tmp_path / "data" / "VAL" / "annotations_val.json"
    image = min((tmp_path / "data" / "TRAIN").glob("*.jpg"))
    records = json.loads((tmp_path / "data" / "TRAIN" / "annotations_train.json").read_text())
    (record,) = (each for each in records.values() if each["filename"] == image.name)
    shutil.copy(image, tmp_path / "data" / "VAL" / "leaked.jpg")
    leaked = {**record, "filename": "leaked.jpg"}
    via.write_text(json.dumps({**json.loads(via.read_text()), "leaked": leaked}))

    done = tumortrace("audit", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "VAL images with a copy in TRAIN 1 of 5" in " ".join(done.stdout.split())
    out = tmp_path / "runs" / "data-audit"
    assert {path.name for path in out.iterdir()} == {"audit.html", "audit.json", "groups.csv", "findings.json"}
    failed = tumortrace("audit", "data", "--json", "--fail-on", "leakage", "--out", "again", cwd=tmp_path)
    assert failed.returncode == 1
    assert json.loads(failed.stdout) == json.loads((tmp_path / "again" / "audit.json").read_text())
    assert failed.stderr.splitlines()[-1] == "Failed: 1 image of 5 in VAL shows a slice that is in TRAIN too"
    clean = tumortrace("audit", phantom_data, "--fail-on", "leakage", "--out", "clean", cwd=tmp_path)
    assert clean.returncode == 0
    faults = tumortrace("audit", phantom_data, "--fail-on", "leakage, faults", "--out", "faults", cwd=tmp_path)
    assert faults.returncode == (1 if json.loads((tmp_path / "faults" / "findings.json").read_text()) else 0)
    assert_one_line_error(tumortrace("audit", "data", "--fail-on", "leaks", cwd=tmp_path), "'leaks' is none of leakage")
    assert_one_line_error(
        tumortrace("audit", "data", "--out", "data/audit", cwd=tmp_path), "lies inside the data folder"
    )


def test_split_train_evaluate_compare_report(phantom_data, tiny_run, tmp_path):
    made = tumortrace("split", phantom_data, "--folds", 3, "--out", "folds.json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "checked: no copy is on two sides. Patients were not checked: none is known" in made.stdout
    small = ["--set", "training.epochs=1", "--set", "recipe.size_hw=[32, 32]", "--set", "training.threads=1"]
    trained = tumortrace(
        "train", phantom_data, "--config", "smoke", *small, "--split", "folds.json", "--fold", 1, "--out", "run1",
        cwd=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    for number, model in ((1, "run1"), (2, tiny_run)):  # the second was trained on TRAIN, a part of which is in fold 1
        scored = tumortrace(
            "evaluate", phantom_data, "--model", model, "--split", "folds.json", "--fold", 1,
            "--out", f"scores{number}", cwd=tmp_path,
        )  # fmt: skip
        assert scored.returncode == 0, scored.stderr
        assert ("4 of 5 images show a slice that was in training as well" in scored.stdout) == (number == 2)
    compared = tumortrace("compare", "scores1", "scores2", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "scores1 - scores2" in compared.stdout
    document = json.loads(tumortrace("compare", "scores1", "scores2", "--json", cwd=tmp_path).stdout)
    assert document["names"] == ["scores1", "scores2"]
    page = tumortrace("report", "run1", "scores1", "--out", "page.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    assert_one_line_error(
        tumortrace("split", phantom_data, "--out", "run1", cwd=tmp_path), "--out run1 is a folder; name a file"
    )
    assert_one_line_error(tumortrace("train", phantom_data, "--fold", 1, cwd=tmp_path), "give its file with --split")
    assert_one_line_error(
        tumortrace("train", phantom_data, "--split", "folds.json", "--out", "x", cwd=tmp_path), "has folds 1 to 3"
    )
    assert_one_line_error(tumortrace("report", "folds.json", cwd=tmp_path), "neither a finished run nor an evaluation")


def test_crossval_scores_every_fold_and_goes_on_when_called_again(phantom_data, tmp_path):
    small = ["--set", "training.epochs=1", "--set", "recipe.size_hw=[32, 32]", "--set", "training.threads=1"]
    command = ("crossval", phantom_data, "--config", "smoke", *small, "--folds", 2, "--out", "cv")
    done = tumortrace(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all 14 images" in done.stdout
    names = {path.name for path in (tmp_path / "cv").iterdir()}
    assert {"per_image.csv", "summary.json", "split.json", "calibrated.toml", "fold-1", "fold-2", "gallery"} <= names
    summary = json.loads((tmp_path / "cv" / "summary.json").read_text())
    assert [fold["fold"] for fold in summary["folds"]] == ["1", "2"]
    again = tumortrace(*command, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("finished before") == 2
    assert json.loads((tmp_path / "cv" / "summary.json").read_text()) == summary
    assert tumortrace("report", "cv", cwd=tmp_path).returncode == 0
