"""Sources as hospitals: each with a model that was trained without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studies.named_runs import read_named
from studies.screening import open_sources
from tumortrace.copies.split_files import apply_split, read_split
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError
from tumortrace.inference.model import Model, open_model


@dataclass(frozen=True, eq=False)
class Hospital:
    """A source that a model was not trained on.

    Attributes:
        name: Name of the source.
        model: Model that was trained on other sources.
        dataset: Slices of all sources.
        records: Its slices, without those whose outlines ``studies.sources`` leaves out.
        group_of: Group of each slice by case_id: its patient or copies, of figshare and brisc a run of 13 slices.
    """

    name: str
    model: Model
    dataset: Dataset
    records: tuple[CaseRecord, ...]
    group_of: dict[str, str]


def open_hospitals(data: Path, sources: Path, runs: Sequence[str]) -> list[Hospital]:
    """Open sources with the models that were trained without them.

    Args:
        data: Folder of the downloaded sources.
        sources: Folder that ``studies.sources`` wrote.
        runs: ``SOURCE=RUN`` for each source.

    Raises:
        DataError: There is no such source.
    """
    whole, _ = open_sources(data, sources)
    split = read_split(sources / "all.json")
    dataset = apply_split(whole, split)
    group_of = {case.file: case.group for case in split.cases}
    hospitals = []
    for name, run in read_named(runs).items():
        records = tuple(replace(r, part="") for r in dataset.records if r.source == name)
        if not records:
            raise DataError(f"--run {name}={run}: no source {name}; write SOURCE=RUN")
        hospitals.append(Hospital(name, open_model(str(run)), replace(dataset, findings=()), records, group_of))
    return hospitals
