"""Checkpoints: all that a run needs to continue, in one safetensors file.

It holds the weights, their average, the optimizer's moments, the peaks by which hard slices are drawn, and the history
as JSON. One file can be replaced in one step, so a kill at any moment leaves a complete checkpoint: the old one or the
new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tumortrace.config import Config, config_from_tables
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, ModelError, TumortraceError, first_line
from tumortrace.files import write_atomically
from tumortrace.training.epochs import EpochRow
from tumortrace.training.folded import unfold
from tumortrace.wording import counted

FREE = ("training.device", "training.threads")
"""Settings that may change when a run continues."""

_AS_AT_FIRST = "give the same DATA, --split, --fold, --negatives, --exclude and --label as at first, unchanged"

_NETWORK = "network."
_AVERAGE = "average."
_OPTIMIZER = "optimizer."
_PEAKS = "peaks"


@dataclass
class TrainingState:
    """How far a run has come.

    Attributes:
        config: Settings of the run, so that it cannot continue under others.
        data_hash: Hash of its training and validation slices, so that it cannot continue with others.
        rows: One row for each finished epoch.
        threads: CPU threads that it was trained with, so that it continues with the same bits.
        order: Hash of the names of its slices in their order, part by part; empty from an earlier version.
        from_model: Whether it started from the weights of a model, which the run folder keeps.
    """

    config: Config
    data_hash: str
    rows: list[EpochRow] = field(default_factory=list)
    threads: int = 0
    order: str = ""
    from_model: bool = False


def new_state(config: Config, train: dict[str, str], val: dict[str, str], *, threads: int) -> TrainingState:
    """Return the state of a run before its first epoch.

    Args:
        config: Settings of the run.
        train: SHA-256 of each training case, by case_id, in their order.
        val: The same of the validation cases; may be empty.
        threads: CPU threads of the training.
    """
    order = hashlib.sha256(json.dumps([list(train), list(val)]).encode()).hexdigest()
    return TrainingState(config, hash_part(train | val), threads=threads, order=order)


def save_weights(path: Path, network: nn.Module, *, about: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write a network's weights, and texts about them, atomically."""
    write_atomically(path, save(_tensors_of(network), metadata=dict(about) or None))


