"""What the n-th failing write, a kill, and a lack of room leave; ``make faults`` tries all of it."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tools.faults.commands import KILLED, WRITING, Command, make_material
from tools.faults.contents import find_left, read_content
from tools.faults.injector import Calls, Fault, find_disorder, inject
from tools.faults.limits import can_mount, try_disk, try_memory, try_read_only
from tools.faults.once import convert_once, draw_once
from tools.faults.record import Outcome, recall
from tools.faults.writes import draw_faults, judge_fault, run_undisturbed
from torch import nn

from tumortrace.files import NewFile, append_whole, make_folder, rename_folder, sync_folders_once, write_atomically
from tumortrace.reporting.figures import CasePanels, draw_cases

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

SEED = 0
COMMANDS = {command.name: command for command in (*WRITING, *KILLED)}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "material"
    make_material(folder)
    return folder


# --- the order in which names and contents reach the disk ---


def test_a_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path: Path):
    with inject(None, below=tmp_path) as calls:
        write_atomically(tmp_path / "new/x.txt", b"content")
    new, neighbour = str(tmp_path / "new"), str(tmp_path / "new/.x.txt.partial")
    assert calls.log == [
        ("mkdir", new), ("fsync", str(tmp_path)), ("open", neighbour), ("write", neighbour), ("write", neighbour),
        ("fsync", neighbour), ("rename", neighbour, f"{new}/x.txt"), ("fsync", new),
    ]  # fmt: skip
    assert find_disorder(calls) == []


def test_many_files_wait_for_their_folder_once(tmp_path: Path):
    with inject(None, below=tmp_path) as calls, sync_folders_once():
        for name in "abc":
            write_atomically(tmp_path / name, b"content")
    assert [path for kind, path, *_ in calls.log if kind == "fsync"] == [
        *(str(tmp_path / f".{name}.partial") for name in "abc"), str(tmp_path),
    ]  # fmt: skip
    assert find_disorder(calls) == []


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ([("write", "p"), ("rename", "p", "d/x"), ("fsync", "d")], "p: renamed before its content was on the disk"),
        ([("write", "p"), ("fsync", "p"), ("rename", "p", "d/x")], "d/x: its name never reached the disk"),
        (
            [("write", "p"), ("fsync", "p"), ("write", "p"), ("rename", "p", "d/x"), ("fsync", "d")],
            "p: renamed before its content was on the disk",
        ),
        (
            [("fsync", "p"), ("rename", "p", "d/m"), ("rename", "q", "d/results.json"), ("fsync", "d")],
            "d/m: its record was in place before its own name",
        ),
    ],
)
def test_another_order_is_noticed(log: list[tuple[str, ...]], said: str):
    assert find_disorder(Calls(log=log)) == [said]


def test_a_folder_is_renamed_after_all_in_it_is_on_the_disk(tmp_path: Path):
    with inject(None, below=tmp_path) as calls:
        write_atomically(tmp_path / "x.partial/a", b"content")
        rename_folder(tmp_path / "x.partial", tmp_path / "x")
    assert find_disorder(calls) == []
    assert (tmp_path / "x/a").read_bytes() == b"content"


def test_a_folder_that_cannot_be_synced_is_no_fault_and_one_that_fails_is(tmp_path: Path):
    for code, fails in ((errno.EINVAL, False), (errno.EIO, True)):
        with inject(Fault("fsync", 2, code), below=tmp_path) as calls:
            if fails:
                with pytest.raises(OSError, match=r"x\.txt"):
                    write_atomically(tmp_path / "x.txt", b"content")
            else:
                write_atomically(tmp_path / "x.txt", b"content")
        assert calls.hit
        assert (tmp_path / "x.txt").read_bytes() == b"content"


def test_of_a_piece_that_does_not_fit_nothing_stays(tmp_path: Path):
    append_whole(tmp_path / "journal", b"first\n")
    with inject(Fault("write", 1, errno.ENOSPC), below=tmp_path), pytest.raises(OSError, match="journal"):
        append_whole(tmp_path / "journal", b"second\n")
    append_whole(tmp_path / "journal", b"third\n")
    assert (tmp_path / "journal").read_bytes() == b"first\nthird\n"


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(NotADirectoryError):
            make_folder(folder)


def test_a_new_file_may_be_discarded_twice_and_after_its_renaming(tmp_path: Path):
    file = NewFile(tmp_path / "x")
    file.write(b"abcdef", at=0)
    file.write(b"XY", at=1)
    file.put_in_place()
    file.discard()
    file.discard()
    assert (tmp_path / "x").read_bytes() == b"aXY"


# --- commands whose writes fail ---


@pytest.mark.parametrize(
    ("name", "count"),
    [("segment", 3), ("segment over older masks", 2), ("convert to masks", 4), ("convert to coco", 3), ("train", 1)],
)
def test_a_failing_write_leaves_old_or_new_and_one_line_and_a_repeat_ends_as_without(
    material: Path, tmp_path: Path, name: str, count: int
):
    plain = run_undisturbed(COMMANDS[name], material, tmp_path)
    for fault in draw_faults(plain.calls, count=count, seed=SEED):
        assert judge_fault(COMMANDS[name], fault, plain, material=material, place=tmp_path) == [], fault


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("segment", Fault("write", 5, errno.ENOSPC, lasting=True)),  # results.json, which cannot be made whole again
        ("convert to masks", Fault("write", 27, errno.ENOSPC, lasting=True)),  # a mask that the journal names
        ("evaluate", Fault("rename", 2, errno.EIO)),
        ("export", Fault("fsync", 1, errno.EIO)),
    ],
)  # fmt: skip
def test_faults_that_were_found_once_leave_nothing_wrong(material: Path, tmp_path: Path, name: str, fault: Fault):
    command = COMMANDS[name]
    plain = run_undisturbed(command, material, tmp_path)
    assert judge_fault(command, fault, plain, material=material, place=tmp_path) == []


def test_some_kills_of_some_commands_are_forgotten_by_a_repeat(material: Path, tmp_path: Path):
    words = ["--only", "kills", "--kills", "2", "--calls", "3", "--command", "convert to masks", "--command", "prepare"]
    words += ["--material", str(material)]
    done = subprocess.run(
        [sys.executable, "-m", "tools.faults", *words],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is wrong." in done.stdout


def test_only_a_run_that_has_begun_is_continued(tmp_path: Path):
    train, out = COMMANDS["train"], tmp_path / "out"
    assert "--resume" not in train.next_words(out)
    out.mkdir()
    (out / "config.toml").touch()  # a run that failed before its first epoch
    assert "--resume" not in train.next_words(out)
    (out / "last").mkdir()
    (out / "last/checkpoint.safetensors").touch()
    assert "--resume" in train.next_words(out)


def test_equal_networks_are_converted_once_and_equal_cases_drawn_once():
    given, panel = [], CasePanels("a", np.zeros((4, 5)), np.ones((4, 5), bool), np.ones((4, 5), bool))

    def make(*arguments: object, **_: object) -> onnx.ModelProto:
        given.append(arguments)
        return onnx.ModelProto(producer_name="made")

    convert, networks = convert_once(make), [nn.Linear(1, 2), nn.Linear(1, 2)]
    models = [convert(network, (torch.zeros(1, 1),)) for network in (networks[0], networks[0], networks[1])]
    assert len(given) == 2
    models[0].producer_name = "changed"
    assert [model.producer_name for model in models] == ["changed", "made", "made"]
    figures = [draw_cases([panel], title="T"), draw_once(draw_cases)([panel], title="T")]
    pictures = [io.BytesIO() for _ in range(3)]
    for figure, buffer in zip((*figures, figures[1]), pictures, strict=True):
        figure.savefig(buffer, format="png")
    assert pictures[0].getvalue() == pictures[1].getvalue() == pictures[2].getvalue()


@pytest.mark.parametrize("name", ["x.json", "x.csv", "x.safetensors"])
def test_a_damaged_file_has_the_content_of_its_bytes(tmp_path: Path, name: str):
    contents = set()
    for data in (b"\xff damaged", b"\xff damaged too"):
        (tmp_path / name).write_bytes(data)
        contents.add(read_content(tmp_path / name))
    assert len(contents) == 2


def test_what_a_record_holds_is_not_tried_again(tmp_path: Path):
    outcomes = iter([Outcome(2, ["x: differs"]), Outcome(1, [])])
    for _ in range(2):
        assert recall(tmp_path / "record.json", "kills, split, time 0", lambda: next(outcomes)) == Outcome(
            2, ["x: differs"]
        )
    assert recall(tmp_path / "record.json", "kills, split, time 1", lambda: next(outcomes)) == Outcome(1, [])
    assert recall(None, "kills, split, time 1", lambda: Outcome(3, [])) == Outcome(3, [])


# --- no room ---


def test_segment_with_little_memory_says_so_in_one_line(material: Path, tmp_path: Path):
    ends = [try_memory(COMMANDS["segment"], mib, material, tmp_path) for mib in (300, 1700)]
    assert [(end.done, end.wrong) for end in ends] == [(False, ""), (True, "")]


@pytest.mark.skipif(not can_mount(), reason="this process may not mount a small disk")
def test_a_full_disk_and_a_read_only_folder_are_one_line(material: Path, tmp_path: Path):
    convert: Command = COMMANDS["convert to masks"]
    ends = [try_disk(convert, 8, material, tmp_path), try_read_only(convert, material, tmp_path)]
    assert [(end.done, end.wrong) for end in ends] == [(False, ""), (False, "")]
    shutil.rmtree(tmp_path / "out")
    assert find_left(tmp_path) == []
