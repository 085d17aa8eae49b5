"""The typed configuration of a run: frozen dataclasses, filled from TOML and ``--set KEY=VALUE``, resolved once.

An unknown key, a wrong type or a value out of range fails with the key's path and what would be right; nothing is
guessed. ``to_toml`` writes what ``load_config`` reads, so a run folder holds the whole truth about its settings.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tumortrace.errors import ConfigError

T = TypeVar("T")

Keep = Literal["last", "best_loss", "best_dice"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Device = Literal["auto", "cpu", "cuda"]
Outlines = Literal["own", "consensus"]
LiteEncoder = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
Encoder = Literal["plain", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
Decoder = Literal["light", "full"]
Loss = Literal[
    "cross_entropy",
    "dice",
    "dice_cross_entropy",
    "pooled_dice_cross_entropy",
    "focal",
    "tversky",
    "unified_focal",
    "where_and_whether",
    "overlap_where_and_whether",
]
Optimizer = Literal["adam", "adamw"]
Schedule = Literal["constant", "one_cycle"]


@dataclass(frozen=True)
class Recipe:
    """Everything between a slice and the network's input, and between its output and a mask. Travels with the weights.

    Attributes:
        size_hw: Height and width of the network's input, in pixels.
        pad_to_square: Pad the slice to a square (centred, with its darkest value) before it is resized, so that a
            head keeps its shape. Without it, height and width are stretched independently, as in the report.
        crop_to_head: Show the network the box around the head alone (``inference.head``), so that heads are alike in
            size and none of the input is spent on what surrounds them.
        average_mirror: Ask the network of the slice and of its mirror image and take the mean of both probabilities, at
            twice the work (test-time augmentation).
        threshold: A pixel is tumour when its calibrated probability is at least this, in (0, 1).
        peak_threshold: A lesion is marked only if its highest probability is at least this, in [0, 1] (hysteresis,
            Canny 1986): what is nowhere sure is no tumour. 0 marks every lesion.
        temperature: Divides the network's logits, so that its probabilities mean what they say; 1 leaves them.
        confidence: Weights of the confidence in a mask (``inference.confidence``), the constant first; none leaves the
            mean probability over the mask, which is not calibrated.
        review_below: A mask of lower confidence should be looked at, in [0, 1].
    """

    size_hw: tuple[int, int] = (512, 512)
    pad_to_square: bool = False
    crop_to_head: bool = False
    average_mirror: bool = False
    threshold: float = 0.5
    peak_threshold: float = 0.0
    temperature: float = 1.0
    confidence: tuple[float, ...] = ()
    review_below: float = 0.75

    def __post_init__(self) -> None:
        """Refuse sizes and thresholds that cannot work."""
        _require(min(self.size_hw) > 0, "recipe.size_hw", self.size_hw, "two positive numbers, height and width")
        _require(0.0 < self.threshold < 1.0, "recipe.threshold", self.threshold, "a number between 0 and 1")
        _require(
            0.0 <= self.peak_threshold <= 1.0, "recipe.peak_threshold", self.peak_threshold, "a number from 0 to 1"
        )
        _require(0.0 < self.temperature < math.inf, "recipe.temperature", self.temperature, "a positive number")
        _require(all(map(math.isfinite, self.confidence)), "recipe.confidence", self.confidence, "a list of numbers")
        _require(0.0 <= self.review_below <= 1.0, "recipe.review_below", self.review_below, "a number from 0 to 1")


@dataclass(frozen=True)
class NetworkConfig:
    """The network's shape.

    Attributes:
        encoder: ``"plain"``, the student paper's U-Net, or a pretrained EfficientNet-Lite under one of two decoders.
        pretrained: Start the encoder from ImageNet weights; the plain one has none.
        decoder: Decoder of an EfficientNet-Lite: ``"light"`` adds skips and makes its logits at half the input's
            resolution; ``"full"`` concatenates skips up to the input's own resolution. The plain encoder ignores it.
        widths: Channels at each resolution, finest first. Plain U-Net: the last is the bottleneck's, so there are
            ``len(widths) - 1`` poolings. Light decoder: at 1/2, 1/4, 1/8 and 1/16 of the input. Full decoder: at 1/1,
            1/2, 1/4, 1/8 and 1/16.
        maps: 1, a map of tumour; or 2, a location map (where the tumour is if there is one) and a presence map
            (whether there is one), for the losses named after them. The plain encoder has one.
    """

    encoder: Encoder = "plain"
    pretrained: bool = False
    decoder: Decoder = "light"
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    maps: int = 1

    def __post_init__(self) -> None:
        """Refuse networks without a pooling or with empty layers, and weights that do not exist."""
        positive = bool(self.widths) and min(self.widths) > 0
        if self.encoder == "plain":
            ok = positive and len(self.widths) >= 2
            _require(ok, "network.widths", self.widths, "at least two positive numbers, finest resolution first")
            _require(not self.pretrained, "network.pretrained", self.pretrained, "false for the plain encoder")
            _require(self.maps == 1, "network.maps", self.maps, "1 for the plain encoder")
        else:
            word, count = ("four", 4) if self.decoder == "light" else ("five", 5)
            expected = f"{word} positive numbers, finest resolution first, for the {self.decoder} decoder"
            _require(positive and len(self.widths) == count, "network.widths", self.widths, expected)
            _require(self.maps in (1, 2), "network.maps", self.maps, "1 or 2")

    @property
    def poolings(self) -> int:
        """How often the network halves its input."""
        return len(self.widths) - 1 if self.encoder == "plain" else 5


@dataclass(frozen=True)
class AugmentationConfig:
    """What is changed at random in a slice that is learnt from (``train.augment``); all off leaves it as it is.

    Attributes:
        flips: Mirrored and turned by quarters.
        geometry: Turned, scaled, stretched, sheared and shifted: another plane, position and field of view.
        intensity: Another contrast, also inverted, with bias field, noise, blur, low resolution and JPEG.
        appearance: The skull taken away, the tumour's brightness changed, text and borders drawn in.
    """

    flips: bool = False
    geometry: bool = False
    intensity: bool = False
    appearance: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    Attributes:
        epochs: Passes over the training part, or over so many of its slices as ``epoch_slices`` says.
        cycles: Equal parts of the epochs, each with its own coarse epochs and its own rise and fall of the rate (warm
            restarts, Loshchilov & Hutter 2017). What is kept is the mean of the weights that they end with (Izmailov et
            al. 2018). A finished run can be given another.
        coarse_epochs: So many epochs at the start of a cycle see slices at about 5/8 of the input's height and width,
            which costs less than half the time (progressive resizing).
        epoch_slices: Slices drawn for an epoch, after which a checkpoint is written; 0 draws as many as there are.
        batch_size: Slices a step.
        loss: What is made small (``train.losses``).
        optimizer: Adam, its decay as L2 penalty, or AdamW, its decay decoupled.
        learning_rate: Of the optimiser, at its highest.
        schedule: The rate stays ``"constant"``, or rises over the first tenth of a cycle's steps and falls to 0 along
            a cosine (``"one_cycle"``).
        weight_decay: Of the optimiser.
        average: Decay of the exponential moving average of the weights, which is what is kept; 0 keeps the weights.
        clip: Largest norm of the gradient; 0 does not clip.
        negatives: Fraction of an epoch that is tumour-free slices, of whatever source, in [0, 1). A single source is
            visited slice by slice instead.
        seed: Fixes initial weights, order and augmentation; on a CPU the whole run, bit for bit.
        keep: Which epoch's weights are kept: the last, or the best on VAL by loss (the report's rule) or by Dice.
        precision: ``"32-true"`` (float32), ``"bf16-mixed"`` (bfloat16 where it is safe), or ``"auto"``: bfloat16 where
            the hardware has units for it, else float32.
        device: ``"auto"`` takes a GPU if there is one.
        threads: CPU threads of torch. 0 takes all cores, or fewer where a few steps show that they are faster beside
            other programs. A bit-repeatable run must hold it fixed.
        outlines: What is learnt: each slice's ``"own"`` outline, or the ``"consensus"`` of the training part's copies
            of it, where it has at least two.
    """

    epochs: int = 50
    cycles: int = 1
    coarse_epochs: int = 0
    epoch_slices: int = 0
    batch_size: int = 4
    loss: Loss = "cross_entropy"
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"
    weight_decay: float = 0.0
    average: float = 0.0
    clip: float = 0.0
    negatives: float = 0.1
    seed: int = 0
    keep: Keep = "best_loss"
    precision: Precision = "32-true"
    device: Device = "auto"
    threads: int = 0
    outlines: Outlines = "own"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything."""
        _require(self.epochs > 0, "training.epochs", self.epochs, "at least 1")
        ok = self.epoch_slices >= 0
        _require(ok, "training.epoch_slices", self.epoch_slices, "0 (all slices) or a positive number")
        fits = self.cycles > 0 and self.epochs % self.cycles == 0
        _require(fits, "training.cycles", self.cycles, f"a divisor of training.epochs ({self.epochs})")
        _require(self.coarse_epochs >= 0, "training.coarse_epochs", self.coarse_epochs, "0 or a positive number")
        _require(self.batch_size > 0, "training.batch_size", self.batch_size, "at least 1")
        _require(0 < self.learning_rate < math.inf, "training.learning_rate", self.learning_rate, "a positive number")
        _require(
            0 <= self.weight_decay < math.inf, "training.weight_decay", self.weight_decay, "0 or a positive number"
        )
        _require(0 <= self.average < 1, "training.average", self.average, "at least 0 and below 1")
        _require(0 <= self.clip < math.inf, "training.clip", self.clip, "0 or a positive number")
        _require(0 <= self.negatives < 1, "training.negatives", self.negatives, "at least 0 and below 1")
        _require(0 <= self.seed < 2**63, "training.seed", self.seed, "a whole number from 0 to 2**63 - 1")
        _require(self.threads >= 0, "training.threads", self.threads, "0 (all cores) or a positive number")

    @property
    def cycle_epochs(self) -> int:
        """Epochs of one cycle."""
        return self.epochs // self.cycles


@dataclass(frozen=True)
class Config:
    """One run's settings, whole."""

    recipe: Recipe = field(default_factory=Recipe)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse an input size that the network's poolings cannot halve, and a loss for other maps than it makes."""
        check_size_fits(self.recipe.size_hw, poolings=self.network.poolings)
        fits = self.training.loss.endswith("where_and_whether") == (self.network.maps == 2)
        wanted = "where_and_whether" if self.network.maps == 2 else "a loss of one map, such as dice_cross_entropy"
        _require(fits, "training.loss", self.training.loss, f"{wanted}, for network.maps = {self.network.maps}")


