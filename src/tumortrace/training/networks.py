"""The student paper's U-Net (Ronneberger 2015), and two on pretrained encoders."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import LiteEncoder, NetworkConfig, check_size_fits
from tumortrace.errors import ConfigError
from tumortrace.training.encoder import EfficientNetLite, load_pretrained


class UNet(nn.Module):
    """The U-Net of the student paper.

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
"""Fraction of a typical slice's pixels that are tumour."""


class LightUNet(nn.Module):
    """A pretrained encoder under a decoder of few channels, made for 8 ms a slice on two CPU cores.

    From the coarsest features up, each resolution is narrowed by a 1 x 1 convolution and enlarged. The encoder's
    features of the next resolution, narrowed likewise, are added (Lin et al. 2017), and a 3 x 3 convolution mixes them.
    The logits are made at half the input's resolution, where a 3 x 3 convolution costs a quarter, and enlarged
    bilinearly: an outline interpolated from smooth logits is finer than their grid.
    """

    def __init__(self, widths: tuple[int, ...], *, maps: int, encoder: LiteEncoder) -> None:
        """Build it with random weights.

        Args:
            widths: Channels of the decoder at 1/2, 1/4, 1/8 and 1/16 of the input.
            maps: Number of maps, two channels each.
            encoder: Member of the EfficientNet-Lite family.
        """
        super().__init__()
        self.encoder = EfficientNetLite(encoder)
        skips = self.encoder.feature_widths
        below = [*widths[1:], skips[-1]]
        self.narrowings = nn.ModuleList(nn.Conv2d(deep, fine, 1) for deep, fine in zip(below, widths, strict=True))
        self.laterals = nn.ModuleList(nn.Conv2d(skip, fine, 1) for skip, fine in zip(skips, widths, strict=False))
        self.mixers = nn.ModuleList(normalised_convolution(fine, fine) for fine in widths)
        self.head = _make_head(widths[0], maps=maps)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of background and tumour, shape (N, 2, H, W), for images (N, 1, H, W).

        With two maps: in training the logits of both, shape (N, 4, H, W); otherwise those of their joint probability.
        """
        *skips, current = self.encoder(images)
        steps = zip(self.narrowings, self.laterals, self.mixers, skips, strict=True)
        for narrow, lateral, mix, skip in reversed(list(steps)):
            enlarged = functional.interpolate(narrow(current), scale_factor=2.0, mode="nearest")
            current = mix(enlarged + lateral(skip))
        logits = self.head(current)
        enlarged = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        return enlarged if self.training or enlarged.shape[1] == 2 else join_maps(enlarged)


class FullUNet(nn.Module):
    """A pretrained encoder under a U-Net decoder that reaches the input's own resolution.

    From the coarsest features up, each resolution is enlarged, the encoder's features of the next are concatenated (at
    the input's own resolution, the image itself), and two 3 x 3 convolutions mix them.
    """

    def __init__(self, widths: tuple[int, ...], *, maps: int, encoder: LiteEncoder) -> None:
        """Build it with random weights.

        Args:
            widths: Channels of the decoder at 1/1, 1/2, 1/4, 1/8 and 1/16 of the input.
            maps: Number of maps, two channels each.
            encoder: Member of the EfficientNet-Lite family.
        """
        super().__init__()
        self.encoder = EfficientNetLite(encoder)
        *skips, coarsest = [1, *self.encoder.feature_widths]
        below = [*widths[1:], coarsest]
        self.mixers = nn.ModuleList(
            nn.Sequential(normalised_convolution(deep + skip, fine), normalised_convolution(fine, fine))
            for deep, skip, fine in zip(below, skips, widths, strict=True)
        )
        self.head = _make_head(widths[0], maps=maps)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shaped as those of ``LightUNet``."""
        *skips, current = self.encoder(images)
        image = images.to(current.dtype)  # in float32, it would make the largest concatenation float32 under autocast
        for mix, skip in reversed(list(zip(self.mixers, [image, *skips], strict=True))):
            enlarged = functional.interpolate(current, scale_factor=2.0, mode="nearest")
            current = mix(torch.cat([enlarged, skip], dim=1))
        logits = cast("Tensor", self.head(current))
        return logits if self.training or logits.shape[1] == 2 else join_maps(logits)


def normalised_convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution, a batch normalisation and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _make_head(width: int, *, maps: int) -> nn.Conv2d:
    """Return the last layer, whose first output is the usual fraction of tumour (Lin et al. 2017).

    Starting from one half, all features would learn to vote for background and none for tumour, whose probability
    would stay near one half for long.
    """
    head = nn.Conv2d(width, 2 * maps, 3, padding=1)
    with torch.no_grad():
        share = [0.0, math.log(TUMOUR_SHARE / (1 - TUMOUR_SHARE))]
        cast("Tensor", head.bias).copy_(torch.tensor(share * maps))
    return head


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
        ConfigError: The input size does not fit the number of poolings; names sizes that do. Or it is a prompted
            network, which ``build_prompted`` builds.
        TumortraceError: Pretrained weights are asked for and not installed.
    """
    check_size_fits(size_hw, poolings=config.poolings)
    if config.decoder == "prompted":
        raise ConfigError("network.decoder = 'prompted' needs boxes; train it with tumortrace train --config box alone")
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone, which is the one put back: torch.manual_seed would also seed every GPU.
        torch.default_generator.manual_seed(seed)
        if config.encoder == "plain":
            return UNet(config.widths)
        build = LightUNet if config.decoder == "light" else FullUNet
        network = build(config.widths, maps=config.maps, encoder=config.encoder)
    if config.pretrained:
        load_pretrained(network.encoder)
    return network


def describe_network(network: nn.Module, *, size_hw: tuple[int, int]) -> str:
    """The network as a table of layers, output shapes and parameters, like the annex of the student paper.

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
