"""The prompted network: features once a box, a light decoder for each answer."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import NetworkConfig
from tumortrace.inference.prompts.grid import PROMPT_CHANNELS
from tumortrace.training.encoder import EfficientNetLite, load_pretrained
from tumortrace.training.networks import normalised_convolution


class PromptedEncoder(nn.Module):
    """Features of the surroundings of a box, which all clicks in it share.

    The box is a second input channel, whose first weights are 0. The features of each resolution are narrowed to the
    widths of the decoder, so that little has to be kept between two clicks.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        """Build it with random weights.

        Args:
            widths: Channels at 1/2, 1/4, 1/8, 1/16 of the input; the last serves at 1/32 too.
        """
        super().__init__()
        self.encoder = EfficientNetLite("efficientnet-lite0", channels=2)
        self.laterals = nn.ModuleList(
            nn.Conv2d(deep, narrow, 1)
            for deep, narrow in zip(self.encoder.feature_widths, [*widths, widths[-1]], strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return features at 1/2 to 1/32, finest first, for images (N, 2, H, W): the grey values and the box."""
        return tuple(narrow(features) for narrow, features in zip(self.laterals, self.encoder(images), strict=True))


class PromptedDecoder(nn.Module):
    """From features and prompts to logits.

    The prompts go down by strided convolutions; their features are added to the encoder's at each resolution, so that
    a click changes what lies near it and what belongs together with it. Going up, two 3 x 3 convolutions mix each
    resolution, one the finest. Logits are made at half the grid and enlarged bilinearly.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        """Build it with random weights.

        Args:
            widths: Channels at 1/2, 1/4, 1/8 and 1/16.
        """
        super().__init__()
        steps = list(pairwise([PROMPT_CHANNELS, *widths]))
        self.prompts = nn.ModuleList(normalised_convolution(before, after, stride=2) for before, after in steps)
        below = [*widths[1:], widths[-1]]
        self.narrowings = nn.ModuleList(nn.Conv2d(deep, fine, 1) for deep, fine in zip(below, widths, strict=True))
        self.mixers = nn.ModuleList(
            nn.Sequential(*(normalised_convolution(width, width) for _ in range(1 if level == 0 else 2)))
            for level, width in enumerate(widths)
        )
        self.head = nn.Conv2d(widths[0], 2, 3, padding=1)

    def forward(self, features: tuple[Tensor, ...], prompts: Tensor) -> Tensor:
        """Return logits of background and tumour, shape (N, 2, H, W), for prompts (N, 4, H, W)."""
        pointed = []
        current = prompts
        for convolve in self.prompts:
            current = convolve(current)
            pointed.append(current)
        *skips, current = features
        steps = list(zip(self.narrowings, self.mixers, skips, pointed, strict=True))
        for narrow, mix, skip, prompt in reversed(steps):
            enlarged = functional.interpolate(narrow(current), scale_factor=2.0, mode="nearest")
            current = mix(functional.relu(enlarged + skip + prompt))
        logits = self.head(current)
        return functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)


class PromptedNet(nn.Module):
    """Encoder and decoder of one prompted network."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        """Build both with random weights; see ``PromptedDecoder`` for the widths."""
        super().__init__()
        self.encode = PromptedEncoder(widths)
        self.decode = PromptedDecoder(widths)

    def forward(self, images: Tensor, prompts: Tensor) -> Tensor:
        """Return logits (N, 2, H, W) for images (N, 2, H, W) and prompts (N, 4, H, W)."""
        return cast("Tensor", self.decode(self.encode(images), prompts))


def prompt_with_boxes(boxes: Tensor) -> Tensor:
    """Return the decoder's prompts (N, 4, H, W) of boxes (N, H, W) without a click."""
    prompts = boxes.new_zeros(len(boxes), PROMPT_CHANNELS, *boxes.shape[1:])
    prompts[:, 0] = boxes
    return prompts


def build_prompted(config: NetworkConfig, *, seed: int) -> PromptedNet:
    """Return a prompted network whose first weights depend on the seed alone.

    Raises:
        TumortraceError: Pretrained weights are asked for and not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = PromptedNet(config.widths)
    if config.pretrained:
        load_pretrained(network.encode.encoder)
    return network
