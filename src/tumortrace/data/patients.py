"""Patient columns of tables, and equal names of patients."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from tumortrace.data.parts import part_of
from tumortrace.data.tables import column_key

PATIENT_COLUMNS = (
    "patient",
    "patient_id",
    "patient_name",
    "patient_number",
    "pid",
    "subject",
    "subject_id",
    "participant",
    "participant_id",
)
"""Headers of the column that names the patient, whatever their case, blanks and underscores."""

_UNKNOWN = frozenset({"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"})
_KEYS = frozenset(map(column_key, PATIENT_COLUMNS))
_FOLDER = re.compile(r"(patient|pat|subject|subj|sub|case|p)[ _-]?\d\w*", flags=re.IGNORECASE)
_CONTRAST = re.compile(r"t[12][ _-]?[a-z]*\+?c?", flags=re.IGNORECASE)  # T1, T2w, T1ce, T1+C, t2_flair
_DIVISION = re.compile(r"(fold|split|batch|set|subset|part|group|class|grade)[ _-]?\d+", flags=re.IGNORECASE)


def read_patient(cell: str) -> str | None:
    """The patient's name in a cell: composed letters, outer blanks removed, inner ones single; None if unknown."""
    visible = "".join(c for c in unicodedata.normalize("NFC", cell) if unicodedata.category(c) not in {"Cf", "Cc"})
    name = " ".join(visible.split())
    return None if name.casefold() in _UNKNOWN else name


def find_patient(attributes: Mapping[str, object]) -> str | None:
    """The patient that the attributes of an image name."""
    values = (value for name, value in attributes.items() if column_key(str(name)) in _KEYS)
    return next((name for value in values if isinstance(value, str | int) and (name := read_patient(str(value)))), None)


def find_patients_by_folder(images: Iterable[str]) -> dict[str, str]:
    """The patients that the folders of images name, by the image; none unless there are two patients or more."""
    patients = {image: patient for image in images if (patient := patient_of_folder(image))}
    return patients if len(set(patients.values())) > 1 else {}


def patient_of_folder(image: str) -> str | None:
    """The patient that the folder of an image names.

    A folder names a patient if its images begin with its name (``TCGA_CS_4941/TCGA_CS_4941_3.tif``), or if it or one
    above it is called as patients are (``patient 12``, ``sub-07``, ``p3``).
    """
    *folders, name = PurePosixPath(image).parts
    for distance, folder in enumerate(reversed(folders)):
        # A class is named without a number, a contrast with that of its weighting, and a fold with its own.
        numbered = any(character.isdecimal() for character in folder)
        numbered = numbered and not _CONTRAST.fullmatch(folder) and not _DIVISION.fullmatch(folder)
        begins = re.match(re.escape(folder) + "[ _-]", name, re.IGNORECASE)
        if _FOLDER.fullmatch(folder) or (begins and numbered and distance == 0):
            return read_patient(folder)
    return None


def lie_apart(one: str, other: str) -> bool:
    """Whether the folders of two files name different parts or different patients, so that the files are of two images.

    Args:
        one: Path of a file within the dataset.
        other: Path of the other.
    """
    part, other_part = part_of(one), part_of(other)
    return bool(part and other_part and part != other_part) or name_two_patients(one, other)


def name_two_patients(one: str, other: str) -> bool:
    """Whether the folders of two paths name different patients, in any letter case."""
    patient, other_patient = patient_of_folder(one), patient_of_folder(other)
    return bool(patient and other_patient and patient.casefold() != other_patient.casefold())
