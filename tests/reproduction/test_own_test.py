"""The table of the student paper's own TEST, on generated slices with a copy of a TRAIN slice in TEST."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reproduction.committed_numbers import NumbersMissingError
from reproduction.tables import read_table

from reproduction import own_test
from tumortrace.data.dataset import open_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(phantom_data, tiny_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("own")
    own_test.main(phantom_data, model=[f"network={tiny_run}", "fast"], out=out)
    return {row["mask"]: row for row in read_table(out / "results" / "own_test.csv")}


def test_a_row_a_mask_with_the_published_one_first(rows):
    assert next(iter(rows)) == "the student paper's Table I"
    assert rows["the student paper's Table I"]["its metric: Dice"] == "0.586"
    assert len(rows) == 7


def test_a_perfect_mask_is_perfect_by_the_textbook_alone(rows):
    perfect = rows["perfect mask"]
    assert (perfect["textbook Dice"], perfect["textbook Dice, clean"]) == ("1.000", "1.000")
    assert float(perfect["its metric: Dice"][:5]) < 0.9


def test_generated_slices_are_clean_of_a_network_that_remembers_its_slices(rows):
    assert rows["network"]["clean images"] == "5"
    assert rows["network"]["textbook Dice"] == rows["network"]["textbook Dice, clean"]


def test_it_is_not_known_what_is_clean_of_a_model_whose_slices_are_elsewhere(rows):
    assert (rows["fast"]["clean images"], rows["fast"]["textbook Dice, clean"]) == ("unknown", "")


def test_a_copy_of_a_train_slice_is_not_clean(phantom_data, tiny_run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantom_data, data)
    first, copied = (min((data / part).glob("*.jpg")) for part in ("TEST", "TRAIN"))
    shutil.copyfile(copied, first)
    own_test.main(data, model=[str(tiny_run)], out=tmp_path)
    rows = {row["mask"]: row for row in read_table(tmp_path / "results" / "own_test.csv")}
    assert rows[str(tiny_run)]["clean images"] == "4"
    assert rows["lookup table: mask of the most similar TRAIN slice"]["clean images"] == "4"


def test_data_without_test_is_named(phantom_data, tmp_path):
    shutil.copytree(phantom_data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "TEST")
    assert "test" not in open_dataset(tmp_path / "data").parts()
    with pytest.raises(NumbersMissingError, match="has no TEST part"):
        own_test.main(tmp_path / "data", out=tmp_path)


def test_the_documentation_shows_the_committed_table():
    committed = (ROOT / "reproduction" / "results" / "own_test.csv").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "results" / "tables" / "paper_test.csv").read_text(encoding="utf-8") == committed
