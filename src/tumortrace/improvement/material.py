"""The slices of an improvement: corrected, replayed and standard ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset, open_dataset
from tumortrace.data.findings import Finding
from tumortrace.errors import DataError
from tumortrace.improvement.sides import Role
from tumortrace.phantoms.slices import write_phantom_dataset

PHANTOMS = Path("phantoms")
"""Folder of the generated standard set in a run."""

PHANTOM_COUNT, PHANTOM_SEED = 60, 20261127


@dataclass(frozen=True, eq=False)
class Material:
    """All cases, with ids that say their role, but for the corrected ones.

    Attributes:
        corrected: The corrected cases as they were opened.
        records: The cases.
        roles: Role of each case, by its id.
        findings: Faults of the data.
    """

    corrected: Dataset
    records: tuple[CaseRecord, ...]
    roles: dict[str, Role]
    findings: tuple[Finding, ...]


def gather(corrected: Dataset, replay: Dataset | None, standard: Dataset | None) -> Material:
    """Gather the cases; the TEST part of corrected and replayed data stays closed.

    Args:
        corrected: Corrected cases.
        replay: Old cases that train again.
        standard: Cases that show whether anything was forgotten: its TEST part, or all of it if it has none.

    Raises:
        DataError: No corrected case is left, or one lies in a folder by whose name other cases are called.
    """
    part = "test" if standard and "test" in standard.parts() else "all"
    without_test = [record for record in corrected.records if record.part != "test"]
    if not without_test:
        raise DataError(f"{corrected.given}: every case is in its TEST part, which stays closed; give corrected cases")
    for name in ("replay", "standard"):
        if any(record.case_id.startswith(f"{name}/") for record in without_test):
            raise DataError(f"{corrected.given}: a folder there is named {name}, as the cases of --{name}; rename it")
    sets: dict[Role, list[CaseRecord]] = {
        "corrected": [replace(record, part="") for record in without_test],
        "replay": [_named("replay")(record) for record in (replay.records if replay else ()) if record.part != "test"],
        "standard": [_named("standard")(record) for record in (standard.select(part) if standard else ())],
    }
    return Material(
        corrected=corrected,
        records=tuple(record for records in sets.values() for record in records),
        roles={record.case_id: role for role, records in sets.items() for record in records},
        findings=(*corrected.findings, *(replay.findings if replay else ()), *(standard.findings if standard else ())),
    )


def _named(prefix: str) -> Callable[[CaseRecord], CaseRecord]:
    return lambda record: replace(record, case_id=f"{prefix}/{record.case_id}", part="")


def open_phantoms(run: Path) -> Dataset:
    """Open the generated standard set in a run folder; it is drawn anew, bit for bit, if any slice is missing.

    Args:
        run: The run folder.
    """
    folder = run / PHANTOMS
    try:
        dataset = open_dataset(folder)
    except DataError:
        dataset = None
    if dataset is None or len(dataset.records) < PHANTOM_COUNT:
        shutil.rmtree(folder, ignore_errors=True)
        write_phantom_dataset(folder, counts={"TEST": PHANTOM_COUNT}, no_tumour=0, seed=PHANTOM_SEED)
        dataset = open_dataset(folder)
    return dataset
