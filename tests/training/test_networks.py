from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tumortrace.config import NetworkConfig
from tumortrace.errors import ConfigError
from tumortrace.training.networks import UNet, build_network, describe_network

REPORT_WIDTHS = (64, 128, 256, 512, 1024)
REPORT_PARAMETERS = 31_032_578


@pytest.fixture(scope="module")
def architecture() -> UNet:
    return UNet()


def names_of(block: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in block.modules() if not list(layer.children())]


def test_the_report_s_network_has_its_parameters_to_the_last(architecture: UNet):
    assert sum(parameter.numel() for parameter in architecture.parameters()) == REPORT_PARAMETERS


def test_widths_of_the_report_are_the_default(architecture: UNet):
    firsts = [encoder[0].out_channels for encoder in architecture.encoders]
    assert (*firsts, architecture.bottleneck[0].out_channels) == REPORT_WIDTHS


def test_each_encoder_block_ends_in_its_one_batch_normalisation(architecture: UNet):
    for encoder in architecture.encoders:
        assert names_of(encoder) == ["Conv2d", "ReLU", "Conv2d", "ReLU", "BatchNorm2d"]


def test_bottleneck_and_decoder_have_no_batch_normalisation(architecture: UNet):
    assert names_of(architecture.bottleneck) == ["Conv2d", "ReLU", "Conv2d", "ReLU"]
    for decoder in architecture.decoders:
        assert names_of(decoder) == ["Conv2d", "ReLU", "Conv2d", "ReLU"]
    assert names_of(architecture).count("BatchNorm2d") == 4


