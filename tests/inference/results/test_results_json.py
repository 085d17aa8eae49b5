"""What stands in results.json and the tables, whole whatever happens, and what is recognised as ours."""

from __future__ import annotations

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tumortrace.config import Recipe
from tumortrace.errors import DataError
from tumortrace.files import NewFile
from tumortrace.inference.model import Model
from tumortrace.inference.results.describe import describe_failure, describe_volume_failure
from tumortrace.inference.results.results_json import (
    COLUMNS,
    PARTIAL,
    RESULTS,
    TABLE,
    open_results,
    read_masks,
)
from tumortrace.inference.results.unit_record import UnitRecord
from tumortrace.inference.results.volume_tables import LESIONS, VOLUMES
from tumortrace.json_csv import read_csv

MASKS = [("scans/a.png", "a_mask.png"), ("scans/ü {}.png", "ü {}_mask.png")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def model(open_hand_model: Callable[..., Model]) -> Model:
    return open_hand_model(Recipe((8, 12)))


def ok(file: str, mask: str | None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    lesion = {"area_px": 8, "area_mm2": 2.0, "centroid_xy": [7.5, 2.5], "mask": "a lesion has none"}
    record = {**describe_failure("", file=file), "mask": mask, "status": "ok", "tumour": True, "lesions": [lesion]}
    return {**record, "review": False, "confidence": 0.9, "area_px": 8, "area_mm2": 2.0, "seconds": 0.1, **fields}


def write_results(model: Model, out: Path) -> str:
    with open_results(model, ["notes.txt"], out=out) as results:
        for file, mask in MASKS:
            results.add(UnitRecord((ok(file, mask),)))
        results.add(UnitRecord((describe_failure("broken.png: broken", file="broken.png"),)))
    return (out / RESULTS).read_text()


# --- results.json ---


def test_results_are_one_json_document_that_json_would_write_alike(model: Model, out: Path):
    text = write_results(model, out)
    document = json.loads(text)
    assert [image["file"] for image in document["images"]] == ["scans/a.png", "scans/ü {}.png", "broken.png"]
    assert document["skipped"] == ["notes.txt"]
    assert {path.name for path in out.iterdir()} == {RESULTS, TABLE}


@pytest.mark.parametrize("indent", [None, 0, 1, 8])
@pytest.mark.parametrize("ending", ["", "\n\n"])
def test_white_space_in_results_changes_nothing(model: Model, out: Path, indent: int | None, ending: str):
    document = json.loads(write_results(model, out))
    (out / RESULTS).write_text(json.dumps(document, indent=indent, ensure_ascii=False) + ending)
    assert read_masks(out) == MASKS


def test_keys_in_another_order_change_nothing(model: Model, out: Path):
    document = json.loads(write_results(model, out))
    (out / RESULTS).write_text(json.dumps(document, sort_keys=True))
    assert read_masks(out) == MASKS


def test_a_killed_run_counts_even_where_its_last_record_is_cut(model: Model, out: Path):
    text = write_results(model, out)
    (out / RESULTS).unlink()
    (out / PARTIAL).write_text(text)
    assert read_masks(out) == MASKS
    (out / PARTIAL).write_text(text[: text.index("scans/\\u00fc") + 3])
    assert read_masks(out) == MASKS[:1]
    (out / PARTIAL).write_text("")
    assert read_masks(out) == []


def test_a_killed_run_counts_beside_the_results_that_it_would_have_replaced(model: Model, out: Path):
    text = write_results(model, out)
    (out / PARTIAL).write_text(text.replace("a_mask", "b_mask"))
    assert read_masks(out) == [*MASKS, ("scans/a.png", "b_mask.png"), MASKS[1]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (RESULTS, '{"accuracy": 0.9, "loss": [1, 2]}'),
        (RESULTS, '{"images": [], "model": "resnet", "volumes": []}'),
        (RESULTS, '{"model": {"name": "x", "sha256": "y", "threshold": 0.5}, "images": {}, "volumes": []}'),
        (RESULTS, "[]"),
        (RESULTS, "{}"),
        (RESULTS, "no JSON"),
        (RESULTS, ""),
        (RESULTS, "\udcff".encode(errors="surrogateescape")),
        (PARTIAL, "somebody else's"),
        (TABLE, "epoch,loss\n1,0.5\n"),
        (TABLE, ""),
    ],
)
def test_files_of_another_program_are_not_ours(out: Path, name: str, content: str | bytes):
    data = content.encode() if isinstance(content, str) else content
    (out / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: tumortrace did not write this file"):
        read_masks(out)
    assert (out / name).read_bytes() == data


def test_a_folder_without_results_has_no_masks(out: Path):
    assert read_masks(out) == []


# --- a disk that fills ---


def fill_disk(room: int) -> Callable[..., None]:
    """Return what writes into a file that takes so many bytes, those that are reserved included."""
    write = NewFile.write

    def write_what_fits(self: NewFile, data: bytes, *, at: int, reserve: int = 0) -> None:
        fitting = data[: max(room - at, 0)]
        write(self, fitting, at=at, reserve=max(min(reserve, room - at - len(fitting)), 0))
        if at + len(data) + reserve > room:
            raise OSError(errno.ENOSPC, "No space left on device")

    return write_what_fits


def volume(number: int) -> dict[str, Any]:
    failed = describe_volume_failure("", file=f"{number}.nii")
    return {**failed, "mask": f"{number}_mask.nii.gz", "status": "ok"}


@pytest.mark.parametrize("room", [*range(600, 4200, 171), 3335, 3337])
def test_on_a_full_disk_each_volume_that_was_added_is_there_with_its_slices(
    model: Model, out: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    added = []

    def add_six() -> None:
        with open_results(model, ["notes.txt"], out=out) as results:
            for number in range(6):
                slices = (ok(f"{number}.nii", f"{number}_mask.nii.gz"),) * 2
                results.add(UnitRecord(slices, volume(number)))
                added.append(f"{number}.nii")

    monkeypatch.setattr(NewFile, "write", fill_disk(room))
    with pytest.raises(OSError, match=r"results\.(json|csv)"):
        add_six()
    document = json.loads((out / RESULTS).read_text())
    files = [each["file"] for each in document["volumes"]]
    assert files[: len(added)] == added
    assert [image["file"] for image in document["images"]] == [file for file in files for _ in range(2)]


def test_the_time_to_write_volumes_grows_with_their_number(model: Model, out: Path, monkeypatch: pytest.MonkeyPatch):
    """Bytes that are written, which are the same on each machine."""
    written, write = [0], NewFile.write

    def count(self: NewFile, data: bytes, *, at: int, reserve: int = 0) -> None:
        written[-1] += len(data)
        write(self, data, at=at, reserve=reserve)

    monkeypatch.setattr(NewFile, "write", count)
    for number in (50, 100):
        written.append(0)
        with open_results(model, [], out=out) as results:
            for each in range(number):
                results.add(UnitRecord((ok(f"{each}.nii", f"{each}_mask.nii.gz"),), volume(each)))
        assert len(json.loads((out / RESULTS).read_text())["volumes"]) == number
    assert written[2] < 2.1 * written[1]


@pytest.mark.parametrize("room", range(0, 1200, 60))
def test_whatever_the_room_the_results_are_whole_and_hold_what_fitted(
    model: Model, out: Path, monkeypatch: pytest.MonkeyPatch, room: int
):
    """A file that takes so many bytes, the last of them one by one, as a disk that fills does."""
    write_what_fits = fill_disk(room)

    added = []

    def add_nine() -> None:
        with open_results(model, ["notes.txt"], out=out) as results:
            for number in range(9):
                results.add(UnitRecord((ok(f"{number}.png", f"{number}_mask.png"),)))
                added.append(f"{number}.png")

    monkeypatch.setattr(NewFile, "write", write_what_fits)
    with pytest.raises(OSError, match=r"results\.(json|csv)") as caught:
        add_nine()
    assert caught.value.errno == errno.ENOSPC
    assert not list(out.glob(".*"))
    if not (out / RESULTS).exists():
        assert list(out.iterdir()) == []  # not even the head fitted
        return
    document = json.loads((out / RESULTS).read_text())
    files = [image["file"] for image in document["images"]]
    assert files[: len(added)] == added
    assert len(files) <= len(added) + 1  # the one whose row did not fit into the table
    assert document["skipped"] in ([], ["notes.txt"])  # the list of skipped files is given up last
    rows = list(csv.DictReader((out / TABLE).read_text().splitlines()))
    assert [row["file"] for row in rows] == [f"{number}.png" for number in range(len(rows))]


def test_an_interruption_amid_a_record_leaves_that_record_out(model: Model, out: Path, monkeypatch: pytest.MonkeyPatch):
    write = NewFile.write

    def write_half(self: NewFile, data: bytes, *, at: int, reserve: int = 0) -> None:
        monkeypatch.setattr(NewFile, "write", write)
        write(self, data[: len(data) // 2], at=at, reserve=reserve)
        raise KeyboardInterrupt

    def add_two() -> None:
        with open_results(model, ["notes.txt"], out=out) as results:
            results.add(UnitRecord((ok("a.png", "a_mask.png"),)))
            monkeypatch.setattr(NewFile, "write", write_half)
            results.add(UnitRecord((ok("b.png", "b_mask.png", reason="long " * 50),)))

    with pytest.raises(KeyboardInterrupt):
        add_two()
    document = json.loads((out / RESULTS).read_text())
    assert ([image["file"] for image in document["images"]], document["skipped"]) == (["a.png"], ["notes.txt"])
    assert len((out / TABLE).read_text().splitlines()) == 2


# --- results.csv ---


def test_the_table_has_a_row_a_picture(model: Model, out: Path):
    with open_results(model, [], out=out) as results:
        fields = {"lesions": [{}, {}], "area_mm2": None, "reason": "many; parts", "plane": "axial"}
        results.add(UnitRecord((ok("a, b.png", "a, b_mask.png", **fields),)))
        results.add(UnitRecord((describe_failure("\udce9.png: broken", file="\udce9.png"),)))
    lines = (out / TABLE).read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[0].endswith(",area_mm2,lesions,plane,contrast,seconds,slice_index,prompt")
    assert lines[1] == '"a, b.png","a, b_mask.png",ok,many; parts,true,0.9,false,8,,2,axial,,0.1,,'
    assert lines[2] == "\\udce9.png,,error,\\udce9.png: broken,,,true,,,,,,,,"
    assert tuple(lines[0].split(",")) == COLUMNS


def test_a_name_with_a_carriage_return_is_one_cell(model: Model, out: Path):
    with open_results(model, [], out=out) as results:
        results.add(UnitRecord((ok("a\rb.png", "a\rb_mask.png"),)))
    assert [row["file"] for row in read_csv(out / TABLE)] == ["a\rb.png"]


# --- volumes.csv and lesions.csv ---


def test_volumes_and_their_lesions_are_tables_in_millilitres(model: Model, out: Path):
    lesions = [
        {"volume_mm3": 2500.0, "centroid_mm": [1.5, -2.0, 30.0], "first_slice": 4, "last_slice": 6, "confidence": 0.75},
        {"volume_mm3": 500.0, "centroid_mm": None, "first_slice": 9, "last_slice": 9, "confidence": 0.5},
    ]
    found = {"status": "ok", "mask": "p1_mask.nii.gz", "lesions": lesions, "volume_mm3": 3000.0, "review": True}
    sizes = {"slices": 12, "slices_with_tumour": 4, "largest_diameter_mm": 18.5, "reason": "a; b, c"}
    unknown = [{"volume_mm3": None, "centroid_mm": None, "first_slice": 0, "last_slice": 1, "confidence": 0.25}]
    with open_results(model, [], out=out) as results:
        results.add(
            UnitRecord(volume={**describe_volume_failure("", file="p1"), **found, **sizes, "series_uid": "1.2"})
        )
        fields = {"status": "ok", "lesions": unknown, "volume_mm3": None, "review": False}
        results.add(UnitRecord(volume={**describe_volume_failure("", file="p2.nii"), **fields}))
        results.add(UnitRecord(volume=describe_volume_failure("\udce9.nii: broken", file="\udce9.nii")))
    assert (out / VOLUMES).read_text().splitlines() == [
        "file,series_uid,mask,status,reason,review,volume_ml,lesions,largest_diameter_mm,slices,slices_with_tumour",
        'p1,1.2,p1_mask.nii.gz,ok,"a; b, c",true,3.0,2,18.5,12,4',
        "p2.nii,,,ok,,false,,1,,,",
        "\\udce9.nii,,,error,\\udce9.nii: broken,true,,,,,",
    ]
    assert (out / LESIONS).read_text().splitlines() == [
        "file,series_uid,lesion,volume_ml,x_mm,y_mm,z_mm,first_slice,last_slice,confidence",
        "p1,1.2,1,2.5,1.5,-2.0,30.0,4,6,0.75",
        "p1,1.2,2,0.5,,,,9,9,0.5",
        "p2.nii,,1,,,,,0,1,0.25",
    ]


def test_tables_of_volumes_are_empty_after_a_run_without_any(model: Model, out: Path):
    with open_results(model, [], out=out) as results:
        results.add(UnitRecord(volume=describe_volume_failure("p1.nii: broken", file="p1.nii")))
    assert {VOLUMES, LESIONS} <= {path.name for path in out.iterdir()}
    read_masks(out)  # they are ours
    write_results(model, out)
    assert [len((out / name).read_text().splitlines()) for name in (VOLUMES, LESIONS)] == [1, 1]


@pytest.mark.parametrize("name", [VOLUMES, LESIONS])
def test_a_table_of_another_program_is_refused(out: Path, name: str):
    (out / name).write_text("patient,volume_ml\n")
    with pytest.raises(DataError, match=rf"{name}: tumortrace did not write this file"):
        read_masks(out)
