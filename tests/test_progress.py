"""What is printed stays on its line, whatever characters the name of a file holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from tumortrace.progress import open_console, printable

NAME = "a\n9 of 9 [bold]segmented\x1b[2J\r:smile:\udce9.png"
SHOWN = "a\\n9 of 9 [bold]segmented\\x1b[2J\\r:smile:\\udce9.png"


@pytest.mark.parametrize("stderr", [False, True])
def test_a_name_cannot_write_lines_or_escapes_of_its_own(capsys: pytest.CaptureFixture[str], stderr: bool):  # noqa: FBT001
    open_console(stderr=stderr).print(f"{NAME}: broken")
    shown = capsys.readouterr()
    assert (shown.err if stderr else shown.out) == f"{SHOWN}: broken\n"


def test_several_texts_are_several_lines(capsys: pytest.CaptureFixture[str]):
    open_console().print("", "one", NAME, sep="\n")
    assert capsys.readouterr().out == f"\none\n{SHOWN}\n"


def test_a_name_in_a_table_stays_in_its_row(capsys: pytest.CaptureFixture[str]):
    table = Table("file", box=None, show_header=False, pad_edge=False)
    table.add_row(NAME)
    open_console().print(table)
    assert capsys.readouterr().out.rstrip() == SHOWN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("scans/a b.png", "scans/a b.png"),
        ("größe/日本\u3000.png", "größe/日本\u3000.png"),
        ("a\n9 of 9.png", "a\\n9 of 9.png"),
        ("a\r\x1b[31mred\x9b0m\t.png", "a\\r\\x1b[31mred\\x9b0m\\t.png"),
        ("\udce9.png", "\\udce9.png"),
        ("gnp.\u202ea\u2028.png", "gnp.\\u202ea\\u2028.png"),
        ("", ""),
    ],
)
def test_a_name_is_printed_on_one_line(text: str, shown: str):
    assert printable(text) == shown


@given(st.text())
def test_no_text_moves_the_cursor_or_fails_to_encode(text: str):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(letter >= " " and not 0x7F <= ord(letter) <= 0x9F for letter in shown)
    shown.encode()
