"""The choice of CPU threads by the time of a few steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tumortrace.config import Config
from tumortrace.errors import RunFailedError
from tumortrace.training import threads as threads_module
from tumortrace.training.arrays import PreparedPart
from tumortrace.training.compute import Compute
from tumortrace.training.networks import build_network
from tumortrace.training.threads import fastest_threads, settle_threads, time_step

Clock = Callable[[dict[int, float]], Callable[[], None]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Make a step that takes the given seconds for each number of threads, on a clock of its own."""
    now, threads = [0.0], [0]
    monkeypatch.setattr(threads_module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.__setitem__(0, count))

    def make(seconds: dict[int, float]) -> Callable[[], None]:
        def step() -> None:
            now[0] += seconds[threads[0]]

        return step

    return make


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({8: 1.0, 4: 1.7}, 8),  # an idle machine
        ({8: 1.0, 4: 0.85}, 8),  # not clearly faster
        ({8: 4.0, 4: 2.0, 2: 1.9}, 4),
        ({8: 4.0, 4: 2.0, 2: 1.0, 1: 0.5}, 1),
        ({8: 6.0}, 8),  # a step too long to try others
    ],
)
def test_threads_are_halved_while_that_is_clearly_faster(seconds: dict[int, float], expected: int, clock: Clock):
    assert fastest_threads(clock(seconds), most=8) == expected


def test_one_core_needs_no_trial(clock: Clock):
    assert fastest_threads(clock({1: 1.0}), most=1) == 1


@pytest.mark.parametrize(
    ("seconds", "least", "steps"),
    [
        ([4.0, 1.0, 2.0], 1.0, 3),  # the first one warms up
        ([6.0, 1.0, 2.0], 6.0, 1),  # too long for another
        ([1.0, 6.0, 2.0], 1.0, 3),
    ],
)
def test_the_time_of_a_step_is_the_least_of_three(
    seconds: list[float], least: float, steps: int, monkeypatch: pytest.MonkeyPatch
):
    now, left = [0.0], list(seconds)
    monkeypatch.setattr(threads_module.time, "perf_counter", lambda: now[0])

    def step() -> None:
        now[0] += left.pop(0)

    assert time_step(step, 1) == least
    assert len(seconds) - len(left) == steps


@pytest.mark.usefixtures("shown")
def test_a_trial_does_the_work_of_a_training_step_and_says_nothing_where_all_threads_are_fastest(
    squares: PreparedPart,
    settings: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    noted: list[object] = []

    class Noting(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            noted.append((len(images), self.training, logits.dtype))
            logits.register_hook(lambda _: noted.append("backward"))
            return logits

    monkeypatch.setattr(threads_module, "usable_cores", lambda: 1)
    monkeypatch.setattr(threads_module, "fastest_threads", lambda step, *, most: step() or most)
    compute = Compute(torch.device("cpu"), "bf16-mixed")
    settle_threads(Noting(1, 2, 1).eval(), settings(batch_size=2), compute, squares)
    assert noted == [(2, True, torch.bfloat16), "backward"]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("shown")
def test_a_trial_leaves_network_and_random_numbers_as_they_are(
    squares: PreparedPart,
    settings: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    config = settings()
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    monkeypatch.setattr(threads_module, "usable_cores", lambda: 4)

    def try_once(step: Callable[[], None], *, most: int) -> int:
        step()
        torch.set_num_threads(2)  # as a trial that was not the fastest leaves it
        return int(torch.rand(most)[0] * 0) + 1

    monkeypatch.setattr(threads_module, "fastest_threads", try_once)
    state = torch.random.get_rng_state()
    settle_threads(network, config, Compute(torch.device("cpu"), "32-true"), squares)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.get_num_threads() == 1
    assert capsys.readouterr().err == "CPU threads: 1, because 4 are slower now, beside other programs\n"


def test_a_trial_for_which_memory_runs_out_says_what_to_try(
    squares: PreparedPart, settings: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
):
    config = settings(batch_size=5)
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
    monkeypatch.setattr(threads_module, "make_loss", lambda _: lambda *_: torch.empty(10**16))
    with pytest.raises(RunFailedError, match=r"^out of memory at training\.batch_size=5 .* training\.batch_size=2"):
        settle_threads(network, config, Compute(torch.device("cpu"), "32-true"), squares)
