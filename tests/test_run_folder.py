"""Where a run may start or go on: nothing that training took its time for is ever overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumortrace.config import Config, to_toml
from tumortrace.errors import ConfigError
from tumortrace.run_folder import (
    BEST,
    CHECKPOINT,
    CONFIG,
    FIRST,
    METRICS,
    MODEL,
    NETWORK,
    SPLIT,
    TRAINING_INDEX,
    check_run_folder,
    has_begun,
    resumed_settings,
)


def put(run: Path, *names: Path) -> Path:
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(to_toml(Config()) if name == CONFIG else "")
    return run


def test_a_run_may_start_where_there_is_nothing_to_lose(tmp_path: Path):
    check_run_folder(tmp_path / "new", resume=False)
    check_run_folder(tmp_path, resume=False)
    check_run_folder(put(tmp_path, CONFIG), resume=False)  # stopped in its first epoch


def test_a_run_may_go_on_from_its_first_epoch_or_its_checkpoint(tmp_path: Path):
    check_run_folder(put(tmp_path, CONFIG, TRAINING_INDEX), resume=True)
    check_run_folder(put(tmp_path, CHECKPOINT), resume=True)
    check_run_folder(put(tmp_path, BEST, MODEL), resume=True)


def test_a_run_that_stopped_before_its_training_index_starts_anew(tmp_path: Path):
    run = put(tmp_path / "run", CONFIG, FIRST)
    assert not has_begun(run)
    with pytest.raises(ConfigError, match="the run stopped before it began to train; start it without --resume"):
        check_run_folder(run, resume=True)
    check_run_folder(run, resume=False)
    assert has_begun(put(run, TRAINING_INDEX))


def test_a_new_run_where_there_is_one_is_refused(tmp_path: Path):
    run = put(tmp_path / "one", CONFIG, CHECKPOINT, BEST)
    with pytest.raises(
        ConfigError, match=r"one: holds a run already; continue it with --resume, or choose another --out$"
    ):
        check_run_folder(run, resume=False)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(("kept", "named"), [((BEST,), BEST), ((MODEL,), MODEL), ((BEST, MODEL), BEST)])
def test_results_without_their_checkpoint_are_not_overwritten(
    kept: tuple[Path, ...], named: Path, *, resume: bool, tmp_path: Path
):
    run = put(tmp_path, CONFIG, *kept)
    with pytest.raises(
        ConfigError, match=rf"holds {named}, but no {CHECKPOINT} to continue from; choose another --out$"
    ):
        check_run_folder(run, resume=resume)


def test_resuming_where_there_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"new: no run to resume \(no config\.toml\); train without --resume first"):
        check_run_folder(tmp_path / "new", resume=True)


@pytest.mark.parametrize("foreign", [METRICS, FIRST])
def test_files_of_another_program_are_not_overwritten(foreign: Path, tmp_path: Path):
    run = put(tmp_path / "mine", foreign)
    with pytest.raises(ConfigError, match=rf"mine: holds {foreign}, but not from a run of tumortrace; choose another"):
        check_run_folder(run, resume=False)
    (run / CONFIG).write_text("colour = 'red'")
    with pytest.raises(ConfigError, match=r"mine: holds config\.toml, but not from a run of tumortrace"):
        check_run_folder(run, resume=False)
    (run / CONFIG).write_text("[training]\nepochs = 3  # a person's own settings")
    with pytest.raises(ConfigError, match=r"mine: holds config\.toml, but not from a run of tumortrace"):
        check_run_folder(run, resume=False)
    check_run_folder(put(run, NETWORK), resume=False)  # a run of an earlier version, stopped within its first epoch


def test_a_cross_validation_is_not_overwritten_by_a_run(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"holds a cross-validation or a sweep \(split\.json\); choose another --out"):
        check_run_folder(put(tmp_path, CONFIG, SPLIT), resume=False)


@pytest.mark.parametrize("names", [(CONFIG, SPLIT), (SPLIT,)])
def test_resuming_a_cross_validation_or_a_sweep_as_a_run_names_the_way(names: tuple[Path, ...], tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a sweep \(split\.json\); call that command again to continue it$"):
        check_run_folder(put(tmp_path, *names), resume=True)
    check_run_folder(put(tmp_path / "run", CONFIG, TRAINING_INDEX, SPLIT), resume=True)  # a split that a user put there


def test_a_resumed_run_has_its_own_settings_and_those_that_are_changed(tmp_path: Path):
    put(tmp_path, CONFIG, TRAINING_INDEX).joinpath(CONFIG).write_text("[training]\nepochs = 3\nseed = 5")
    config = resumed_settings(tmp_path, ["training.threads=1"])
    assert (config.training.epochs, config.training.seed, config.training.threads) == (3, 5, 1)
    with pytest.raises(ConfigError, match="no run to resume"):
        resumed_settings(tmp_path / "new")
