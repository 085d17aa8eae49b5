"""The command that continues interrupted work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumortrace.commands.output import name_next_command, resume_words

DROP = ("--config", "--set", "--from")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "my data"], ["train", "my data", "--out", "runs/x", "--resume"]),
        (
            ["train", "d", "--config", "smoke", "--set=training.epochs=3", "--set", "training.seed=1", "--fold", "2"],
            ["train", "d", "--fold", "2", "--out", "runs/x", "--resume"],
        ),
        (["train", "d", "--out=runs/x", "--resume"], ["train", "d", "--out=runs/x", "--resume"]),
        (["train", "d", "--from"], ["train", "d", "--out", "runs/x", "--resume"]),
    ],
)
def test_what_does_not_go_with_a_resumption_is_left_out(words: list[str], expected: list[str]):
    assert resume_words(words, out=Path("runs/x"), drop=DROP) == expected


def test_the_next_command_is_named_on_an_interruption_alone(capsys: pytest.CaptureFixture[str]):
    with name_next_command(lambda: ["train", "my data"]):
        pass
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt), name_next_command(lambda: ["train", "my data"]):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "continue with: tumortrace train 'my data'\n"
