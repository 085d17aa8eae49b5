"""Which cases train, and which are held out for good.

Copies and slices of one patient form a block, and a block is on one side. Three rules decide, in this order:

1. A case that an earlier run held out stays held out, and every new case of its block joins it.
2. A case that one of the models was trained on trains again, with all of its block. It can prove nothing. If it is a
   copy of a held-out case, which may be missing from the data, or of its patient, it is omitted.
3. New blocks are held out in the order of their hashes until the share is reached, those with tumour and those without
   by themselves. The order has nothing to do with names or with the order of correction.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.leakage import Leak
from tumortrace.copies.survey import Survey
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.metrics.intervals import FEWEST_GROUPS

SHARE = 0.3
"""Fraction of the blocks that is held out."""

_MOST_CASES = {"corrected": 1000, "replay": 150}  # held out of each role: every one is scored by two or three models

NOTHING_TO_DO = "nothing to do"
NEVER_TRAINS = "nothing to do: held-out slices never train"
_MISSING = "a slice that is not in the data given"
COPY_OF_CORRECTED = "old data that shows a corrected slice or patient which is held out"

Role = Literal["corrected", "replay", "standard"]
Side = Literal["train", "test", ""]


@dataclass(frozen=True)
class Ties:
    """What ties each case to slices that earlier runs held out or trained on, by case id.

    Attributes:
        held_out: Ties to held-out cases.
        trained: Ties to training slices of any of the models.
    """

    held_out: Mapping[str, Leak]
    trained: Mapping[str, Leak]


@dataclass(frozen=True)
class Sides:
    """The side of each case.

    Attributes:
        of: ``"train"``, ``"test"`` (held out) or ``""`` (omitted), by case id.
        findings: Cases that were moved, omitted, or do not count as held out, each with its reason.
    """

    of: Mapping[str, Side]
    findings: tuple[Finding, ...]


def choose_sides(survey: Survey, roles: Mapping[str, Role], ties: Ties) -> Sides:
    """Choose the side of every case.

    Args:
        survey: All cases, of every role.
        roles: ``"corrected"``; ``"replay"``, old data that trains again; or ``"standard"``, which never trains.
        ties: Ties to earlier slices.
    """
    sides: dict[str, Side] = {}
    findings: list[Finding] = []
    fresh: list[list[SurveyedCase]] = []
    known = _list_known(survey, ties)
    for block in _blocks(survey):
        tied = _tie(block, roles, ties, known)
        if not tied:
            fresh.append(block)
        for case in tied:
            sides[case.name], finding = (_omit if case.shown else _SETTLE[roles[case.name]])(case)
            findings += [finding] if finding else []
    for role in ("corrected", "replay"):
        of_role = [block for block in fresh if _role_of(block, roles) == role]
        divided = _hold_out(of_role, _count_settled(survey, sides, roles, role), cases=_MOST_CASES[role])
        copied = [name for name, side in divided.items() if side == "test" and roles[name] != role]
        findings += [left_out("held-out-copy", name, COPY_OF_CORRECTED, NEVER_TRAINS) for name in copied]
        sides |= divided | dict.fromkeys(copied, "")
    return Sides(sides, tuple(findings))


@dataclass(frozen=True)
class _Known:
    """What shows the same as a held-out case.

    Attributes:
        copies: Pairs of case ids that are copies of each other.
        missing: The held-out case that a case is tied to, where the data lacks that one, by case id.
    """

    copies: Collection[frozenset[str]]
    missing: Mapping[str, str]


def _list_known(survey: Survey, ties: Ties) -> _Known:
    here = {leak.nearest for leak in ties.held_out.values() if leak.similarity == 1}
    return _Known(
        copies={frozenset(case.record.case_id for case in survey.cases_of(pair)) for pair in survey.pairs},
        missing={name: leak.nearest for name, leak in ties.held_out.items() if leak.nearest not in here},
    )


@dataclass(frozen=True)
class _Tied:
    """A case whose block is not new.

    Attributes:
        name: Its id.
        held_out: Its own tie to a held-out case.
        trained: Its own tie to a training slice.
        held: Ids of the held-out and standard cases of its block.
        training: Ids of the training cases of its block.
        shown: The held-out case that it shows, or whose patient it shows, although a model was trained on it.
    """

    name: str
    held_out: Leak | None
    trained: Leak | None
    held: Sequence[str]
    training: Sequence[str]
    shown: str = ""

    def describe_trained(self) -> str:
        """Return the finding's cause for a case that the model was trained on."""
        return f"one of the models was trained on it ({_describe(self.name, self.trained, self.training)})"


