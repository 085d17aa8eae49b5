"""Names and sidecars of BIDS derivatives (Brain Imaging Data Structure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import PurePosixPath

from tumortrace import __version__
from tumortrace.inference.model import Model
from tumortrace.json_csv import Document

DESCRIPTION = "dataset_description.json"
"""Name of the file that says what a BIDS folder holds."""

VERSION = "1.10.0"
"""Version of BIDS that names and sidecars follow."""

_ENTITY = re.compile(r"(sub|ses|sample|task|acq|ce|rec|dir|run|echo|part|chunk)-([A-Za-z0-9]+)")
_SPACE = "space-orig_label-lesion"


def name_derivatives(names: Sequence[str]) -> list[str]:
    """Name the results of volumes as BIDS derivatives, without the ending ``_mask.nii.gz``.

    Entities of a source that is named by BIDS are kept. Another source gets the next free number as its subject: its
    own name may be that of a patient.

    Args:
        names: Names of the volumes, paths with forward slashes and no suffix.

    Returns:
        Paths such as ``sub-01/anat/sub-01_space-orig_label-lesion``, each once: sources of one subject whose other
        entities are equal differ in ``desc-``, their suffix, and in a number if that is equal too.
    """
    found = [_read_entities(name) for name in names]
    taken = {entities["sub"] for entities in found if entities}
    numbers = (f"{number:03}" for number in range(1, len(names) + len(taken) + 1))
    free = (number for number in numbers if number not in taken)
    stems = [_join(entities or {"sub": next(free)}) for entities in found]
    suffixes = [PurePosixPath(name).name.rpartition("_")[2] for name in names]
    described: list[str] = []
    for stem, suffix in zip(stems, suffixes, strict=True):
        description = "".join(filter(str.isalnum, suffix)) if stems.count(stem) > 1 else ""
        plain = f"{stem}_desc-{description}" if description else stem
        numbered = (f"{stem}_desc-{description}{number}" for number in count(len(described)))
        described.append(next(name for name in chain([plain], numbered) if name not in described))
    return described


def describe_dataset(model: Model) -> Document:
    """Return the content of ``dataset_description.json``.

    Args:
        model: Model that made the masks.
    """
    return {
        "Name": "Tumour masks by tumortrace",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": _generated_by(model),
    }


def describe_mask(sources: Sequence[str], model: Model) -> Document:
    """Return the sidecar of a mask.

    Args:
        sources: Files that the mask was made from.
        model: Model that made it.
    """
    return {
        "Sources": list(sources),
        "SpatialReference": "orig",
        "Type": "Lesion",
        "Description": "Brain tumour: 1 inside, 0 elsewhere. Research use only.",
        "GeneratedBy": _generated_by(model),
    }


def _generated_by(model: Model) -> list[Document]:
    return [{"Name": "tumortrace", "Version": __version__, "Description": f"model {model.name}, {model.sha256}"}]


def _read_entities(name: str) -> dict[str, str]:
    """Entities of a file named by BIDS, in the order of the standard; empty if it names no subject."""
    parts = PurePosixPath(name).name.split("_")
    pairs = [_ENTITY.fullmatch(part) for part in parts]
    entities = {match[1]: match[2] for match in pairs if match}
    return entities if "sub" in entities else {}


def _join(entities: Document) -> str:
    folder = f"sub-{entities['sub']}/" + (f"ses-{entities['ses']}/" if "ses" in entities else "")
    return f"{folder}anat/" + "_".join([*(f"{key}-{value}" for key, value in entities.items()), _SPACE])
