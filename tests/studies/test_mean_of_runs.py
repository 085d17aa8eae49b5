"""The mean of the weights of several runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from studies.mean_of_runs import average

from studies import mean_of_runs
from tumortrace.errors import ModelError


def weights_of(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "best.safetensors")
    return folder / "best.safetensors"


def test_weights_are_averaged_and_counters_stay_whole(tmp_path: Path):
    first = weights_of(tmp_path / "a", weight=torch.tensor([[1.0, -2.0, 4.0]]), steps=torch.tensor(10))
    second = weights_of(tmp_path / "b", weight=torch.tensor([[3.0, 2.0, 4.0]]), steps=torch.tensor(20))
    mean = average([first, second])
    assert mean["weight"].tolist() == [[2.0, 0.0, 4.0]]
    assert (mean["steps"].item(), mean["steps"].dtype) == (15, torch.int64)


def test_runs_of_different_networks_have_no_mean(tmp_path: Path):
    first = weights_of(tmp_path / "a", weight=torch.zeros(2, 3))
    second = weights_of(tmp_path / "b", weight=torch.zeros(3, 2))
    with pytest.raises(ModelError, match="different networks"):
        average([first, second])


def test_the_last_run_knows_the_slices_of_all_others(monkeypatch: pytest.MonkeyPatch):
    hashes = {"first": ("a", "b"), "last": ("a", "b", "c")}
    monkeypatch.setattr(
        mean_of_runs, "load_training_index", lambda path: SimpleNamespace(hashes=hashes[path.parent.name])
    )
    first, last = Path("first"), Path("last")
    mean_of_runs.check_last_knows_all([first, last])
    with pytest.raises(ModelError, match="first: does not know 1 training slices of last; start the last run from it"):
        mean_of_runs.main([last, first], out=Path("mean"))
