"""One improvement: hold out, train, compare, and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tumortrace.config import Config
from tumortrace.copies.split_files import check_split, split_document
from tumortrace.copies.splits import Split, SplitCase
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.copies.training_index import build_training_index, save_training_index
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.data.findings import Finding
from tumortrace.data.fingerprint import hash_part
from tumortrace.errors import ConfigError, DataError, RunFailedError
from tumortrace.evaluation.evaluate import CaseScore, evaluate
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.evaluation.provenance import trace_training
from tumortrace.improvement.judge import Judgement, judge, judgement_document, say_too_few
from tumortrace.improvement.lineage import (
    DOCUMENT,
    FROZEN,
    find_missing,
    join_frozen,
    read_json_or_empty,
    tie_to,
)
from tumortrace.improvement.material import Material, open_phantoms
from tumortrace.improvement.models import Models
from tumortrace.improvement.settings import MINUTES, find_config
from tumortrace.improvement.sides import Role, Side, Sides, choose_sides
from tumortrace.inference.folder_default import write_folder_default
from tumortrace.inference.model import Model, is_shipped, open_model
from tumortrace.json_csv import Document, write_json
from tumortrace.locks import lock_folder
from tumortrace.progress import tell
from tumortrace.run_folder import TRAINING_INDEX, check_run_folder
from tumortrace.training.budget import fit_epochs
from tumortrace.training.loop import ShouldStop
from tumortrace.trials.jobs import Job, run_job
from tumortrace.wording import command_line, counted

HELD_OUT = Path("held_out.json")
"""The split of the corrected cases: ``train`` and ``test``, the frozen part; ``evaluate --split`` takes it."""

_ALL_CASES = "all_cases_sha256"  # key in HELD_OUT, beside those of a split

SCORES = Path("scores")
"""Folder of the evaluations, one for each model and set of slices."""

HELD_OUT_PART, STANDARD_SET = "held-out part", "standard set"


@dataclass(frozen=True)
class Improvement:
    """What came of a training on corrected cases.

    Attributes:
        folder: The run folder.
        judgements: New model against old one on the held-out part and the standard set; against the folder's default
            as well, where that is another model.
        default_file: The file by which the new model is the default of the folder; None if it is not.
        reason: The comparison that decided, as a sentence.
        train_count: Number of corrected cases that it was trained on.
        replay_count: Number of replayed cases that it was trained on.
        held_out: Ids of the corrected cases that were held out.
        findings: Faults of the data, and cases that were moved, omitted, or do not count as held out.
    """

    folder: Path
    judgements: tuple[Judgement, ...]
    default_file: Path | None
    reason: str
    train_count: int
    replay_count: int
    held_out: tuple[str, ...]
    findings: tuple[Finding, ...]


def improve(
    material: Material, models: Models, config: Config, *, out: Path, resume: bool, minutes: float = MINUTES
) -> Improvement:
    """Hold out a part of the corrected cases, train on the others, and compare the models.

    Args:
        material: Corrected, replayed and standard cases.
        models: Models that the new one is compared with.
        config: Settings of the training; a run that is resumed has its own.
        out: The run folder.
        resume: Whether the run in the folder is continued.
        minutes: Time for the epochs; infinite for a study, where a busy computer must not change the result.

    Raises:
        ConfigError: The run to resume began with other cases, or another run came into the folder.
        DataError: Nothing can be held out, nothing is left to train on, or another run is writing into the folder.
        TumortraceError: As ``train``.
    """
    survey = survey_cases(material.records)
    ties = tie_to(models.all, survey)
    chosen = choose_sides(survey, material.roles, ties)
    sides = replace(chosen, findings=(*chosen.findings, *find_missing(models.all, ties)))
    work = _Work(material, models, survey, sides, out)
    if resume:  # other cases are the mistake to name, even where they leave nothing to hold out
        _refuse_other_cases(work)
    _refuse_nothing(work)
    with lock_folder(out / SCORES):  # from here to the end; the run folder is locked only while it is written
        check_run_folder(out, resume=resume)  # again: another run may have come while the slices were compared
        if not resume:
            _freeze(work)
        tell(_describe(work))
        train = _training_set(work)
        settings = config if resume else fit_epochs(config, slices=len(train.records), minutes=minutes)
        job = Job("New model", out, settings, train, _stop_after(minutes), models.start)
        if failure := run_job(job):
            raise RunFailedError(failure)
        with lock_folder(out):
            improvement = _conclude(work, _compare(work))
            write_json(out / DOCUMENT, improvement_document(improvement, models))
    return improvement


def improvement_document(improvement: Improvement, models: Models) -> Document:
    """Return what came of an improvement as the JSON values of ``improvement.json``."""
    return _describe_start(models) | {
        "unfinished": False,
        "verdict": improvement.judgements[0].verdict,
        "judgements": [judgement_document(each) for each in improvement.judgements],
        "is_default": improvement.default_file is not None,
        "reason": improvement.reason,
        "trained_on": {"corrected": improvement.train_count, "replay": improvement.replay_count},
        "held_out": list(improvement.held_out),
        "findings": [asdict(finding) for finding in improvement.findings],
    }


@dataclass(frozen=True, eq=False)
class _Work:
    """An improvement whose sides are settled."""

    material: Material
    models: Models
    survey: Survey
    sides: Sides
    out: Path

    def select(self, role: Role, side: Side) -> tuple[CaseRecord, ...]:
        """Return the cases of a role on a side."""
        roles, of = self.material.roles, self.sides.of
        return tuple(r for r in self.material.records if roles[r.case_id] == role and of.get(r.case_id) == side)


def _refuse_nothing(work: _Work) -> None:
    """Refuse an improvement that could show nothing, before anything is written."""
    given, train = work.material.corrected.given, work.select("corrected", "train")
    start = work.models.start
    named = start.name if is_shipped(start) else start.path
    roots = work.material.corrected.roots
    command = command_line("train", *roots, "--config", find_config(start), "--from", named)
    if not work.select("corrected", "test"):
        known = {finding.file for finding in work.sides.findings if finding.kind == "known-to-model"}
        cause = (
            f"{' or '.join(each.name for each in work.models.all)} was trained on all {counted(len(train), 'case')}"
            if train and known.issuperset(record.case_id for record in train)
            else f"there are too few different slices or patients ({counted(len(train), 'case')})"
        )
        remedy = f"correct slices of other patients ({command} trains without a test)"
        raise DataError(f"{given}: {cause}, so nothing can be held out; {remedy}")
    if not train:
        raise DataError(f"{given}: every case is held out, so there is none to train on; correct more slices")


def _refuse_other_cases(work: _Work) -> None:
    """Refuse to resume a run that has other sides."""
    document = _held_out_document(work)
    earlier = {name: value for name, value in document.items() if name != _ALL_CASES}  # what an earlier version wrote
    if read_json_or_empty(work.out / HELD_OUT) not in (document, earlier):
        raise ConfigError(
            f"{work.out / HELD_OUT}: was made from other cases; restore them, or improve again with "
            f"--from {work.out} and another --out, which keeps the held-out part"
        )


def _freeze(work: _Work) -> None:
    """Write the sides before training."""
    document = _held_out_document(work)
    held = [n for n, case in enumerate(work.survey.cases) if _is_frozen(work, case.record.case_id)]
    frozen = join_frozen(build_training_index(work.survey, only=held), work.models.all)
    with lock_folder(work.out):
        (work.out / TRAINING_INDEX).unlink(missing_ok=True)  # else a run that stopped early would be continued
        save_training_index(frozen, work.out / FROZEN)
        write_json(work.out / HELD_OUT, document)
        write_json(work.out / DOCUMENT, _describe_start(work.models) | {"unfinished": True})


def _held_out_document(work: _Work) -> Document:
    """Return the JSON values of ``held_out.json``, after a check that no copies and no patient are on two sides."""
    split = _split(work)
    check_split(split, work.survey)
    document: Document = json.loads(json.dumps(split_document(split, work.survey)))
    return document | {_ALL_CASES: _hash_sides(work)}


def _hash_sides(work: _Work) -> str:
    """Return the hash of all cases with their sides, replayed and standard ones too."""
    names = ((case.record.case_id, case.sha256) for case in work.survey.cases)
    return hash_part({name: f"{work.sides.of[name]} {sha256}" for name, sha256 in names})


def _is_frozen(work: _Work, case_id: str) -> bool:
    return work.sides.of[case_id] == "test" and work.material.roles[case_id] != "standard"


def _split(work: _Work) -> Split:
    """Return the sides of the corrected cases as a split."""
    reasons = {finding.file: finding.cause for finding in work.sides.findings if finding.severity == "left out"}
    cases, omitted = [], []
    for case, group in zip(work.survey.cases, work.survey.groups, strict=True):
        name = case.record.case_id
        if work.material.roles[name] != "corrected":
            continue
        if side := work.sides.of[name]:
            cases.append(SplitCase(name, case.sha256, side, group))
        else:
            omitted.append((name, reasons[name]))
    return Split(tuple(cases), "groups", tuple(omitted))


def _describe_start(models: Models) -> Document:
    """Return what an improvement begins with, so that a later one knows."""
    return {
        "from": _name(models.start),
        "default_before": _name(models.default) if models.default else None,
    }


def _name(model: Model) -> Document:
    return {"name": model.name, "path": str(model.path.resolve()), "sha256": model.sha256}


def _describe(work: _Work) -> str:
    train, held = (work.select("corrected", side) for side in ("train", "test"))
    groups = {group for case, group in zip(work.survey.cases, work.survey.blocks, strict=True) if case.record in held}
    replayed = work.select("replay", "train")
    too_few = say_too_few(len(groups))
    return (
        f"Held out: {len(held)} of {counted(len(held) + len(train), 'corrected case')}, in "
        f"{counted(len(groups), 'group')} of copies and patients; training on {len(train)}"
        + (f" and {len(replayed)} replayed" if replayed else "")
        + (f"{too_few}, so correct more first" if too_few else "")
    )


def _training_set(work: _Work) -> Dataset:
    """Return the training side; corrected and replayed cases are two sources, which an epoch draws equally often."""
    sources: tuple[Role, ...] = ("corrected", "replay")
    records = [replace(record, part="train", source=role) for role in sources for record in work.select(role, "train")]
    return replace(work.material.corrected, records=tuple(records), findings=(), unannotated=())


def _stop_after(minutes: float) -> ShouldStop:
    """Return a rule that ends a training whose pace fell, so that the time is kept."""
    return lambda rows: sum(row.seconds for row in rows) > 60 * minutes


def _compare(work: _Work) -> tuple[Judgement, ...]:
    """Score every model on the held-out part and on the standard set, and compare the new one with the others."""
    new = open_model(str(work.out))
    judgements = []
    for part, records, survey in _parts(work):
        fresh = _score(new, records, survey, work.out / SCORES / f"new-{part.replace(' ', '-')}")
        for name, old in zip(("old", "default"), work.models.all, strict=False):
            scores = _score(old, records, survey, work.out / SCORES / f"{name}-{part.replace(' ', '-')}")
            generated = survey is not work.survey
            judgements.append(judge(scores, fresh, part=part, old_model=old.name, generated=generated))
    return tuple(judgements)


def _parts(work: _Work) -> list[tuple[str, tuple[CaseRecord, ...], Survey]]:
    """Return name, cases and survey of the sets of slices that decide."""
    standard = work.select("standard", "test") or work.select("replay", "test")
    survey = work.survey
    if not standard:
        standard = open_phantoms(work.out).records
        survey = survey_cases(standard)
    return [(HELD_OUT_PART, work.select("corrected", "test"), work.survey), (STANDARD_SET, standard, survey)]


def _score(model: Model, records: Sequence[CaseRecord], survey: Survey, folder: Path) -> tuple[CaseScore, ...]:
    evaluation = evaluate(model, records, survey, trace_training(model, survey))
    write_evaluation(evaluation, folder)
    return evaluation.scores


def speaks_against(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Return the judgements that keep a new model from becoming the default.

    On the held-out part it must be better than every model that it is compared with, on the standard set not worse.
    """
    unproven = [each for each in judgements if each.part == HELD_OUT_PART and each.verdict != "better"]
    forgotten = [each for each in judgements if each.part == STANDARD_SET and each.verdict == "worse"]
    return [*unproven, *forgotten]


def _conclude(work: _Work, judgements: tuple[Judgement, ...]) -> Improvement:
    """Make the new model the default of its folder if it is better, and say why or why not."""
    against = speaks_against(judgements)
    reason = (against or judgements)[0].sentence
    default_file = None
    if not against:
        default_file = write_folder_default(work.out, reason=reason)
    return Improvement(
        folder=work.out,
        judgements=judgements,
        default_file=default_file,
        reason=reason,
        train_count=len(work.select("corrected", "train")),
        replay_count=len(work.select("replay", "train")),
        held_out=tuple(record.case_id for record in work.select("corrected", "test")),
        findings=(*work.material.findings, *work.survey.findings, *work.sides.findings),
    )
