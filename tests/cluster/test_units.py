"""Units on their way to a worker and back, without a cluster: all of them, in their order, and little in the driver."""

from __future__ import annotations

import json
import os
import pickle
import sys
import tracemalloc
from array import array
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tumortrace import machine
from tumortrace.cluster import actor as module
from tumortrace.cluster import archive
from tumortrace.cluster.actor import BLOCK, DEATHS, DONE, SegmentActor
from tumortrace.cluster.blocks import divide_units
from tumortrace.cluster.listing import read_listing, write_listing
from tumortrace.cluster.records import list_unfinished, make_id, read_records, write_records
from tumortrace.cluster.site import Site
from tumortrace.cluster.work_folder import WorkFolder
from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.inference.batch.archives import PackedTarMember, TarMember, ZipMember
from tumortrace.inference.batch.find_inputs import Inputs
from tumortrace.inference.batch.folder import segment_all
from tumortrace.inference.batch.found_files import FoundFile, FoundFiles, PictureFile, PictureFiles
from tumortrace.inference.batch.remote import RemoteFile
from tumortrace.inference.batch.settings import SegmentSettings
from tumortrace.inference.batch.units import Units
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.segmenter import Segmenter
from tumortrace.phantoms.slices import write_phantom_dataset

PICTURES = (
    PictureFile("a\udcff b.png", "a\udcff b"),
    PictureFile("locked", "", "locked: cannot be opened"),
    PictureFile("x.tar/a.png", "a", source=TarMember("x.tar", 512, 7)),
    PictureFile("x.tgz/b.png", "b", source=PackedTarMember("x.tgz", 1024, 8)),
    PictureFile("x.zip/c.png", "c", source=ZipMember("x.zip", 0, 5, 9, 123, deflated=True)),
    PictureFile("s3://b/d.png", "d", source=RemoteFile("s3://b/d.png")),
)


def every(units: Units) -> array[int]:
    return array("q", range(len(units)))


def test_a_listing_gives_each_block_back(tmp_path: Path):
    blocks = [PICTURES[:4], PICTURES[4:]]
    places = write_listing(tmp_path / "list", blocks)
    assert [tuple(read_listing(tmp_path / "list", *ends)) for ends in pairwise(places)] == blocks
    with pytest.raises(DataError, match="list: cannot be read"):
        read_listing(tmp_path / "list", 1, 5)
    assert list(write_listing(tmp_path / "none", [])) == [0]


def test_each_unit_comes_once_in_blocks_of_its_kind(tmp_path: Path):
    refused = tuple(Finding("scan-refused", "left out", f"{number}.nii", "empty", "copy it") for number in range(3))
    units = Units(Inputs(PICTURES, refused=refused))
    blocks = divide_units(units, every(units), listing=tmp_path / "list", size=2)
    assert [list(block.numbers) for block in blocks] == [[0, 1], [2], [3, 4], [5, 6], [7, 8]]
    sent = [pickle.loads(pickle.dumps(block)) for block in blocks]  # noqa: S301 - our own
    assert [unit for block in sent for unit in block.read(tmp_path / "list")] == list(units)


def test_only_what_is_left_is_divided(tmp_path: Path):
    refused = tuple(Finding("scan-refused", "left out", f"{number}.nii", "empty", "copy it") for number in range(2))
    units = Units(Inputs(PICTURES, refused=refused))
    blocks = divide_units(units, array("q", [1, 3, 4, 7]), listing=tmp_path / "list", size=2)
    found = {
        number: unit
        for block in blocks
        for number, unit in zip(block.numbers, block.read(tmp_path / "list"), strict=True)
    }
    assert found == {number: units[number] for number in (1, 3, 4, 7)}
    assert divide_units(units, array("q"), listing=tmp_path / "list", size=2) == []


