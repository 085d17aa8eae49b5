"""Preparation of a published download, with a record of every file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tumortrace import __version__
from tumortrace.data.findings import Finding
from tumortrace.data.own_files import PREPARATION
from tumortrace.data.pairs import PAIRS
from tumortrace.errors import DataError
from tumortrace.files import refuse_inside, rename_folder, sync_folders_once
from tumortrace.json_csv import write_csv, write_json
from tumortrace.locks import lock_folder
from tumortrace.progress import track
from tumortrace.sources import br35h, brisc, figshare, lgg, no_tumour
from tumortrace.sources.download import Download, open_download
from tumortrace.sources.items import MOST_BYTES, Item, Plan, Source, name_failed
from tumortrace.sources.output import Journal, Record, sha256

SOURCES: dict[str, Source] = {
    "br35h": br35h.SOURCE,
    "brisc": brisc.SOURCE,
    "figshare": figshare.SOURCE,
    "lgg": lgg.SOURCE,
    "no_tumour": no_tumour.SOURCE,
}
"""The datasets that can be prepared, by the name on the command line."""


@dataclass(frozen=True)
class Preparation:
    """What a preparation did.

    Attributes:
        files: Number of files that were made from the download.
        pairs: Number of rows of ``pairs.csv``; 0 if there is none.
        patients: Number of patients in it; 0 if they are unknown.
        not_used: Number of files of the download that are not part of the dataset.
        findings: Files that should have been used and could not be.
    """

    files: int
    pairs: int
    patients: int
    not_used: int
    findings: tuple[Finding, ...]


def prepare_download(name: str, download: Path, out: Path) -> Preparation:
    """Make the folder that training reads from a download, which is not written to.

    All is written into ``OUT.partial``, which is renamed when it is complete: a folder without its table of patients is
    never there. An interrupted preparation goes on when it is called again. ``OUT/preparation.json`` states the rule,
    the SHA-256 of every file and of what it was made from, what was left out and what was not used.

    Args:
        name: A key of ``SOURCES``.
        download: The folder or zip, as published.
        out: Folder to make.

    Raises:
        DataError: The download does not hold this dataset, ``out`` has no name, is there already or lies inside the
            download, or nothing could be made.
    """
    refuse_inside(out, download)
    if not out.name:
        raise DataError(f"--out {out} has no name of its own; name a new folder, for example {out / name}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there already; choose another --out, or remove it")
    partial = out.with_name(f"{out.name}.partial")
    with lock_folder(partial), open_download(download, scratch=partial.parent) as opened, sync_folders_once():
        result = _prepare(name, opened, partial)
    if out.is_dir():
        out.rmdir()
    rename_folder(partial, out)
    return result


def _prepare(name: str, download: Download, folder: Path) -> Preparation:
    source = SOURCES[name]
    plan = source.plan(download)
    if not plan.items:
        raise DataError(f"{download.root}: not the download of {name}; expected {source.layout}")
    journal = Journal(folder, source=name)
    findings = [*download.findings, *plan.findings]
    records: list[Record] = []
    for item in track(plan.items, f"Preparing {name}", total=len(plan.items)):
        try:
            records.append(_prepare_item(item, download, journal))
        except DataError as error:
            findings.append(name_failed(item.sources[0], error, download.root))
    if not records:
        raise DataError(f"{download.root}: no file of it could be used; first: {findings[0].line()}")
    not_used = _list_unused(download, plan, findings)
    _write_tables(folder, name, plan, records, findings, not_used)
    journal.close(records)
    patients = {record.row["patient"] for record in records if record.row.get("patient")}
    files = sum(len(record.files) for record in records)
    pairs = len(records) if plan.columns else 0
    return Preparation(files, pairs, len(patients), len(not_used), tuple(findings))


def _prepare_item(item: Item, download: Download, journal: Journal) -> Record:
    contents = [download.read(path, most_bytes=MOST_BYTES) for path in item.sources]
    hashes = {path: sha256(content) for path, content in zip(item.sources, contents, strict=True)}
    if record := journal.find(item, hashes):
        return record
    made = item.make(contents)
    return journal.write(item, made.files, hashes, dict(made.row))


def _list_unused(download: Download, plan: Plan, findings: list[Finding]) -> list[str]:
    """The files of a download that are neither used nor named in a finding."""
    used = {path for item in plan.items for path in item.sources} | {finding.file for finding in findings}
    return [path for path in download.members if path not in used]


def _write_tables(
    folder: Path, name: str, plan: Plan, records: list[Record], findings: list[Finding], not_used: list[str]
) -> None:
    if plan.columns:
        write_csv(folder / PAIRS, (record.row for record in records), columns=plan.columns)
    source = SOURCES[name]
    document = {
        "program": "tumortrace",
        "version": __version__,
        "source": name,
        "title": source.title,
        "rule": source.rule,
        "files": [{"sha256": record.files, "made_from": record.sources} for record in records],
        "left_out": [asdict(finding) for finding in findings],
        "not_used": not_used,
    }
    if plan.columns:
        document["pairs_sha256"] = sha256((folder / PAIRS).read_bytes())
    write_json(folder / PREPARATION, document)
