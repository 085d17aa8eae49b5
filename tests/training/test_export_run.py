from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tumortrace
from tumortrace.cli import app
from tumortrace.config import load_config, to_toml
from tumortrace.data.cases import Case, read_case
from tumortrace.data.dataset import open_dataset, open_datasets
from tumortrace.data.fingerprint import hash_case
from tumortrace.data.png_writing import encode_png
from tumortrace.errors import ConfigError, DataError, ModelError, TumortraceError
from tumortrace.inference.model import open_model
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.training import export
from tumortrace.training import export_run as export_run_module
from tumortrace.training.export_run import Exported, export_run, find_records, open_run
from tumortrace.training.manifest import describe_data
from tumortrace.training.quantize import Trial

CopyRun = Callable[..., Path]

WORTH_IT = Trial(float_ms=10.0, int8_ms=5.0, float_dice=0.9, int8_dice=0.899, slices=4, part="VAL")


@pytest.fixture
def copy_run(tiny_run: Path, tmp_path: Path) -> CopyRun:
    """A copy of the tiny run, whose manifest names other data by ``root``, ``train`` and ``val``."""

    def copy(**data: object) -> Path:
        run = shutil.copytree(tiny_run, tmp_path / "run")
        manifest = json.loads((run / "manifest.json").read_text())
        for key, value in data.items():
            manifest["data"][key] = {"cases": value} if key in {"train", "val"} else value
        (run / "manifest.json").write_text(json.dumps(manifest))
        return run

    return copy


