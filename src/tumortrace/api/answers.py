"""What the functions for programs return: frozen results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tumortrace.data.findings import Finding
from tumortrace.frames import make_frame
from tumortrace.json_csv import Document
from tumortrace.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from tumortrace.copies.splits import Split
    from tumortrace.copies.survey import Survey
    from tumortrace.evaluation.doubtful import Doubt
    from tumortrace.evaluation.evaluate import Evaluation
    from tumortrace.improvement.improve import Improvement
    from tumortrace.improvement.judge import Verdict


@dataclass(frozen=True, eq=False, repr=False)
class AuditResult:
    """What an audit found.

    Attributes:
        document: Content of ``audit.json``.
        survey: Cases, groups of copies and pairs.
        findings: Faults of the data.
        doubts: Judgement of each outline by a model that was not trained on it, the most doubtful first; empty without
            a cross-validation.
    """

    document: Document
    survey: Survey
    findings: tuple[Finding, ...]
    doubts: tuple[Doubt, ...] = ()

    def __repr__(self) -> str:
        images, slices = counted(self.document["n"], "image"), counted(self.document["groups"], "different slice")
        return f"<AuditResult: {images}, {slices}, {counted(len(self.findings), 'finding')}>"

    @property
    def leakage(self) -> tuple[str, ...]:
        """What leaks from part to part, and what could not be compared, one sentence each."""
        return tuple(self.document["leakage"])

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are faults of images or annotations: all but files of other kinds beside them."""
        return tuple(finding for finding in self.findings if finding.kind != "not-read")

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of groups, one row an image (``groups.csv``); similarities are numbers, NaN if unknown."""
        from tumortrace.copies.audit import GROUP_COLUMNS, group_rows

        unknown = {**dict.fromkeys(GROUP_COLUMNS, ""), "similarity": "nan"}
        rows = [unknown | row for row in group_rows(self.survey)]
        return make_frame({**row, "similarity": float(str(row["similarity"]))} for row in rows)


@dataclass(frozen=True, eq=False, repr=False)
class SplitResult:
    """Leak-free sides of a dataset.

    Attributes:
        split: The sides and the cases on each.
        document: Content of the split file.
        findings: Faults of the data.
    """

    split: Split
    document: Document
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        cases, sides = counted(len(self.split.cases), "case"), counted(len(self.split.sides), "side")
        return f"<SplitResult: {cases} on {sides}, {counted(len(self.findings), 'finding')}>"

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a case: its file, SHA-256, side and group."""
        return make_frame(self.document["cases"])


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult:
    """A model's scores on one part of a dataset, or on all folds of a cross-validation.

    Attributes:
        evaluation: One score a case.
        summary: Content of ``summary.json``.
        findings: Faults of the data; cases that could not be read are among them.
        files: Names of what was written to the output folder, if one was given.
    """

    evaluation: Evaluation
    summary: Document
    findings: tuple[Finding, ...]
    files: tuple[str, ...] = ()

    def __repr__(self) -> str:
        mean = self.summary["dice"]["mean"]
        dice = "undefined" if mean is None else f"{mean:.3f}"
        cases = counted(len(self.evaluation.scores), "case")
        return f"<EvaluationResult: {cases}, mean Dice {dice}, {counted(len(self.findings), 'finding')}>"

    @property
    def verdict(self) -> tuple[str, ...]:
        """What the scores are worth, in sentences."""
        return tuple(self.summary["verdict"])

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a case (``per_image.csv``)."""
        from tumortrace.evaluation.folder import image_row

        return make_frame(dataclasses.asdict(image_row(score)) for score in self.evaluation.scores)


@dataclass(frozen=True, eq=False, repr=False)
class ImproveResult:
    """What came of a training on corrected cases.

    Attributes:
        improvement: Judgements, sides and the reason for the decision.
        document: Content of ``improvement.json``.
        findings: Faults of the data, and cases that were moved, omitted, or do not count as held out.
    """

    improvement: Improvement
    document: Document
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        return f"<ImproveResult in {self.improvement.folder}: {self.verdict}, {self.improvement.reason}>"

    @property
    def verdict(self) -> Verdict:
        """``"better"``, ``"no difference shown"`` or ``"worse"``: the new model on the held-out part."""
        return self.improvement.judgements[0].verdict

    @property
    def is_default(self) -> bool:
        """Whether the new model is now the default of its folder."""
        return self.improvement.default_file is not None

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a comparison: part, old model, n, groups, means, difference, interval and verdict."""
        return make_frame(dataclasses.asdict(each) for each in self.improvement.judgements)


@dataclass(frozen=True)
class ReportResult:
    """A report page that was written.

    Attributes:
        path: The page.
        notes: Lines on what the page could not show.
    """

    path: Path
    notes: tuple[str, ...]