def check_size_fits(size_hw: tuple[int, int], *, poolings: int) -> None:
    """Check that each pooling halves the input exactly, so that skips and upsampled maps meet.

    Raises:
        ConfigError: Names the nearest sizes that fit.
    """
    step = 2**poolings
    if all(side % step == 0 for side in size_hw):
        return
    below = [max(side // step, 1) * step for side in size_hw]
    above = [-(-side // step) * step for side in size_hw]
    raise ConfigError(
        f"recipe.size_hw = {list(size_hw)} does not fit a network with {poolings} poolings: height and width "
        f"must be multiples of {step}, for example {below} or {above}"
    )


SWEEP = "sweep"
"""Name of the sweep that ships beside the configurations: it searches among them and is none itself."""


def config_names() -> list[str]:
    """Names of the configurations that ship with the package, for ``--config NAME``."""
    folder = resources.files("tumortrace") / "configs"
    names = {entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return sorted(names - {SWEEP})


def load_config(name_or_path: str, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration and apply ``section.key=value`` overrides, in order.

    Args:
        name_or_path: The name of a configuration that ships with the package, or the path of a TOML file.
        overrides: Each as given to ``--set``, for example ``"training.epochs=3"``; the value is a TOML value, and
            text may stand without quotes.

    Raises:
        ConfigError: No such configuration, not TOML, an unknown key, a wrong type, or a value out of range.
    """
    tables = parse_toml(read_settings(name_or_path, shipped=config_names()), name_or_path)
    for override in overrides:
        path, separator, text = override.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (separator and dot and section and key):
            raise ConfigError(f"--set {override!r} is not of the form section.key=value, for example training.epochs=3")
        table = tables.setdefault(section, {})
        if not isinstance(table, dict):
            raise _not_a_table(section, table)
        table[key] = _parse_value(text.strip())
    return config_from_tables(tables)


def config_from_tables(tables: Mapping[str, Any]) -> Config:
    """Build a configuration from nested tables, as ``tomllib`` returns them; what is not named keeps its default.

    Raises:
        ConfigError: As ``load_config``.
    """
    return fill(Config, tables)


def recipe_from_table(table: object) -> Recipe:
    """A model's recipe from the table that travels with its weights.

    Raises:
        ConfigError: As ``load_config``.
    """
    return fill(Recipe, table, path="recipe")


def read_settings(name_or_path: str, *, shipped: Sequence[str]) -> str:
    """The text of a file of settings: one that ships with the package by its name, any other by its path.

    Args:
        name_or_path: As given by the user.
        shipped: The names that may be given.

    Raises:
        ConfigError: Neither such a name nor such a file, or not text.
    """
    if name_or_path in shipped:
        return (resources.files("tumortrace") / "configs" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(f"no configuration {name_or_path!r}: give a TOML file or one of {', '.join(shipped)}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error}); give a TOML file") from None


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """TOML text as nested tables.

    Args:
        text: The text.
        name: Of its file, for the message.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not TOML ({error}); mend the line it names") from None


def fill(cls: type[T], table: object, *, path: str = "") -> T:
    """A dataclass from a table; what the table does not name keeps its default.

    Args:
        cls: Its fields are bool, int, float, str, ``Literal``, tuples of one of them, or dataclasses of such fields.
        table: By the fields' names, as ``tomllib`` returns it.
        path: Of the table within its file, for the messages; empty for the file itself.

    Raises:
        ConfigError: Not a table, an unknown key, or a wrong type; names the key and what would be right.
    """
    return typing.cast("T", _build(cls, table, path=path))


def suggest(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the nearest known one, or all of them."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"


def to_toml(config: Config) -> str:
    """The configuration as TOML text that ``load_config`` reads back to an equal one."""
    lines: list[str] = []
    for section in dataclasses.fields(config):
        lines.append(f"[{section.name}]")
        values = dataclasses.asdict(getattr(config, section.name))
        # JSON's numbers, strings, booleans and flat lists are TOML's too.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _parse_value(text: str) -> Any:  # noqa: ANN401 - a TOML value is of any type until it meets its field
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(cls: type, table: object, *, path: str) -> object:
    if not isinstance(table, Mapping):
        raise _not_a_table(path or "configuration", table)
    hints = get_type_hints(cls)
    values: dict[str, object] = {}
    for key, value in table.items():
        key_path = f"{path}.{key}" if path else str(key)
        if key not in hints:
            raise ConfigError(f"unknown key {key_path!r}{suggest(str(key), list(hints))}")
        hint = hints[key]
        nested = dataclasses.is_dataclass(hint)
        values[key] = _build(hint, value, path=key_path) if nested else _convert(value, hint, path=key_path)
    return cls(**values)


def _not_a_table(path: str, value: object) -> ConfigError:
    return ConfigError(f"{path} must be a table, not {value!r}")


def _convert(value: object, hint: Any, *, path: str) -> object:  # noqa: ANN401 - a type hint has no narrower type
    origin = get_origin(hint)
    if origin is Literal:
        choices = get_args(hint)
        _require(value in choices, path, value, "one of " + ", ".join(map(repr, choices)))
        return value
    if origin is tuple:
        return _convert_tuple(value, hint, path=path)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    _require(type(value) is hint, path, value, f"of type {hint.__name__}")
    return value


def _convert_tuple(value: object, hint: object, *, path: str) -> tuple[object, ...]:
    items = get_args(hint)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} = {value!r} must be a list of {items[0].__name__}")
    if items[-1] is not Ellipsis:
        _require(len(value) == len(items), path, value, f"a list of {len(items)} values")
    return tuple(_convert(item, items[0], path=f"{path}[{index}]") for index, item in enumerate(value))


def _require(condition: bool, path: str, value: object, expected: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ConfigError(f"{path} = {value!r} must be {expected}")
