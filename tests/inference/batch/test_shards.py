"""Shards give what the single run gives, byte for byte, and go on where they were killed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumortrace.config import Recipe
from tumortrace.data.png_writing import write_png
from tumortrace.errors import DataError
from tumortrace.inference.batch import shards
from tumortrace.inference.batch.find_inputs import Inputs, find_inputs
from tumortrace.inference.batch.folder import CLUSTER_WORK, segment_all
from tumortrace.inference.batch.journal import JournalWriter
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.shards import Shard, read_shard, segment_shard
from tumortrace.inference.batch.units import Units, segment_unit
from tumortrace.inference.model import Model
from tumortrace.inference.results.tally import SegmentSummary
from tumortrace.inference.segmenter import Segmenter
from tumortrace.locks import lock_folder

SIZE_HW = (20, 24)
OVERLAYS = SegmentSettings(overlay=True)

WriteSeries = Callable[..., list[Any]]


def draw(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of 20 x 24 pixels that passes the gate of nobody, with a bright block whose place is the number."""
    pixels = np.full(SIZE_HW, 10 + number, dtype=np.uint8)
    pixels[2 + number : 7 + number, 5:12] = 200
    return pixels


@pytest.fixture
def segmenter(open_hand_model: Callable[..., Model]) -> Segmenter:
    """Calls what is bright tumour; rejects only what is blank."""
    return Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.55)), threads=1, gate=False)