def test_numbers_by_hand():
    """One channel everywhere and convolutions that look at their middle alone: a calculation for a pencil."""
    network = UNet((1, 1)).eval()
    state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    for convolution in ("encoders.0.0", "encoders.0.2", "bottleneck.0", "bottleneck.2", "decoders.0.2"):
        state[f"{convolution}.weight"][0, 0, 1, 1] = 1
    state["encoders.0.4.weight"][0] = 7  # batch normalisation: 7 (x - 3) / sqrt(4) + 5 = 3.5 x - 5.5
    state["encoders.0.4.running_mean"][0] = 3
    state["encoders.0.4.running_var"][0] = 4
    state["encoders.0.4.bias"][0] = 5
    state["upsamplings.0.weight"][0, 0] = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    state["decoders.0.0.weight"][0, :, 1, 1] = torch.tensor([2.0, 3.0])  # of the skip, of what comes up
    state["head.weight"][:, 0, 0, 0] = torch.tensor([1.0, -1.0])
    state["head.bias"][1] = 9
    network.load_state_dict(state)

    logits = network(torch.tensor([[[[3.0, 5.0, 2.0, 2.0], [4.0, 1.0, 2.0, 3.0]]]]))

    # Normalised skip: [[5, 12, 1.5, 1.5], [8.5, -2, 1.5, 5]]; pooled: [12, 5]; the ReLU cuts nothing off.
    background = torch.tensor([[10.0 + 36, 24 + 360, 3 + 15, 3 + 150], [17 + 3600, -4 + 36000, 3 + 1500, 10 + 15000]])
    torch.testing.assert_close(logits[0, 0], background, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(logits[0, 1], 9 - background, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("size_hw", [(16, 16), (16, 48), (64, 32)])
def test_output_has_two_channels_and_the_size_of_the_input(size_hw: tuple[int, int]):
    network = build_network(NetworkConfig(widths=(2, 3, 2, 3, 2)), size_hw=size_hw, seed=0)
    assert network(torch.zeros(3, 1, *size_hw)).shape == (3, 2, *size_hw)


@pytest.mark.parametrize(
    ("widths", "size_hw", "expected"),
    [
        ((2, 2), (6, 9), r"\[6, 9\] .* 1 poolings: .* multiples of 2, .* \[6, 8\] or \[6, 10\]"),
        ((2, 2, 2), (30, 44), r"\[30, 44\] .* 2 poolings: .* multiples of 4, .* \[28, 44\] or \[32, 44\]"),
        (REPORT_WIDTHS, (500, 8), r"4 poolings: .* multiples of 16, .* \[496, 16\] or \[512, 16\]"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_sizes_that_do(
    widths: tuple[int, ...], size_hw: tuple[int, int], expected: str
):
    with pytest.raises(ConfigError, match=expected):
        build_network(NetworkConfig(widths=widths), size_hw=size_hw, seed=0)


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    one = build_network(NetworkConfig(widths=(3, 5)), size_hw=(8, 8), seed=11).state_dict()
    torch.manual_seed(6)
    torch.rand(17)
    same = build_network(NetworkConfig(widths=(3, 5)), size_hw=(4, 12), seed=11).state_dict()
    other = build_network(NetworkConfig(widths=(3, 5)), size_hw=(8, 8), seed=12).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["encoders.0.0.weight"], other["encoders.0.0.weight"])


def test_building_leaves_every_global_generator_as_it_was(monkeypatch: pytest.MonkeyPatch):
    reseeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded.append)
    before = torch.random.get_rng_state()
    build_network(NetworkConfig(widths=(3, 5)), size_hw=(8, 8), seed=11)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not reseeded


def test_description_by_hand():
    network = build_network(NetworkConfig(widths=(3, 5)), size_hw=(4, 6), seed=0)
    assert describe_network(network, size_hw=(4, 6)).splitlines() == [
        "----------------------------------------------------------------",
        "            Layer (type)            Output shape      Parameters",
        "----------------------------------------------------------------",
        "                Conv2d-1           [-1, 3, 4, 6]              30",  # 3 x 3 x 1 x 3 + 3
        "                  ReLU-2           [-1, 3, 4, 6]               0",
        "                Conv2d-3           [-1, 3, 4, 6]              84",  # 3 x 3 x 3 x 3 + 3
        "                  ReLU-4           [-1, 3, 4, 6]               0",
        "           BatchNorm2d-5           [-1, 3, 4, 6]               6",
        "             MaxPool2d-6           [-1, 3, 2, 3]               0",
        "                Conv2d-7           [-1, 5, 2, 3]             140",  # 3 x 3 x 3 x 5 + 5
        "                  ReLU-8           [-1, 5, 2, 3]               0",
        "                Conv2d-9           [-1, 5, 2, 3]             230",  # 3 x 3 x 5 x 5 + 5
        "                 ReLU-10           [-1, 5, 2, 3]               0",
        "      ConvTranspose2d-11           [-1, 3, 4, 6]              63",  # 2 x 2 x 5 x 3 + 3
        "               Conv2d-12           [-1, 3, 4, 6]             165",  # 3 x 3 x 6 x 3 + 3
        "                 ReLU-13           [-1, 3, 4, 6]               0",
        "               Conv2d-14           [-1, 3, 4, 6]              84",
        "                 ReLU-15           [-1, 3, 4, 6]               0",
        "               Conv2d-16           [-1, 2, 4, 6]               8",  # 1 x 1 x 3 x 2 + 2
        "----------------------------------------------------------------",
        "Parameters: 810",
        "----------------------------------------------------------------",
    ]


def test_description_of_the_report_s_network(architecture: UNet):
    lines = describe_network(architecture, size_hw=(32, 48)).splitlines()
    layers = [line.split() for line in lines[3:-3]]
    kinds = [words[0].partition("-")[0] for words in layers]
    assert [kinds.count(kind) for kind in ("Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d", "ConvTranspose2d")] == [
        19,
        18,
        4,
        4,
        4,
    ]
    assert len(layers) == 49
    assert [words[0].partition("-")[2] for words in layers] == [str(number) for number in range(1, 50)]
    assert layers[26] == ["Conv2d-27", "[-1,", "1024,", "2,", "3]", "9,438,208"]  # 3 x 3 x 1024 x 1024 + 1024
    assert layers[48] == ["Conv2d-49", "[-1,", "2,", "32,", "48]", "130"]
    assert sum(int(words[-1].replace(",", "")) for words in layers) == REPORT_PARAMETERS
    assert lines[-2] == "Parameters: 31,032,578"


def test_describing_leaves_the_network_as_it_was():
    network = build_network(NetworkConfig(widths=(3, 5)), size_hw=(8, 8), seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    describe_network(network, size_hw=(8, 8))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(layer._forward_hooks for layer in network.modules())
    assert math.isfinite(network(torch.ones(1, 1, 8, 8)).sum().item())
