"""The settings of a run: dataclasses filled from TOML and ``--set``.

An unknown key, a wrong type or a value out of range fails with the key and what would be right. ``to_toml`` writes what
``load_config`` reads, so a run folder holds all settings of its run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tumortrace.errors import ConfigError, DataError
from tumortrace.regular_files import read_regular_file
from tumortrace.typed_toml import fill, not_a_table, parse_toml, require, show

_MOST_BYTES = 2**20  # of a settings file

Keep = Literal["last", "best_loss", "best_dice"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Device = Literal["auto", "cpu", "cuda"]
Outlines = Literal["own", "consensus"]
LiteEncoder = Literal["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
Encoder = Literal["plain", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
Decoder = Literal["light", "full", "prompted"]
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

CONFIDENCE_WEIGHTS = 7
"""Weights of a confidence: the constant, and one for each of ``inference.confidence.FEATURES``."""


@dataclass(frozen=True)
class Recipe:
    """Settings between a slice and the network's input, and between its output and a mask; part of every model.

    Attributes:
        size_hw: Height and width of the network's input, in pixels.
        pad_to_square: Pad the slice to a square (centred, with its darkest value) before it is resized, so that a
            head keeps its shape. Without it, height and width are stretched independently, as in the student paper.
        crop_to_head: Crop the slice to the head (``data.head``), so that all heads have a similar size and the input
            holds little else.
        average_mirror: Segment the slice and its mirror image and take the mean of both probabilities, at twice the
            work (test-time augmentation).
        threshold: Calibrated probability from which a pixel counts as tumour, in (0, 1).
        peak_threshold: Probability that a lesion must reach somewhere to be marked, in [0, 1] (hysteresis thresholding,
            Canny 1986). 0 marks every lesion.
        temperature: Number that divides the network's logits, so that its probabilities are calibrated; 1 keeps them.
        confidence: Weights of the confidence in a mask (``inference.confidence``), the constant first. Without weights
            it is the mean probability over the mask, which is not calibrated.
        review_below: Confidence below which a person should review a mask, in [0, 1].
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
        require(min(self.size_hw) > 0, "recipe.size_hw", self.size_hw, "two positive numbers, height and width")
        require(0.0 < self.threshold < 1.0, "recipe.threshold", self.threshold, "a number between 0 and 1")
        require(0.0 <= self.peak_threshold <= 1.0, "recipe.peak_threshold", self.peak_threshold, "a number from 0 to 1")
        require(0.0 < self.temperature < math.inf, "recipe.temperature", self.temperature, "a positive number")
        ok = len(self.confidence) in (0, CONFIDENCE_WEIGHTS) and all(map(math.isfinite, self.confidence))
        require(ok, "recipe.confidence", self.confidence, f"{CONFIDENCE_WEIGHTS} finite numbers, or [] for none")
        require(0.0 <= self.review_below <= 1.0, "recipe.review_below", self.review_below, "a number from 0 to 1")