@pytest.fixture
def scans(tmp_path: Path, write_series: WriteSeries) -> Path:
    """Five pictures of which two collide in name, a broken one, a mask of ours, a refused scan and two volumes."""
    folder = tmp_path / "scans"
    for number in range(4):
        write_png(folder / f"{number}.png", draw(number))
    shutil.copy(folder / "0.png", folder / "0.bmp")
    (folder / "broken.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "refused.nii").write_bytes(b"no scan")
    (folder / "notes.txt").write_text("none")
    write_series(folder / "series", np.stack([draw(1), draw(1), draw(2)]).astype(np.uint16))
    write_series(folder / "tilted", np.stack([draw(3), draw(3)]).astype(np.uint16), "coronal")
    return folder


@pytest.fixture
def inputs(scans: Path, segmenter: Segmenter, tmp_path: Path) -> Inputs:
    """All of it, with a mask of ours that only its content shows."""
    drawn = find_inputs([str(scans / "2.png")])
    segment_all(segmenter, drawn, out=tmp_path / "earlier")
    shutil.copy(tmp_path / "earlier/2_mask.png", scans / "2b.png")
    return find_inputs([str(scans)])


def read_all(out: Path) -> dict[str, bytes]:
    """All files of a folder but journals, without the measured seconds."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    contents = {name: path.read_bytes() for name, path in files.items() if path.suffix != ".jsonl"}
    contents["results.json"] = re.sub(rb'"seconds": [\d.e-]+', b"", contents["results.json"])
    rows = contents["results.csv"].decode().splitlines()
    contents["results.csv"] = "\n".join(re.sub(r",[\d.e-]*(,\d*,)$", r"\1", row) for row in rows).encode()
    return contents


def run(segmenter: Segmenter, inputs: Inputs, index: int, count: int, out: Path) -> SegmentSummary:
    return segment_shard(segmenter, inputs, Shard(index, count), out=out, settings=OVERLAYS)


def taken(summary: SegmentSummary) -> int:
    assert summary.shard is not None
    return summary.shard.taken


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_all_shards_together_are_the_single_run(tmp_path: Path, segmenter: Segmenter, inputs: Inputs, count: int):
    single = segment_all(segmenter, inputs, out=tmp_path / "single", settings=OVERLAYS)
    order = np.random.default_rng(count).permutation(count)
    summaries = [run(segmenter, inputs, int(at) + 1, count, tmp_path / "shards") for at in order]
    expected = read_all(tmp_path / "single")
    assert read_all(tmp_path / "shards") == expected
    assert len(Units(inputs)) == len(inputs.pictures) + 3
    assert {"0.png_mask.png", "0.bmp_mask.png", "series_mask.nii.gz", "tilted_overlay.png"} <= expected.keys()
    totals = [(one.ok, one.failed, one.volumes.ok, one.volumes.failed, one.slices) for one in summaries]
    assert tuple(map(sum, zip(*totals, strict=True))) == (5, 1, 2, 1, 5)
    assert (single.ok, single.failed, single.volumes.ok, single.volumes.failed, single.slices) == (5, 1, 2, 1, 5)
    assert [one.shard.unfinished == () for one in summaries if one.shard] == [False] * (count - 1) + [True]
    assert not list((tmp_path / "shards").glob(".*"))


def test_a_unit_alone_gives_what_the_run_gives(tmp_path: Path, segmenter: Segmenter, inputs: Inputs):
    """What a worker on another machine does."""
    segment_all(segmenter, inputs, out=tmp_path / "out", settings=OVERLAYS)
    files: dict[str, bytes] = {}
    for unit in Units(inputs):
        files |= segment_unit(segmenter, unit, OVERLAYS).files
    written = read_all(tmp_path / "out")
    tables = {"results.json", "results.csv", "volumes.csv", "lesions.csv"}
    assert files == {name: data for name, data in written.items() if name not in tables}


def test_a_repeat_takes_everything_over_but_failures_and_changes_nothing(
    tmp_path: Path, segmenter: Segmenter, inputs: Inputs
):
    for index in (1, 2):
        run(segmenter, inputs, index, 2, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = [run(segmenter, inputs, index, 2, tmp_path / "out") for index in (1, 2)]
    assert sum(map(taken, again)) == len(Units(inputs)) - 2  # the broken picture and the refused scan are tried again
    assert read_all(tmp_path / "out").keys() <= before.keys()
    assert (tmp_path / "out/1_mask.png").read_bytes() == before["1_mask.png"]
    single = run(segmenter, inputs, 1, 1, tmp_path / "out")  # another number of shards takes over too
    assert taken(single) == len(Units(inputs)) - 2
    assert [path.name for path in (tmp_path / "out").glob("*.jsonl")] == ["results-1-of-1.jsonl"]


@pytest.mark.parametrize("change", ["mask", "content", "model", "settings", "touched", "moved"])
def test_only_what_is_still_true_is_taken_over(
    tmp_path: Path, segmenter: Segmenter, open_hand_model: Callable[..., Model], change: str
):
    for number in range(3):
        write_png(tmp_path / f"s/{number}.png", draw(number))
    out, settings = tmp_path / "out", SegmentSettings()
    segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(1, 1), out=out)
    expected = 2
    if change == "mask":
        (out / "1_mask.png").unlink()
    elif change == "content":
        stat = (tmp_path / "s/1.png").stat()
        data = bytearray((tmp_path / "s/1.png").read_bytes())
        data[-1] ^= 1  # the same size; the decoder does not look there
        (tmp_path / "s/1.png").write_bytes(data)
        os.utime(tmp_path / "s/1.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    elif change == "model":
        segmenter, expected = Segmenter(open_hand_model(Recipe(SIZE_HW, threshold=0.6)), threads=1, gate=False), 0
    elif change == "settings":
        settings, expected = SegmentSettings(spacing_mm=(1.0, 1.0)), 0
    elif change == "touched":
        (tmp_path / "s/1.png").touch()
        expected = 3
    else:
        write_png(tmp_path / "s/0a.png", draw(5))  # numbers move, records stay true
        expected = 3
    summary = segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(1, 1), out=out, settings=settings)
    assert taken(summary) == expected
    segment_all(segmenter, find_inputs([str(tmp_path / "s")]), out=tmp_path / "single", settings=settings)
    assert read_all(out) == read_all(tmp_path / "single")


def test_killed_at_any_record_the_shards_go_on(
    tmp_path: Path, segmenter: Segmenter, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
):
    """A kill leaves a cut last line, or a mask without a line."""
    segment_all(segmenter, inputs, out=tmp_path / "single", settings=OVERLAYS)
    append = JournalWriter._append
    rng = np.random.default_rng(0)

    class KilledError(BaseException):
        pass

    def die(self: JournalWriter, document: dict[str, Any]) -> None:
        if rng.random() < 0.3:
            line = json.dumps(document).encode() + b"\n"
            with self._index.path.open("ab") as file:
                file.write(line[: rng.integers(len(line))])
            raise KilledError
        append(self, document)

    monkeypatch.setattr(JournalWriter, "_append", die)
    monkeypatch.setattr("tumortrace.inference.batch.folder.remove_files", lambda *_: None)  # as if killed
    kills, seen = 0, []
    for index in (1, 2) * 50:
        try:
            seen.append(taken(run(segmenter, inputs, index, 2, tmp_path / "shards")))
        except KilledError:
            kills += 1
        if (tmp_path / "shards/results.json").exists():
            break
    assert kills > 3
    assert max(seen) > 0
    assert read_all(tmp_path / "shards") == read_all(tmp_path / "single")


def test_records_of_other_inputs_are_never_merged(tmp_path: Path, segmenter: Segmenter):
    for number in range(3):
        write_png(tmp_path / f"s/{number}.png", draw(number))
    out = tmp_path / "out"
    segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(1, 2), out=out)
    write_png(tmp_path / "s/0a.png", draw(5))
    second = segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(2, 2), out=out)
    assert second.shard is not None
    assert second.shard.unfinished == (1,)
    assert not (out / "results.json").exists()
    segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(1, 2), out=out)
    segment_all(segmenter, find_inputs([str(tmp_path / "s")]), out=tmp_path / "single")
    assert read_all(out) == read_all(tmp_path / "single")


def test_a_record_that_another_run_renewed_replaces_the_shards_own(tmp_path: Path, segmenter: Segmenter):
    """A shard of two is stopped, the picture is edited, and a shard of three does it again before the two go on."""
    for number in range(2):
        write_png(tmp_path / f"s/{number}.png", draw(number))
    found, out = find_inputs([str(tmp_path / "s")]), tmp_path / "out"
    segment_shard(segmenter, found, Shard(1, 2), out=out)
    edited = draw(0)
    edited[10:14, 15:20] = 200
    write_png(tmp_path / "s/0.png", edited)
    segment_shard(segmenter, found, Shard(1, 3), out=out)
    assert [taken(segment_shard(segmenter, found, Shard(index, 2), out=out)) for index in (1, 2)] == [1, 0]
    segment_all(segmenter, found, out=tmp_path / "single")
    assert read_all(out) == read_all(tmp_path / "single")


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_records_of_a_stopped_cluster_do_not_outlive_their_masks(
    tmp_path: Path, segmenter: Segmenter, shard: Shard | None
):
    write_png(tmp_path / "s/a.png", draw(1))
    found, out = find_inputs([str(tmp_path / "s")]), tmp_path / "out"
    (out / CLUSTER_WORK / "records").mkdir(parents=True)
    if shard:
        segment_shard(segmenter, found, shard, out=out)
    else:
        segment_all(segmenter, found, out=out)
    assert not (out / CLUSTER_WORK).exists()


def test_a_merge_that_fails_leaves_the_old_results(
    tmp_path: Path, segmenter: Segmenter, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    run(segmenter, inputs, 1, 1, out)
    before = (out / "results.json").read_bytes()
    monkeypatch.setattr(shards, "_read_some", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(segmenter, inputs, 1, 1, out)
    assert (out / "results.json").read_bytes() == before
    assert not list(out.glob(".*"))


def test_masks_of_other_inputs_are_not_orphaned_by_shards_or_beside_them(tmp_path: Path, segmenter: Segmenter):
    for name in ("a", "b"):
        write_png(tmp_path / f"{name}/{name}.png", draw(1))
    a, b = (find_inputs([str(tmp_path / name)]) for name in "ab")
    out = tmp_path / "out"
    segment_shard(segmenter, a, Shard(1, 2), out=out)  # which has not been merged
    with pytest.raises(DataError, match=r"out: holds masks of other pictures \(1\)"):
        segment_shard(segmenter, b, Shard(1, 2), out=out)
    with pytest.raises(DataError, match=r"out: holds masks of other pictures \(1\)"):
        segment_all(segmenter, b, out=out)
    segment_all(segmenter, a, out=out)
    assert not list(out.glob("*.jsonl"))  # their results have been replaced


@pytest.mark.parametrize("text", ["accuracy: 0.9\n", '{"session": 3}\n', '{"unit": 0, "key": "00"}\n'])
def test_a_journal_of_another_program_is_never_replaced(tmp_path: Path, segmenter: Segmenter, text: str):
    write_png(tmp_path / "s/a.png", draw(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/results-1-of-2.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"results-1-of-2\.jsonl: tumortrace did not write this file"):
        segment_shard(segmenter, find_inputs([str(tmp_path / "s")]), Shard(1, 2), out=tmp_path / "out")
    assert (tmp_path / "out/results-1-of-2.jsonl").read_text() == text


def test_a_shard_waits_for_no_other_run(tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tumortrace.locks.START_SECONDS", 0.0)
    write_png(tmp_path / "s/a.png", draw(1))
    found = find_inputs([str(tmp_path / "s")])
    with lock_folder(tmp_path / "out"), pytest.raises(DataError, match="another run"):
        segment_shard(segmenter, found, Shard(1, 2), out=tmp_path / "out")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1.0/2", "1/2x", "\u0663/7"])
def test_a_shard_is_two_numbers(text: str):
    with pytest.raises(DataError, match=rf"--shard {re.escape(text)}; give I/N"):
        read_shard(text)


def test_a_shard_is_read():
    assert read_shard(" 3/100") == Shard(3, 100)
