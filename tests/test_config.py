"""Configuration: what is read is what was meant, and each mistake is named with its key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tumortrace.config import (
    Config,
    NetworkConfig,
    Recipe,
    TrainingConfig,
    check_size_fits,
    config_from_tables,
    config_names,
    load_config,
    override,
    recipe_from_table,
    to_toml,
)
from tumortrace.errors import ConfigError


def test_shipped_configurations_all_load():
    assert config_names() == ["box", "default", "fast", "narrow", "paper", "smoke"]
    for name in config_names():
        assert isinstance(load_config(name), Config)


def test_paper_is_the_reports_setting():
    paper = load_config("paper")
    assert paper.recipe == Recipe(size_hw=(512, 512), pad_to_square=False, threshold=0.5)
    assert paper.network.widths == (64, 128, 256, 512, 1024)
    assert (paper.training.batch_size, paper.training.learning_rate, paper.training.keep) == (4, 1e-4, "best_loss")


def test_default_selects_nothing_on_val():
    assert load_config("default").training.keep == "last"


@given(
    epochs=st.integers(1, 10**6),
    learning_rate=st.floats(1e-12, 10.0),
    seed=st.integers(0, 2**63 - 1),
    sides=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    square=st.booleans(),
    label=st.text(st.characters(exclude_categories=["Cs"])),
)
@example(epochs=1, learning_rate=0.1, seed=0, sides=(1, 1), square=False, label='"tumour" \\ Größe \n\x7f 🧠')
def test_toml_round_trip(epochs, learning_rate, seed, sides, square, label):
    config = Config(
        recipe=Recipe(size_hw=(sides[0] * 4, sides[1] * 4), pad_to_square=square),
        network=NetworkConfig(widths=(3, 5, 7)),
        training=TrainingConfig(epochs=epochs, learning_rate=learning_rate, seed=seed, label=label),
    )
    assert config_from_tables(tomllib.loads(to_toml(config))) == config


def test_overrides_apply_in_order_and_text_needs_no_quotes():
    config = load_config("smoke", ["training.epochs=3", "training.epochs=5", "training.keep=best_dice"])
    assert config.training.epochs == 5
    assert config.training.keep == "best_dice"


def test_override_of_a_list():
    assert load_config("smoke", ["recipe.size_hw=[64, 96]"]).recipe.size_hw == (64, 96)


def test_whole_number_stands_for_a_float():
    assert load_config("smoke", ["training.learning_rate=1"]).training.learning_rate == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"unknown key 'training.epoch'; did you mean 'training.epochs'\?"),
        ("training.zzz=3", r"unknown key 'training.zzz'; known keys: epochs, coarse_epochs"),
        ("trainings.epochs=3", r"unknown key 'trainings'; did you mean 'training'\?"),
        ("training.epochs=three", r"training.epochs = 'three' must be a whole number"),
        ("training.epochs=true", r"training.epochs = True must be a whole number"),
        ("training.epochs=2.5", r"training.epochs = 2.5 must be a whole number"),
        ("training.epochs=0", r"training.epochs = 0 must be at least 1"),
        ("training.cycles=2", r"unknown key 'training.cycles'"),
        ("training.keep=first", r"training.keep = 'first' must be one of 'last', 'best_loss', 'best_dice'"),
        ("recipe.size_hw=64", r"recipe.size_hw = 64 must be a list of whole numbers"),
        ("recipe.size_hw=[64]", r"recipe.size_hw = \[64\] must be a list of 2 values"),
        ("recipe.size_hw=[64, 'a']", r"recipe.size_hw\[1\] = 'a' must be a whole number"),
        ("recipe.confidence=[1, 2]", r"recipe.confidence = \(1.0, 2.0\) must be 7 finite numbers, or \[\] for none"),
        ("recipe.size_hw=[0, 64]", r"must be two positive numbers"),
        ("recipe.threshold=1.0", r"recipe.threshold = 1.0 must be a number between 0 and 1"),
        ("network.widths=[8]", r"network.widths = \(8,\) must be at least two positive numbers"),
        ("training.learning_rate=inf", r"training.learning_rate = inf must be a positive number"),
        ("training.learning_rate=nan", r"training.learning_rate = nan must be a positive number"),
        ("training.weight_decay=inf", r"training.weight_decay = inf must be 0 or a positive number"),
        ("training.weight_decay=nan", r"training.weight_decay = nan must be 0 or a positive number"),
        (f"training.clip={2**63}", rf"training.clip = {2**63} must be a number below 2\^63$"),
        (f"training.epochs=-{2**63}", rf"training.epochs = -{2**63} must be a number below 2\^63$"),
        (f"training.epochs=0x{'f' * 5000}", r"training.epochs = \(a huge number\) must be a number below 2\^63$"),
        (
            f"training.epochs={'9' * 400}",
            r"training.epochs = 9{40}\.\.\. \(400 characters\) must be a number below 2\^63$",
        ),
        (f"recipe.size_hw=[{'9' * 400}, 64]", r"recipe.size_hw\[0\] = 9{40}\.\.\. \(400 characters\) must be"),
        (f"training.clip={'1' * 5000}", r"training.clip = '1{39}\.\.\. \(5002 characters\) must be a number$"),
        (f"training.clip={'[' * 5000}", r"training.clip = '\[{39}\.\.\. \(5002 characters\) must be a number$"),
        (f"epochs={'9' * 400}", r"--set 'epochs=9{32}\.\.\. \(409 characters\) is not of the form section.key=value"),
        ("training.label=x\udce9", r"training.label = 'x\\udce9' must be text in UTF-8"),
        ("training.epochs", r"--set 'training.epochs' is not of the form section.key=value"),
        ("epochs=3", r"--set 'epochs=3' is not of the form section.key=value"),
    ],
)
def test_each_mistake_has_its_own_message(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config("smoke", [override])


def test_section_that_is_no_table():
    with pytest.raises(ConfigError, match=r"training must be a table, not 3"):
        config_from_tables({"training": 3})


def test_override_of_a_section_that_is_no_table(tmp_path: Path):
    path = tmp_path / "odd.toml"
    path.write_text("recipe = 3")
    with pytest.raises(ConfigError, match=r"recipe must be a table, not 3"):
        load_config(str(path), ["recipe.threshold=0.4"])


def test_missing_configuration_names_the_shipped_ones():
    with pytest.raises(
        ConfigError,
        match=r"no configuration 'nosuch': give a TOML file or one of box, default, fast, narrow, paper, smoke",
    ):
        load_config("nosuch")


@pytest.mark.parametrize(
    "text", ["epochs == 3", f"epochs = {'1' * 5000}", f"epochs = {'[' * 5000}"], ids=["signs", "digits", "brackets"]
)
def test_file_that_is_not_toml(text: str, tmp_path: Path):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken.toml: not TOML"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("training.epoch = 3", "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ("training.epochs = 0", "training.epochs = 0 must be at least 1"),
    ],
)
def test_the_file_with_a_wrong_setting_is_named(line: str, fault: str, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(line)
    with pytest.raises(ConfigError) as caught:
        load_config(str(path))
    assert str(caught.value) == f"{path}: {fault}"


def test_file_that_is_not_text(tmp_path: Path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary.toml: cannot be read as text"):
        load_config(str(path))


def test_size_that_does_not_fit_names_the_sizes_that_do():
    with pytest.raises(
        ConfigError, match=r"\[250, 512\] .* 4 poolings.*multiples of 16, for example \[240, 512\] or \[256, 512\]"
    ):
        check_size_fits((250, 512), poolings=4)


def test_size_smaller_than_one_step_is_never_advised_as_zero():
    with pytest.raises(ConfigError, match=r"for example \[16, 16\] or \[16, 16\]"):
        check_size_fits((5, 3), poolings=4)


def test_a_size_that_leaves_the_encoder_one_pixel_is_refused():
    with pytest.raises(ConfigError, match=r"size_hw = \(32, 32\) must be at least 64 on one side"):
        load_config("fast", ["recipe.size_hw=[32, 32]"])
    assert load_config("fast", ["recipe.size_hw=[32, 64]"]).recipe.size_hw == (32, 64)


def test_a_prompted_network_takes_a_square():
    with pytest.raises(ConfigError, match=r"size_hw = \(64, 96\) must be a square, for the prompted decoder"):
        load_config("box", ["recipe.size_hw=[64, 96]"])


def test_recipe_from_table_names_the_unknown_key():
    assert recipe_from_table({"size_hw": [8, 9]}).size_hw == (8, 9)
    with pytest.raises(ConfigError, match=r"unknown key 'recipe.gamma'"):
        recipe_from_table({"gamma": 1})


def test_a_loss_of_two_maps_and_a_network_of_two_maps_need_each_other():
    with pytest.raises(ConfigError, match=r"training\.loss"):
        load_config("default", ["network.maps=1"])
    with pytest.raises(ConfigError, match=r"training\.loss"):
        load_config("default", ["training.loss=dice"])
    assert load_config("default", ["network.maps=1", "training.loss=dice"]).network.maps == 1
    with pytest.raises(ConfigError, match=r"network.maps.*1 for the plain encoder"):
        load_config("paper", ["network.maps=2"])
    with pytest.raises(ConfigError, match=r"network.maps = 2 must be 1 for the prompted decoder"):
        load_config("box", ["network.maps=2", "training.loss=where_and_whether"])


@pytest.mark.parametrize("encoder", ["efficientnet-lite1", "plain"])
def test_the_prompted_decoder_has_one_encoder(encoder):
    with pytest.raises(ConfigError, match=r"network.encoder = .* must be 'efficientnet-lite0' for the prompted"):
        load_config("box", [f"network.encoder={encoder}", "network.pretrained=false"])


def test_a_removed_setting_is_ignored_at_the_value_that_changed_nothing():
    assert load_config("smoke", ["training.cycles=1"]) == load_config("smoke")


def test_a_byte_order_mark_is_ignored(tmp_path: Path):
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf[training]\nepochs = 3\n")
    assert load_config(str(path)).training.epochs == 3


def test_a_configuration_is_overridden_as_a_file_is():
    config = load_config("smoke", ["recipe.size_hw=[64, 96]"])
    assert override(config, ["training.epochs=3"]) == load_config(
        "smoke", ["recipe.size_hw=[64, 96]", "training.epochs=3"]
    )
    assert override(config, []) == config
    with pytest.raises(ConfigError, match=r"unknown key 'training\.epoch'"):
        override(config, ["training.epoch=3"])