@dataclass(frozen=True)
class NetworkConfig:
    """The network's shape.

    Attributes:
        encoder: ``"plain"``, the student paper's U-Net, or a pretrained EfficientNet-Lite under a decoder.
        pretrained: Start the encoder from ImageNet weights; the plain one has none.
        decoder: Decoder of an EfficientNet-Lite: ``"light"`` adds skips and makes its logits at half the input's
            resolution; ``"full"`` concatenates skips up to the input's own resolution; ``"prompted"`` is asked by boxes
            and clicks, and has EfficientNet-Lite0 before it. The plain encoder ignores the first two.
        widths: Channels at each resolution, finest first. Plain U-Net: the last is the bottleneck's, so there are
            ``len(widths) - 1`` poolings. Light decoder: at 1/2, 1/4, 1/8 and 1/16 of the input. Full decoder: at 1/1,
            1/2, 1/4, 1/8 and 1/16.
        maps: 1, a map of tumour; or 2, a location map (where the tumour is if there is one) and a presence map
            (whether there is one), for the losses named after them. Plain encoder and prompted decoder have one.
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
            require(ok, "network.widths", self.widths, "at least two positive numbers, finest resolution first")
            require(not self.pretrained, "network.pretrained", self.pretrained, "false for the plain encoder")
            require(self.maps == 1, "network.maps", self.maps, "1 for the plain encoder")
        else:
            word, count = ("five", 5) if self.decoder == "full" else ("four", 4)
            expected = f"{word} positive numbers, finest resolution first, for the {self.decoder} decoder"
            require(positive and len(self.widths) == count, "network.widths", self.widths, expected)
            require(self.maps in (1, 2), "network.maps", self.maps, "1 or 2")
        if self.decoder == "prompted":
            lite0 = self.encoder == "efficientnet-lite0"
            require(lite0, "network.encoder", self.encoder, "'efficientnet-lite0' for the prompted decoder")
            require(self.maps == 1, "network.maps", self.maps, "1 for the prompted decoder")

    @property
    def poolings(self) -> int:
        """Number of times that the network halves its input."""
        return len(self.widths) - 1 if self.encoder == "plain" else 5


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of a training slice (``training.augment``).

    Attributes:
        flips: Mirror images and quarter turns.
        geometry: Rotation, scaling, stretching, shear and shift: another plane, position and field of view.
        intensity: Other contrasts, also inverted, with bias field, noise, blur, low resolution and JPEG artefacts.
        appearance: The skull removed, the tumour brighter or darker, text and borders drawn in.
        erasures: Tumours replaced by other tissue of the slice, which is then tumour-free; and tissue beside tumours
            replaced likewise, so that the replacement itself means nothing.
        implants: Tumours of other slices in tumour-free ones, so that no hospital as such means tumour-free.
    """

    flips: bool = False
    geometry: bool = False
    intensity: bool = False
    appearance: bool = False
    erasures: bool = False
    implants: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained.

    Attributes:
        epochs: Passes over the training part, or over as many of its slices as ``epoch_slices`` says.
        coarse_epochs: First epochs, in which slices have about 5/8 of the input's height and width. They take less than
            half the time (progressive resizing).
        epoch_slices: Slices drawn for an epoch, after which a checkpoint is written; 0 draws as many as there are.
        batch_size: Slices in a step.
        loss: Loss to minimise (``training.losses``).
        optimizer: ``"adam"``, with its decay as L2 penalty, or ``"adamw"``, with decoupled decay.
        learning_rate: Highest learning rate.
        schedule: ``"constant"``, or ``"one_cycle"``: the learning rate rises over the first tenth of the steps and
            falls to 0 along a cosine.
        weight_decay: Weight decay of the optimizer.
        average: Decay of the exponential moving average of the weights, which are then kept; 0 keeps the weights.
        clip: Largest norm of the gradient; 0 does not clip.
        negatives: Fraction of an epoch that is tumour-free slices, of whatever source, in [0, 1). A single source is
            visited slice by slice instead.
        hard_negatives: Fraction of those tumour-free slices that is drawn from the hardest quarter of them: where the
            network marked a tumour most surely when it last saw them. In [0, 1].
        seed: Seed of initial weights, order and augmentation. On a CPU, equal seeds give equal weights, bit for bit.
        keep: Epoch whose weights are kept: the last, or the best on VAL by loss (the student paper's rule) or by Dice.
        precision: ``"32-true"`` (float32), ``"bf16-mixed"`` (bfloat16 where it is safe), or ``"auto"``: bfloat16 where
            the hardware has units for it, else float32.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
        threads: CPU threads of torch. 0 takes all cores, or fewer where a few steps show that they are faster beside
            other programs. Runs are equal bit for bit only with equal threads.
        outlines: Outlines to train on: each slice's ``"own"``, or the ``"consensus"`` of its copies in the training
            part, where it has at least two.
        label: Label of the annotated regions that are tumour; empty takes all regions.
    """

    epochs: int = 50
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
    hard_negatives: float = 0.0
    seed: int = 0
    keep: Keep = "best_loss"
    precision: Precision = "32-true"
    device: Device = "auto"
    threads: int = 0
    outlines: Outlines = "own"
    label: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything."""
        require(self.epochs > 0, "training.epochs", self.epochs, "at least 1")
        ok = self.epoch_slices >= 0
        require(ok, "training.epoch_slices", self.epoch_slices, "0 (all slices) or a positive number")
        require(self.coarse_epochs >= 0, "training.coarse_epochs", self.coarse_epochs, "0 or a positive number")
        require(self.batch_size > 0, "training.batch_size", self.batch_size, "at least 1")
        require(0 < self.learning_rate < math.inf, "training.learning_rate", self.learning_rate, "a positive number")
        require(0 <= self.weight_decay < math.inf, "training.weight_decay", self.weight_decay, "0 or a positive number")
        require(0 <= self.average < 1, "training.average", self.average, "at least 0 and below 1")
        require(0 <= self.clip < math.inf, "training.clip", self.clip, "0 or a positive number")
        require(0 <= self.negatives < 1, "training.negatives", self.negatives, "at least 0 and below 1")
        ok = 0 <= self.hard_negatives <= 1
        require(ok, "training.hard_negatives", self.hard_negatives, "a number from 0 to 1")
        require(0 <= self.seed < 2**63, "training.seed", self.seed, "a whole number from 0 to 2**63 - 1")
        require(self.threads >= 0, "training.threads", self.threads, "0 (all cores) or a positive number")
        ok = not any("\ud800" <= character <= "\udfff" for character in self.label)  # TOML could not hold it
        require(ok, "training.label", self.label, "text in UTF-8")


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    recipe: Recipe = field(default_factory=Recipe)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse an input size that the network cannot take, and a loss for other maps than it makes."""
        size_hw = self.recipe.size_hw
        check_size_fits(size_hw, poolings=self.network.poolings)
        if self.network.encoder != "plain":  # one pixel of one slice cannot be normalised
            ok = max(size_hw) > 2**self.network.poolings
            require(ok, "recipe.size_hw", size_hw, "at least 64 on one side, for an EfficientNet-Lite")
        if self.network.decoder == "prompted":
            require(size_hw[0] == size_hw[1], "recipe.size_hw", size_hw, "a square, for the prompted decoder")
        fits = self.training.loss.endswith("where_and_whether") == (self.network.maps == 2)
        wanted = "where_and_whether" if self.network.maps == 2 else "a loss of one map, such as dice_cross_entropy"
        require(fits, "training.loss", self.training.loss, f"{wanted}, for network.maps = {self.network.maps}")


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
"""Name of the sweep that ships beside the configurations; it is no configuration itself."""

REMOVED = {("training", "cycles"): 1}
"""Settings of earlier versions, with the value at which they changed nothing; old run folders hold them."""


def config_names() -> list[str]:
    """Return the names of the configurations that ship with the package, for ``--config NAME``."""
    folder = resources.files("tumortrace") / "configs"
    names = {entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return sorted(names - {SWEEP})


def load_config(name_or_path: str, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration and apply ``section.key=value`` overrides, in order.

    Args:
        name_or_path: The name of a configuration that ships with the package, or the path of a TOML file.
        overrides: Settings as given to ``--set``, for example ``"training.epochs=3"``. The value is a TOML value; text
            needs no quotes.

    Raises:
        ConfigError: No such configuration, not TOML, an unknown key, a wrong type, or a value out of range.
    """
    tables, changes = parse_toml(read_settings(name_or_path, shipped=config_names()), name_or_path), list(overrides)
    try:
        return _override(tables, changes)
    except ConfigError as error:
        if changes:
            raise  # the fault may be in either
        raise ConfigError(f"{name_or_path}: {error}") from None


def override(config: Config, overrides: Iterable[str]) -> Config:
    """Return a configuration with ``section.key=value`` overrides, applied in order.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value out of range.
    """
    return _override(tomllib.loads(to_toml(config)), overrides)


def with_label(config: Config, label: str | None) -> Config:
    """Return a configuration with a label of tumour that was given, so that it is kept; None changes nothing."""
    if label is None:
        return config
    return dataclasses.replace(config, training=dataclasses.replace(config.training, label=label))


def config_from_tables(tables: Mapping[str, Any]) -> Config:
    """Return a configuration from nested tables, as ``tomllib`` returns them; other settings keep their defaults.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value out of range.
    """
    return fill(Config, _without_removed(tables) if isinstance(tables, Mapping) else tables)


def recipe_from_table(table: object) -> Recipe:
    """Return a model's recipe from the table that travels with its weights.

    Raises:
        ConfigError: An unknown key, a wrong type, or a value out of range.
    """
    return fill(Recipe, table, path="recipe")


def read_settings(name_or_path: str, *, shipped: Sequence[str]) -> str:
    """Return the text of a settings file that ships with the package, or of any other.

    Args:
        name_or_path: Name of a shipped file, or a path.
        shipped: Names of the shipped files.

    Raises:
        ConfigError: Neither such a name nor such a file, or not text.
    """
    if name_or_path in shipped:
        return (resources.files("tumortrace") / "configs" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(f"no configuration {name_or_path!r}: give a TOML file or one of {', '.join(shipped)}")
    try:
        return read_regular_file(path, most_bytes=_MOST_BYTES).decode("utf-8")
    except (DataError, UnicodeDecodeError) as error:
        cause = str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"{path}: cannot be read as text ({cause}); give a TOML file") from None


def to_toml(config: Config) -> str:
    """Return TOML text from which ``load_config`` reads an equal configuration."""
    lines: list[str] = []
    for section in dataclasses.fields(config):
        lines.append(f"[{section.name}]")
        values = dataclasses.asdict(getattr(config, section.name))
        lines += [f"{key} = {_format_value(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _format_value(value: object) -> str:
    """Format as JSON: numbers, strings, booleans and flat lists look the same in TOML, but for two kinds of characters.

    TOML knows no surrogates, by which JSON escapes what lies beyond 16 bits, and wants DEL escaped.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _without_removed(tables: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(tables)
    for (section, key), value in REMOVED.items():
        table = kept.get(section)
        if isinstance(table, Mapping) and table.get(key) == value:
            kept[section] = {name: entry for name, entry in table.items() if name != key}
    return kept


def _override(tables: dict[str, Any], overrides: Iterable[str]) -> Config:
    for override in overrides:
        path, separator, text = override.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (separator and dot and section and key):
            raise ConfigError(
                f"--set {show(override)} is not of the form section.key=value, for example training.epochs=3"
            )
        table = tables.setdefault(section, {})
        if not isinstance(table, dict):
            raise not_a_table(section, table)
        table[key] = _parse_value(text.strip())
    return config_from_tables(tables)


def _parse_value(text: str) -> Any:  # noqa: ANN401 - a TOML value is of any type until it meets its field
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # of a number with too many digits, of brackets nested too deeply
        return text
