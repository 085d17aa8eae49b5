"""The search space of a sweep: a base, and a grid, draws or a list.

Every setting is built and checked before anything is trained: a misspelt key ends the sweep at its start, in one line.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from tumortrace.config import SWEEP, Config, config_from_tables, load_config, read_settings, with_label
from tumortrace.errors import ConfigError
from tumortrace.typed_toml import fill, parse_toml, suggest

SEED = "training.seed"
"""Setting that ``seeds`` varies, apart from the settings that are searched."""

LABEL = "training.label"
"""Setting that ``--label`` or the base gives, the same for all settings: it says what the data is."""

_SPACES = ("grid", "random", "settings")
"""Tables that can hold the search space; a file has one of them."""

_ATTEMPTS = 100  # draws a trial before a space counts as exhausted


@dataclass(frozen=True)
class SweepOptions:
    """How each setting is tried: the keys of the file beside its search space.

    Attributes:
        base: Configuration to change: the name of a shipped one, or a TOML file.
        seeds: Seeds; each setting is trained once with each.
        folds: Number of folds of TRAIN and VAL, without TEST.
        use: Number of folds that are held out in turn, from the first on; 0 holds out all.
        stop_hopeless: Whether the first run of a setting ends after a third of its epochs if it is then worse than the
            median of those before it. The setting is not tried again.
    """

    base: str = "default"
    seeds: tuple[int, ...] = (0,)
    folds: int = 5
    use: int = 0
    stop_hopeless: bool = False

    def __post_init__(self) -> None:
        """Refuse options under which nothing can be trained."""
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds = {list(self.seeds)} must be different whole numbers from 0, at least one")
        if self.folds < 2:
            raise ConfigError(f"folds = {self.folds} must be at least 2")
        if not 0 <= self.use <= self.folds:
            raise ConfigError(f"use = {self.use} must be from 1 to folds = {self.folds}, or 0 for all")


@dataclass(frozen=True)
class SampledRange:
    """Numbers to draw from: whole ones if both ends are whole.

    Attributes:
        low: The least.
        high: The greatest.
        log: Each factor, not each difference, is equally likely.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Setting:
    """One point of the search space.

    Attributes:
        name: Short, the same in every call, for example ``"s07"``.
        values: Changes to the base configuration, by key.
        config: The whole of the settings.
    """

    name: str
    values: dict[str, object]
    config: Config


@dataclass(frozen=True)
class Plan:
    """A whole sweep.

    Attributes:
        options: Options that hold for every setting.
        settings: Settings to try, at least one.
    """

    options: SweepOptions
    settings: tuple[Setting, ...]

    @property
    def label(self) -> str:
        """Label of the regions that are tumour; empty for all regions."""
        return self.settings[0].config.training.label

    @property
    def varied(self) -> list[str]:
        """The keys in which settings differ; all keys if there is but one setting."""
        keys = list(self.settings[0].values)
        differing = [key for key in keys if len({repr(setting.values[key]) for setting in self.settings}) > 1]
        return differing or keys


def read_sweep(name_or_path: str) -> str:
    """Return the text of the sweep that ships with the package (``"sweep"``), or of a file.

    Raises:
        ConfigError: There is no such file, or it is not text.
    """
    return read_settings(name_or_path, shipped=[SWEEP])


def plan_sweep(text: str, name: str, *, label: str | None = None) -> Plan:
    """Build and check every setting of a sweep.

    Args:
        text: Text of its TOML file.
        name: Name of the file, for the messages.
        label: Label of the regions that are tumour; None takes that of the base.

    Raises:
        ConfigError: Not TOML, an unknown key, a wrong value, or a search space without a setting.
    """
    tables = parse_toml(text, name)
    try:
        return _plan_tables(tables, label)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _plan_tables(tables: Mapping[str, Any], label: str | None) -> Plan:
    known = [field.name for field in fields(SweepOptions)]
    for key in tables:
        if key not in {*known, *_SPACES}:
            raise ConfigError(f"unknown key {key!r}{suggest(key, [*known, *_SPACES])}")
    options = fill(SweepOptions, {key: value for key, value in tables.items() if key in known})
    if len(tables.keys() & set(_SPACES)) != 1:
        raise ConfigError("give what is searched in one way, as [grid], [random] or [[settings]]")
    base = asdict(with_label(load_config(options.base), label))
    if "grid" in tables:
        return Plan(options, _build_settings(options, base, _walk_grid(tables["grid"])))
    if "random" in tables:
        return Plan(options, _build_settings(options, base, _draw_random(tables["random"])))
    return Plan(options, _build_settings(options, base, _read_list(tables["settings"], base)))


def describe_setting(setting: Setting, varied: Sequence[str]) -> str:
    """Return a setting in a few words: ``"batch_size=4 learning_rate=0.001"``.

    Args:
        setting: The setting.
        varied: Keys to name, from ``Plan.varied``.
    """
    return " ".join(f"{key.partition('.')[2]}={setting.values[key]}" for key in varied)


