"""The manifest: its keys, what they hold, and a machine that cannot tell everything."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from tumortrace.config import Config
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.training import manifest
from tumortrace.training.compute import Compute
from tumortrace.training.epochs import EpochRow
from tumortrace.training.manifest import (
    build_manifest,
    describe_data,
    describe_environment,
    describe_run,
    peak_memory_bytes,
)
from tumortrace.training.warm_start import WarmStart


def test_a_run_by_hand(settings: Callable[..., Config], compute: Compute, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "perf_counter", lambda: 112.345)
    monkeypatch.setattr(manifest, "peak_memory_bytes", lambda: {"cpu": 900, "gpu": None})
    rows = [EpochRow(1, 0.5, 0.3, None, 9.0, 0.1, 4.03), EpochRow(2, 0.4, 0.4, None, 9.0, 0.1, 6.03)]
    network = nn.Linear(4, 3)  # 12 weights and 3 biases
    config = settings(seed=7, keep="best_loss")
    described = describe_run(network, config, compute, rows, started=100.0, difference=1.5e-7)
    assert described == {
        "device": "cpu",
        "processes": 1,
        "precision": "32-true",
        "seed": 7,
        "parameters": 15,
        "kept_epoch": 1,
        "wall_seconds": 12.3,
        "epoch_seconds": 10.1,
        "peak_memory_bytes": {"cpu": 900, "gpu": None},
        "onnx_largest_difference": 1.5e-7,
    }


def test_manifest_by_hand():
    finding = Finding("unreadable", "left out", "TRAIN/b.png", cause="cut short", remedy="mend it")
    dataset = Dataset(Path(), (), (), folders={"one": Path("data/one")})
    data = describe_data(dataset, {"a": "aa", "b": "bb"}, {})
    document = build_manifest(
        {"seed": 7}, data=data, findings=[finding], start=WarmStart("default", "cc", False, ["default"])
    )
    assert {key: document.pop(key) for key in describe_environment()} == describe_environment()
    assert json.loads(json.dumps(document)) == {
        "seed": 7,
        "began_from": {
            "name": "default",
            "sha256": "cc",
            "remembered": False,
            "shipped_ancestors": ["default"],
        },
        "data": {
            "root": ".",
            "folders": {"one": str(Path("data/one"))},
            "train": {"count": 2, "sha256": hash_part({"a": "aa", "b": "bb"}), "cases": {"a": "aa", "b": "bb"}},
            "val": {"count": 0, "sha256": hash_part({}), "cases": {}},
        },
        "findings": [
            {
                "kind": "unreadable",
                "severity": "left out",
                "file": "TRAIN/b.png",
                "cause": "cut short",
                "remedy": "mend it",
            }
        ],
    }


def test_environment_has_these_keys():
    assert list(describe_environment()) == [
        "tumortrace",
        "git_commit",
        "python",
        "libraries",
        "platform",
        "cpu_count",
        "torch_threads",
        "gpu",
    ]


def test_where_memory_cannot_be_asked_for_it_is_none(monkeypatch: pytest.MonkeyPatch):
    """Windows has no module ``resource``: the manifest's module loads without it."""
    monkeypatch.setitem(sys.modules, "resource", None)
    spec = importlib.util.spec_from_file_location("manifest_without_resource", manifest.__file__)
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, without)  # dataclasses look their module up
    spec.loader.exec_module(without)
    assert without.peak_memory_bytes()["cpu"] is None
    assert (peak_memory_bytes()["cpu"] or 0) > 50e6