def _tie(block: Sequence[SurveyedCase], roles: Mapping[str, Role], ties: Ties, known: _Known) -> list[_Tied]:
    """Return the ties of each case of a block; none if the whole block is new."""
    ids = [case.record.case_id for case in block]
    held_pull = {name: pull(ties.held_out.get(name)) for name in ids}
    trained_pull = {name: pull(ties.trained.get(name)) for name in ids}
    held = [name for name in ids if roles[name] == "standard" or held_pull[name] > trained_pull[name]]
    training = [name for name in ids if 0 < trained_pull[name] >= held_pull[name]]
    if not held and not training:
        return []
    frozen = [case for case in block if case.record.case_id in held and roles[case.record.case_id] != "standard"]
    tied = []
    for case, name in zip(block, ids, strict=True):
        may_train = name in training and roles[name] != "standard"
        its = ties.held_out.get(name)
        absent = its is not None and its.similarity != 1 and not frozen  # its like is held out, and not at hand
        missing = known.missing.get(name) or (_MISSING if absent else "")
        shown = (_find_shown(case, frozen, known.copies) or missing) if may_train else ""
        tied.append(_Tied(name, its, ties.trained.get(name), held, training, shown))
    return tied


def _omit(case: _Tied) -> tuple[Side, Finding | None]:
    """Omit a case that cannot train, because its like is held out, and cannot be held out."""
    cause = f"{case.describe_trained()}, and it shows the slice or patient of {case.shown}, which is held out"
    return "", left_out("on-both-sides", case.name, cause, NOTHING_TO_DO)


def _settle_standard(case: _Tied) -> tuple[Side, Finding | None]:
    if not case.training:
        return "test", None
    return "", left_out("known-to-model", case.name, f"{case.describe_trained()}; it proves nothing", NOTHING_TO_DO)


def _settle_replay(case: _Tied) -> tuple[Side, Finding | None]:
    if case.name in case.training or not case.held:
        return "train", None
    if case.held_out is not None and case.held_out.nearest.startswith("replay/"):
        return "test", None
    cause = f"shows a held-out slice or patient ({_describe(case.name, case.held_out, case.held)})"
    return "", left_out("held-out-copy", case.name, cause, NEVER_TRAINS)


def _settle_corrected(case: _Tied) -> tuple[Side, Finding | None]:
    if case.name in case.training or not case.held:
        cause = f"{case.describe_trained()}; it trains, and is not held out"
        return "train", warning("known-to-model", case.name, cause, NOTHING_TO_DO)
    if case.training and case.name not in case.held:
        cause = f"is tied to {case.held[0]}, which is held out, and to {case.training[0]}, which a model was trained on"
        return "", left_out("on-both-sides", case.name, cause, NOTHING_TO_DO)
    if case.held_out is not None and case.held_out.similarity == 1:
        return "test", None  # the held-out case itself
    tie = _describe(case.name, case.held_out, case.held)
    cause = f"shows a held-out slice or patient ({tie}); moved to the held-out side"
    return "test", warning("held-out-copy", case.name, cause, NEVER_TRAINS)


_SETTLE = {"corrected": _settle_corrected, "replay": _settle_replay, "standard": _settle_standard}


