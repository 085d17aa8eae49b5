"""The report's network: a U-Net (Ronneberger et al. 2015) with padded convolutions and few batch normalisations."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from tumortrace.config import check_size_fits


class UNet(nn.Module):
    """The U-Net of the report.

    Each block is two 3 x 3 padded convolutions with a ReLU after each. The encoder's blocks end in one batch
    normalisation; the bottleneck and the decoder have none. 2 x 2 max pooling goes down, 2 x 2 transposed convolutions
    of stride 2 go up, skips are concatenated, and a 1 x 1 convolution gives two channels: background and tumour.

    With the widths 64-128-256-512-1024 it has 31,032,578 parameters.
    """

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 512, 1024)) -> None:
        """Build it with random weights.

        Args:
            widths: Channels at each resolution, finest first; the last is the bottleneck's.
        """
        super().__init__()
        *encoder_widths, bottleneck_width = widths
        self.encoders = nn.ModuleList(
            nn.Sequential(*_double_convolution(before, after), nn.BatchNorm2d(after))
            for before, after in pairwise([1, *encoder_widths])
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = nn.Sequential(*_double_convolution(encoder_widths[-1], bottleneck_width))
        steps_up = list(pairwise(reversed(widths)))
        self.upsamplings = nn.ModuleList(nn.ConvTranspose2d(deep, fine, 2, stride=2) for deep, fine in steps_up)
        self.decoders = nn.ModuleList(nn.Sequential(*_double_convolution(2 * fine, fine)) for _, fine in steps_up)
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of background and tumour, shape (N, 2, H, W), for images (N, 1, H, W)."""
        skips = []
        features = images
        for encode in self.encoders:
            features = encode(features)
            skips.append(features)
            features = self.pool(features)
        features = self.bottleneck(features)
        for upsample, decode in zip(self.upsamplings, self.decoders, strict=True):
            features = decode(torch.cat([skips.pop(), upsample(features)], dim=1))
        return cast("Tensor", self.head(features))


def build_network(widths: tuple[int, ...], *, size_hw: tuple[int, int], seed: int) -> UNet:
    """A U-Net whose first weights depend on the seed alone, whatever was drawn before.

    Raises:
        ConfigError: The input size does not fit the number of poolings; names sizes that do.
    """
    check_size_fits(size_hw, widths=widths)
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone, which is the one put back: torch.manual_seed would also seed every GPU.
        torch.default_generator.manual_seed(seed)
        return UNet(widths)


def describe_network(network: nn.Module, *, size_hw: tuple[int, int]) -> str:
    """The network as a table of layers, output shapes and parameters, like the annex of the report.

    Args:
        network: Takes one image of shape (1, 1, H, W); left as it is.
        size_hw: Height and width of that image; a large one costs no time, for no number is computed.

    Returns:
        One line a layer in the order in which it runs, then totals; a trailing newline.
    """
    rows: list[tuple[str, str, int]] = []

    def record(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shape = "[" + ", ".join(["-1", *map(str, output.shape[1:])]) + "]"
        rows.append((f"{type(layer).__name__}-{len(rows) + 1}", shape, sum(p.numel() for p in layer.parameters())))

    shadow = copy.deepcopy(network).to("meta").eval()  # has shapes, but neither numbers nor work
    for layer in shadow.modules():
        if not list(layer.children()):
            layer.register_forward_hook(record)
    shadow(torch.zeros(1, 1, *size_hw, device="meta"))
    rule = "-" * 64
    lines = [rule, f"{'Layer (type)':>24}{'Output shape':>24}{'Parameters':>16}", rule]
    lines += [f"{name:>24}{shape:>24}{count:>16,}" for name, shape, count in rows]
    lines += [rule, f"Parameters: {sum(parameter.numel() for parameter in network.parameters()):,}", rule]
    return "\n".join(lines) + "\n"


def _double_convolution(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    ]