def load_weights(path: Path, network: nn.Module, *, folded: Path | None = None) -> None:
    """Load weights that ``save_weights`` wrote.

    Args:
        path: File of the weights.
        network: The network to fill.
        folded: ONNX file of the same model, which the weights of convolutions are taken from that the first file lacks.

    Raises:
        ModelError: The file is missing or damaged, or belongs to another network.
    """
    try:
        tensors = read_tensors(path)
        if folded is not None:
            tensors |= unfold(folded, tensors, network)
        misfit = _find_misfit(tensors, network)
    except (OSError, SafetensorError) as error:
        misfit = first_line(error)
    if misfit:
        raise ModelError(
            f"{path}: not the weights of this network ({misfit}); give the --config that they were trained with, "
            "or train again"
        )
    network.load_state_dict(tensors)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Given a path, the library takes none that is not UTF-8.

    Raises:
        OSError: It cannot be read.
        SafetensorError: It is damaged.
    """
    return load(path.read_bytes())


def read_texts(path: Path) -> dict[str, str]:
    """Return the texts that a safetensors file holds beside its tensors.

    Raises:
        OSError: It cannot be read.
        SafetensorError: It is damaged.
        KeyError: It holds none.
    """
    data = path.read_bytes()
    load(data)  # checks all of it
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])


@dataclass(frozen=True, eq=False)
class Saved:
    """What changes in training, beside the history.

    Attributes:
        network: The network with its latest weights.
        average: The network with the averaged weights; None if the run averages nothing.
        optimizer: The optimizer of the network's parameters.
        peaks: Highest tumour probability of each training slice when it was last seen, shape (N,), float32.
    """

    network: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    peaks: Tensor


def save_checkpoint(path: Path, saved: Saved, state: TrainingState) -> None:
    """Write everything that the run needs to continue, atomically, as one file.

    Args:
        path: The file.
        saved: Weights, moments and peaks.
        state: Settings and history.
    """
    tensors = {_NETWORK + name: tensor for name, tensor in _tensors_of(saved.network).items()}
    if saved.average is not None:
        tensors |= {_AVERAGE + name: tensor for name, tensor in _tensors_of(saved.average).items()}
    tensors[_PEAKS] = saved.peaks
    moments: dict[int, dict[str, Tensor]] = saved.optimizer.state_dict()["state"]
    for index, values in moments.items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": _plain(tensor) for name, tensor in values.items()}
    write_atomically(path, save(tensors, metadata={"state": json.dumps(asdict(state))}))


def read_state(path: Path) -> TrainingState:
    """Return settings and history from a checkpoint.

    Raises:
        ModelError: The file is no checkpoint, or damaged.
    """
    try:
        document = json.loads(read_texts(path)["state"])
        rows = [EpochRow(**row) for row in document["rows"]]
        config = config_from_tables(document["config"])
        threads, order = int(document.get("threads", 0)), str(document.get("order", ""))
        from_model = bool(document.get("from_model"))
        return TrainingState(config, document["data_hash"], rows, threads, order, from_model)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise _no_checkpoint(path, first_line(error)) from None


def read_begun(path: Path, config: Config) -> TrainingState | None:
    """Return settings and history of a run that has begun; None if there is no checkpoint.

    Args:
        path: The checkpoint.
        config: Settings of now.

    Raises:
        ModelError: The checkpoint is damaged.
        ConfigError: It began under other settings.
    """
    if not path.is_file():
        return None
    state = read_state(path)
    refuse_other_settings(path, state.config, config)
    return state


def resume_state(path: Path, *, fresh: TrainingState) -> TrainingState:
    """Return the history of a checkpoint under the settings of now; the fresh state if there is no checkpoint.

    Args:
        path: The checkpoint.
        fresh: State from ``new_state``.

    Raises:
        ConfigError: The run began under other settings.
        ModelError: The checkpoint is damaged.
        TumortraceError: It was trained on other slices, or on the same ones in another order.
    """
    state = read_begun(path, fresh.config)
    if state is None:
        return fresh
    if state.data_hash != fresh.data_hash:
        raise TumortraceError(
            f"{path}: was trained on other data (sha256 {state.data_hash[:12]}, now {fresh.data_hash[:12]}); "
            f"{_AS_AT_FIRST}, or train into another --out"
        )
    if state.order not in {"", fresh.order}:
        raise TumortraceError(
            f"{path}: was trained on the same slices in another order or on other sides; {_AS_AT_FIRST}, "
            "or train into another --out"
        )
    return replace(fresh, rows=state.rows)


def refuse_other_settings(path: Path, began: Config, now: Config) -> None:
    """Check that a run continues under the settings it began with.

    Device and threads may differ. Under a constant learning rate the number of epochs may differ too.

    Args:
        path: The checkpoint, for the message.
        began: Settings in the checkpoint.
        now: Settings to continue under.

    Raises:
        ConfigError: Names the settings that differ, with both values.
    """
    then, today = _flat(began), _flat(now)
    free = {*FREE, "training.epochs"} if began.training.schedule == "constant" else set(FREE)
    changed = [f"{key} = {then[key]!r}, not {today[key]!r}" for key in then.keys() - free if then[key] != today[key]]
    if changed:
        raise ConfigError(f"{path}: began under {'; '.join(sorted(changed))}; keep to that, or choose another --out")


def load_checkpoint(path: Path, saved: Saved) -> None:
    """Restore the network, its average, the optimizer and the peaks from a checkpoint.

    Call it when the network is on its device: the moments are put where the weights are.

    Raises:
        ModelError: The file is damaged, or belongs to another network.
    """
    try:
        tensors = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise _no_checkpoint(path, first_line(error)) from None
    for module, prefix in ((saved.network, _NETWORK), (saved.average, _AVERAGE)):
        if module is not None:
            own = _with_prefix(tensors, prefix)
            if misfit := _find_misfit(own, module):
                raise _no_checkpoint(path, misfit)
            module.load_state_dict(own)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _with_prefix(tensors, _OPTIMIZER).items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = tensor.clone()  # in memory of torch, not in the bytes of a file
    groups: list[dict[str, Any]] = saved.optimizer.state_dict()["param_groups"]
    saved.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if _PEAKS in tensors:  # a checkpoint of an earlier version has none
        saved.peaks.copy_(tensors[_PEAKS])


def _flat(config: Config) -> dict[str, object]:
    return {f"{section}.{key}": value for section, table in asdict(config).items() for key, value in table.items()}


def _tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: _plain(tensor) for name, tensor in network.state_dict().items()}


def _plain(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU: safetensors stores no strides, and channels-last weights have their own."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _find_misfit(tensors: Mapping[str, Tensor], network: nn.Module) -> str:
    """Return the first tensor that does not fit a network, and how many do not; empty if all fit."""
    own = network.state_dict()
    wrong = {name: "is missing" for name in own if name not in tensors}
    wrong |= {name: "belongs to another network" for name in tensors if name not in own}
    for name in own.keys() & tensors.keys():
        there, here = list(tensors[name].shape), list(own[name].shape)
        if there != here:
            wrong[name] = f"has shape {there}, not {here}"
    if not wrong:
        return ""
    first = next(name for name in (*own, *tensors) if name in wrong)
    return f"{first} {wrong[first]}" + (f", and {counted(len(wrong) - 1, 'other')}" if len(wrong) > 1 else "")


def _no_checkpoint(path: Path, cause: str) -> ModelError:
    return ModelError(f"{path}: cannot be resumed from ({cause}); train into another --out")