def test_the_driver_holds_no_paths(tmp_path: Path):
    """Memory of the blocks: of 4,000 pictures a few kilobytes a block, and no path."""
    found = FoundFiles(FoundFile(f"/data/archive/study-{number:08}/slice.png", 14) for number in range(4_000))
    units = Units(Inputs(PictureFiles(found, {})))
    numbers = every(units)
    tracemalloc.start()
    blocks = divide_units(units, numbers, listing=tmp_path / "list", size=250)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(blocks) == 16
    assert held < 60_000  # bytes, of which 32,000 are numbers
    assert len(pickle.dumps(blocks[10])) < 3000


def keep_rows(folder: Path, units: Units, *parts: list[int], masks: dict[int, str] | None = None) -> None:
    """Write a file of records for each part of the units; each names a mask, or none."""
    for numbers in parts:
        ids = [make_id(number, units[number]) for number in numbers]
        records = [UnitRecord(images=({"mask": (masks or {}).get(number), "n": number},)) for number in numbers]
        write_records(folder, numbers, ids, records)


def test_records_come_back_in_the_order_of_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tumortrace.cluster.records.AT_ONCE", 2)
    units = Units(Inputs(PICTURES))
    keep_rows(tmp_path / "records", units, [4, 5], [0, 3], [1], [1])
    (tmp_path / "records/half.parquet").write_bytes(b"PAR1")
    assert len(list((tmp_path / "records").iterdir())) == 4
    found = [record and record.images[0]["n"] for record in read_records(tmp_path / "records", units)]
    assert found == [0, 1, None, 3, 4, 5]
    assert list(list_unfinished(tmp_path / "records", units, tmp_path)) == [2]
    assert list(list_unfinished(tmp_path / "nowhere", units, tmp_path)) == [0, 1, 2, 3, 4, 5]


def test_records_of_other_units_are_kept_beside_those_of_the_same_first_one(tmp_path: Path):
    units = Units(Inputs(PICTURES))
    keep_rows(tmp_path, units, [0, 1, 2], [0, 3])
    assert list(list_unfinished(tmp_path, units, tmp_path)) == [4, 5]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_records_lie_in_a_folder_whose_name_is_not_utf8(tmp_path: Path):
    units = Units(Inputs(PICTURES))
    run = archive._Run(None, units, SegmentSettings(), tmp_path / "m\udce9")  # type: ignore[arg-type]
    for _ in range(2):
        archive._keep_session(run, {"session": "a"})
        keep_rows(run.work.records, units, [0, 1], [4])
    assert list(list_unfinished(run.work.records, units, tmp_path)) == [2, 3, 5]


def test_a_unit_whose_mask_is_gone_is_done_again(tmp_path: Path):
    units = Units(Inputs(PICTURES[:2]))
    run = archive._Run(None, units, SegmentSettings(), tmp_path)  # type: ignore[arg-type] # no segmenter is needed
    archive._keep_session(run, {"session": "a"})
    keep_rows(run.work.records, units, [0, 1], masks={0: "a_mask.png"})
    assert list(list_unfinished(run.work.records, units, tmp_path)) == [0]
    (tmp_path / "a_mask.png").touch()
    archive._keep_session(run, {"session": "a"})
    assert not list_unfinished(run.work.records, units, tmp_path)
    archive._keep_session(run, {"session": "b"})
    assert list(list_unfinished(run.work.records, units, tmp_path)) == [0, 1]


def test_a_work_folder_is_complete_before_its_session_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A call that was killed between the two left a session that no worker could begin a block of.
    run = archive._Run(None, Units(Inputs(PICTURES)), SegmentSettings(), tmp_path)  # type: ignore[arg-type]
    seen = []
    monkeypatch.setattr(archive, "write_json", lambda _path, _session: seen.append(run.work.begun.is_dir()))
    archive._keep_session(run, {"session": "a"})
    assert seen == [True]


