"""The networks: the report's U-Net (Ronneberger et al. 2015), and a light one on a pretrained encoder."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import NetworkConfig, check_size_fits
from tumortrace.training.encoder import FEATURE_WIDTHS, EfficientNetLite0, load_pretrained


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


TUMOUR_SHARE = 0.03
"""Of the pixels of a usual slice."""


class LightUNet(nn.Module):
    """A pretrained encoder under a decoder of few channels, made for 8 ms a slice on two CPU cores.

    From the coarsest features up, each resolution is narrowed by a 1 x 1 convolution and enlarged, the encoder's
    features of the next, narrowed likewise, are added (Lin et al. 2017), and a 3 x 3 convolution mixes them. The logits
    are made at half the input's resolution and enlarged bilinearly: there, a 3 x 3 convolution costs a quarter, and an
    outline interpolated from smooth logits is finer than their grid.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64), *, maps: int = 1) -> None:
        """Build it with random weights.

        Args:
            widths: Of the decoder at 1/2, 1/4, 1/8 and 1/16 of the input.
            maps: Of tumour, two channels each.
        """
        super().__init__()
        self.encoder = EfficientNetLite0()
        below = [*widths[1:], FEATURE_WIDTHS[-1]]
        self.narrowings = nn.ModuleList(nn.Conv2d(deep, fine, 1) for deep, fine in zip(below, widths, strict=True))
        self.laterals = nn.ModuleList(
            nn.Conv2d(skip, fine, 1) for skip, fine in zip(FEATURE_WIDTHS, widths, strict=False)
        )
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(fine, fine, 3, padding=1, bias=False), nn.BatchNorm2d(fine), nn.ReLU(inplace=True))
            for fine in widths
        )
        self.head = nn.Conv2d(widths[0], 2 * maps, 3, padding=1)
        # Begin at the share of tumour that slices have (Lin et al. 2017). Begun at one half, all features learn to
        # speak for background, tumour is what none of them speaks for, and its probability stays near one half long.
        with torch.no_grad():
            share = [0.0, math.log(TUMOUR_SHARE / (1 - TUMOUR_SHARE))]
            cast("Tensor", self.head.bias).copy_(torch.tensor(share * maps))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of background and tumour, shape (N, 2, H, W), for images (N, 1, H, W).

        Of two maps, while it is trained, those of both, shape (N, 4, H, W); afterwards those of their joint
        probability.
        """
        *skips, current = self.encoder(images)
        steps = zip(self.narrowings, self.laterals, self.mixers, skips, strict=True)
        for narrow, lateral, mix, skip in reversed(list(steps)):
            enlarged = functional.interpolate(narrow(current), scale_factor=2.0, mode="nearest")
            current = mix(enlarged + lateral(skip))
        logits = self.head(current)
        enlarged = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        return enlarged if self.training or enlarged.shape[1] == 2 else join_maps(enlarged)


LEAST_PROBABILITY = 1e-6
"""Joint probabilities stay so far from 0 and 1, so that their logarithms are finite."""


def join_maps(logits: Tensor) -> Tensor:
    """Where the tumour is if there is one, and whether there is one, as one probability: their product.

    Args:
        logits: Shape (N, 4, H, W): background and tumour of the first map, then of the second.

    Returns:
        Shape (N, 2, H, W): the logarithms of 1 - p and p, p = the first map's probability of tumour times the highest
        one in the second map.
    """
    # Of two classes, softmax is the sigmoid of their difference; ONNX Runtime's costs a third of the whole network.
    where, whether = (logits[:, 1::2].float() - logits[:, 0::2].float()).chunk(2, dim=1)
    joint = (where.sigmoid() * whether.amax(dim=(2, 3), keepdim=True).sigmoid()).clamp(
        LEAST_PROBABILITY, 1 - LEAST_PROBABILITY
    )
    return torch.cat([1 - joint, joint], dim=1).log()


def build_network(config: NetworkConfig, *, size_hw: tuple[int, int], seed: int) -> nn.Module:
    """A network whose first weights depend on the seed alone, whatever was drawn before.

    Raises:
        ConfigError: The input size does not fit the number of poolings; names sizes that do.
        TumortraceError: Pretrained weights are asked for and not installed.
    """
    check_size_fits(size_hw, poolings=config.poolings)
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone, which is the one put back: torch.manual_seed would also seed every GPU.
        torch.default_generator.manual_seed(seed)
        if config.encoder == "plain":
            return UNet(config.widths)
        network = LightUNet(config.widths, maps=config.maps)
    if config.pretrained:
        load_pretrained(network.encoder)
    return network


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
