"""The audit of datasets: copies, leaks, agreement and faults.

Reads only; writes ``groups.csv``, ``audit.json`` and ``findings.json`` into a folder of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tumortrace.copies.across import compare_datasets, describe_datasets
from tumortrace.copies.agreement import describe_agreement, measure_agreement
from tumortrace.copies.compare import SAME_SLICE, CopyPair
from tumortrace.copies.lookup import HeadFrame, copy_mask
from tumortrace.copies.parts import count_leaks, count_shared, describe_leakage, describe_patients, list_uncompared
from tumortrace.copies.similarity import References
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import cut_head_mask
from tumortrace.copies.transforms import name_transform
from tumortrace.data.dataset import Dataset
from tumortrace.errors import DataError
from tumortrace.json_csv import Document, nan_to_none, read_json, write_csv, write_json
from tumortrace.machine import usable_cores
from tumortrace.metrics.aggregate import describe_values
from tumortrace.metrics.overlap import count_pixels

DOCUMENT, GROUPS, FINDINGS = "audit.json", "groups.csv", "findings.json"
GROUP_COLUMNS = ("file", "split", "group", "transform", "similarity", "nearest")

_EDGES = np.round(np.linspace(0, 1, 41), 3)
_LARGEST = 6


def audit_document(dataset: Dataset, survey: Survey) -> Document:
    """What ``audit.json`` holds.

    Args:
        dataset: Dataset as opened.
        survey: A survey of all its cases.
    """
    parts = Counter(case.record.part.upper() for case in survey.cases)
    annotated = any(case.packed_truth is not None for case in survey.cases)
    findings = (*dataset.findings, *survey.findings)
    patients, shared = describe_patients(survey), count_shared(survey)
    agreement = measure_agreement(survey) if annotated else None
    counts, _ = np.histogram([pair.similarity for pair in survey.scored], bins=_EDGES)
    document = {
        "root": str(dataset.root),
        "datasets": describe_datasets(survey),
        "n": len(survey.cases),
        "parts": dict(parts),
        "unannotated": sum(case.packed_truth is None for case in survey.cases),
        "blank": sum(case.is_blank for case in survey.cases),
        "groups": len({group for case, group in zip(survey.cases, survey.groups, strict=True) if not case.is_blank}),
        "pairs": len(survey.pairs),
        "same_slice": SAME_SLICE,
        "leaked": count_leaks(shared),
        "shared": shared,
        "similarities": {"edges": _EDGES.tolist(), "counts": counts.tolist()},
        "group_sizes": {str(size): n for size, n in sorted(Counter(Counter(survey.groups).values()).items())},
        "largest_groups": _describe_largest(survey),
        "agreement": describe_agreement(agreement),
        "across": compare_datasets(survey),
        "baselines": _describe_lookup(survey) if annotated else None,
        "patients": {"patients": patients["patients"], "images": patients["images"]},
        "patients_across_parts": patients["across_parts"],
        "not_compared": list_uncompared(survey, findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return dict(nan_to_none(document | {"leakage": describe_leakage(document)}))


def refuse_foreign_audit(out: Path) -> None:
    """Refuse to replace files that ``write_audit`` did not write.

    Raises:
        DataError: The folder holds one of the names without the ``audit.json`` of an audit.
    """
    there = [name for name in (DOCUMENT, GROUPS, FINDINGS) if (out / name).exists()]
    if not there:
        return
    try:
        document = read_json(out / DOCUMENT)
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict) or "same_slice" not in document:
        raise DataError(f"{out}: holds {there[0]}, but no audit of tumortrace; choose another --out")


def write_audit(document: Document, survey: Survey, out: Path) -> None:
    """Write ``audit.json``, by which the folder is known as that of an audit, ``groups.csv`` and ``findings.json``."""
    write_json(out / DOCUMENT, document)
    write_csv(out / GROUPS, group_rows(survey), columns=GROUP_COLUMNS)
    write_json(out / FINDINGS, document["findings"])


def _nearest_copies(survey: Survey) -> dict[int, CopyPair]:
    """Of each case that was registered with any other: the pair with the most similar one, the case being its first."""
    nearest: dict[int, CopyPair] = {}
    for pair in survey.scored:
        for each in (pair, pair.turned()):
            if each.first not in nearest or each.similarity > nearest[each.first].similarity:
                nearest[each.first] = each
    return nearest


def describe_pair(survey: Survey, pair: CopyPair) -> str:
    """How the first of two copies differs from the second, in a few words."""
    first, second = survey.cases_of(pair)
    return name_transform(
        first.thumbnail,
        second.thumbnail,
        first_hw=first.size_hw,
        second_hw=second.size_hw,
        to_second=pair.to_second,
    )


def group_rows(survey: Survey) -> list[dict[str, object]]:
    """Return one row an image: its group, and how it differs from the most similar other image."""
    nearest = _nearest_copies(survey)
    with ThreadPoolExecutor(usable_cores()) as pool:
        words = dict(zip(nearest, pool.map(lambda pair: describe_pair(survey, pair), nearest.values()), strict=True))
    rows: list[dict[str, object]] = []
    for index, (case, group) in enumerate(zip(survey.cases, survey.groups, strict=True)):
        row: dict[str, object] = {"file": case.record.case_id, "split": case.record.part.upper(), "group": group}
        pair = nearest.get(index)
        if pair is not None:
            row["transform"] = words[index] if pair.similarity >= SAME_SLICE else ""
            row |= {"similarity": f"{pair.similarity:.4f}", "nearest": survey.cases[pair.second].record.case_id}
        rows.append(row)
    return rows


def _describe_largest(survey: Survey) -> list[Document]:
    """The largest groups, with what shows whether they chain strangers together.

    ``linked_share`` is how many of a group's pairs are copies directly, and not only by way of others.
    """
    sizes = Counter(survey.groups)
    described = []
    for group, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST]:
        members = [case for case, name in zip(survey.cases, survey.groups, strict=True) if name == group]
        links = [pair.similarity for pair in survey.pairs if survey.groups[pair.first] == group]
        if size > 1:
            described.append(
                {
                    "group": group,
                    "size": size,
                    "parts": dict(Counter(case.record.part.upper() for case in members)),
                    "files": [case.record.case_id for case in members],
                    "lowest_similarity": round(min(links), 4),
                    "linked_share": round(len(links) / (size * (size - 1) / 2), 3),
                }
            )
    return described


def _describe_lookup(survey: Survey) -> Document | None:
    """Dice of copying the nearest TRAIN mask onto VAL and TEST, with no network at all."""
    cases, blocks = survey.cases, survey.blocks
    training = [index for index, case in enumerate(cases) if case.record.part == "train" and case.tumour_px]
    scored = [
        index
        for index, case in enumerate(cases)
        if case.record.part in ("val", "test") and case.packed_truth is not None
    ]
    if not training or not scored:
        return None
    dices = _score_lookup(survey, training, scored)
    leaked = {block for case, block in zip(cases, blocks, strict=True) if case.record.part == "train"}
    sides = {
        "all": scored,
        "leaked": [index for index in scored if blocks[index] in leaked],
        "clean": [index for index in scored if blocks[index] not in leaked],
    }
    return {
        "nearest_training_mask": {
            name: _describe_dice([dices[index] for index in chosen], [blocks[index] for index in chosen])
            for name, chosen in sides.items()
        }
    }


def _score_lookup(survey: Survey, training: Sequence[int], scored: Sequence[int]) -> dict[int, float]:
    """Dice of the mask of the most similar training case on each case, by the index of the case."""
    cases, signatures = survey.cases, survey.signatures
    references = References(signatures.heads(training))
    dices = {}
    for index, match in zip(scored, references.find_nearest(signatures.heads(scored)), strict=True):
        nearest = training[match.index]
        head_mask = cut_head_mask(cases[nearest].truth(), signatures.head_box_xywh(nearest))
        mask = copy_mask(match, head_mask, HeadFrame(cases[index].size_hw, signatures.head_box_xywh(index)))
        dices[index] = count_pixels(mask, cases[index].truth()).dice
    return dices


def _describe_dice(dices: list[float], blocks: list[str]) -> Document:
    """Describe the Dice of images; ``undefined`` of these ``n`` have none, and are not in the mean."""
    described = describe_values(dices, blocks)
    counts = {"n": len(dices), "undefined": described["undefined"]}
    return counts | {"mean_dice": described["mean"], "ci95": described["ci95"]}
