"""Which cases an improvement takes from the folders that it is given, on datasets made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import warning
from tumortrace.errors import DataError
from tumortrace.improvement.material import gather, open_phantoms


def dataset_of(name: str, **parts: str) -> Dataset:
    """A dataset of cases by their part: names with blanks between them."""
    records = [
        CaseRecord(case, "" if part == "undivided" else part, Path(name, case), truth=())
        for part, cases in parts.items()
        for case in cases.split()
    ]
    return Dataset(Path(name), tuple(records), (warning("blank", f"{name}.png", "cause", "remedy"),))


def test_test_parts_of_corrected_and_old_data_stay_closed():
    corrected = dataset_of("corrected", train="a", val="b", test="c", undivided="d")
    material = gather(corrected, dataset_of("old", train="a", test="e"), None)
    assert material.roles == {"a": "corrected", "b": "corrected", "d": "corrected", "replay/a": "replay"}
    assert [record.case_id for record in material.records] == ["a", "b", "d", "replay/a"]
    assert {record.part for record in material.records} == {""}
    assert [record.image_path for record in material.records][-1] == Path("old/a")
    assert [finding.file for finding in material.findings] == ["corrected.png", "old.png"]
    assert material.corrected is corrected


@pytest.mark.parametrize(
    ("standard", "expected"),
    [
        (dataset_of("s", train="a", test="b c"), ["standard/b", "standard/c"]),
        (dataset_of("s", train="a", val="b"), ["standard/a", "standard/b"]),
        (dataset_of("s", undivided="a"), ["standard/a"]),
    ],
)
def test_the_standard_set_is_its_test_part_or_all_of_it(standard: Dataset, expected: list[str]):
    material = gather(dataset_of("corrected", undivided="a"), None, standard)
    assert [name for name, role in material.roles.items() if role == "standard"] == expected
    assert [finding.file for finding in material.findings] == ["corrected.png", "s.png"]


def test_corrected_cases_that_are_all_closed_or_named_as_others_are_refused():
    with pytest.raises(DataError, match="corrected: every case is in its TEST part, which stays closed"):
        gather(dataset_of("corrected", test="a b"), None, None)
    for name in ("replay", "standard"):
        with pytest.raises(DataError, match=f"corrected: a folder there is named {name}, as the cases of --{name}"):
            gather(dataset_of("corrected", undivided=f"a {name}/b"), None, None)
    assert gather(dataset_of("corrected", undivided="replayed/b"), None, None).roles == {"replayed/b": "corrected"}


def test_generated_slices_are_drawn_once_and_again_where_one_is_missing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tumortrace.improvement.material.PHANTOM_COUNT", 3)
    drawn = open_phantoms(tmp_path)
    assert drawn.parts() == {"test": 3}
    pictures = [record.image_path for record in drawn.records]
    before = [picture.read_bytes() for picture in pictures]
    times = [picture.stat().st_mtime_ns for picture in pictures]
    open_phantoms(tmp_path)
    assert [picture.stat().st_mtime_ns for picture in pictures] == times
    pictures[1].unlink()
    (tmp_path / "phantoms" / "TEST" / "other.png").write_bytes(before[0])
    assert len(open_phantoms(tmp_path).records) == 3
    assert [picture.read_bytes() for picture in pictures] == before
    assert not (tmp_path / "phantoms" / "TEST" / "other.png").exists()
