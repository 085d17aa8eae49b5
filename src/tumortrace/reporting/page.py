"""The report: one self-contained page on runs, evaluations and cross-validations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumortrace.choices import Colours
from tumortrace.errors import DataError
from tumortrace.evaluation.folder import StoredEvaluation, is_evaluation, name_folders, read_evaluation
from tumortrace.evaluation.leaderboard import LEADERBOARD, RESULTS
from tumortrace.reporting import html
from tumortrace.reporting.evaluation_sections import evaluation_sections, model_section
from tumortrace.reporting.html import Chapter, Section
from tumortrace.reporting.run_sections import find_runs, run_sections
from tumortrace.reporting.side_by_side import draw_side_by_side
from tumortrace.wording import listed

_NAMED = 3  # models that the title calls by name


@dataclass(frozen=True, eq=False)
class _Source:
    """The content of a folder that a report can show.

    Attributes:
        name: The end of its path, as long as needed to distinguish it from the others.
        evaluation: An evaluation or a cross-validation; None for a run alone.
        runs: Run folders in it, itself or its folds, by name.
    """

    name: str
    evaluation: StoredEvaluation | None
    runs: dict[str, Path]


def write_report(folders: Sequence[Path], out: Path, *, colours: Colours = "safe") -> list[str]:
    """Write one self-contained page.

    Args:
        folders: Runs, evaluations and cross-validations.
        out: The page; a page that tumortrace wrote is replaced, any other file is not.
        colours: Colours of the comparisons in the gallery.

    Returns:
        What the page lacks, a line each.

    Raises:
        DataError: A folder is none of these or is named twice, a file in it cannot be read, or ``out`` is no page.
    """
    html.refuse_foreign_page(out)
    sources = [_read(folder, name) for folder, name in zip(folders, name_folders(folders), strict=True)]
    scored = [source.evaluation for source in sources if source.evaluation is not None]
    chapters = []
    if len(scored) > 1:
        chapters.append(Chapter("Side by side", [Section("Side by side", draw_side_by_side(scored))]))
    ordered = sorted(sources, key=lambda source: source.evaluation is None)  # scores come first
    beside_runs = any(source.runs for source in sources)
    chapters += [Chapter(source.name, _sections(source, colours, beside_runs=beside_runs)) for source in ordered]
    html.write_page(out, html.page(_title(sources), ", ".join(map(str, folders)), chapters))
    return [] if scored else ["no evaluation among the folders: the page has no scores; add what evaluate wrote"]


def _read(folder: Path, name: str) -> _Source:
    runs = find_runs(folder, name)
    if is_evaluation(folder):
        return _Source(name, read_evaluation(folder, name=name), runs)
    if not runs:
        raise DataError(f"{folder}: {_describe_other(folder)}; give what train, evaluate or crossval wrote")
    return _Source(name, None, runs)


def _describe_other(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    if (folder / LEADERBOARD).is_file():
        return f"a sweep, whose tables are {LEADERBOARD} and {RESULTS}, and which has no page"
    return "neither a finished run nor an evaluation"


def _sections(source: _Source, colours: Colours, *, beside_runs: bool) -> list[Section]:
    """Return the scores first, then how the model was trained, or what its file says of itself."""
    of_runs = run_sections(source.runs) if source.runs else []
    if source.evaluation is None:
        return of_runs
    of_model = of_runs or [model_section(source.evaluation, beside_runs=beside_runs)]
    return [*evaluation_sections(source.evaluation, colours=colours), *of_model]


def _title(sources: Sequence[_Source]) -> str:
    """Name the models that the page is on, all of them or none."""
    names = dict.fromkeys(
        source.name if source.evaluation is None else str(source.evaluation.summary["model"]["name"])
        for source in sources
    )
    what = "training of " if all(source.evaluation is None for source in sources) else ""
    return f"Report on {what}{listed(list(names)) if len(names) <= _NAMED else f'{len(names)} models'}"
