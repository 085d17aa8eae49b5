"""Sizes in compressed pictures, on the few bytes that state them."""

from __future__ import annotations

import struct

import pytest

from tumortrace.data.dicom.codestream import read_code_size

# 6 wide, 4 high, at (2, 1), in tiles of 4 x 3 from the origin, of 3 components
START = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 47, 0, 6 + 2, 4 + 1, 2, 1, 4, 3, 0, 0, 3)
SOF = struct.pack(">HBHHB", 11, 12, 4, 6, 1)  # length, bits, height, width, components


def box(kind, data):
    return struct.pack(">I4s", len(data) + 8, kind) + data


JP2 = box(b"jP  ", b"\r\n\x87\n")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (START, ((4, 6), 3, 4)),
        (JP2 + box(b"free", START.replace(b"\x08", b"\x09")) + box(b"jp2c", START), ((4, 6), 3, 4)),
        (JP2 + struct.pack(">I4sQ", 1, b"jp2c", len(START) + 16) + START, ((4, 6), 3, 4)),
        (JP2 + box(b"free", START), None),
        (START[:-1], None),
        (START.replace(struct.pack(">II", 4, 3), bytes(8)), None),  # tiles without a size
        (b"\xff\xd8\xff\xc3" + SOF, ((4, 6), 1, 0)),  # lossless
        (b"\xff\xd8\xff\xf7" + SOF, ((4, 6), 1, 0)),  # JPEG-LS
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xff\xc1" + SOF, ((4, 6), 1, 0)),  # behind another segment and fill bytes
        (b"\xff\xd8\xff\xc4\x00\x02\xff\xc0" + SOF, ((4, 6), 1, 0)),  # a Huffman table is no frame
        (b"\xff\xd8\xff\xc4\xff\xff", None),
        (b"\xff\xd8\xff\xd9", None),
        (b"", None),
        (b"\0\0\0\x0cjP  ", None),
    ],
)
def test_size(data, size):
    assert read_code_size(data) == size
