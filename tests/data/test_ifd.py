"""Directories of tags, by hand in both byte orders, and as tifffile counts them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile

from tumortrace.data.ifd import LONG, MOST_PAGES, SHORT, Directories, Entry, read_whole, walk
from tumortrace.errors import DataError

ORDERS = {"<": b"II*\0", ">": b"MM\0*"}


def directory(order: str, entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    """A directory: the tag, type, number and content or place of each entry; then the place of the next directory."""
    packed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return struct.pack(f"{order}H", len(entries)) + packed + struct.pack(f"{order}I", following)


def tags(order: str, *parts: bytes, first: int = 8) -> bytes:
    return ORDERS[order] + struct.pack(f"{order}I", first) + b"".join(parts)


@pytest.mark.parametrize("order", ORDERS)
def test_entries_within_a_directory_and_outside(order: str):
    """Four bytes stand in the entry itself, at 18 and 30; two long numbers stand behind the directory, at 50."""
    entries = [(256, SHORT, 1, 7), (257, 2, 4, 0), (258, LONG, 2, 50)]
    data = tags(order, directory(order, entries), struct.pack(f"{order}II", 2**32 - 1, 5))
    found = {256: Entry(SHORT, 1, 18), 257: Entry(2, 4, 30), 258: Entry(LONG, 2, 50)}
    assert len(data) == 58
    assert walk(data) == Directories(found, 1, order)
    assert walk(memoryview(data)) == Directories(found, 1, order)
    assert walk(data[:57]).entries == {tag: found[tag] for tag in (256, 257)}  # a value that is cut off is left out
    assert read_whole(data, found[258], order) == 2**32 - 1


@pytest.mark.parametrize("order", ORDERS)
def test_whole_numbers_are_unsigned(order: str):
    data = struct.pack(f"{order}HI", 0xFFFE, 0xFFFFFFFD)
    assert read_whole(data, Entry(SHORT, 1, 0), order) == 0xFFFE
    assert read_whole(data, Entry(LONG, 1, 2), order) == 0xFFFFFFFD


@pytest.mark.parametrize("entry", [None, Entry(SHORT, 0, 0), Entry(2, 1, 0), Entry(9, 1, 0)])
def test_what_is_no_whole_number(entry: Entry | None):
    assert read_whole(b"\1\2\3\4", entry, "<") is None


def test_of_two_entries_with_one_tag_the_first_counts_and_unknown_types_do_not():
    entries = [(1, 99, 1, 5), (2, SHORT, 0, 5), (3, SHORT, 1, 6), (3, LONG, 1, 7)]
    assert walk(tags("<", directory("<", entries))).entries == {3: Entry(SHORT, 1, 42)}


def test_a_directory_is_read_up_to_its_last_byte():
    """Its place may be missing of the next directory; of its two entries nothing may."""
    data = tags("<", directory("<", [(256, SHORT, 1, 7), (257, SHORT, 1, 9)], following=8))
    assert len(data) == 38
    for length in range(34):
        with pytest.raises(DataError, match=r"^its list of tags is cut off or damaged$"):
            walk(data[:length])
    for length in range(34, 39):
        assert walk(data[:length]) == Directories({256: Entry(SHORT, 1, 18), 257: Entry(SHORT, 1, 30)}, 1, "<")


@pytest.mark.parametrize("head", [b"XX*\0", b"XX\0*", b"II+*", b"II)\0", b"MM*\0", b"IM*\0"])
def test_what_begins_with_no_byte_order_and_version(head: bytes):
    for order in ORDERS:
        with pytest.raises(DataError, match=r"^its list of tags is cut off or damaged$"):
            walk(head + tags(order, directory(order, []))[4:])


def test_values_may_claim_as_many_bytes_as_there_are_and_no_more():
    entries = [(256, 1, 20, 0), (257, 1, 18, 20)]
    data = tags("<", directory("<", entries))
    assert len(data) == 38
    assert walk(data).entries == {256: Entry(1, 20, 0), 257: Entry(1, 18, 20)}
    with pytest.raises(DataError, match=r"^its list .* damaged \(it claims more bytes than the file has\)$"):
        walk(tags("<", directory("<", [entries[0], (257, 1, 19, 0)])))


def test_the_next_directory_may_stand_before_the_first():
    data = tags(">", directory(">", []), directory(">", [(256, SHORT, 1, 7)], following=8), first=14)
    assert walk(data) == Directories({256: Entry(SHORT, 1, 24)}, 2, ">")


def test_a_circle_behind_the_first_directory_ends():
    data = tags("<", directory("<", [], 14), directory("<", [], 20), directory("<", [], 14))
    assert walk(data).pages == 3


@pytest.mark.parametrize(("number", "pages"), [(MOST_PAGES, MOST_PAGES), (MOST_PAGES + 3, MOST_PAGES)])
def test_directories_are_counted_up_to_a_limit(number: int, pages: int):
    places = [8 + 6 * at for at in range(1, number)]
    assert walk(tags("<", *(directory("<", [], place) for place in [*places, 0]))).pages == pages


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("pages", [1, 2, 5])
def test_pages_and_size_are_those_of_tifffile(order: str, pages: int, *, bigtiff: bool):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=bigtiff) as writer:
        for page in range(pages):
            writer.write(np.zeros((3, 70 + page), np.uint8), description="x" * (3 * page))
    data = file.getvalue()
    found = walk(data)
    with tifffile.TiffFile(io.BytesIO(data)) as reader:
        assert found.pages == len(reader.pages) == pages
        assert sorted(found.entries) == sorted(reader.pages[0].tags.keys())
    assert [read_whole(data, found.entries[tag], order) for tag in (256, 257)] == [70, 3]