@pytest.fixture
def converted(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion gives the tiny run's own ONNX model: converting takes seconds, and was done once for that run."""
    monkeypatch.setattr(export, "_convert", lambda *_: onnx.load(tiny_run / "model.onnx"))


def test_the_export_is_announced_before_the_data_is_read(tiny_run: Path, tmp_path: Path, monkeypatch):
    steps: list[str] = []
    monkeypatch.setattr(export_run_module, "tell", steps.append)
    monkeypatch.setattr(export_run_module, "find_records", lambda _run: pytest.fail("; ".join(steps) or "silent"))
    with pytest.raises(pytest.fail.Exception, match="Exporting to ONNX"):
        export_run(open_run(tiny_run), tmp_path / "x.onnx")


def logits_of(path: Path, phantom_data: Path) -> NDArray[np.float32]:
    model = open_model(str(path))
    image = read_case(open_dataset(phantom_data).select("val")[0])[0].slice
    return model.session.run(export_run_module.prepare_pixels(image.pixels, model.recipe)[None, None])


def test_an_export_gives_what_the_run_gives(tiny_run: Path, phantom_data: Path, tmp_path: Path):
    out = tmp_path / "new" / "again.onnx"
    exported = export_run(open_run(tiny_run), out)
    assert exported == Exported(out, out.stat().st_size, 10, exported.agreement, None)
    assert exported.agreement.difference < 1e-5
    assert exported.agreement.mask_iou == 1.0
    expected = logits_of(tiny_run, phantom_data)
    np.testing.assert_allclose(logits_of(out, phantom_data), expected, atol=1e-5)
    assert expected.std() > 0.01  # not a constant that anything agrees with
    assert open_model(str(out)).card == open_model(str(tiny_run)).card


@pytest.mark.usefixtures("converted")
def test_metadata_are_those_of_the_run_s_model_with_what_is_new(copy_run: CopyRun, tmp_path: Path):
    run = copy_run()
    model = onnx.load(run / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    recipe = {**json.loads(properties["tumortrace.recipe"]), "threshold": 0.3, "temperature": 2.5}
    card = {"name": "old", "seed": 3, "version": "0.0.1", "more": [1]}
    texts = {"recipe": json.dumps(recipe), "card": json.dumps(card), "familiar": '{"grain": [0.25, 0.5]}'}
    onnx.helper.set_model_props(model, {f"tumortrace.{key}": text for key, text in texts.items()})
    onnx.save(model, run / "model.onnx")
    export_run(open_run(run), tmp_path / "m.onnx")
    exported = open_model(str(tmp_path / "m.onnx"))
    assert (exported.recipe.threshold, exported.recipe.temperature) == (0.3, 2.5)
    assert exported.feature_ranges == {"grain": (0.25, 0.5)}
    assert exported.card == {
        "name": "old",
        "seed": 3,
        "more": [1],
        "version": tumortrace.__version__,
        "classes": ["background", "tumour"],
        "weights_sha256": hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest(),
    }


@pytest.mark.usefixtures("converted")
def test_a_calibrated_recipe_is_put_into_the_model(copy_run: CopyRun, tmp_path: Path):
    run = open_run(copy_run())
    config = load_config(str(run.folder / "config.toml"))
    recipe = replace(
        config.recipe,
        threshold=0.35,
        peak_threshold=0.6,
        temperature=1.5,
        confidence=(1.0, -2.0, 0.0, 0.5, 0.0, 0.0, 3.0),
        review_below=0.25,
    )
    (tmp_path / "calibrated.toml").write_text(to_toml(replace(config, recipe=recipe)))
    export_run(run, tmp_path / "m.onnx", calibrated=tmp_path / "calibrated.toml")
    assert open_model(str(tmp_path / "m.onnx")).recipe == recipe
    assert run.model.recipe == config.recipe  # the run's own model stays
    other = replace(recipe, size_hw=(16, 16), pad_to_square=True)
    (tmp_path / "calibrated.toml").write_text(to_toml(replace(config, recipe=other)))
    message = (
        r"calibrated\.toml: fitted for another input \(size_hw = \(16, 16\), not \(48, 32\), pad_to_square = True,"
    )
    with pytest.raises(ConfigError, match=message):
        export_run(run, tmp_path / "n.onnx", calibrated=tmp_path / "calibrated.toml")
    assert not (tmp_path / "n.onnx").exists()


@pytest.mark.usefixtures("converted")
def test_a_file_of_another_program_is_not_replaced_and_an_earlier_export_is(copy_run: CopyRun, tmp_path: Path):
    run = open_run(copy_run())
    (tmp_path / "mine.onnx").write_bytes(b"something of mine")
    with pytest.raises(ModelError, match=r"mine\.onnx: exists and is no model of tumortrace; choose another file"):
        export_run(run, tmp_path / "mine.onnx")
    assert (tmp_path / "mine.onnx").read_bytes() == b"something of mine"
    for _ in range(2):
        export_run(run, tmp_path / "m.onnx")


@pytest.mark.usefixtures("converted")
def test_weights_that_onnx_does_not_give_are_refused(copy_run: CopyRun, tmp_path: Path):
    run = copy_run()
    weights = load_file(run / "best.safetensors")
    weights["head.bias"] = weights["head.bias"].clone()
    weights["head.bias"][1] += 0.02  # about 0.005 in probability
    save_file(weights, run / "best.safetensors")
    with pytest.raises(ModelError, match=r"m\.onnx: not written, torch and ONNX differ by 0\.00\d+ in probability"):
        export_run(open_run(run), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.usefixtures("converted")
def test_data_that_are_gone_are_looked_for_where_the_manifest_says(copy_run: CopyRun, tmp_path: Path):
    run = open_run(copy_run(root=str(tmp_path / "gone")))
    with pytest.raises(
        ModelError, match=r"its training slices \(10, first TRAIN/.*\) are gone from .*gone or changed; put or"
    ):
        export_run(run, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"put or link them there, or call this from where training was called$"):
        export_run(replace(run, root=Path("nowhere")), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.usefixtures("converted")
def test_other_slices_of_the_same_names_are_not_taken_for_the_run_s(copy_run: CopyRun, tmp_path: Path):
    write_phantom_dataset(tmp_path / "other", counts={"TRAIN": 10, "VAL": 4}, no_tumour=0, seed=8)
    run = open_run(copy_run(root=str(tmp_path / "other")))
    assert find_records(run)[1].keys() & run.train_hashes.keys()
    with pytest.raises(ModelError, match=r"are gone from .*other or changed"):
        export_run(run, tmp_path / "m.onnx")


def test_the_cases_of_one_dataset(tiny_run: Path, phantom_data: Path):
    run = open_run(tiny_run)
    folders, records = find_records(run)
    assert folders == (phantom_data,)
    hashes = run.train_hashes | run.val_hashes
    assert len(hashes) == 14
    assert {case_id: hash_case(read_case(records[case_id])[0]) for case_id in hashes} == hashes


def test_the_cases_of_several_datasets(phantom_data: Path, copy_run: CopyRun, tmp_path: Path):
    """An annotated one and one without tumours, side by side with a file that is none of them."""
    root = tmp_path / "several"
    shutil.copytree(phantom_data, root / "one", ignore=shutil.ignore_patterns("no_tumour"))
    shutil.copytree(phantom_data / "no_tumour", root / "free")
    (root / "README.md").touch()
    opened = open_datasets([root / "one"], negatives=root / "free")
    assert opened.root == root
    hashes = {record.case_id: hash_case(read_case(record)[0]) for record in opened.select("train")}
    assert len(hashes) == 13
    folders, records = find_records(open_run(copy_run(root=str(root), train=hashes, val={})))
    assert folders == (root / "free", root / "one")
    for case_id, digest in hashes.items():
        assert records[case_id].case_id == case_id
        assert hash_case(read_case(records[case_id])[0]) == digest


@pytest.mark.usefixtures("converted")
def test_a_dataset_that_lost_slices_is_exported_with_the_others(
    copy_run: CopyRun, phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = Path(shutil.copytree(phantom_data, tmp_path / "data"))
    run = open_run(copy_run(root=str(data)))
    train, val = (list(hashes) for hashes in (run.train_hashes, run.val_hashes))
    for name in (train[3], val[0]):
        (data / name).unlink()
    folders, records = find_records(run)
    assert folders == (data,)  # and not TRAIN and VAL in it, each by itself
    assert {*train, *val} - records.keys() == {train[3], val[0]}
    trial = Watched(WORTH_IT)
    monkeypatch.setattr(export_run_module, "try_int8", trial)
    assert export_run(run, tmp_path / "m.onnx", int8=True).compared == 9
    assert trial.cases == val[1:]


def test_the_cases_of_datasets_that_do_not_lie_side_by_side(phantom_data: Path, copy_run: CopyRun, tmp_path: Path):
    one, free = tmp_path / "here" / "one", tmp_path / "there" / "free"
    shutil.copytree(phantom_data, one, ignore=shutil.ignore_patterns("no_tumour"))
    shutil.copytree(phantom_data / "no_tumour", free)
    opened = open_datasets([one], negatives=free)
    hashes = {record.case_id: hash_case(read_case(record)[0]) for record in opened.select("train")}
    run = copy_run(**describe_data(opened, hashes, {}) | {"train": hashes, "val": {}})
    folders, records = find_records(open_run(run))
    assert folders == (free, one)
    assert hashes.keys() <= records.keys()


def test_the_cases_of_a_run_that_was_trained_on_one_label(copy_run: CopyRun, tmp_path: Path):
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": x, "y": 5, "width": 8, "height": 8},
            "region_attributes": {"label": label},
        }
        for x, label in ((4, "tumour"), (20, "oedema"))
    ]
    data = tmp_path / "labelled"
    data.mkdir()
    size = (data / "one.png").write_bytes(encode_png(np.arange(1024).reshape(32, 32).astype(np.uint8)))
    document = {f"one.png{size}": {"filename": "one.png", "size": size, "regions": regions, "file_attributes": {}}}
    (data / "via.json").write_text(json.dumps(document))
    (record,) = open_dataset(data, label="tumour").records
    hashes = {record.case_id: hash_case(read_case(record)[0])}
    run = copy_run(root=str(data), train=hashes, val={})
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace('label = ""', 'label = "tumour"'))
    _, records = find_records(open_run(run))
    assert {name: hash_case(read_case(each)[0]) for name, each in records.items()} == hashes


def test_nothing_is_written_into_data_or_over_the_run_s_own_model(tiny_run: Path, phantom_data: Path):
    run = open_run(tiny_run)
    before = (tiny_run / "model.onnx").read_bytes()
    with pytest.raises(DataError, match="lies inside the data folder"):
        export_run(run, phantom_data / "m.onnx")
    with pytest.raises(ModelError, match=r"is the run's own model, .*; choose another file"):
        export_run(run, tiny_run.parent / "tiny" / "model.onnx")
    assert not (phantom_data / "m.onnx").exists()
    assert (tiny_run / "model.onnx").read_bytes() == before


@pytest.mark.parametrize("name", ["config.toml", "best.safetensors", "manifest.json"])
def test_a_folder_that_lacks_a_file_is_no_finished_run(name: str, copy_run: CopyRun):
    run = copy_run()
    (run / name).unlink()
    with pytest.raises(ModelError, match=f"run: holds no {name}; give the whole folder of a finished run"):
        open_run(run)


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"data": 3}', '{"data": {"root": "x", "train": {}}}'])
def test_a_damaged_manifest_is_named(text: str, copy_run: CopyRun):
    run = copy_run()
    (run / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: not the manifest of a run \(.*\); train again"):
        open_run(run)


def test_no_folder_is_no_run(tmp_path: Path):
    with pytest.raises(ModelError, match=r"nowhere: no such run folder; give one whose training has finished"):
        open_run(tmp_path / "nowhere")


class Watched:
    """Stands for the trial of 8 bits: keeps what it was given, and gives what it was told to."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.cases: list[str] = []
        self.part = ""

    def __call__(self, _data: bytes, _quantised: bytes, cases: Iterable[Case], *, part: str) -> Trial:
        self.cases = [case.record.case_id for case in cases]
        self.part = part
        return self.trial


def watch_calibration(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many slices each quantisation was given."""
    counts: list[int] = []
    quantize = export_run_module.quantize

    def watched(data: bytes, images: list[NDArray[np.float32]]) -> bytes:
        counts.append(len(images))
        return quantize(data, images)

    monkeypatch.setattr(export_run_module, "quantize", watched)
    return counts


@pytest.mark.usefixtures("converted")
def test_8_bits_are_measured_on_val(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trial, counts = Watched(WORTH_IT), watch_calibration(monkeypatch)
    monkeypatch.setattr(export_run_module, "try_int8", trial)
    run = open_run(tiny_run)
    exported = export_run(run, tmp_path / "m.onnx", int8=True)
    assert (trial.cases, trial.part, counts) == (list(run.val_hashes), "VAL", [5])
    assert exported.trial == WORTH_IT
    assert exported.size_bytes == (tmp_path / "m.onnx").stat().st_size
    assert 1e-5 < exported.agreement.difference < 0.1  # of the file in 8 bits, which only rounding makes another
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert open_model(str(tmp_path / "m.onnx")).card == {**run.model.card, "precision": "int8"}


@pytest.mark.usefixtures("converted")
def test_without_val_8_bits_are_measured_on_slices_they_were_not_calibrated_on(
    copy_run: CopyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trial, counts = Watched(replace(WORTH_IT, part="TRAIN")), watch_calibration(monkeypatch)
    monkeypatch.setattr(export_run_module, "try_int8", trial)
    run = open_run(copy_run(val={}))
    export_run(run, tmp_path / "m.onnx", int8=True)
    names = list(run.train_hashes)
    # Five of ten, evenly spaced from the first to the last, are at 0, 2.25, 4.5, 6.75 and 9.
    assert counts == [5]
    assert trial.cases == [names[index] for index in (1, 3, 5, 6, 8)]
    assert trial.part == "TRAIN"


@pytest.mark.usefixtures("converted")
def test_8_bits_that_are_not_worth_it_are_not_written(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export_run_module, "try_int8", Watched(replace(WORTH_IT, int8_dice=0.8)))
    message = (
        r"^.*m\.onnx: not written, int8 costs too much: mean Dice 0\.8000, float32 0\.9000 on 4 VAL slices "
        r"\(allowed loss 0\.002\); export without --int8$"
    )
    with pytest.raises(ModelError, match=message):
        export_run(open_run(tiny_run), tmp_path / "m.onnx", int8=True)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("int8", [False, True])
def test_the_command_says_what_was_written(
    int8: bool,  # noqa: FBT001 - a parameter of the test
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(export_run_module, "try_int8", Watched(WORTH_IT))
    arguments: list[Any] = ["export", tiny_run, "--out", tmp_path / "m.onnx", *(["--int8"] if int8 else [])]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"Written to {tmp_path / 'm.onnx'}: {(tmp_path / 'm.onnx').stat().st_size / 1e6:.2f} MB"
    assert lines[1].startswith("Compared with torch on 10 slices: largest difference in probability ")
    trial = [
        "One slice: int8 5.00 ms, float32 10.00 ms",
        "Mean Dice on 4 VAL slices: int8 0.8990, float32 0.9000",
    ]
    assert lines[2:] == (trial if int8 else [])


def test_another_kind_of_file_is_refused_before_any_work(tmp_path: Path):
    done = CliRunner().invoke(app, ["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "m.pt")])
    assert isinstance(done.exception, TumortraceError)
    assert str(done.exception) == f"--out {tmp_path / 'm.pt'} is not an .onnx file; give a name that ends in .onnx"
