"""Splits without leaks: copies, and slices of one patient, stay on one side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumortrace.copies.groups import join_patients
from tumortrace.copies.survey import Survey
from tumortrace.data.cases import CaseRecord
from tumortrace.errors import DataError
from tumortrace.wording import counted

ALWAYS_TRAIN = "0"
"""Side of cases in the training part of every fold: tumour-free sources, when whole sources are held out."""
PARTS_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Of a split without folds."""


@dataclass(frozen=True)
class SplitCase:
    """Where one case goes.

    Attributes:
        file: Its case_id.
        sha256: SHA-256 of its content, so that a changed image is noticed.
        side: The number of its fold, or its part; ``ALWAYS_TRAIN`` for none of the folds.
        group: Group of its copies.
    """

    file: str
    sha256: str
    side: str
    group: str


@dataclass(frozen=True)
class Split:
    """Folds ``"1"`` to ``"K"``, or the parts ``"train"``, ``"val"`` and ``"test"``.

    Attributes:
        cases: Each in one place.
        by: Unit that is kept together: ``"groups"`` (copies and patients), or ``"source"`` (whole datasets).
        left_out: Cases that fit on no side, with the reason.
    """

    cases: tuple[SplitCase, ...]
    by: str
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def sides(self) -> list[str]:
        """Names of the sides: folds in order, or train, val, test."""
        names = {case.side for case in self.cases} - {ALWAYS_TRAIN}
        if are_folds(names):
            return sorted(names, key=lambda name: (int(name), name))
        return sorted(names, key=list(PARTS_SHARES).index)


def make_folds(survey: Survey, *, folds: int) -> Split:
    """K folds, balanced in number of cases, tumour size, number of lesions and source.

    Args:
        survey: Survey of all cases.
        folds: Number of folds, at least 2.

    Raises:
        DataError: Fewer blocks (groups joined by patients) than folds, or fewer with tumour.
    """
    return _assign(survey, {str(number): 1 / folds for number in range(1, folds + 1)})


def make_parts(survey: Survey) -> Split:
    """The parts train, val and test of about 70, 15 and 15 % of the cases, balanced likewise.

    Raises:
        DataError: Fewer than three blocks, or fewer with tumour.
    """
    return _assign(survey, PARTS_SHARES)


def list_sources(records: Iterable[CaseRecord]) -> list[str]:
    """Return the datasets that cases come from, sorted.

    Raises:
        DataError: Fewer than two.
    """
    sources = sorted({record.source for record in records})
    if len(sources) < 2:
        named = ", ".join(sources) or "unnamed"
        raise DataError(f"only one source ({named}); name at least two datasets to leave one out")
    return sources


def leave_sources_out(survey: Survey) -> Split:
    """One fold a source, in the order of the names: each is scored by a model that never saw its hospital.

    A source without any tumour is no fold: it is in the training part of all folds.
    A case that is a copy of one in another source would leak; all members of such a block are left out and named.

    Raises:
        DataError: Fewer than two sources, or one whose tumours are all copies of another's.
    """
    sources = list_sources([case.record for case in survey.cases if case.tumour_px])
    of_block: dict[str, set[str]] = {}
    for case, block in zip(survey.cases, survey.blocks, strict=True):
        of_block.setdefault(block, set()).add(case.record.source)
    divided, dropped = [], []
    for case, block, group in zip(survey.cases, survey.blocks, survey.groups, strict=True):
        if len(of_block[block]) > 1:
            dropped.append((case.record.case_id, f"has a copy in another source ({group})"))
        else:
            source = case.record.source
            side = str(sources.index(source) + 1) if source in sources else ALWAYS_TRAIN
            divided.append(SplitCase(case.record.case_id, case.sha256, side, group))
    with_tumour = {case.record.case_id for case in survey.cases if case.tumour_px}
    for number, source in enumerate(sources, 1):
        if not any(case.side == str(number) and case.file in with_tumour for case in divided):
            raise DataError(
                f"source {source}: every slice with tumour has a copy in another source, so none is left to score; "
                "leave this source out"
            )
    return Split(tuple(divided), "source", tuple(dropped))


def find_heads(split: Split, records: Sequence[CaseRecord]) -> dict[str, str]:
    """Return a name for each case of a split, by its id, that its copies and the slices of its patient share.

    Args:
        split: The split.
        records: Records of its cases, and of any others.
    """
    patients = {record.case_id: record.patient for record in records}
    files = [case.file for case in split.cases]
    joined = join_patients([case.group for case in split.cases], [patients[file] for file in files])
    return dict(zip(files, joined, strict=True))


