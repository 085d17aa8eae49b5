"""The demo at a reduced size: every step runs and leaves what it promises."""

from __future__ import annotations

import pytest
from rich.console import Console

import tumortrace.demo
from tumortrace.config import config_from_tables
from tumortrace.demo import run_demo
from tumortrace.errors import DataError


def test_demo_makes_everything(tmp_path, monkeypatch):
    tiny = {
        "recipe": {"size_hw": [32, 32]},
        "network": {"widths": [4, 8]},
        "training": {"epochs": 1, "keep": "last", "threads": 1},
    }
    monkeypatch.setattr(tumortrace.demo, "COUNTS", {"TRAIN": 6, "VAL": 2, "TEST": 5})
    monkeypatch.setattr(tumortrace.demo, "NO_TUMOUR", 2)
    monkeypatch.setattr(
        tumortrace.demo, "load_config", lambda name: config_from_tables(tiny) if name == "smoke" else None
    )
    console = Console(record=True, width=200, force_terminal=False)
    run_demo(tmp_path / "demo", console)
    for made in (
        "data/TRAIN/annotations_train.json",
        "run/model.onnx",
        "run/losses.png",
        "evaluation/per_image.csv",
        "evaluation/figures/best.png",
        "masks/results.json",
        "report.html",
    ):
        assert (tmp_path / "demo" / made).is_file(), made
    text = console.export_text()
    assert "of 2 tumour-free slices" in text
    assert str(tmp_path / "demo" / "evaluation" / "figures") in text


def test_demo_never_overwrites(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="is not empty; remove it or choose another --out"):
        run_demo(tmp_path, Console())
