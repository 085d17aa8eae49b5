"""``pairs.csv``: one format, read back as it was written, and from older or foreign tables as far as they go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.data.pairs import Pair, check_pairs, read_pairs, write_pairs
from tumortrace.errors import DataError

# Neither surrogates, which no UTF-8 file can hold, nor NUL and carriage returns, which no file name in a table needs.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
pairs = st.builds(Pair, text, text, st.none() | text.filter(bool), st.integers(-1, 10**15))


@given(st.lists(pairs, max_size=5))
def test_there_and_back(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    write_pairs(path, written)
    assert read_pairs(path) == written


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("image,mask\na.png,b.png\n", Pair("a.png", "b.png", None, -1)),
        ("image,mask,patient\na.png,b.png,\n", Pair("a.png", "b.png", None, -1)),
        ("image,mask,size_bytes\na.png,b.png,17\n", Pair("a.png", "b.png", None, 17)),
        ("\ufeffpatient,mask,image,area\nAnn,b.png,a.png,0.5\n", Pair("a.png", "b.png", "Ann", -1)),
        ("image,mask,patient,size_bytes\na.png,b.png,Ann,many\n", Pair("a.png", "b.png", "Ann", -1)),
        ("image,mask,patient,size_bytes\na.png\n", Pair("a.png", "", None, -1)),
    ],
)
def test_tables_that_lack_something(tmp_path, table, expected):
    (tmp_path / "pairs.csv").write_text(table, encoding="utf-8")
    assert read_pairs(tmp_path / "pairs.csv") == [expected]


def test_a_table_that_cannot_be_read(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"image,mask\n\xff,a\n")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_pairs(tmp_path / "pairs.csv")


def test_unsafe_and_repeated_names():
    listed = [Pair("a.png", ""), Pair("b/../../c.png", "c.png"), Pair("", "d.png"), Pair("./a.png", "late.png")]
    kept, findings = check_pairs(listed, prefix="TRAIN/")
    assert kept == [Pair("a.png", "")]
    assert [(finding.kind, finding.file) for finding in findings] == [
        ("unsafe-filename", "TRAIN/b/../../c.png"),
        ("unsafe-filename", "TRAIN/"),
        ("duplicate-record", "TRAIN/a.png"),
    ]
