"""Messages of errors are one line that a terminal shows as it is."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumortrace.errors import DataError, describe_system_error, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Schädel 3.png", "Schädel 3.png"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\udce9.png", r"\udce9.png"),  # a byte of a name that is not UTF-8
        ("a\u2028b", r"a\u2028b"),
        ("a\r\x9b0m\t.png", r"a\r\x9b0m\t.png"),
        ("gnp.\u202ea", r"gnp.\u202ea"),  # turns what follows, so that a name seems to end in .png
        ("日本\u3000\u200d.png", "日本\u3000\u200d.png"),
        ("", ""),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    assert str(DataError(text)) == shown


@given(st.text(st.characters()))
def test_any_text_becomes_one_line_of_utf8(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(letter >= " " and not 0x7F <= ord(letter) <= 0x9F for letter in shown)
    assert printable(shown) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space", "out/TRAIN/a.png"), "out/TRAIN: the disk is full; free space there, then"),
        (OSError(errno.ENOSPC, "No space"), "the disk is full; free space there, then run the command again"),
        (OSError(errno.EROFS, "Read-only", "out/a.png"), "out/a.png: Read-only; check path, permissions and disk"),
        (OSError("odd"), "input/output: odd; check path, permissions and disk"),
    ],
)
def test_a_full_disk_is_called_so(error, line):
    assert describe_system_error(error).startswith(line)