def test_what_failed_in_an_earlier_call_is_done_again(tmp_path: Path):
    units = Units(Inputs(PICTURES))
    run = archive._Run(None, units, SegmentSettings(), tmp_path)  # type: ignore[arg-type] # no segmenter is needed
    archive._keep_session(run, {"session": "a"})
    for numbers, statuses in (([0, 1, 2], ["ok", "error", "rejected"]), ([3, 4], ["error"] * 2), ([5], ["ok"])):
        ids = [make_id(number, units[number]) for number in numbers]
        records = [UnitRecord(images=({"mask": None, "status": status},)) for status in statuses]
        write_records(run.work.records, numbers, ids, records)
    assert not list_unfinished(run.work.records, units, tmp_path)  # nor is it begun again and again in one call
    (run.work.records / "half.parquet").write_bytes(b"PAR1")
    archive._keep_session(run, {"session": "a"})
    assert list(list_unfinished(run.work.records, units, tmp_path)) == [1, 3, 4]


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the limit of an actor, which has a process to itself, from the tests that follow in this one."""
    monkeypatch.setattr(machine, "_most_cores", machine._most_cores)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[PictureFile, ...]:
    write_phantom_dataset(tmp_path / "data", counts={"TEST": 3}, no_tumour=0, seed=5)
    paths = sorted((tmp_path / "data/TEST").glob("test_*.*"))
    return tuple(PictureFile(str(path), f"{number}") for number, path in enumerate(paths))


def act(pictures: tuple[PictureFile, ...], out: Path) -> list[UnitRecord]:
    units = Units(Inputs(pictures))
    work = WorkFolder(out / "work")
    (block,) = divide_units(units, every(units), listing=work.listing, size=8)
    actor = SegmentActor(Segmenter("fast", threads=1), SegmentSettings(), work, Site(Path.cwd(), out, ""))
    assert list(actor({BLOCK: np.array([pickle.dumps(block)], dtype=object)})[DONE]) == [len(units)]
    return [record for record in read_records(work.records, units) if record]


def test_an_actor_does_as_the_single_run(
    tmp_path: Path, pictures: tuple[PictureFile, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "enter_site", lambda _: None)
    segment_all(Segmenter("fast", threads=1), Inputs(pictures), out=tmp_path / "here")
    here = json.loads((tmp_path / "here/results.json").read_text())["images"]
    for name, marks in (("together", ()), ("alone", ("block-0",)), ("deadly", ("block-0", "1"))):
        out = tmp_path / name
        (out / "work/begun").mkdir(parents=True)
        for mark in marks:
            (out / "work/begun" / mark).write_bytes(b"." * DEATHS)
        records = [record.images[0] for record in act(pictures, out)]
        dead = {1} if name == "deadly" else set()
        assert [record["status"] == "error" for record in records] == [number in dead for number in range(3)]
        for number in {0, 1, 2} - dead:
            assert {**records[number], "seconds": 0} == {**here[number], "seconds": 0}
            mask = f"{number}_mask.png"
            assert (out / mask).read_bytes() == (tmp_path / "here" / mask).read_bytes()
        assert {path.name for path in (out / "work/begun").iterdir()} == ({"1"} if dead else set())


def test_each_actor_writes_in_a_folder_of_its_own(
    tmp_path: Path, pictures: tuple[PictureFile, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "enter_site", lambda _: None)
    (tmp_path / "work/begun").mkdir(parents=True)
    replace, written = os.replace, dict[Path, list[str]]()

    def note(source: Path, place: Path) -> None:
        written.setdefault(source.parent, []).append(place.name)
        replace(source, place)

    monkeypatch.setattr("tumortrace.files.os.replace", note)
    for _ in range(2):
        act(pictures[:1], tmp_path)
    own = [names for folder, names in written.items() if folder.parent == tmp_path / "work/writing"]
    assert [[Path(name).suffix for name in names] for names in own] == [[".png", ".parquet"], [".png", ".parquet"]]
