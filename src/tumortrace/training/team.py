"""The processes that train one network together, on several devices or machines.

Every process holds the same network and the same data. Of each batch it takes a part through the network; logits and
truths are then gathered, so that each process computes the loss of the whole batch, whatever its formula is. Gradients
are added up. So the number of processes changes nothing but the rounding.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from tumortrace.config import Device
from tumortrace.errors import TumortraceError
from tumortrace.processes import PeerLostError, Place
from tumortrace.training.batch_norm import gather_statistics
from tumortrace.wording import counted

if TYPE_CHECKING:
    from lightning_fabric import Fabric

WAITING = timedelta(minutes=30)
"""Time after which a process no longer waits for the others: machines do not read the data equally fast."""


@dataclass(frozen=True, eq=False)
class Team:
    """What a process does together with the others; alone, every function returns what it is given.

    Attributes:
        place: Place of this process among them.
        fabric: The connection to the others; None alone.
    """

    place: Place = field(default_factory=Place)
    fabric: Fabric | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.place.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """Return this process's part of a batch: the parts are in order and differ by at most one slice.

        Args:
            indices: The batch, shape (N,). Where N is smaller than the number of processes, the last ones get none.
        """
        return torch.tensor_split(indices, self.place.size)[self.place.rank]

    def gather(self, own: Tensor, count: int) -> Tensor:
        """Return what all processes have of a batch, in the order of the batch.

        Args:
            own: Values of this process's share, shape (its length, ...).
            count: Length of the batch.

        Returns:
            Shape (count, ...). The gradient flows to ``own`` alone.
        """
        if self.fabric is None:
            return own
        sizes = [len(share) for share in torch.tensor_split(torch.arange(count), self.place.size)]
        padded = own.new_zeros((sizes[0], *own.shape[1:]), device=self.fabric.device)
        padded[: len(own)] = own.detach()
        every = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(every, padded)
        parts = [values[:size].to(own.device) for values, size in zip(every, sizes, strict=True)]
        parts[self.place.rank] = own
        return torch.cat(parts)

    def join_network(self, network: nn.Module) -> nn.Module:
        """Return the network to train through: gradients are averaged, first weights are those of the first process.

        Args:
            network: The network on its device, changed in place by ``gather_statistics``.
        """
        if self.fabric is None:
            return network
        gather_statistics(network, self.fabric.device)
        return cast("nn.Module", self.fabric.setup_module(network, move_to_device=False))

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss that every process has computed of the whole batch."""
        if self.fabric is None:
            torch.autograd.backward(loss)
        else:  # each process adds the gradient through its own slices, and Fabric divides the sum by their number
            self.fabric.backward(loss * self.place.size)

    def agree(self, text: str) -> str:
        """Return the first process's text in all of them."""
        if self.fabric is None:
            return text
        own = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.fabric.device)
        length = torch.tensor([len(own)], device=self.fabric.device)
        torch.distributed.broadcast(length, 0)
        letters = own if self.leads else own.new_empty(int(length.item()))
        torch.distributed.broadcast(letters, 0)
        return bytes(letters.tolist()).decode()


ALONE = Team()
"""The team of a training in one process."""


@contextmanager
def open_team(place: Place | None, device: Device) -> Iterator[Team]:
    """Join the other processes of a training; all of them must do so.

    Args:
        place: Place of this process; None trains alone, and imports nothing of Fabric.
        device: The setting ``training.device``: with ``"auto"``, GPUs if there are any.

    Raises:
        TumortraceError: The machine has too few GPUs, or the others do not come.
        PeerLostError: Another process ended within the block.
    """
    if place is None:
        yield ALONE
        return
    fabric = _connect(place, device)
    try:
        yield Team(place, fabric)
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        if fabric.device.type == "cpu":
            torch.distributed.destroy_process_group()  # else gloo's threads may abort the program at its end
        raise PeerLostError(
            "another process of this training has ended; its own message says why; continue with --resume"
        ) from None
    torch.distributed.destroy_process_group()  # not after other errors: it would wait for what is under way


def _connect(place: Place, device: Device) -> Fabric:
    # Imported here: it takes more than a second, and a training alone needs nothing of it.
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment  # noqa: PLC0415
    from lightning_fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets on stderr
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and torch.cuda.device_count() < place.local_size:
        found = counted(torch.cuda.device_count(), "GPU")
        raise TumortraceError(
            f"--devices {place.local_size}, but torch sees {found} here; give as many, or --set training.device=cpu"
        )
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=place.local_size,
        num_nodes=place.size // place.local_size,
        strategy=DDPStrategy(timeout=WAITING),
        plugins=[TorchElasticEnvironment()],
    )
    try:
        fabric.launch()
    except (RuntimeError, ValueError, OSError) as error:
        meeting = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        cause = str(error).partition("\n")[0]
        raise TumortraceError(
            f"{place.size} processes were to meet at {meeting}, and did not ({cause}); check MASTER_ADDR, MASTER_PORT "
            "and --nodes, and that all were started"
        ) from None
    return fabric
