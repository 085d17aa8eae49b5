"""The two sizes of the experiments: what a sweep's file becomes at each, and whose results stand in a folder."""

from __future__ import annotations

import pytest
from reproduction.size import FULL, SIZES, SMALL, claim_results, load_size, read_size, resize_sweep
from reproduction.steps import SWEEPS
from reproduction.tables import read_table

from reproduction import oscillation
from tumortrace.config import load_config
from tumortrace.errors import ConfigError, DataError
from tumortrace.trials.sweep_space import plan_sweep

FILES = sorted(path.stem for path in SWEEPS.glob("*.toml"))


def text_of(name: str) -> str:
    return (SWEEPS / f"{name}.toml").read_text(encoding="utf-8")


def test_the_sizes_are_the_configurations_that_ship():
    small, full = load_size(SMALL), load_size(FULL)
    assert small.network == load_config("narrow").network
    assert (small.recipe.size_hw, small.training.keep) == ((128, 128), "last")
    assert (full.network, full.recipe) == (load_config("paper").network, load_config("paper").recipe)
    assert (full.training.keep, full.training.device) == ("last", "auto")
    assert load_size(FULL, ["training.epochs=3"]).training.epochs == 3


@pytest.mark.parametrize("name", FILES)
def test_a_sweep_at_full_size_differs_in_network_and_input_alone(name):
    assert resize_sweep(text_of(name), SMALL) == text_of(name)
    before, after = (plan_sweep(resize_sweep(text_of(name), size), name) for size in (SMALL, FULL))
    assert (before.options.base, after.options.base) == ("narrow", "paper")
    assert before.options.seeds == after.options.seeds
    assert before.options.stop_hopeless == after.options.stop_hopeless
    assert len(before.settings) == len(after.settings)
    assert before.varied == after.varied
    for old, new in zip(before.settings, after.settings, strict=True):
        assert new.config.network == load_config("paper").network
        assert new.config.recipe.size_hw == (512, 512)
        assert (new.config.training.threads, new.config.training.keep) == (0, "last")
        kept = {key: value for key, value in old.values.items() if key not in {"recipe.size_hw", "training.threads"}}
        assert new.values == kept | {"training.keep": "last"}


def test_rows_of_the_oscillation_are_found_at_full_size():
    text = resize_sweep(text_of("oscillation"), FULL, [f"training.learning_rate={oscillation.PLAIN_RATE}"])
    keys = ("learning_rate", "batch_size", "clip", "loss", "average", "schedule")
    trainings = [setting.config.training for setting in plan_sweep(text, "oscillation").settings]
    rows = [oscillation.find_row({key: getattr(training, key) for key in keys}) for training in trainings]
    assert rows == [
        "schedule, one cycle", "averaged weights, 0.99", "clipped gradients, 0.1", "Dice + cross-entropy",
    ]  # fmt: skip


def test_a_sweep_without_a_space_is_refused():
    with pytest.raises(ConfigError, match=r"neither \[grid\] nor"):
        resize_sweep('base = "narrow"\n', FULL)


def test_results_of_two_sizes_are_not_mixed(tmp_path):
    assert read_size(tmp_path / "results") is SMALL
    claim_results(tmp_path, FULL)
    claim_results(tmp_path, FULL)
    assert read_size(tmp_path / "results") is FULL
    assert read_table(tmp_path / "results" / "size.csv") == [
        {"size": "full", "widths": "64 128 256 512 1024", "height_px": "512", "width_px": "512"}
    ]
    with pytest.raises(DataError, match="holds results of the size full, not small; give another --into"):
        claim_results(tmp_path, SMALL)


def test_what_is_committed_is_of_the_small_size():
    assert read_size(SWEEPS.parent / "results") is SIZES["small"]
    assert (SWEEPS.parent / "results" / "size.csv").is_file()
