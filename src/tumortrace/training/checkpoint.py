"""What ``--resume`` needs, in one safetensors file: weights, their means, Adam's moments, and the history as JSON.

One file can be replaced in one step, so a kill at any moment leaves a whole checkpoint: the old one or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tumortrace.config import Config, config_from_tables
from tumortrace.errors import ConfigError, ModelError
from tumortrace.files import write_atomically
from tumortrace.training.average import KeptNetwork

_FREE = {"training.device", "training.threads"}
"""The settings under which a run may go on that differ from those it began with."""

_LENGTH = {"training.epochs", "training.cycles"}
"""Free as well where they leave every epoch's learning rate as it is."""

_NETWORK = "network."
_AVERAGE = "average."
_MEAN = "mean."
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class EpochRow:
    """One epoch, as it stands in ``metrics.csv``.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean of the configured loss over the slices while they were trained on.
        val_loss: Mean cross-entropy on VAL after the epoch; None without a VAL part.
        val_dice: Mean Dice on VAL at the network's grid, over the slices where it is defined; None without.
        images_per_second: Training speed, validation left out.
        loader_share: Share of the training time spent on fetching batches, 0 to 1.
        seconds: Wall time of the epoch, validation included.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    val_dice: float | None
    images_per_second: float
    loader_share: float
    seconds: float


@dataclass
class TrainingState:
    """How far a run has come.

    Attributes:
        config: What the run is trained under, so that it cannot go on under other settings.
        data_hash: Of all that the run learns from and is measured on, so that it cannot go on with other data.
        rows: One for each finished epoch.
        threads: CPU threads that it was trained with, so that it continues with the same bits.
    """

    config: Config
    data_hash: str
    rows: list[EpochRow] = field(default_factory=list)
    threads: int = 0


def save_weights(path: Path, network: nn.Module, *, about: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write a network's weights, and texts about them, atomically."""
    write_atomically(path, save(_tensors_of(network), metadata=dict(about) or None))


def load_weights(path: Path, network: nn.Module) -> None:
    """Load weights that ``save_weights`` wrote.

    Raises:
        ModelError: The file is missing or damaged, or belongs to another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{path}: not the weights of this network ({_cause(error)}); give the --config that they were "
            "trained with, or train again"
        ) from None


def save_checkpoint(
    path: Path, *, network: nn.Module, kept: KeptNetwork, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write everything that going on needs, atomically, as one file."""
    tensors = {_NETWORK + name: tensor for name, tensor in _tensors_of(network).items()}
    tensors |= {_AVERAGE + name: tensor for name, tensor in _tensors_of(kept.average.network).items()}
    if len(state.rows) > kept.cycle_epochs:  # until then the mean of cycles' ends is nothing, or the average itself
        tensors |= {_MEAN + name: tensor for name, tensor in _tensors_of(kept.mean.network).items()}
    moments: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    for index, values in moments.items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": _plain(tensor) for name, tensor in values.items()}
    write_atomically(path, save(tensors, metadata={"state": json.dumps(asdict(state))}))


def read_state(path: Path) -> TrainingState:
    """How far the run had come that ``save_checkpoint`` wrote.

    Raises:
        ModelError: The file is no checkpoint, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads(file.metadata()["state"])
        rows = [EpochRow(**row) for row in document["rows"]]
        config = config_from_tables(document["config"])
        return TrainingState(config, document["data_hash"], rows, int(document.get("threads", 0)))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise _no_checkpoint(path, error) from None


def refuse_other_settings(path: Path, began: Config, now: Config) -> None:
    """Check that a run goes on under the settings it began with; device, threads and length may differ.

    A constant rate allows any number of epochs, cycles allow more or fewer of the same length.

    Args:
        path: Of the checkpoint, for the message.
        began: The settings in it.
        now: Those to go on under.

    Raises:
        ConfigError: Names the settings that differ, with both values.
    """
    then, today = _flat(began), _flat(now)
    constant = began.training.schedule == "constant" and began.training.cycles == now.training.cycles == 1
    same_cycle = began.training.cycle_epochs == now.training.cycle_epochs
    free = _FREE | (_LENGTH if constant or same_cycle else set())
    changed = [f"{key} = {then[key]!r}, not {today[key]!r}" for key in then.keys() - free if then[key] != today[key]]
    if changed:
        raise ConfigError(f"{path}: began under {'; '.join(sorted(changed))}; keep to that, or choose another --out")


def load_checkpoint(path: Path, *, network: nn.Module, kept: KeptNetwork, optimizer: torch.optim.Optimizer) -> None:
    """Put the network, its means and the optimizer back to where ``save_checkpoint`` found them.

    Call it when the network is on its device: the moments are put where the weights are.

    Raises:
        ModelError: The file is damaged, or belongs to another network.
    """
    try:
        tensors = load_file(path)
        network.load_state_dict(_with_prefix(tensors, _NETWORK))
        average = _with_prefix(tensors, _AVERAGE)
        kept.average.network.load_state_dict(average)
        kept.mean.network.load_state_dict(_with_prefix(tensors, _MEAN) or average)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _no_checkpoint(path, error) from None
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _with_prefix(tensors, _OPTIMIZER).items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = tensor.clone()  # what load_file gives is a map of the file
    groups: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _flat(config: Config) -> dict[str, object]:
    return {f"{section}.{key}": value for section, table in asdict(config).items() for key, value in table.items()}


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: _plain(tensor) for name, tensor in network.state_dict().items()}


def _plain(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU: safetensors stores no strides, and channels-last weights have their own."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _no_checkpoint(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path}: cannot be resumed from ({_cause(error)}); train into another --out")


def _cause(error: Exception) -> str:
    """One line of an error's text; torch heads a list of misfits with a line that ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), type(error).__name__)
