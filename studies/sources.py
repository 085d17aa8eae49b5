"""The sources of the shipped model: what is trained on, by rule, in four folds.

``python -m studies.sources DATA --out DIR`` reads the downloaded sources below DATA and writes to DIR, with links in
place of copies: ``brisc`` (images, masks, pairs.csv), ``br35h`` (TRAIN and VAL), ``tumour_free``, ``folds.json``
(``train --split DIR/folds.json --fold I``) and ``all.json`` (``train --split DIR/all.json``). ``figshare`` and ``lgg``
are read where they are. No rule uses a score:

- An outline that disagrees (Dice below 0.5) with more than half of the other outlines of its slice is left out. Where
  there are two outlines that disagree, neither stays.
- The folds of figshare are its author's; its groups, for intervals, are runs of his numbers. A slice of brisc follows
  its twin in figshare. Without a known twin it may show a patient of any fold: it is in no fold, only in ``all.json``.
- Patients of lgg, groups of copies of br35h and subjects of the tumour-free folders stay together. Tumour-free slices
  without a known subject are dealt out in runs of consecutive names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from tumortrace.cli import run_script
from tumortrace.copies.registration import lay_mask
from tumortrace.copies.split_files import FORMAT
from tumortrace.copies.splits import Split, SplitCase
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.data.dataset import Dataset, open_datasets
from tumortrace.data.fingerprint import hash_case
from tumortrace.data.masks import read_mask
from tumortrace.data.pairs import Pair, encode_pairs
from tumortrace.json_csv import read_csv, write_json
from tumortrace.metrics.overlap import count_pixels
from tumortrace.progress import track

FOLDS = ("1", "2", "3", "4")
DISAGREE = 0.5
"""Dice below which two outlines of a slice mean different structures."""

RUN = 13
"""Consecutive slices that count as one subject where it is unknown; figshare has 13 slices a patient, in order."""

Row = dict[str, str]


class Compared(NamedTuple):
    """Two outlines of one slice, by case id, and their Dice."""

    first: str
    second: str
    dice: float


def link_sources(data: Path, out: Path, brisc: Iterable[Row]) -> None:
    """Write the folders of links that ``open_datasets`` reads, and brisc's pairs.csv."""
    links = {f"br35h/{part}": f"br35h/{part}" for part in ("TRAIN", "VAL")}
    links |= {
        f"brisc/{kind}/{part}": f"brisc/{part}/{kind}" for kind in ("images", "masks") for part in ("train", "test")
    }
    links |= {f"tumour_free/{name}": f"no_tumour_extra/{name}" for name in ("healthy", "heads", "ms")}
    links |= {"tumour_free/no_tumour": "no_tumour"}
    for name, target in links.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if not (out / name).is_symlink():
            (out / name).symlink_to((data / target).resolve(), target_is_directory=True)
    rows = (
        Pair(_flat(row["image"]), _flat(row["mask"]), f"fold-{row['fold']}" if row["fold"] else f"group-{row['group']}")
        for row in brisc
    )
    (out / "brisc" / "pairs.csv").write_bytes(encode_pairs(list(rows)))


def open_linked(data: Path, out: Path) -> Dataset:
    """Return all slices of the sources.

    Args:
        data: Folder of the downloaded sources.
        out: Folder that this module wrote.
    """
    folders = [data / "figshare", out / "brisc", data / "lgg", out / "br35h"]
    return open_datasets(folders, negatives=out / "tumour_free")


def _flat(name: str) -> str:
    """Return ``train/images/x.jpg`` as ``train/x.jpg``, its name below ``images/``."""
    part, _, file = name.split("/")
    return f"{part}/{file}"


def compare_brisc(data: Path, rows: Iterable[Row]) -> list[Compared]:
    """Compare brisc's outlines of one slice with each other, and with figshare's (as published beside them)."""
    compared = []
    groups: dict[str, list[tuple[str, str, NDArray[np.bool_]]]] = defaultdict(list)
    for row in rows:
        case_id = _brisc_id(row)
        if row["outline_dice"]:
            number = int(row["twin_figshare"])
            compared.append(Compared(case_id, f"figshare/images/{number:04d}.jpg", float(row["outline_dice"])))
        groups[row["group"]].append((case_id, row["twin_transform"], read_mask(data / "brisc" / row["mask"])))
    for members in groups.values():
        for index, (first, turn, mask) in enumerate(members):
            for second, other_turn, other in members[:index]:
                mirrored = [turn != other_turn] if turn and other_turn else [False, True]
                laid = [other[:, ::-1] if turned else other for turned in mirrored]
                compared.append(Compared(first, second, max(count_pixels(one, mask).dice for one in laid)))
    return compared


def _brisc_id(row: Row) -> str:
    return f"brisc/images/{_flat(row['image'])}"


def group_br35h(records: tuple[CaseRecord, ...]) -> tuple[dict[str, str], list[Compared]]:
    """Return the group of copies of each slice of br35h, and its outlines compared with those of its copies."""
    survey = survey_cases(records)
    names = [case.record.case_id for case in survey.cases]
    compared = []
    for pair in survey.pairs:
        first, second = survey.cases_of(pair)
        laid = lay_mask(second.truth(), pair.to_second, first.size_hw)
        compared.append(Compared(names[pair.first], names[pair.second], count_pixels(laid, first.truth()).dice))
    return dict(zip(names, survey.groups, strict=True)), compared


