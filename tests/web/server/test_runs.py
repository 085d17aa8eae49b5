from __future__ import annotations

import asyncio
import os

import httpx
import pytest

from tumortrace.web.app import make_app
from tumortrace.web.engine import Engine
from tumortrace.web.limits import RefusalError
from tumortrace.web.runs import list_runs, read_curves

TABLE = "epoch,train_loss,val_loss,val_dice,seconds\n1,0.9,nan,,7\n2,0.5,,0.61,7\n"


@pytest.fixture
def folder(tmp_path):
    """Two runs with curves, one that has none yet, and a file."""
    for number, name in enumerate(("first", "second", "empty")):
        (tmp_path / name).mkdir()
        if name != "empty":
            table = tmp_path / name / "metrics.csv"
            table.write_text(TABLE)
            os.utime(table, (1000 + number, 1000 + number))
    (tmp_path / "metrics.csv").write_text(TABLE)
    return tmp_path


def test_runs_are_listed_by_the_time_of_their_last_epoch(folder):
    assert list_runs(folder) == ["second", "first"]
    assert list_runs(None) == []
    assert list_runs(folder / "empty") == []


def test_what_was_not_measured_is_null_and_empty_curves_are_left_out(folder):
    found = read_curves(folder, "first")
    assert found == {"epochs": [1, 2], "curves": {"train_loss": [0.9, 0.5], "val_dice": [None, 0.61]}}


def test_a_table_without_an_epoch_has_empty_curves(folder):
    (folder / "first" / "metrics.csv").write_text(TABLE.splitlines()[0] + "\n")
    assert read_curves(folder, "first") == {"epochs": [], "curves": {}}


@pytest.mark.parametrize("name", ["..", ".", "", "empty", "first/../first", "none"])
def test_no_name_leads_out_of_the_folder(folder, name):
    with pytest.raises(RefusalError, match="no such run") as error:
        read_curves(folder, name)
    assert error.value.status == 404


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "epoch,train_loss\nx,0.5\n", "epoch,train_loss\n1.5,0.5\n"])
def test_a_file_that_is_no_table_of_epochs_is_refused(folder, text):
    (folder / "first" / "metrics.csv").write_text(text)
    with pytest.raises(RefusalError, match=r"first/metrics\.csv"):
        read_curves(folder, "first")


def test_the_routes_reply_with_names_and_curves(folder):
    engine = Engine("fast")

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(make_app(engine, host="127.0.0.1", runs=folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            return await client.get(path)

    assert asyncio.run(ask("/api/runs")).json() == {"runs": ["second", "first"]}
    assert asyncio.run(ask("/api/runs/second/metrics")).json()["epochs"] == [1, 2]
    assert asyncio.run(ask("/api/runs/third/metrics")).status_code == 404
    engine.shut_down()