def _assign(survey: Survey, shares: dict[str, float]) -> Split:
    """Divide all cases into sides of such shares; the cases of a block stay together."""
    _, block_of = np.unique(survey.blocks, return_inverse=True)
    tumours = np.bincount(block_of, [case.tumour_px > 0 for case in survey.cases]) > 0
    _check_blocks(survey, tumours.tolist(), sides=len(shares))
    traits = _traits(survey)
    blocks = np.zeros((len(tumours), traits.shape[1]))
    np.add.at(blocks, block_of, traits)
    names, sides = list(shares), _choose_sides(blocks, tumours, list(shares.values()))
    cases = (
        SplitCase(case.record.case_id, case.sha256, names[side], group)
        for case, side, group in zip(survey.cases, sides[block_of].tolist(), survey.groups, strict=True)
    )
    return Split(tuple(cases), "groups")


def _choose_sides(blocks: NDArray[np.float64], tumours: NDArray[np.bool_], shares: Sequence[float]) -> NDArray[np.intp]:
    """Choose the side of each block. The largest choose first, each where most of what it has is missing.

    Args:
        blocks: Number of cases of each block with each trait (``_traits``), shape (blocks, traits).
        tumours: Whether each block has a tumour; every side gets one that has.
        shares: Fraction of all cases on each side.
    """
    total = blocks.sum(axis=0)
    targets, weights = np.outer(shares, total), 1 / np.maximum(total, 1)
    filled = np.zeros_like(targets)
    order = np.random.default_rng(0).permutation(len(blocks))  # chance decides among equals
    chosen = np.empty(len(blocks), dtype=np.intp)
    without, left = np.ones(len(shares), dtype=np.bool_), int(tumours.sum())  # no tumour yet; blocks with one to come
    for block in order[np.argsort(-blocks[order, 0], kind="stable")]:
        # How far from its target each side would be, in fractions of the whole.
        missing = ((targets - filled) * weights * blocks[block]).sum(axis=1)
        if tumours[block] and left <= without.sum():  # the last ones go where no tumour is yet
            missing[~without] = -np.inf
        chosen[block] = side = int(missing.argmax())
        filled[side] += blocks[block]
        if tumours[block]:
            without[side] = False
            left -= 1
    return chosen


def _check_blocks(survey: Survey, tumours: Sequence[bool], *, sides: int) -> None:
    """Refuse to divide fewer blocks than there are sides, or fewer blocks with tumour."""
    if len(tumours) < sides:
        raise DataError(
            f"too few different slices or patients for {sides} sides: {len(tumours)} among "
            f"{counted(len(survey.cases), 'case')}; {_advise(len(tumours), 'others')}"
        )
    if (count := sum(tumours)) < sides:
        blocks = "1 slice or patient has" if count == 1 else f"{count or 'no'} slices or patients have"
        raise DataError(
            f"{blocks} a tumour, too few for {sides} sides: with a side without one nothing could be trained on, or "
            f"nothing scored; {_advise(count, 'others with tumour')}"
        )


def _advise(most: int, others: str) -> str:
    """What to do about too few slices: there are never fewer than two sides."""
    return f"add {others}" + (f", or ask for at most {most} folds (--folds)" if most > 1 else "")


def _traits(survey: Survey) -> NDArray[np.float64]:
    """What sides should have equal shares of: cases, tumour-free ones, thirds of tumour size, several lesions, sources.

    Returns:
        One row a case, of ones and zeros.
    """
    shares = np.array([case.tumour_share for case in survey.cases])
    lesions = np.array([case.lesions for case in survey.cases])
    with_tumour = shares > 0
    thirds = np.quantile(shares[with_tumour], [1 / 3, 2 / 3]) if with_tumour.any() else [0.0, 0.0]
    third = np.searchsorted(thirds, shares)
    sources = [case.record.source for case in survey.cases]
    columns = [np.ones(len(shares)), ~with_tumour, lesions > 1]
    columns += [with_tumour & (third == index) for index in range(3)]
    columns += [np.array([source == name for source in sources]) for name in sorted(set(sources))]
    return np.stack(columns, axis=1).astype(np.float64)


def are_folds(names: Sequence[str] | set[str]) -> bool:
    """Return whether sides are folds and not parts."""
    return all(name.isdecimal() for name in names)
