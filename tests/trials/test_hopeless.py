"""Which runs of a sweep end early, and that the answer does not depend on the order in which runs finish."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from tumortrace.training.epochs import EpochRow
from tumortrace.trials import hopeless
from tumortrace.trials.hopeless import FirstRun, HopelessRule
from tumortrace.trials.jobs import NotYetError


def row(epoch: int, dice: float | None) -> EpochRow:
    return EpochRow(epoch, 0.5, 0.4, dice, 10.0, 0.1, 1.0)


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[EpochRow]]:
    """The epochs of the runs before, by their folders' names; they have 4 epochs each, so the second one counts."""
    thirds = {"s1": 0.1, "s2": 0.5, "s3": 0.25, "s4": None, "s5": 0.9}
    rows = {name: [row(1, 1.0), row(2, dice)] for name, dice in thirds.items()}
    monkeypatch.setattr(hopeless, "read_rows", lambda folder: rows[folder.name])
    monkeypatch.setattr(hopeless, "PATIENCE_SECONDS", 0.0)
    return rows


def make_rule(folder: Path, count: int = 5) -> HopelessRule:
    runs = tuple(FirstRun(folder / f"s{number}", 4) for number in range(1, count + 1))
    return HopelessRule(epochs=4, before=runs, results=folder / "results.csv")


def test_a_run_is_judged_by_the_median_of_those_before(before: dict[str, list[EpochRow]], tmp_path: Path):
    rule = make_rule(tmp_path)  # 0.1, 0.25, 0.5 and 0.9: the median is 0.375
    assert rule([row(1, 1.0), row(2, 0.37)])
    assert not rule([row(1, 0.0), row(2, 0.375)])
    assert not rule([row(1, 0.0)])
    longer = replace(rule, epochs=7)  # of its own seven epochs the third one counts, of those before still the second
    assert not longer([row(1, 0.0), row(2, 0.0)])
    assert longer([row(1, 1.0), row(2, 1.0), row(3, 0.37)])
    assert rule([row(1, 1.0), row(2, 0.37), row(3, 0.9)])  # a run that is resumed is judged by its second epoch still
    assert not rule([row(1, 0.0), row(2, None)])
    assert pickle.loads(pickle.dumps(rule)) == rule  # noqa: S301 - it goes to other processes
    before["s5"] = [row(1, 0.9), row(2, None)]
    assert not rule([row(1, 1.0), row(2, 0.0)])  # three defined ones are too few
    assert not replace(rule, before=rule.before[:3])([row(1, 1.0), row(2, 0.0)])


def test_a_run_waits_for_those_before_it_unless_they_have_failed(before: dict[str, list[EpochRow]], tmp_path: Path):
    rule, poor = make_rule(tmp_path), [row(1, 1.0), row(2, 0.0)]
    before["s3"] = before["s3"][:1]
    with pytest.raises(NotYetError):
        rule(poor)
    rule.results.write_text("run,outcome\ns3,training diverged\n")
    assert not rule(poor)  # which leaves three
    before["s4"] = [row(1, 0.5), row(2, 0.5)]
    assert rule(poor)