def find_untrue(compared: Iterable[Compared]) -> dict[str, str]:
    """Return the outlines that disagree with more than half of the others of their slice, each with the reason."""
    agreeing: dict[str, list[bool]] = defaultdict(list)
    for first, second, dice in compared:
        for name in (first, second):
            agreeing[name].append(dice >= DISAGREE)
    return {
        name: f"disagrees (Dice below {DISAGREE}) with {votes.count(False)} of {len(votes)} other outlines"
        for name, votes in sorted(agreeing.items())
        if 2 * votes.count(False) > len(votes)
    }


def deal_out(groups: Iterable[str]) -> dict[str, str]:
    """Return a fold for each group: the largest group first, each to the fold with the fewest slices.

    Args:
        groups: Name of each slice's group.
    """
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    filled = dict.fromkeys(FOLDS, 0)
    fold_of = {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold = min(FOLDS, key=lambda each: (filled[each], each))
        filled[fold] += sizes[group]
        fold_of[group] = fold
    return fold_of


def name_subjects(data: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the subject of each tumour-free slice, by case id; a run of consecutive names where it is unknown."""
    rows = read_csv(data / "no_tumour_extra" / "sources.csv")
    known = {f"tumour_free/{row['file']}": row["subject"] for row in rows}
    seen: dict[str, int] = defaultdict(int)
    subjects = {}
    for name in sorted(names):
        folder = name.split("/")[1]
        seen[folder] += not known.get(name)
        subjects[name] = f"{folder}/{known.get(name) or (seen[folder] - 1) // RUN}"
    return subjects


def assign_folds(
    data: Path, dataset: Dataset, brisc: Iterable[Row], br35h: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return group and fold of each slice by case id; the fold is empty where a slice belongs to none."""
    placed: dict[str, tuple[str, str]] = {}
    for row in brisc:
        number = row["twin_figshare"]
        placed[_brisc_id(row)] = (figshare_group(int(number)) if number else f"brisc-{row['group']}", row["fold"])
    for row in read_csv(data / "figshare" / "pairs.csv"):
        placed[f"figshare/images/{row['image']}"] = figshare_group(int(Path(row["image"]).stem)), row["fold"]
    others = {record.case_id: record.patient or "" for record in dataset.records if record.source == "lgg"}
    folders: dict[str, dict[str, str]] = {"lgg": others, "br35h": dict(br35h)}
    subjects = name_subjects(data, (r.case_id for r in dataset.records if r.source == "tumour_free"))
    for name, subject in subjects.items():
        folders.setdefault(name.split("/")[1], {})[name] = subject
    for group_of in folders.values():
        fold_of = deal_out(group_of.values())
        placed |= {name: (group, fold_of[group]) for name, group in group_of.items()}
    return placed


def figshare_group(number: int) -> str:
    """Return the group of a slice of figshare by its number; the numbers rise patient by patient."""
    return f"figshare-{number // RUN}"


def write_splits(dataset: Dataset, placed: Mapping[str, tuple[str, str]], untrue: Mapping[str, str], out: Path) -> None:
    """Write ``folds.json`` and ``all.json``."""
    left_out = dict(untrue)
    cases = []
    for record, case, findings in track(read_cases(dataset.records), "Hashing", total=len(dataset.records)):
        if case is None:
            left_out[record.case_id] = findings[0].line()
        elif record.case_id not in untrue:
            group, fold = placed[record.case_id]
            cases.append(SplitCase(record.case_id, hash_case(case), fold, group))
    foldless = {case.file: "no twin: may show a patient of any fold" for case in cases if not case.side}
    folds = Split(tuple(case for case in cases if case.side), "groups", tuple((left_out | foldless).items()))
    whole = tuple(SplitCase(case.file, case.sha256, "train", case.group) for case in cases)
    for name, split in {"folds": folds, "all": Split(whole, "groups", tuple(left_out.items()))}.items():
        document: dict[str, object] = {"format": FORMAT, "by": split.by, "sides": _describe(split, dataset)}
        document["left_out"] = [{"file": file, "reason": reason} for file, reason in split.left_out]
        document["cases"] = [case.__dict__ for case in split.cases]
        write_json(out / f"{name}.json", document)


def _describe(split: Split, dataset: Dataset) -> dict[str, dict[str, int]]:
    source_of = {record.case_id: record.source for record in dataset.records}
    counts: dict[str, dict[str, int]] = {side: defaultdict(int) for side in split.sides}
    for case in split.cases:
        counts[case.side][source_of[case.file]] += 1
    return counts


def main(data: Path, out: Annotated[Path, typer.Option(help="Folder for the links and the splits.")]) -> None:
    """Write the sources and their splits; print what each rule left out."""
    brisc = read_csv(data / "brisc" / "pairs.csv")
    link_sources(data, out, brisc)
    dataset = open_linked(data, out)
    br35h, compared = group_br35h(tuple(r for r in dataset.records if r.source == "br35h"))
    untrue = find_untrue([*compare_brisc(data, brisc), *compared])
    write_splits(dataset, assign_folds(data, dataset, brisc, br35h), untrue, out)
    for source in sorted({record.source for record in dataset.records}):
        print(f"{source}: {sum(name.startswith(f'{source}/') for name in untrue)} outlines left out")


if __name__ == "__main__":
    run_script(main)
