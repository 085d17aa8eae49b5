"""Which cases train, and which are held out for good.

Copies and slices of one patient form a block, and a block is on one side. Three rules decide, in this order:

1. A case that an earlier run held out stays held out, and every new case of its block joins it.
2. A case that one of the models was trained on trains again, with all of its block. It can prove nothing.
3. New blocks are held out in the order of their hashes until the share is reached, those with tumour and those without
   by themselves. The order has nothing to do with names or with the order of correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tumortrace.copies.groups import link, link_patients
from tumortrace.copies.leakage import Leak
from tumortrace.copies.survey import Survey, SurveyedCase
from tumortrace.data.findings import Finding, left_out, warning
from tumortrace.improvement.judge import FEWEST_GROUPS

SHARE = 0.3
"""Fraction of the corrected cases that is held out."""

MOST_STANDARD = 150
"""Replayed cases that are held out at most: each is scored by two or three models."""

NOTHING_TO_DO = "nothing to do"
NEVER_TRAINS = "nothing to do: held-out slices never train"
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
    for block in _blocks(survey):
        ids = [case.record.case_id for case in block]
        held = [
            name
            for name in ids
            if roles[name] == "standard" or pull(ties.held_out.get(name)) > pull(ties.trained.get(name))
        ]
        trained = [name for name in ids if 0 < pull(ties.trained.get(name)) >= pull(ties.held_out.get(name))]
        if not held and not trained:
            fresh.append(block)
            continue
        for name in ids:
            tied = _Tied(name, ties.held_out.get(name), ties.trained.get(name), held, trained)
            sides[name], finding = _SETTLE[roles[name]](tied)
            findings += [finding] if finding else []
    for role in ("corrected", "replay"):
        of_role = [block for block in fresh if _role_of(block, roles) == role]
        counted = {name: side for name, side in sides.items() if roles[name] == role and side}
        divided = _hold_out(of_role, counted, survey, most=MOST_STANDARD if role == "replay" else len(survey.cases))
        copied = [name for name, side in divided.items() if side == "test" and roles[name] != role]
        findings += [left_out("held-out-copy", name, COPY_OF_CORRECTED, NEVER_TRAINS) for name in copied]
        sides |= divided | dict.fromkeys(copied, "")
    return Sides(sides, tuple(findings))


@dataclass(frozen=True)
class _Tied:
    """A case whose block is not new.

    Attributes:
        name: Its id.
        held_out: Its own tie to a held-out case.
        trained: Its own tie to a training slice.
        held: Ids of the held-out and standard cases of its block.
        training: Ids of the training cases of its block.
    """

    name: str
    held_out: Leak | None
    trained: Leak | None
    held: Sequence[str]
    training: Sequence[str]

    def describe_trained(self) -> str:
        """Return the finding's cause for a case that the model was trained on."""
        return f"the model was trained on it ({_describe(self.name, self.trained, self.training)})"


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
        cause = f"is tied to {case.held[0]}, which is held out, and to {case.training[0]}, which trains"
        return "", left_out("on-both-sides", case.name, cause, NOTHING_TO_DO)
    if case.held_out is not None and case.held_out.similarity == 1:
        return "test", None  # the held-out case itself
    others = [each for each in case.held if each != case.name] or case.held
    cause = (
        f"shows a held-out slice or patient ({_describe(case.name, case.held_out, others)}); moved to the held-out side"
    )
    return "test", warning("held-out-copy", case.name, cause, NEVER_TRAINS)


_SETTLE = {"corrected": _settle_corrected, "replay": _settle_replay, "standard": _settle_standard}


def _hold_out(
    blocks: Sequence[Sequence[SurveyedCase]], settled: Mapping[str, Side], survey: Survey, *, most: int
) -> dict[str, Side]:
    """Divide the new blocks of one role, those with tumour and those without by themselves."""
    tumour = {case.record.case_id: case.tumour_px > 0 for case in survey.cases}
    sides: dict[str, Side] = {}
    for with_tumour in (True, False):
        kind = sorted((b for b in blocks if any(case.tumour_px for case in b) == with_tumour), key=_key)
        known = [side for name, side in settled.items() if tumour[name] == with_tumour]
        total = len(known) + sum(map(len, kind))
        target = min(_target(total), most)
        held = known.count("test")
        taken = []
        for block in kind:
            if held + len(block) <= target:
                taken.append(block)
                held += len(block)
        if not held and len(kind) + known.count("train") > 1 and kind:
            taken = [min(kind, key=lambda block: (len(block), _key(block)))]
        out = {id(block) for block in taken}
        sides |= {c.record.case_id: "test" if id(block) in out else "train" for block in kind for c in block}
    return sides


def _target(total: int) -> int:
    """Cases to hold out: the share, but as many as a difference needs where half of the cases allow it."""
    return max(round(SHARE * total), min(FEWEST_GROUPS, total // 2))


def _blocks(survey: Survey) -> Iterator[list[SurveyedCase]]:
    links = [(pair.first, pair.second) for pair in survey.pairs]
    links += link_patients([case.record.patient for case in survey.cases])
    members: dict[int, list[SurveyedCase]] = {}
    for case, block in zip(survey.cases, link(len(survey.cases), links), strict=True):
        members.setdefault(block, []).append(case)
    yield from members.values()


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


def _describe(name: str, leak: Leak | None, others: Sequence[str]) -> str:
    """Say what ties a case to a side."""
    if leak is not None and leak.nearest == name:
        return "the same picture"
    if leak is not None and leak.nearest:
        return f"copy of {leak.nearest}" if leak.similarity < 1 else f"the same as {leak.nearest}"
    if leak is not None and leak.why == "patient":
        return "the same patient"
    return f"copy or patient of {others[0]}"
