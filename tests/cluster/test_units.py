"""Units on their way to a worker and back, without a cluster: all of them, in their order, and little in the driver."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tumortrace import machine
from tumortrace.cluster import actor as module
from tumortrace.cluster import archive
from tumortrace.cluster.actor import DEATHS, SegmentActor
from tumortrace.cluster.listing import read_listing, write_listing
from tumortrace.cluster.records import RECORD, count_rows, read_rows
from tumortrace.cluster.site import Site
from tumortrace.cluster.units_source import ID, NUMBER, UNIT, UnitsSource, make_id
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


@pytest.mark.parametrize("block", [1, 4, 6, 10])
def test_a_listing_gives_each_block_back(tmp_path: Path, block: int):
    places = write_listing(tmp_path / "list", PICTURES, block=block)
    blocks = [read_listing(tmp_path / "list", *ends) for ends in pairwise(places)]
    assert [len(each) for each in blocks] == [len(PICTURES[at : at + block]) for at in range(0, 6, block)]
    assert [one for each in blocks for one in each] == list(PICTURES)
    with pytest.raises(DataError, match="list: cannot be read"):
        read_listing(tmp_path / "list", 1, 5)
    assert list(write_listing(tmp_path / "none", [], block=4)) == [0]


def test_each_unit_comes_once_in_blocks_of_its_kind(tmp_path: Path):
    refused = tuple(Finding("scan-refused", "left out", f"{number}.nii", "empty", "copy it") for number in range(3))
    units = Units(Inputs(PICTURES, refused=refused))
    source = UnitsSource(units, listing=tmp_path / "list", block=2)
    tables = [table for task in source.get_read_tasks(1) for table in task()]
    assert [table.num_rows for table in tables] == [2, 1, 2, 2, 2]
    rows = [row for table in tables for row in table.to_pylist()]
    assert [row[NUMBER] for row in rows] == list(range(9))
    assert [pickle.loads(row[UNIT]) for row in rows] == list(units)  # noqa: S301 - our own
    assert [row[ID] for row in rows] == [make_id(number, unit) for number, unit in enumerate(units)]


def test_the_driver_holds_no_paths(tmp_path: Path):
    """Memory of the tasks: of 4,000 pictures less than a kilobyte a block, and no path."""
    found = FoundFiles(FoundFile(f"/data/archive/study-{number:08}/slice.png", 14) for number in range(4_000))
    units = Units(Inputs(PictureFiles(found, {})))
    tracemalloc.start()
    source = UnitsSource(units, listing=tmp_path / "list", block=256)
    tasks = source.get_read_tasks(1)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(tasks) == 16
    assert held < 50_000  # bytes
    assert len(pickle.dumps(tasks[10].read_fn)) < 1000


def test_records_come_back_in_the_order_of_the_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tumortrace.cluster.records.AT_ONCE", 2)
    units = Units(Inputs(PICTURES))
    (tmp_path / "records").mkdir()
    for number, numbers in enumerate(([4, 5], [0, 3], [1])):
        rows = {ID: [make_id(each, units[each]) for each in numbers], NUMBER: numbers, RECORD: list(map(str, numbers))}
        pq.write_table(pa.table(rows), tmp_path / f"records/{number}.parquet")
    (tmp_path / "records/half.parquet").write_bytes(b"PAR1")
    assert count_rows(tmp_path / "records/half.parquet") == 0
    found = [row and row[RECORD] for row in read_rows(tmp_path / "records", units, [ID, RECORD])]
    assert found == ["0", "1", None, "3", "4", "5"]
    assert list(read_rows(tmp_path / "nowhere", units, [ID])) == [None] * 6


def test_a_stopped_run_whose_mask_is_gone_begins_anew(tmp_path: Path):
    units = Units(Inputs(PICTURES[:2]))
    run = archive._Run(None, units, SegmentSettings(), tmp_path)  # type: ignore[arg-type] # no segmenter is needed
    archive._keep_session(run, {"session": "a"})
    records = [UnitRecord(images=({"mask": mask},)) for mask in ("a_mask.png", None)]
    rows = {ID: [make_id(number, unit) for number, unit in enumerate(units)], NUMBER: [0, 1]}
    rows[RECORD] = [json.dumps(record.to_json()) for record in records]
    run.records.mkdir()
    pq.write_table(pa.table(rows), run.records / "0.parquet")
    (tmp_path / "a_mask.png").touch()
    archive._keep_session(run, {"session": "a"})
    assert archive._count_left(run) == 0
    (tmp_path / "a_mask.png").unlink()
    archive._keep_session(run, {"session": "a"})
    assert archive._count_left(run) == 2


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the limit of an actor, which has a process to itself, from the tests that follow in this one."""
    monkeypatch.setattr(machine, "_most_cores", machine._most_cores)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[PictureFile, ...]:
    write_phantom_dataset(tmp_path / "data", counts={"TEST": 3}, no_tumour=0, seed=5)
    paths = sorted((tmp_path / "data/TEST").glob("test_*.*"))
    return tuple(PictureFile(str(path), f"{number}") for number, path in enumerate(paths))


def act(units: Any, out: Path) -> list[dict[str, Any]]:  # noqa: ANN401
    actor = SegmentActor(Segmenter("fast", threads=1), SegmentSettings(), out / "begun", Site(Path.cwd(), out, ""))
    answer = actor({
        ID: np.array([str(number) for number in range(len(units))], dtype=object),
        NUMBER: np.arange(len(units)),
        UNIT: np.array([pickle.dumps(unit) for unit in units], dtype=object),
    })  # fmt: skip
    assert list(answer[NUMBER]) == list(range(len(units)))
    return [json.loads(record) for record in answer[RECORD]]


def test_an_actor_does_as_the_single_run(
    tmp_path: Path, pictures: tuple[PictureFile, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "enter_site", lambda _: None)
    segment_all(Segmenter("fast", threads=1), Inputs(pictures), out=tmp_path / "here")
    here = json.loads((tmp_path / "here/results.json").read_text())["images"]
    for name, marks in (("together", ()), ("alone", ("block-0",)), ("deadly", ("block-0", "1"))):
        out = tmp_path / name
        (out / "begun").mkdir(parents=True)
        for mark in marks:
            (out / "begun" / mark).write_bytes(b"." * DEATHS)
        records = [record["images"][0] for record in act(pictures, out)]
        dead = {1} if name == "deadly" else set()
        assert [record["status"] == "error" for record in records] == [number in dead for number in range(3)]
        for number in {0, 1, 2} - dead:
            assert {**records[number], "seconds": 0} == {**here[number], "seconds": 0}
            mask = f"{number}_mask.png"
            assert (out / mask).read_bytes() == (tmp_path / "here" / mask).read_bytes()
        assert {path.name for path in (out / "begun").iterdir()} == ({"1"} if dead else set())
