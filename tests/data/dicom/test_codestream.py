"""Sizes in compressed pictures, on the few bytes that state them."""

from __future__ import annotations

import struct

import pytest

from tumortrace.data.dicom.codestream import read_size

START = b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 41, 0, 6 + 2, 4 + 1, 2, 1)  # 6 wide, 4 high, at (2, 1)
SOF = struct.pack(">HBHHB", 11, 12, 4, 6, 1)  # length, bits, height, width, components


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (START, (4, 6)),
        (b"\0\0\0\x0cjP  \r\n" + b"x" * 9 + START, (4, 6)),
        (START[:-1], None),
        (b"\xff\xd8\xff\xc3" + SOF, (4, 6)),  # lossless
        (b"\xff\xd8\xff\xf7" + SOF, (4, 6)),  # JPEG-LS
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xff\xc1" + SOF, (4, 6)),  # behind another segment and fill bytes
        (b"\xff\xd8\xff\xc4\x00\x02\xff\xc0" + SOF, (4, 6)),  # a Huffman table is no frame
        (b"\xff\xd8\xff\xc4\xff\xff", None),
        (b"\xff\xd8\xff\xd9", None),
        (b"", None),
        (b"\0\0\0\x0cjP  ", None),
    ],
)
def test_size(data, size):
    assert read_size(data) == size
