from __future__ import annotations

import pytest
import torch
from torch import nn

from tumortrace.training.average import AverageNetwork, CycleMean, KeptNetwork


def network_of(value: float) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1))
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


def value_of(average: AverageNetwork) -> float:
    values = {round(float(tensor), 5) for tensor in average.network.state_dict().values() if tensor.is_floating_point()}
    assert len(values) == 1  # weights and statistics are averaged alike
    return values.pop()


def test_two_steps_by_hand():
    average = AverageNetwork(network_of(0.0), decay=0.5)
    average.follow(network_of(11.0), step=1)  # the decay is at most (1 + 1) / (10 + 1) here
    assert value_of(average) == pytest.approx(9.0)
    average.follow(network_of(21.0), step=2)  # at most 3 / 12
    assert value_of(average) == pytest.approx(0.25 * 9 + 0.75 * 21)


def test_after_many_steps_the_decay_counts():
    average = AverageNetwork(network_of(1.0), decay=0.5)
    average.follow(network_of(5.0), step=1000)
    assert value_of(average) == pytest.approx(3.0)


def test_without_decay_it_is_the_network_bit_for_bit():
    torch.manual_seed(0)
    network, average = nn.Linear(7, 5), AverageNetwork(nn.Linear(7, 5), decay=0.0)
    average.follow(network, step=9)
    assert all(
        torch.equal(own, theirs) for own, theirs in zip(average.network.parameters(), network.parameters(), strict=True)
    )


def test_counters_are_copied():
    average = AverageNetwork(network_of(0.0), decay=0.9)
    followed = network_of(0.0)
    followed.state_dict()["1.num_batches_tracked"].fill_(41)
    average.follow(followed, step=5)
    assert average.network.state_dict()["1.num_batches_tracked"].item() == 41


def test_it_is_a_copy_that_asks_for_no_gradients():
    network = network_of(1.0)
    average = AverageNetwork(network, decay=0.9)
    network.state_dict()["0.weight"].fill_(7.0)
    assert value_of(average) == 1.0
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not average.network.training


def test_the_mean_of_cycles_by_hand():
    network, mean = nn.BatchNorm1d(1), CycleMean(nn.BatchNorm1d(1))
    for cycles, value in enumerate((1.0, 3.0, 8.0), start=1):
        network.weight.data.fill_(value)
        network.running_mean.fill_(-value)
        network.num_batches_tracked.fill_(int(value))
        mean.add(network, cycles=cycles)
    assert mean.network.weight.item() == pytest.approx(4.0)
    assert mean.network.running_mean.item() == pytest.approx(-4.0)
    assert mean.network.num_batches_tracked.item() == 8


def test_what_is_kept_within_a_cycle_and_at_its_end():
    network = nn.Linear(1, 1, bias=False)
    kept = KeptNetwork(network, decay=0.0, cycle_epochs=2)
    seen = []
    for epoch, value in enumerate((1.0, 2.0, 3.0, 6.0), start=1):
        network.weight.data.fill_(value)
        kept.average.follow(network, step=epoch)
        assert kept.end_epoch(epoch) is kept.after(epoch)
        seen.append(kept.after(epoch).weight.item())
    assert seen == [1.0, 2.0, 3.0, 4.0]
