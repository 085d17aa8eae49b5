"""Device and number format: bfloat16 only where the hardware has units for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tumortrace.config import Config, load_config
from tumortrace.errors import ConfigError, TumortraceError
from tumortrace.processes import Place
from tumortrace.training.compute import Compute, has_bfloat16, start_compute
from tumortrace.training.team import Team

Settings = Callable[..., Config]


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that the CPU and oneDNN can or cannot do bfloat16."""

    def pretend(*, unit: bool, onednn: bool = True) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: unit)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)

    return pretend


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"unit": True, "onednn": True}, True),
        ({"unit": False, "onednn": True}, False),
        ({"unit": True, "onednn": False}, False),
    ],
)
def test_a_cpu_has_bfloat16_if_it_has_the_unit_and_onednn_may_use_it(
    units: dict[str, bool], expected: object, cpu: Callable[..., None]
):
    cpu(**units)
    assert has_bfloat16(torch.device("cpu")) is expected


def test_emulation_on_a_gpu_does_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not has_bfloat16(torch.device("cuda"))
    assert not has_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("asked", "units", "expected"),
    [
        ("auto", {"unit": True}, "bf16-mixed"),
        ("auto", {"unit": False}, "32-true"),
        ("bf16-mixed", {"unit": False}, "bf16-mixed"),
        ("32-true", {"unit": True}, "32-true"),
    ],
)
def test_auto_follows_the_hardware_and_everything_else_the_user(
    asked: str, units: dict[str, bool], expected: str, settings: Settings, cpu: Callable[..., None]
):
    cpu(**units)
    assert start_compute(settings(precision=asked).training).precision == expected


def test_the_default_configuration_leaves_the_precision_to_the_hardware():
    assert load_config("default").training.precision == "auto"


@pytest.mark.parametrize(("precision", "expected"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
def test_autocast_computes_in_the_precision(precision: str, expected: torch.dtype):
    with Compute(torch.device("cpu"), precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_a_gpu_that_is_not_there_is_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TumortraceError, match=r"^training\.device = 'cuda', but torch sees no GPU; set .*=auto$"):
        start_compute(settings(device="cuda").training)


def test_the_description_names_device_threads_and_number_format(settings: Settings):
    assert start_compute(settings(precision="32-true", threads=1).training).describe() == "CPU, 1 thread, float32"
    torch.set_num_threads(2)
    assert Compute(torch.device("cpu"), "bf16-mixed").describe() == "CPU, 2 threads, bfloat16"
    torch.set_num_threads(1)


def test_all_cores_that_the_process_may_use_are_taken(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 4}, raising=False)
    for threads, began_with in [(0, 0), (2, 0), (0, 1), (0, 8), (3, 1)]:
        start_compute(settings(threads=threads).training, began_with=began_with)
    assert taken == [3, 2, 1, 3, 3]


def test_more_threads_than_cores_are_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 4}, raising=False)
    message = r"^training\.threads = 4, but this process may use 3 CPU cores; set training\.threads=0 to use all, or"
    with pytest.raises(ConfigError, match=message):
        start_compute(settings(threads=4).training)
    pair = Team(Place(rank=0, size=2, local_rank=0, local_size=2))
    start_compute(settings(threads=2).training, pair)  # one for each process of the machine
    assert torch.get_num_threads() == 1
