"""Segmenting, scoring and asking on the command line: how a run ends early, what it says, what it will not mix."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

import tumortrace
from tumortrace import cli, errors, interruption
from tumortrace.commands.evaluate import evaluate
from tumortrace.commands.info import info
from tumortrace.commands.options import expand_home, refuse_empty
from tumortrace.commands.output import report_findings
from tumortrace.commands.segment import segment
from tumortrace.data.findings import Finding
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError, TumortraceError
from tumortrace.inference.batch.inputs import segment_inputs
from tumortrace.inference.results.results_json import PARTIAL, RESULTS, TABLE
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.slices import draw_phantom

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def write_scans(folder: Path, count: int) -> None:
    """Write one generated slice under many names."""
    write_png(folder / "0.png", draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels)
    for number in range(1, count):
        shutil.copy(folder / "0.png", folder / f"{number}.png")


def start_segmenting(cwd: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start to segment more than can be done at once; go on when two records are there.

    A signal amid the writing of a record takes that record back, so that of one there may be none.
    """
    write_scans(cwd / "scans", 600)
    command = [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks"]
    before = {
        ending: signal.signal(ending, signal.SIG_DFL) for ending in interruption.ENDINGS
    }  # the suite may run under nohup
    running = subprocess.Popen(command, cwd=cwd, **options)  # type: ignore[call-overload] # those of Popen
    for ending, handler in before.items():
        signal.signal(ending, handler)
    partial = cwd / "masks" / PARTIAL
    deadline = time.monotonic() + 120
    while not (partial.is_file() and partial.read_text().count('"file": ') > 1) and time.monotonic() < deadline:
        time.sleep(0.02)
    return running


def assert_results_name_every_mask(out: Path) -> None:
    images = json.loads((out / RESULTS).read_text())["images"]
    assert 0 < len(images) < 600
    assert {image["mask"] for image in images} == {path.name for path in out.glob("*_mask.png")}
    assert not (out / PARTIAL).exists()


# --- how a run ends early ---


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_kill_ends_like_an_interruption(name: str, tmp_path: Path):
    running = start_segmenting(tmp_path, stderr=subprocess.PIPE)
    running.send_signal(getattr(signal, name))
    running.send_signal(getattr(signal, name))  # `timeout` and shells send it twice
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.decode().strip().splitlines() == ["interrupted; finished files, if any, are kept"]
    assert_results_name_every_mask(tmp_path / "masks")


@POSIX
def test_a_closed_terminal_ends_like_an_interruption(tmp_path: Path):
    master, slave = os.openpty()
    running = start_segmenting(
        tmp_path, stdin=slave, stdout=slave, stderr=slave, preexec_fn=lambda: os.login_tty(slave), pass_fds=[slave]
    )
    os.close(slave)
    os.close(master)
    assert running.wait(timeout=60) == 130
    assert_results_name_every_mask(tmp_path / "masks")


@POSIX
def test_a_run_that_is_killed_outright_leaves_no_results_that_look_complete(tmp_path: Path):
    running = start_segmenting(tmp_path)
    running.kill()
    running.wait(timeout=60)
    assert not (tmp_path / "masks" / RESULTS).exists()


@POSIX
def test_a_second_run_into_one_folder_says_so_and_the_first_goes_on(tmp_path: Path):
    running = start_segmenting(tmp_path, stderr=subprocess.PIPE)
    command = [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks"]
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        "error: masks: another run of tumortrace is writing there; wait for its end, or choose another --out\n"
    )
    assert running.poll() is None
    running.terminate()
    running.communicate(timeout=60)
    assert_results_name_every_mask(tmp_path / "masks")


@POSIX
def test_a_full_disk_ends_in_one_line_with_all_that_was_finished(tmp_path: Path):
    """A limit on the size of files stands for the disk: the small picture's overlay fits, the large one's does not."""
    write_scans(tmp_path / "large", 1)
    whole = draw_phantom(np.random.default_rng(0), size_hw=(104, 96), kind="bright").pixels
    write_png(tmp_path / "scans/0.png", whole)
    (tmp_path / "large/0.png").rename(tmp_path / "scans/1.png")
    done = subprocess.run(
        [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks", "--overlay"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: masks/1_overlay.png: File too large; check path, permissions and disk\n"
    (image,) = json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
    assert image["file"] == "scans/0.png"
    names = {path.name for path in (tmp_path / "masks").iterdir()}
    assert names == {RESULTS, TABLE, "0_mask.png", "0_overlay.png"}


@POSIX
def test_a_thread_that_hangs_does_not_keep_an_interrupted_program(tmp_path: Path):
    """As one that reads from a dead network folder: Python itself would wait for it."""
    write_scans(tmp_path / "scans", 3)
    program = (
        "import sys, threading, time\nimport tumortrace.inference.batch.segment_picture as one\n"
        "read = one.read_slice\n"
        "def hang(path, **options):\n"
        "    if path.name == '1.png':\n        print('hangs', flush=True)\n        threading.Event().wait()\n"
        "    return read(path, **options)\n"
        "one.read_slice = hang\n"
        "from tumortrace.cli import main\nmain()\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, "segment", "scans", "--out", "masks"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "hangs\n"
    while json.loads((tmp_path / "masks" / PARTIAL).read_text())["images"] == []:
        time.sleep(0.05)
    started = time.monotonic()
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert running.returncode == 130
    assert errors.strip().splitlines() == ["interrupted; finished files, if any, are kept"]
    (image,) = json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
    assert image["file"] == "scans/0.png"


# --- what segment says ---


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """One slice, twelve pages, and a broken file."""
    write_scans(tmp_path / "scans", 1)
    for number in range(12):
        write_png(tmp_path / f"scans/page{number}.png", np.full((90, 120), 255, np.uint8))
    (tmp_path / "scans/broken.png").touch()
    return tmp_path / "scans"


def test_counts_agree_with_the_results_and_rejected_pictures_are_named(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(cli.typer.Exit):  # 1, because of the broken file
        segment([str(scans)], out=tmp_path / "masks")
    shown = capsys.readouterr().out.splitlines()
    images = json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
    review = sum(image["review"] for image in images)
    doubtful = sum(image["review"] for image in images if image["status"] == "ok")
    segmented = f"{doubtful} segmented, " if doubtful else ""
    assert shown[0] == (
        f"1 of 14 pictures segmented, 1 with a tumour; {review} to review: {segmented}12 rejected, 1 failed"
    )
    del shown[1 : 1 + 2 * doubtful]
    assert shown[1] == "12 rejected: no brain MR slices (--no-gate segments them all the same)"
    assert shown[2] == f"  {scans}/page0.png: not a brain MR slice: the picture is blank"
    assert len([line for line in shown if line.startswith(f"  {scans}")]) == 10
    assert shown[12] == "  and 2 more, all in results.json"


def test_pictures_to_review_are_named_with_their_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_scans(tmp_path / "scans", 12)
    whole = draw_phantom(np.random.default_rng(0), size_hw=(320, 272), kind="bright").pixels
    middle = round(Segmenter().predict(whole).lesions[0].centroid_xy[0])
    for number in range(12):  # cut through the tumour
        write_png(tmp_path / f"scans/cut{number}.png", whole[:, :middle] if middle > 136 else whole[:, middle:])
    segment([str(tmp_path / "scans")], out=tmp_path / "masks")
    shown = capsys.readouterr().out.splitlines()
    reasons = {
        image["file"]: image["reason"]
        for image in json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
        if image["review"] and image["status"] == "ok"
    }
    assert len(reasons) >= 12  # those that are cut
    assert shown[1] == f"{len(reasons)} segmented, to review:"
    assert shown[2:12] == [f"  {file}: {reason}" for file, reason in list(reasons.items())[:10]]
    assert shown[12] == f"  and {len(reasons) - 10} more, all in results.json"


def test_when_every_picture_is_rejected_a_line_says_so(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("0.png", "broken.png"):
        (scans / name).unlink()
    segment([str(scans)], out=tmp_path / "masks")  # ends with 0: a rejection is an answer
    assert "No picture was segmented: there is no mask." in capsys.readouterr().out.splitlines()


def test_a_stated_spacing_is_rows_first(tmp_path: Path):
    write_scans(tmp_path / "scans", 1)
    run = typer.main.get_command(cli.app)
    run(
        ["segment", str(tmp_path / "scans"), "--out", str(tmp_path / "m"), "--spacing-mm", "0.5", "0.25"],
        standalone_mode=False,
    )
    (image,) = json.loads((tmp_path / "m" / RESULTS).read_text())["images"]
    (lesion,) = image["lesions"]
    left, top, right, bottom = lesion["bbox_xyxy"]
    assert image["area_mm2"] == pytest.approx(image["area_px"] * 0.125)
    assert max(0.5 * (bottom - top), 0.25 * (right - left)) <= lesion["diameter_mm"]
    assert lesion["diameter_mm"] <= np.hypot(0.5 * (bottom - top), 0.25 * (right - left))


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_a_spacing_that_is_none_stops_the_run(tmp_path: Path, value: str):
    write_scans(tmp_path / "scans", 1)
    run = typer.main.get_command(cli.app)
    with pytest.raises(TumortraceError, match="--spacing-mm"):
        run(
            ["segment", str(tmp_path / "scans"), "--out", str(tmp_path / "m"), "--spacing-mm", "1", value],
            standalone_mode=False,
        )
    assert not (tmp_path / "m").exists()


def test_rejected_pictures_get_a_mask_without_the_gate(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (scans / "broken.png").unlink()
    segment([str(scans)], out=tmp_path / "masks")  # ends with 0, rejected pictures or not
    assert not (tmp_path / "masks/page0_mask.png").exists()
    capsys.readouterr()
    cli.typer.main.get_command(cli.app)(
        ["segment", str(scans), "--out", str(tmp_path / "masks"), "--no-gate"], standalone_mode=False
    )
    shown = capsys.readouterr().out
    assert "13 of 13 pictures segmented" in shown
    assert "--no-gate" not in shown
    assert (tmp_path / "masks/page0_mask.png").is_file()


# --- names and empty arguments ---


@POSIX
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_of_files_cannot_write_on_the_terminal(tmp_path: Path, encoding: str):
    names = ["a\n9 of 9 pictures segmented.png", "\x1b[2Jb.png", "\udce9.png", "ü.png"]
    for name in names:
        write_png(tmp_path / "page.png", np.full((90, 120), 255, np.uint8))
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "page.png").rename(tmp_path / "scans" / name)
    done = subprocess.run(
        [sys.executable, "-m", "tumortrace", "segment", "scans", "--out", "masks"],
        cwd=tmp_path, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    umlaut = "ü" if encoding == "utf-8" else "\\xfc"
    for line in (
        f"  scans/{name}: not"
        for name in ("a\\n9 of 9 pictures segmented.png", "\\x1b[2Jb.png", "\\udce9.png", f"{umlaut}.png")
    ):
        assert line in shown
    assert "\x1b" not in shown
    assert not any(line.startswith("9 of 9") for line in shown.splitlines())
    images = json.loads((tmp_path / "masks" / RESULTS).read_text())["images"]
    assert {image["file"] for image in images} == {f"scans/{name}" for name in names}


@POSIX
def test_an_error_names_the_file_as_it_is_called(tmp_path: Path):
    name = "two  spaces\n\u3000.png"
    done = subprocess.run(
        [sys.executable, "-m", "tumortrace", "segment", name], cwd=tmp_path, capture_output=True, check=False
    )
    shown = "error: two  spaces\\n\u3000.png: no such file or folder; check the path\n"
    assert (done.returncode, done.stderr.decode()) == (2, shown)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["segment", "a.png", "--out", ""], "--out"),
        (["segment", "a.png", "--out="], "--out"),
        (["segment", "a.png", "--out", "  "], "--out"),
        (["train", "data", "--out", "", "--config", "smoke"], "--out"),
        (["segment", "", "a.png"], "an argument"),
        (["segment", "a.png", "--model", ""], "--model"),
    ],
)
def test_an_empty_argument_is_refused(arguments: list[str], named: str):
    with pytest.raises(TumortraceError, match=f"^{named} is empty; give it a value, or omit it$"):
        refuse_empty(arguments)


def test_the_home_folder_is_written_out_where_the_shell_left_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    words = ["segment", "~/a.png", "@~/list.txt", "--out=~/masks", "~", "~ada/a", "a~/b", "--set=x=~/y", "./~/c"]
    assert expand_home(words) == [
        "segment", "/home/ada/a.png", "@/home/ada/list.txt", "--out=/home/ada/masks", "/home/ada",
        "~ada/a", "a~/b", "--set=x=~/y", "./~/c",
    ]  # fmt: skip


def test_other_arguments_are_not_empty():
    refuse_empty(["train", "data", "--set", "training.epochs=3", "--set=recipe.x=", "--out", "x", "--resume"])


def test_an_empty_out_ends_with_2_and_writes_nothing(tmp_path: Path):
    write_scans(tmp_path, 1)
    command = [sys.executable, "-m", "tumortrace", "segment", "0.png", "--out", ""]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: --out is empty; give it a value, or omit it\n")
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]):
    typer.main.get_command(cli.app)(["--version"], standalone_mode=False)
    assert capsys.readouterr().out == f"tumortrace {tumortrace.__version__}\n"


def test_findings_are_counted_and_shown_one_a_cause_the_worst_first(capsys: pytest.CaptureFixture[str]):
    boxes = [Finding("boxes", "warning", f"{n}.png", f"{n} of its regions are boxes", "outline it") for n in (2, 5, 7)]
    broken = Finding("unreadable", "left out", "a\nb.png", "broken", "fix it")
    report_findings(boxes[:1], listed_in=Path("findings.json"))
    report_findings([*boxes, broken], listed_in=Path("findings.json"))
    assert capsys.readouterr().err.splitlines() == [
        "1 finding in the data: 1 boxes (all in findings.json)",
        "  2.png: 2 of its regions are boxes (warning); outline it",
        "4 findings in the data: 3 boxes, 1 unreadable (all in findings.json)",
        "  a\\nb.png: broken (left out); fix it",
        "  2.png: 2 of its regions are boxes (warning); outline it (and 2 more such)",
    ]


# --- what evaluate will not mix ---


@pytest.fixture
def scored(phantom_data: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A folder that holds an evaluation of the tiny run on the part for validation."""
    evaluate(phantom_data, str(tiny_run), "val", out=tmp_path / "scores")
    return tmp_path / "scores"


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_evaluation_again_replaces_it_with_all_its_pictures(scored: Path, phantom_data: Path, tiny_run: Path):
    before = files_below(scored)
    (scored / "comparisons" / "my-notes.txt").touch()
    picture = next((scored / "comparisons").rglob("*.png"))
    picture.write_bytes(b"damaged")
    evaluate(phantom_data, str(tiny_run), "val", out=scored)
    assert files_below(scored) == before | {scored / "comparisons" / "my-notes.txt": b""}


def test_an_evaluation_of_something_else_is_left_alone(scored: Path, phantom_data: Path, tiny_run: Path):
    before = files_below(scored)
    with pytest.raises(DataError, match="scores: holds the evaluation of another dataset or part; choose another"):
        evaluate(phantom_data, str(tiny_run), "test", out=scored)
    with pytest.raises(DataError, match="scores: holds the evaluation of another model; choose another --out"):
        evaluate(phantom_data, "default", "val", out=scored)
    assert files_below(scored) == before
    (scored / "summary.json").unlink()
    with pytest.raises(DataError, match=r"scores: holds per_image\.csv but no summary\.json; choose another --out"):
        evaluate(phantom_data, str(tiny_run), "val", out=scored)


@pytest.mark.parametrize("name", ["config.toml", "model.onnx"])
def test_an_evaluation_never_goes_into_a_run(name: str, phantom_data: Path, tiny_run: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).touch()
    with pytest.raises(DataError, match=f"run: is a training run, it has {name}; choose another --out"):
        evaluate(phantom_data, str(tiny_run), "val", out=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]


# --- what info says ---


def test_info_says_a_line_a_field(tiny_run: Path, capsys: pytest.CaptureFixture[str]):
    info(str(tiny_run))
    shown = capsys.readouterr().out
    assert "\nrecipe.size_hw: 48, 32\nrecipe.pad_to_square: " in shown
    assert "\ncard.classes: background, tumour\n" in shown
    for sign in ("Recipe(", "{", "(48"):
        assert sign not in shown.split("Conv2d")[0].split("recipe.")[1]


def test_info_on_no_model_prints_nothing_but_the_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(DataError, match="nowhere: no run, model or scan"):
        info("nowhere")
    assert capsys.readouterr().out == ""


def test_a_cluster_takes_all_of_ones_own_inputs():
    with pytest.raises(TumortraceError, match="omit --sample"):
        segment(None, sample=True, ray="auto")
    with pytest.raises(TumortraceError, match="--ray is about all of your inputs; omit it, or --shard"):
        segment(["x.png"], shard="1/2", ray="auto")


@pytest.mark.parametrize("option", ["no_empty_seg", "seg_all_frames", "seg_fractional", "keep_names"])
def test_what_a_dicom_seg_holds_is_not_said_of_none(option: str):
    named = f"--{option.replace('_', '-')}"
    with pytest.raises(TumortraceError, match=rf"^{named} says what a DICOM-SEG holds, .* add --dicom-seg$"):
        segment(["x"], **{option: True})
    with pytest.raises(DataError, match="no such file"):  # past the options
        segment(["x"], dicom_seg=True, **{option: True})


@pytest.mark.parametrize(
    ("option", "value"),
    [("dicom_seg", True), ("send", "https://archive.example"), ("bids", True), ("series", "1.2"), ("keep_names", True)],
)
def test_the_sample_refuses_what_it_would_not_do(option: str, value: object):
    with pytest.raises(TumortraceError, match=rf"^--{option.replace('_', '-')} is for your own .*; omit --sample$"):
        segment(None, sample=True, **{option: value})


def test_the_address_of_a_cluster_is_checked_first(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(TumortraceError, match="ray job submit"):
        segment(["x.png"], ray="ray://head:10001")
    monkeypatch.setattr(errors.importlib.util, "find_spec", lambda _module: None)
    with pytest.raises(TumortraceError, match=r"pip install 'tumortrace\[cluster\]'$"):
        segment(["x.png"], ray="auto")


@pytest.mark.parametrize(("options", "message"), [({"sample": True}, "omit --sample"), ({"tta": True}, "omit it with")])
def test_a_box_goes_with_neither_the_sample_nor_the_mirror_image(options: dict[str, bool], message: str):
    with pytest.raises(TumortraceError, match=message):
        segment(None if "sample" in options else ["x.png"], box="1,2,30,40", **options)


def test_a_box_is_not_segmented_by_a_model_without_boxes(tmp_path: Path):
    write_scans(tmp_path / "scans", 1)
    with pytest.raises(DataError, match="fast is no model for boxes"):
        segment([str(tmp_path / "scans")], model="fast", box="1,2,30,40", out=tmp_path / "masks")


def test_pictures_alone_give_nothing_to_send(tmp_path: Path):
    write_scans(tmp_path / "scans", 1)
    with pytest.raises(DataError, match="no DICOM series, so there is nothing to send"):
        segment_inputs(str(tmp_path / "scans"), out=tmp_path / "masks", send="http://127.0.0.1:9/dicom")
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_refused(port: str):
    done = CliRunner().invoke(cli.app, ["serve", "--port", port])
    assert done.exit_code == 2
    assert "--port" in done.stderr
