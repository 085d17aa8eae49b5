"""The models that a new one has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tumortrace.errors import ConfigError
from tumortrace.improvement.lineage import DOCUMENT, read_json_or_empty
from tumortrace.inference.folder_default import read_folder_default
from tumortrace.inference.model import Model, open_model


@dataclass(frozen=True, eq=False)
class Models:
    """The models that a new one has to beat.

    Attributes:
        start: The model that training starts from.
        default: The default of the folder, or the shipped one; None if it is the same model.
    """

    start: Model
    default: Model | None

    @property
    def all(self) -> list[Model]:
        """Both, or the one."""
        return [self.start, *([self.default] if self.default else [])]


def open_models(start_from: str | None, *, out: Path, resume: bool) -> Models:
    """Open the model to start from and the default of the folder that the run lies in.

    Args:
        start_from: The model to start from; None takes the default of the folder, which is the shipped one at first.
            A resumed run knows its own.
        out: The run folder.
        resume: Whether the run in the folder is continued.

    Raises:
        ConfigError: The run to resume began from another model, or is no improvement.
        ModelError: A model cannot be opened.
    """
    pointer = read_folder_default(out.parent)
    begun = read_json_or_empty(out / DOCUMENT) if resume else {}
    if resume and "from" not in begun:
        raise ConfigError(
            f"{out}: no improvement to resume (no {DOCUMENT}); improve without --resume into another --out"
        )
    if pointer is not None and pointer.model.resolve() != out.resolve():
        default = str(pointer.model)
    else:
        default = (begun.get("default_before") or begun.get("from", {})).get("path", "default")
    start = open_model(start_from or (begun["from"]["path"] if begun else default))
    if resume and start.sha256 != begun["from"]["sha256"]:
        raise ConfigError(f"{out}: began from {begun['from']['name']}, which is another model or changed; omit --from")
    incumbent = open_model(default)
    return Models(start, None if incumbent.sha256 == start.sha256 else incumbent)
