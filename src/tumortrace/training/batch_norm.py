"""Batch normalisation over a batch that is divided among processes.

With the statistics of its own slices alone, each process would train another network than one process does with the
whole batch. ``torch.nn.SyncBatchNorm`` gathers them, on GPUs only; ``GatheredBatchNorm2d`` does so on any device.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

MAPS = (0, 2, 3)
"""Axes of features (N, C, H, W) over which a channel's statistics are taken."""


def gather_statistics(network: nn.Module, device: torch.device) -> None:
    """Let the batch normalisations of a network take their statistics over all processes, in place.

    Parameters, buffers and their names stay, and so does what the network computes in evaluation.

    Args:
        network: A network of other layers than batch normalisation itself.
        device: Device that it is trained on.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, GatheredBatchNorm2d.like(child))


class GatheredBatchNorm2d(nn.BatchNorm2d):
    """``BatchNorm2d`` with the mean and variance of the slices of all processes, of which each may have another number.

    Every process must run it equally often, one without slices too.
    """

    @classmethod
    def like(cls, layer: nn.BatchNorm2d) -> GatheredBatchNorm2d:
        """Return a layer with the parameters, buffers and settings of another."""
        own = cls(layer.num_features, eps=layer.eps, momentum=layer.momentum, device="meta")
        own.weight, own.bias = layer.weight, layer.bias
        own.running_mean, own.running_var = layer.running_mean, layer.running_var
        own.num_batches_tracked = layer.num_batches_tracked
        return own.train(layer.training)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (N, C, H, W); N may be 0 while other processes have slices."""
        if not self.training:
            return super().forward(features)
        outputs = _Normalise.apply(features, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        output, mean, variance, count = cast("tuple[Tensor, Tensor, Tensor, Tensor]", outputs)
        self._follow(mean, variance * (count / (count - 1).clamp(min=1)))
        return output

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as ``BatchNorm2d`` does; it takes the unbiased variance."""
        running_mean, running_var = cast("Tensor", self.running_mean), cast("Tensor", self.running_var)
        running_mean.lerp_(mean, cast("float", self.momentum))
        running_var.lerp_(variance, cast("float", self.momentum))
        cast("Tensor", self.num_batches_tracked).add_(1)


class _Normalise(torch.autograd.Function):
    """Normalisation with gathered statistics, and its gradient.

    With x' = (x - mean) / s and the gradient g of the output, the gradients are (Ioffe & Szegedy 2015) sum(g x') for
    the weight, sum(g) for the bias and weight / s * (g - mean(g) - x' mean(g x')) for x, where the means go over the
    slices of all processes and the sums over the own ones: those of all processes are added up with all other
    parameters' gradients.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:  # noqa: ANN401 - autograd's
        mean, variance, count = _gather_moments(features)
        output = functional.batch_norm(features, mean, variance, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(features, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return output, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_others: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - autograd's
        features, weight, mean, scale, count = ctx.saved_tensors
        gradients = gradient.to(mean.dtype)
        normal = (features.to(mean.dtype) - _on_maps(mean)) * _on_maps(scale)
        bias_gradient, weight_gradient = gradients.sum(MAPS), (gradients * normal).sum(MAPS)
        means = torch.stack([bias_gradient, weight_gradient])
        torch.distributed.all_reduce(means)
        mean_gradient, mean_product = means / count
        back = (gradients - _on_maps(mean_gradient) - normal * _on_maps(mean_product)) * _on_maps(weight * scale)
        return back.to(features.dtype), weight_gradient, bias_gradient, None


def _gather_moments(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance of each channel over all processes, shape (C,), and the number of pixels.

    The moments of the processes are joined as Chan et al. (1979) do: a sum of squares would lose digits.
    """
    values = features.to(torch.promote_types(features.dtype, torch.float32))
    pixels = values.numel() // values.shape[1]
    if pixels:
        variance, mean = torch.var_mean(values, dim=MAPS, correction=0)
    else:
        mean = variance = values.new_zeros(values.shape[1])
    own = torch.cat([mean, variance, mean.new_tensor([float(pixels)])])
    every = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(every, own)
    gathered = torch.stack(every)  # (processes, 2 C + 1)
    means, variances = gathered[:, :-1].chunk(2, dim=1)
    counts = gathered[:, -1:]
    total = counts.sum()
    joint = (counts * means).sum(0) / total
    return joint, (counts * (variances + (means - joint) ** 2)).sum(0) / total, total


def _on_maps(values: Tensor) -> Tensor:
    """Return a value for each channel in the shape of features: (1, C, 1, 1)."""
    return values[None, :, None, None]