def _build_settings(
    options: SweepOptions, base: Mapping[str, Mapping[str, object]], drawn: Sequence[dict[str, object]]
) -> tuple[Setting, ...]:
    width = len(str(len(drawn)))
    settings: list[Setting] = []
    for number, values in enumerate(drawn, start=1):
        config = _change(base, values)
        if any(config == other.config for other in settings):
            raise ConfigError(f"{values} is there twice; name each setting once")
        if config.network.decoder == "prompted":
            raise ConfigError("network.decoder = 'prompted' cannot be searched; train it with train --config box")
        if config.training.keep != "last" and options.folds < 3:
            raise ConfigError(
                f"training.keep = {config.training.keep!r} chooses the epoch on a fold of its own, and folds = "
                f"{options.folds} leaves none to train on; set folds to 3 or more"
            )
        settings.append(Setting(f"s{number:0{width}d}", values, config))
    return tuple(settings)


def _change(base: Mapping[str, Mapping[str, object]], values: Mapping[str, object]) -> Config:
    tables = {section: dict(table) for section, table in base.items()}
    for path, value in values.items():
        section, _, key = path.partition(".")
        tables.setdefault(section, {})[key] = value
    return config_from_tables(tables)


def _walk_grid(table: object) -> list[dict[str, object]]:
    """Return all combinations; the last key changes fastest."""
    space = dict(_searched(table, "grid"))
    for path, values in space.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"grid: {path} = {values!r} must be a list of the values to try")
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*space.values())]


def _read_list(tables: object, base: Mapping[str, Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the settings as they are listed; a key that one of them omits has the base's value there."""
    if not isinstance(tables, list) or not tables:
        raise ConfigError("settings must be a list of tables, each under its own [[settings]]")
    points = [dict(_searched(table, "settings")) for table in tables]
    paths = list(dict.fromkeys(path for point in points for path in point))
    return [{path: point.get(path, _base_value(path, base)) for path in paths} for point in points]


def _base_value(path: str, base: Mapping[str, Mapping[str, object]]) -> object:
    """Return the base's value; None for an unknown key, with which the setting is refused when it is built."""
    section, _, key = path.partition(".")
    value = base.get(section, {}).get(key)
    return list(value) if isinstance(value, tuple) else value


def _draw_random(table: object) -> list[dict[str, object]]:
    """Draw different settings; more trials under the same seed add settings and keep the first ones."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"random must be a table, not {table!r}")
    trials, seed = _whole(table, "trials", 1), _whole(table, "seed", 0)
    rest = {key: value for key, value in table.items() if key not in {"trials", "seed"}}
    space = {path: _read_choice(path, value) for path, value in _searched(rest, "random")}
    rng = np.random.default_rng(seed)
    drawn: list[dict[str, object]] = []
    for _ in range(_ATTEMPTS * trials):
        point = {path: _draw(choice, rng) for path, choice in space.items()}
        if point not in drawn:
            drawn.append(point)
        if len(drawn) == trials:
            return drawn
    raise ConfigError(f"random: trials = {trials}, but only {len(drawn)} different settings came up; ask for fewer")


def _searched(table: object, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys that are searched, as ``section.key``, each with the values to try."""
    if not isinstance(table, Mapping) or not table:
        raise ConfigError(f'{name} must be a table of keys to search, for example "training.batch_size" = [2, 4]')
    for path, value in table.items():
        section, dot, key = path.partition(".")
        if not (section and dot and key):
            raise ConfigError(
                f'{name}: {path!r} is not of the form "section.key" in quotes, for example "training.batch_size"; '
                f"options of the sweep stand before [{name}]"
            )
        if path == SEED:
            raise ConfigError(f"{name}: {SEED} is set by seeds = [...]; omit it here")
        if path == LABEL:
            raise ConfigError(f"{name}: {LABEL} is the same for all settings; omit it here, and give it as --label")
        yield path, value


def _whole(table: Mapping[str, object], key: str, least: int) -> int:
    value = table.get(key, 0)
    if type(value) is not int or value < least:
        raise ConfigError(f"random: {key} = {value!r} must be a whole number from {least}")
    return value


def _read_choice(path: str, value: object) -> list[Any] | SampledRange:
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"random: {path} = {value!r} must be a list of choices, or {{low = ..., high = ...}}")
    ends = {end: value.get(end) for end in ("low", "high")}
    for key in value:
        if key not in {"low", "high", "log"}:
            raise ConfigError(f"random: unknown key '{path}.{key}'{suggest(key, ['low', 'high', 'log'])}")
    if not all(type(end) in {int, float} and math.isfinite(end) for end in ends.values()):  # type: ignore[arg-type]
        raise ConfigError(f"random: {path} = {value!r} must have two numbers, low and high")
    low, high, log = value["low"], value["high"], value.get("log", False)
    if type(log) is not bool or low >= high or (log and low <= 0):
        raise ConfigError(f"random: {path} = {value!r} must have low below high, and above 0 where log = true")
    return SampledRange(low, high, log)


def _draw(choice: list[Any] | SampledRange, rng: np.random.Generator) -> object:
    if isinstance(choice, list):
        return choice[int(rng.integers(len(choice)))]
    low, high = choice.low, choice.high
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and not choice.log:
        return int(rng.integers(int(low), int(high), endpoint=True))
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if choice.log else float(rng.uniform(low, high))
    if whole:
        return round(value)
    # Four digits are as good as sixteen, and can be read in a table.
    return min(max(float(f"{value:.4g}"), low), high)
