"""The default model of a folder: a small file beside the runs that names one.

``improve`` writes it when a new model is better. Commands that segment read it where they are started; programs name
their model themselves, so that what a pipeline does never depends on the folder that it is started in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tumortrace.errors import ModelError
from tumortrace.json_csv import read_json, write_json
from tumortrace.run_folder import MODEL

POINTER = "tumortrace-default.json"
"""Name of the file."""

FORMAT = "tumortrace-default-1"

_PLACES = (Path(), Path("runs"))  # where a command looks: where it is started, and the usual folder of runs


@dataclass(frozen=True)
class FolderDefault:
    """The default model of a folder.

    Attributes:
        pointer: The file that names it.
        model: Its run folder.
        sha256: SHA-256 of its ONNX file.
        reason: The comparison that made it the default, as a sentence.
    """

    pointer: Path
    model: Path
    sha256: str
    reason: str

    def describe(self) -> str:
        """Return a line that names the model, the file, and the way back to the shipped one."""
        return (
            f"model: {self.model}, the default of this folder ({self.pointer}); --model default takes the shipped one"
        )


def read_folder_default(folder: Path) -> FolderDefault | None:
    """Return the default model that a folder names; None if it names none.

    Raises:
        ModelError: The file is damaged, or the model is gone or changed.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return None
    remedy = f"remove {POINTER}, or name a model"
    try:
        document = read_json(pointer)
        if document["format"] != FORMAT:
            raise ModelError(f"{pointer}: of format {document['format']!r}, not {FORMAT!r}; {remedy}")
        found = FolderDefault(pointer, folder / document["model"], document["sha256"], document["reason"])
    except OSError as error:
        raise ModelError(f"{pointer}: cannot be read ({error.strerror}); {remedy}") from None
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{pointer}: damaged, it names no model; {remedy}") from None
    if not (found.model / MODEL).is_file():
        raise ModelError(f"{pointer}: names {found.model}, and there is no {MODEL} there; {remedy}")
    if _hash_model(found.model) != found.sha256:
        raise ModelError(f"{pointer}: {found.model} changed since it became the default; {remedy}")
    return found


def find_folder_default() -> FolderDefault | None:
    """Return the default model of the folder that the program is started in, or of ``runs`` in it; None without one.

    Raises:
        ModelError: As ``read_folder_default``.
    """
    return next((found for place in _PLACES if (found := read_folder_default(place))), None)


def write_folder_default(run: Path, *, reason: str) -> Path:
    """Make a run the default of the folder that it lies in, and return the file that says so.

    The file is replaced in one step: a program that reads it sees the old model or the new one.

    Args:
        run: The run folder.
        reason: The comparison that decided, as a sentence.
    """
    pointer = run.parent / POINTER
    write_json(pointer, {"format": FORMAT, "model": run.name, "sha256": _hash_model(run), "reason": reason})
    return pointer


def _hash_model(run: Path) -> str:
    return hashlib.sha256((run / MODEL).read_bytes()).hexdigest()
