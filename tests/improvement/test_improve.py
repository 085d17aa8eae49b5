"""From corrected cases to a better model, with tiny networks on generated slices; each promise of the command."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import tumortrace
from tumortrace.api.answers import ImproveResult
from tumortrace.config import Config
from tumortrace.copies.leakage import Leak
from tumortrace.copies.training_index import load_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import left_out
from tumortrace.errors import ConfigError, DataError, ModelError
from tumortrace.evaluation.folder import read_evaluation
from tumortrace.improvement import improve as improve_module
from tumortrace.improvement.improve import (
    _conclude,
    _refuse_other_cases,
    _stop_after,
    _training_set,
    _Work,
    speaks_against,
)
from tumortrace.improvement.lineage import find_missing, join_frozen
from tumortrace.improvement.material import Material
from tumortrace.improvement.models import Models, open_models
from tumortrace.improvement.sides import Sides, Ties
from tumortrace.inference.folder_default import POINTER, read_folder_default, write_folder_default
from tumortrace.inference.model import find_model, open_model
from tumortrace.json_csv import write_json
from tumortrace.phantoms.slices import write_phantom_dataset
from tumortrace.training.epochs import EpochRow

GOOD = ("training.epochs=10", "training.epoch_slices=60", "training.learning_rate=0.01")
BAD = ("training.epochs=1", "training.epoch_slices=30", "training.learning_rate=3")
SHORT = ("training.epochs=1", "training.epoch_slices=6")
THREADS = ("training.threads=1",)


@dataclass(frozen=True)
class Place:
    """A folder of runs with a poor model as its default, and generated data."""

    runs: Path
    corrected: Path
    standard: Path

    def improve(self, name: str, settings: tuple[str, ...] = SHORT, **more: object) -> ImproveResult:
        options = {"corrected": self.corrected, "standard": self.standard, "overrides": (*THREADS, *settings)} | more
        return tumortrace.improve(out=self.runs / name, **options)  # type: ignore[arg-type]


def flat(folder: Path, count: int, seed: int) -> Path:
    """Generated slices with one annotation file, not divided into parts."""
    write_phantom_dataset(folder.parent / f"{folder.name}-parts", counts={"TRAIN": count}, no_tumour=0, seed=seed)
    (folder.parent / f"{folder.name}-parts" / "TRAIN").rename(folder)
    return folder


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def sides(run: Path) -> dict[str, str]:
    return {case["file"]: case["side"] for case in json.loads((run / "held_out.json").read_text())["cases"]}


def kinds(result: ImproveResult) -> dict[str, str]:
    return {finding.file: finding.kind for finding in result.findings}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corrected")
    flat(folder / "corrected", 24, seed=5)
    flat(folder / "more", 36, seed=5)  # the same 24, and twelve others
    write_phantom_dataset(folder / "standard", counts={"TEST": 6}, no_tumour=0, seed=9)
    return folder


def make_place(runs: Path, data: Path, tiny_run: Path) -> Place:
    shutil.copytree(tiny_run, runs / "base")
    write_folder_default(runs / "base", reason="the first one")
    return Place(runs, data / "corrected", data / "standard")


@pytest.fixture
def place(tmp_path, data, tiny_run) -> Place:
    return make_place(tmp_path / "runs", data, tiny_run)


@pytest.fixture(scope="module")
def bettered(tmp_path_factory, data, tiny_run) -> tuple[Place, ImproveResult]:
    """A place where one improvement was better. Read only."""
    place = make_place(tmp_path_factory.mktemp("better") / "runs", data, tiny_run)
    return place, place.improve("mine", GOOD)


def test_a_better_model_becomes_the_default_of_its_folder(bettered):
    place, result = bettered
    assert result.verdict == "better"
    assert [(each.part, each.old_model, each.n) for each in result.improvement.judgements] == [
        ("held-out part", "tiny", 7),
        ("standard set", "tiny", 6),
    ]
    assert result.is_default
    default = read_folder_default(place.runs)
    assert default is not None
    assert default.model == place.runs / "mine"
    assert default.sha256 == open_model(str(place.runs / "mine")).sha256
    assert default.reason == result.improvement.judgements[0].sentence
    assert find_model(str(place.runs)) == place.runs / "mine" / "model.onnx"


def test_the_held_out_part_was_not_trained_on_and_can_be_evaluated_again(bettered):
    place, result = bettered
    trained = set(load_training_index(place.runs / "mine" / "training.npz").names)
    held = set(result.improvement.held_out)
    assert (len(trained), len(held), result.improvement.train_count) == (17 + 10, 7, 17)  # ten of the model before
    assert not held & trained
    split = place.runs / "mine" / "held_out.json"
    again = tumortrace.evaluate(place.corrected, model=str(place.runs / "mine"), split=split)
    assert {score.file for score in again.evaluation.scores} == held
    assert all(score.clean for score in again.evaluation.scores)
    kept = read_evaluation(place.runs / "mine" / "scores" / "new-held-out-part")
    assert {row.file: row.tp for row in kept.rows} == {s.file: s.counts.tp for s in again.evaluation.scores}


def test_thresholds_are_those_of_the_model_before(bettered):
    place, _ = bettered
    assert open_model(str(place.runs / "mine")).recipe == open_model(str(place.runs / "base")).recipe


def test_what_is_written_says_what_is_returned(bettered):
    place, result = bettered
    assert json.loads((place.runs / "mine" / "improvement.json").read_text()) == json.loads(json.dumps(result.document))
    assert (result.document["from"]["name"], result.document["default_before"]) == ("tiny", None)
    assert (result.document["unfinished"], result.document["is_default"]) == (False, True)
    assert repr(result).startswith(f"<ImproveResult in {place.runs / 'mine'}: better, Held-out part: better than tiny")


def test_a_second_improvement_keeps_the_held_out_part_and_moves_a_copy_to_it(bettered, data, tmp_path):
    place, first = bettered
    more = shutil.copytree(data / "more", tmp_path / "more")
    copied = first.improvement.held_out[0]
    picture = cv2.imread(str(more / copied), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    cv2.imwrite(str(more / "mirrored.png"), np.ascontiguousarray(picture[:, ::-1]))
    (annotations,) = more.glob("*.json")
    document = json.loads(annotations.read_text())
    entry = next(entry for entry in document.values() if entry["filename"] == copied)
    size = (more / "mirrored.png").stat().st_size
    document[f"mirrored.png{size}"] = entry | {"filename": "mirrored.png", "size": size}
    annotations.write_text(json.dumps(document))
    before = hashes(more)

    second = place.improve("second", corrected=more, start_from=str(place.runs / "mine"))
    old, new = sides(place.runs / "mine"), sides(place.runs / "second")
    assert {name: new[name] for name in old} == old
    assert new["mirrored.png"] == "test"
    assert kinds(second)["mirrored.png"] == "held-out-copy"
    assert set(old.values()) == {"train", "test"}
    assert sum(side == "test" for name, side in new.items() if name not in old) > 1  # some of the new ones join it
    assert hashes(more) == before  # nothing is written into the data

    frozen = load_training_index(place.runs / "second" / "held_out.npz").names
    assert set(frozen) == {name for name, side in new.items() if side == "test"}
    assert read_folder_default(place.runs).model.name == ("second" if second.is_default else "mine")


def test_held_out_cases_that_are_gone_are_named_and_stay_frozen(bettered):
    place, first = bettered
    model = open_model(str(place.runs / "mine"))
    gone, *here = first.improvement.held_out
    ties = Ties({name: Leak(name, 1.0, "copy") for name in here}, {})
    (finding,) = find_missing([model], ties)
    assert (finding.file, finding.kind) == (gone, "held-out-missing")
    own = load_training_index(place.runs / "base" / "training.npz")
    assert set(join_frozen(own, [model]).names) == {*own.names, gone, *here}


def test_of_equal_files_that_are_held_out_none_is_missing(bettered, tmp_path):
    run = shutil.copytree(bettered[0].runs / "mine", tmp_path / "mine")
    frozen = load_training_index(run / "held_out.npz")
    of = [0, 0, *range(2, len(frozen.names))]  # the second one is the first file again
    twins = {name: tuple(getattr(frozen, name)[index] for index in of) for name in ("hashes", "pictures")}
    save_training_index(replace(frozen, **twins), run / "held_out.npz")
    ties = Ties(
        {name: Leak(frozen.names[index], 1.0, "copy") for name, index in zip(frozen.names, of, strict=True)}, {}
    )
    assert find_missing([open_model(str(run))], ties) == []


def test_a_worse_model_is_not_made_the_default(place, monkeypatch):
    monkeypatch.setattr("tumortrace.improvement.material.PHANTOM_COUNT", 4)
    before = (place.runs / POINTER).read_bytes()
    result = place.improve("bad", BAD, standard=None)
    assert (result.verdict, result.is_default) == ("worse", False)
    assert (place.runs / POINTER).read_bytes() == before
    assert [judgement.generated for judgement in result.improvement.judgements] == [False, True]
    assert result.improvement.judgements[-1].n == 4  # generated slices are the standard set where there is no other
    assert len(list((place.runs / "bad" / "phantoms" / "TEST").iterdir())) == 5  # and their annotations


def test_only_what_is_better_everywhere_and_worse_nowhere_becomes_the_default(bettered):
    _, result = bettered
    held_out, standard = result.improvement.judgements
    even, worse = (replace(held_out, verdict=verdict) for verdict in ("no difference shown", "worse"))
    forgot, kept = (replace(standard, verdict=verdict) for verdict in ("worse", "no difference shown"))
    assert speaks_against([held_out, standard]) == speaks_against([held_out, kept]) == []
    assert speaks_against([even, standard]) == [even]
    assert speaks_against([worse, kept]) == [worse]
    assert speaks_against([held_out, forgot]) == [forgot]
    assert speaks_against([held_out, even, standard, kept]) == [even]  # it must beat the folder's default as well


def test_a_model_is_compared_with_the_default_of_the_folder_as_well(bettered, tiny_run):
    place, _ = bettered
    models = open_models(str(tiny_run), out=place.runs / "again", resume=False)
    assert (models.start.name, models.default.path) == ("tiny", place.runs / "mine" / "model.onnx")
    from_default = open_models(None, out=place.runs / "again", resume=False)
    assert (from_default.start.path, from_default.default) == (place.runs / "mine" / "model.onnx", None)
    elsewhere = open_models("fast", out=place.runs / "deeper" / "again", resume=False)
    assert (elsewhere.start.name, elsewhere.default.name) == ("fast", "default")


def test_a_resumed_improvement_ends_as_one_that_was_not_stopped(place, bettered, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(improve_module, "_compare", stop)
        with pytest.raises(KeyboardInterrupt):
            place.improve("mine", GOOD)
    assert json.loads((place.runs / "mine" / "improvement.json").read_text())["unfinished"]
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"):
        place.improve("mine", GOOD)
    result = place.improve("mine", (), resume=True)
    assert (result.verdict, result.is_default) == ("better", True)
    assert hashes(place.runs / "mine" / "scores") == hashes(bettered[0].runs / "mine" / "scores")
    assert (place.runs / "mine" / "model.onnx").read_bytes() == find_model(str(bettered[0].runs)).read_bytes()
    assert place.improve("mine", (), resume=True).document == result.document  # though it is the default by now


def test_a_run_stopped_in_its_first_epoch_leaves_nothing_to_another_in_its_place(place, bettered, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tumortrace.training.run.fit", stop)
        with pytest.raises(KeyboardInterrupt):
            place.improve("mine")
    place.improve("mine", start_from=str(bettered[0].runs / "mine"))
    manifest = json.loads((place.runs / "mine" / "manifest.json").read_text())
    assert manifest["began_from"] == {
        "name": "mine",
        "sha256": open_model(str(bettered[0].runs / "mine")).sha256,
        "remembered": True,
        "shipped_ancestors": [],
    }
    document = json.loads((place.runs / "mine" / "improvement.json").read_text())
    assert (document["from"]["name"], document["default_before"]["name"]) == ("mine", "tiny")
    scores = {path.name for path in (place.runs / "mine" / "scores").iterdir() if path.is_dir()}
    assert scores == {
        f"{model}-{part}" for model in ("new", "old", "default") for part in ("held-out-part", "standard-set")
    }


def work_of(tmp_path: Path, **sides: str) -> _Work:
    """An improvement of cases by their side, a role before the name of those that are not corrected."""
    names = {name.replace("_", "/"): side for name, side in sides.items()}
    roles = {name: name.partition("/")[0] if "/" in name else "corrected" for name in names}
    records = tuple(CaseRecord(name, "", tmp_path / name, truth=(), source="old") for name in names)
    corrected = Dataset(tmp_path, records, (left_out("x", "a", "of the data", "none"),), records)
    survey = SimpleNamespace(findings=(left_out("x", "b", "of the survey", "none"),))
    found = (left_out("x", "c", "of the sides", "none"),)
    material = Material(corrected, records, roles, corrected.findings)
    return _Work(material, SimpleNamespace(), survey, Sides(names, found), tmp_path / "run")


def test_the_training_side_has_a_source_for_each_role(tmp_path):
    dataset = _training_set(
        work_of(tmp_path, a="train", b="test", c="", replay_d="train", replay_e="test", standard_f="test")
    )
    assert [(each.case_id, each.part, each.source) for each in dataset.records] == [
        ("a", "train", "corrected"),
        ("replay/d", "train", "replay"),
    ]
    assert (dataset.findings, dataset.unannotated) == ((), ())


def test_what_speaks_against_a_new_model_is_the_reason_why_the_default_stays(bettered, tmp_path):
    held_out, standard = bettered[1].improvement.judgements
    forgot = replace(standard, verdict="worse")
    done = _conclude(work_of(tmp_path, a="train", b="test", replay_d="train"), (held_out, forgot))
    assert (done.default_file, done.reason) == (None, forgot.sentence)
    assert (done.train_count, done.replay_count, done.held_out) == (1, 1, ("b",))
    assert [finding.cause for finding in done.findings] == ["of the data", "of the survey", "of the sides"]
    assert not (tmp_path / POINTER).exists()


def test_a_training_ends_when_its_epochs_took_longer_than_the_minutes():
    should_stop = _stop_after(1.5)
    rows = [
        EpochRow(number, 0.5, None, None, images_per_second=1.0, loader_share=0.0, seconds=30.0) for number in range(4)
    ]
    assert [should_stop(rows[:count]) for count in range(5)] == [False, False, False, False, True]


def test_a_run_of_an_earlier_version_is_resumed_by_its_corrected_cases_alone(tmp_path, monkeypatch):
    work = work_of(tmp_path, a="train")
    now = {"cases": [{"file": "a", "side": "train"}], "all_cases_sha256": "ab"}
    monkeypatch.setattr(improve_module, "_held_out_document", lambda _: now)
    for earlier in (now, {"cases": now["cases"]}):
        write_json(work.out / "held_out.json", earlier)
        _refuse_other_cases(work)
    for other in (now | {"all_cases_sha256": "cd"}, {"cases": []}):
        write_json(work.out / "held_out.json", other)
        with pytest.raises(ConfigError, match="was made from other cases"):
            _refuse_other_cases(work)


def test_a_corrected_folder_with_the_name_of_a_role_is_refused(place, tmp_path):
    folder = flat(tmp_path / "replay", 2, seed=3)  # its cases could bear the ids of replayed ones
    with pytest.raises(DataError, match="a folder there is named replay, as the cases of --replay; rename it"):
        place.improve("mine", corrected=[place.corrected, folder], replay=place.standard)


def test_a_second_run_in_the_folder_is_refused_while_the_first_one_prepares(place, data, monkeypatch):
    seen: list[str] = []

    def begin_another(*_: object, **__: object) -> None:
        monkeypatch.setattr(improve_module, "run_job", stop)
        with pytest.raises(DataError, match="another run of tumortrace is writing there"):
            place.improve("mine", corrected=data / "more")
        seen.append("refused")
        stop()

    monkeypatch.setattr(improve_module, "run_job", begin_another)
    with pytest.raises(KeyboardInterrupt):
        place.improve("mine")
    assert seen == ["refused"]
    assert len(sides(place.runs / "mine")) == 24  # those of the first one


def test_a_run_that_ended_while_another_compared_slices_is_kept(place, bettered, data, monkeypatch):
    choose = improve_module.choose_sides

    def come_first(*words: object) -> object:
        shutil.copytree(bettered[0].runs / "mine", place.runs / "mine")
        return choose(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(improve_module, "choose_sides", come_first)
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"):
        place.improve("mine", corrected=data / "more")
    assert hashes(place.runs / "mine") == hashes(bettered[0].runs / "mine")


def test_a_run_is_not_resumed_with_other_old_data(place, tmp_path, monkeypatch):
    replay = flat(tmp_path / "replay", 12, seed=21)
    with monkeypatch.context() as patch:
        patch.setattr(improve_module, "_compare", stop)
        with pytest.raises(KeyboardInterrupt):
            place.improve("mine", replay=replay)
    with pytest.raises(ConfigError, match="was made from other cases"):
        place.improve("mine", (), resume=True)
    assert place.improve("mine", (), replay=replay, resume=True).improvement.replay_count == 6


def test_a_run_is_not_resumed_with_other_cases_or_from_another_model(bettered, data):
    place, _ = bettered
    with pytest.raises(ConfigError, match=r"held_out\.json: was made from other cases; restore them, or improve again"):
        place.improve("mine", (), corrected=data / "more", resume=True)
    with pytest.raises(ConfigError, match="began from tiny, which is another model or changed; omit --from"):
        place.improve("mine", (), start_from="fast", resume=True)
    with pytest.raises(ConfigError, match=r"began under training\.batch_size = 3, not 2"):
        place.improve("mine", ("training.batch_size=2",), resume=True)
    with pytest.raises(ConfigError, match="no improvement to resume"):
        place.improve("base", (), resume=True)


def test_other_cases_are_named_even_if_they_leave_nothing_to_hold_out(bettered, phantom_data):
    place, _ = bettered
    with pytest.raises(ConfigError, match=r"held_out\.json: was made from other cases"):
        place.improve("mine", (), corrected=phantom_data / "TRAIN", resume=True)


def test_data_that_is_corrected_and_replayed_is_refused(place, data):
    with pytest.raises(DataError, match=r"more: is given twice; name each folder once"):
        place.improve("x", corrected=[place.corrected, data / "more"], replay=data / "more")
    with pytest.raises(DataError, match=r"corrected: lies inside .*, so its images would count twice"):
        place.improve("x", replay=data)
    assert not (place.runs / "x").exists()


def test_old_data_is_mixed_in_and_a_part_of_it_is_the_standard_set(place, tmp_path):
    replay = flat(tmp_path / "replay", 12, seed=21)
    result = place.improve("mine", replay=replay, standard=None)
    assert (result.improvement.train_count, result.improvement.replay_count) == (17, 6)
    standard = result.improvement.judgements[-1]
    assert (standard.part, standard.n) == ("standard set", 6)
    assert not (place.runs / "mine" / "phantoms").exists()
    frozen = set(load_training_index(place.runs / "mine" / "held_out.npz").names)
    assert len({name for name in frozen if name.startswith("replay/")}) == 6  # they stay held out later


def test_several_folders_that_lie_beside_the_runs_train_together(place, tmp_path):
    flat(tmp_path / "one", 12, seed=5)
    flat(tmp_path / "two", 12, seed=6)
    result = place.improve("mine", corrected=[tmp_path / "one", tmp_path / "two"])  # runs/mine lies in tmp_path too
    assert result.improvement.train_count + len(result.improvement.held_out) == 24
    data = json.loads((place.runs / "mine" / "manifest.json").read_text())["data"]
    assert data["folders"] == {"one": str(tmp_path / "one"), "two": str(tmp_path / "two")}


def test_cases_that_the_model_was_trained_on_are_named_and_not_held_out(place, phantom_data, tmp_path):
    both = shutil.copytree(place.corrected, tmp_path / "both")
    result = place.improve("mine", corrected=[both, phantom_data])
    known = {name for name, kind in kinds(result).items() if kind == "known-to-model"}
    assert known == {f"data/TRAIN/{path.name}" for path in (phantom_data / "TRAIN").iterdir() if path.suffix != ".json"}
    assert not known & set(result.improvement.held_out)
    assert not any(name.startswith("data/TEST/") for name in result.improvement.held_out)  # TEST stays closed


def test_the_run_keeps_the_label_of_the_corrected_cases_and_not_that_of_the_model_before(place, monkeypatch):
    settings = place.runs / "base" / "config.toml"
    settings.write_text(settings.read_text().replace('label = ""', 'label = "oedema"'))
    seen: list[str] = []

    def note(_material: Material, _models: Models, config: Config, **_more: object) -> None:
        seen.append(config.training.label)
        raise KeyboardInterrupt

    monkeypatch.setattr(improve_module, "improve", note)
    for label in (None, "tumour"):
        with pytest.raises(KeyboardInterrupt):
            place.improve("mine", label=label)
    assert seen == ["", "tumour"]


def test_what_proves_nothing_is_refused_before_anything_is_written(place, phantom_data, data, tmp_path):
    known = r"tiny was trained on all 10 cases, .* --config .*config\.toml --from .*model\.onnx trains without a test"
    with pytest.raises(DataError, match=known):
        place.improve("x", corrected=phantom_data / "TRAIN")
    one = tmp_path / "one slice"
    one.mkdir()
    pictures = sorted(path for path in place.corrected.iterdir() if path.suffix != ".json")
    (annotations,) = place.corrected.glob("*.json")
    entries = {k: v for k, v in json.loads(annotations.read_text()).items() if v["filename"] == pictures[0].name}
    shutil.copy(pictures[0], one)
    (one / "via.json").write_text(json.dumps(entries))
    with pytest.raises(
        DataError,
        match=r"too few different slices or patients \(1 case\), .* \(tumortrace train '.*one slice' --config",
    ):
        place.improve("x", corrected=one)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: "):
        place.improve("x", corrected=tmp_path / "empty")
    with pytest.raises(DataError, match="lies inside the data folder"):
        tumortrace.improve(place.corrected, out=place.corrected / "run", start_from="fast")
    with pytest.raises(DataError, match="every case is in its TEST part"):
        place.improve("x", corrected=data / "standard")
    shutil.copy(place.runs / "base" / "model.onnx", tmp_path / "alone.onnx")
    with pytest.raises(ModelError, match=r"alone\.onnx: cannot start .* without alone\.safetensors beside it"):
        place.improve("x", start_from=str(tmp_path / "alone.onnx"))
    assert not (place.runs / "x").exists()
