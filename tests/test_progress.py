"""What is printed stays on its line, whatever characters the name of a file holds."""

from __future__ import annotations

import pytest
from rich.table import Table

from tumortrace.progress import open_console, show_progress, silence, tell

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


def test_lines_are_shown_only_within_a_command(capsys):
    with show_progress():
        tell("within")
        with silence():
            tell("silent")
    tell("after")
    assert capsys.readouterr().err == "within\n"
