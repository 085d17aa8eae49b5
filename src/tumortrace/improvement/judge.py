"""Two models on the same slices, and in one word whether the second is better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.evaluation.summary import judged_dice
from tumortrace.json_csv import Document, nan_to_none
from tumortrace.metrics.aggregate import summarise
from tumortrace.metrics.intervals import (
    FEWEST_GROUPS,
    count_effective_groups,
    mean_interval,
    paired_p_value,
    warn_of_groups,
)
from tumortrace.wording import counted

Verdict = Literal["better", "no difference shown", "worse"]

LEVEL = 0.05
"""Highest p-value at which a difference counts as shown."""


@dataclass(frozen=True)
class Judgement:
    """A new model against an old one on the same slices.

    Attributes:
        part: Name of the slices: ``"held-out part"``, ``"standard set"``.
        old_model: Name of the old model.
        n: Number of slices.
        groups: Number of groups of these slices (copies and patients together).
        old: Mean Dice of the old model. An empty mask of a tumour-free slice counts as 1, any other as 0.
        new: Mean Dice of the new model.
        difference: Mean of new minus old.
        ci95: 95 % interval of the difference, over groups; NaN if there is none.
        p: P-value of no difference (sign-flip test over groups); NaN without slices.
        higher: Number of slices on which the new model is higher.
        lower: Number of slices on which it is lower.
        verdict: ``"better"``, ``"no difference shown"`` or ``"worse"``.
        effective_groups: Number of groups of equal size that would weigh as much as these.
        tumour_free: Number of the slices that have no tumour.
        generated: Whether the slices are generated ones.
    """

    part: str
    old_model: str
    n: int
    groups: int
    old: float
    new: float
    difference: float
    ci95: tuple[float, float]
    p: float
    higher: int
    lower: int
    verdict: Verdict
    effective_groups: float
    tumour_free: int
    generated: bool

    @property
    def outcome(self) -> str:
        """Part, verdict and old model, without numbers."""
        link = "from" if self.verdict == "no difference shown" else "than"
        return f"{self.part}: {self.verdict} {link} {self.old_model}"

    @property
    def sentence(self) -> str:
        """Verdict, differences, n and groups as a sentence, with what limits them."""
        size = f"n = {self.n}, {counted(self.groups, 'group')}"
        if not self.n:
            return f"{self.part.capitalize()}: {self.verdict}, because no slice counts"
        low, high = self.ci95
        interval = "" if math.isnan(low) else f"95 % CI {low:+.3f} to {high:+.3f}, "
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        outcome = self.outcome[0].upper() + self.outcome[1:]
        return (
            f"{outcome}; mean Dice {self.new:.3f} against {self.old:.3f}, "
            f"{self.difference:+.3f} ({interval}{p}, {size}){say_too_few(self.groups)}{''.join(self._limits())}"
        )

    def _limits(self) -> Iterator[str]:
        """Yield what a reader has to know of the numbers, each as the end of a sentence."""
        warning = warn_of_groups(self.groups, self.effective_groups)
        if warning and self.groups >= FEWEST_GROUPS:
            yield f"; {warning}"
        if self.tumour_free:
            yield f"; {counted(self.tumour_free, 'tumour-free slice')} among them, Dice 1 if left empty and 0 if marked"
        if self.generated:
            yield "; the slices are generated, so they show only whether something broke"


def judge(
    old: Sequence[CaseScore], new: Sequence[CaseScore], *, part: str, old_model: str, generated: bool = False
) -> Judgement:
    """Compare two models on the slices that both were scored on.

    A difference is shown if the interval over groups excludes 0 and the sign-flip test gives at most 0.05. Fewer than
    six groups show none, whatever the scores.

    Args:
        old: Scores of the old model.
        new: Scores of the new one; cases that one of the two lacks are omitted.
        part: Name of the slices.
        old_model: Name of the old model.
        generated: Whether the slices are generated ones.
    """
    before = {score.file: judged_dice(score) for score in old}
    common = [score for score in new if score.file in before]
    olds = np.array([before[score.file] for score in common])
    news = np.array([judged_dice(score) for score in common])
    groups = [score.group for score in common]
    differences = news - olds
    interval, p = mean_interval(differences, groups, shares=False), paired_p_value(differences, groups)
    return Judgement(
        part=part,
        old_model=old_model,
        n=len(common),
        groups=len(set(groups)),
        old=summarise(olds).mean,
        new=summarise(news).mean,
        difference=summarise(differences).mean,
        ci95=interval,
        p=p,
        higher=int((differences > 0).sum()),
        lower=int((differences < 0).sum()),
        verdict=_word(differences, len(set(groups)), interval, p),
        effective_groups=round(count_effective_groups(groups), 1),
        tumour_free=sum(not score.tumour_px for score in common),
        generated=generated,
    )


def judgement_document(judgement: Judgement) -> Document:
    """Return a judgement as JSON values, with null for what is undefined."""
    return dict(nan_to_none(asdict(judgement))) | {"sentence": judgement.sentence}


def _word(differences: np.ndarray, groups: int, interval: tuple[float, float], p: float) -> Verdict:
    low, high = interval
    if groups < FEWEST_GROUPS or p > LEVEL or low <= 0 <= high:  # a missing interval (all equal) excludes nothing
        return "no difference shown"
    return "better" if differences.mean() > 0 else "worse"


def say_too_few(groups: int) -> str:
    """Return why a number of groups gives no answer, as the end of a sentence; empty if it can give one."""
    if groups >= FEWEST_GROUPS:
        return ""
    return f"; too small to tell: no difference can be shown with fewer than {FEWEST_GROUPS} groups"
