"""The device, number format and threads that a training computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch

from tumortrace.config import TrainingConfig
from tumortrace.errors import ConfigError, TumortraceError
from tumortrace.machine import keep_freed_memory, usable_cores
from tumortrace.training.team import ALONE, Team
from tumortrace.wording import counted


@dataclass(frozen=True)
class Compute:
    """What a training computes with.

    Attributes:
        device: The CPU or a GPU.
        precision: ``"32-true"``, or ``"bf16-mixed"``: float32 weights and bfloat16 arithmetic where it is safe.
        team: The processes that compute together, of which this is one.
    """

    device: torch.device
    precision: str
    team: Team = field(default=ALONE)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in this precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def describe(self) -> str:
        """Return device, number format, threads and processes in a few words."""
        place = self.team.place
        machines = place.size // place.local_size
        where = f" on {counted(machines, 'machine')}" if machines > 1 else ""
        return self._describe_device() + (f" in each of {place.size} processes{where}" if place.size > 1 else "")

    def _describe_device(self) -> str:
        number_format = "bfloat16" if self.precision == "bf16-mixed" else "float32"
        if self.device.type == "cpu":
            return f"CPU, {counted(torch.get_num_threads(), 'thread')}, {number_format}"
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else self.device.type.upper()
        return f"{name}, {number_format}"


def start_compute(training: TrainingConfig, team: Team = ALONE, *, began_with: int = 0) -> Compute:
    """Choose device and precision, and prepare the process for training: threads and memory.

    Args:
        training: Settings. The processes on one machine divide ``training.threads``, or all cores, among them.
        team: The processes that train together.
        began_with: CPU threads that a resumed run began with, which settings that leave them open keep as far as there
            are cores; 0 for a new run.

    Raises:
        ConfigError: ``training.threads`` is more than the cores that the process may use.
        TumortraceError: The device that the configuration names is missing.
    """
    cores = usable_cores()
    threads = max((training.threads or min(began_with or cores, cores)) // team.place.local_size, 1)
    if threads > cores:
        raise ConfigError(
            f"training.threads = {training.threads}, but this process may use {counted(cores, 'CPU core')}; set "
            "training.threads=0 to use all, or a smaller number"
        )
    torch.set_num_threads(threads)
    keep_freed_memory()
    if training.device == "cuda" and not torch.cuda.is_available():
        raise TumortraceError("training.device = 'cuda', but torch sees no GPU; set training.device=auto")
    device = torch.device("cpu")
    if team.fabric is not None:
        device = team.fabric.device
    elif training.device != "cpu" and torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator() or device
    automatic = "bf16-mixed" if has_bfloat16(device) else "32-true"
    return Compute(device, automatic if training.precision == "auto" else training.precision, team)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device has units for bfloat16; without them it is up to five times slower than float32.

    On a CPU that means AVX512-BF16 or AMX, and oneDNN must be allowed to use them (``ONEDNN_MAX_CPU_ISA``). ARM CPUs
    count as without: their gain was not measured.
    """
    if device.type != "cpu":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    cpu_has_it = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - the public function is too new for torch>=2.6
    return bool(cpu_has_it and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - has no public name