def _count_settled(
    survey: Survey, sides: Mapping[str, Side], roles: Mapping[str, Role], role: Role
) -> dict[tuple[bool, Side], int]:
    """Count the blocks of a role that have a side, by whether they hold tumour and by that side."""
    counts: dict[tuple[bool, Side], int] = {}
    for block in _blocks(survey):
        placed = [sides.get(case.record.case_id, "") for case in block if roles[case.record.case_id] == role]
        if any(placed):
            side: Side = "test" if "test" in placed else "train"
            key = (any(case.tumour_px for case in block), side)
            counts[key] = counts.get(key, 0) + 1
    return counts


def _hold_out(
    blocks: Sequence[Sequence[SurveyedCase]], settled: Mapping[tuple[bool, Side], int], *, cases: int
) -> dict[str, Side]:
    """Divide the new blocks of one role, those with tumour and those without by themselves.

    Args:
        blocks: The new blocks.
        settled: Number of blocks that have a side, by tumour and side.
        cases: Most cases to hold out.
    """
    sides: dict[str, Side] = {}
    for with_tumour in (True, False):
        kind = sorted((b for b in blocks if any(case.tumour_px for case in b) == with_tumour), key=_key)
        held, trained = (settled.get((with_tumour, side), 0) for side in ("test", "train"))
        wanted = max(_target(len(kind) + held + trained) - held, 0)
        out: set[int] = set()
        for number, block in enumerate(kind):
            if len(out) < wanted and len(block) <= cases:
                out.add(number)
                cases -= len(block)
        for number, block in enumerate(kind):
            sides |= dict.fromkeys((c.record.case_id for c in block), "test" if number in out else "train")
    return sides


def _target(blocks: int) -> int:
    """Blocks to hold out: the share, but as many as a difference needs where half of them allow it."""
    return max(round(SHARE * blocks), min(FEWEST_GROUPS, blocks // 2))


def _blocks(survey: Survey) -> list[list[SurveyedCase]]:
    members: dict[str, list[SurveyedCase]] = {}
    for case, block in zip(survey.cases, survey.blocks, strict=True):
        members.setdefault(block, []).append(case)
    return list(members.values())


def _find_shown(case: SurveyedCase, frozen: Sequence[SurveyedCase], copies: Collection[frozenset[str]]) -> str:
    """Return the id of a held-out case that a case is a copy of, or whose patient it shows; empty if there is none."""
    name, patient = case.record.case_id, case.record.patient
    shown = (
        other.record.case_id
        for other in frozen
        if frozenset((name, other.record.case_id)) in copies or (patient and other.record.patient == patient)
    )
    return next(shown, "")


def _role_of(block: Sequence[SurveyedCase], roles: Mapping[str, Role]) -> Role:
    """Return the role by which a new block is divided: a corrected case makes it a corrected one."""
    return "corrected" if any(roles[case.record.case_id] == "corrected" for case in block) else "replay"


def _key(block: Sequence[SurveyedCase]) -> str:
    return min(case.sha256 for case in block)


def pull(leak: Leak | None) -> float:
    """Return how closely a case is tied: the similarity to a slice, 0.1 for a patient or a copy of a copy, or 0."""
    if leak is None:
        return 0.0
    return 0.1 if math.isnan(leak.similarity) else leak.similarity


def _describe(name: str, leak: Leak | None, block: Sequence[str]) -> str:
    """Say what ties a case to a side, of which ``block`` are the cases of its block, itself perhaps among them."""
    if leak is not None and leak.nearest == name:
        return "the same picture"
    if leak is not None and leak.nearest:
        return f"copy of {leak.nearest}" if leak.similarity < 1 else f"the same as {leak.nearest}"
    if leak is not None and leak.why == "patient":
        return "the same patient"
    other = next((each for each in block if each != name), "")
    return f"copy or patient of {other}" if other else "copy of a copy"
