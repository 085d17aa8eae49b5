"""The errors that a user sees: each is one line that says what failed, what was given and what to do."""

from __future__ import annotations

import importlib.util


class TumortraceError(Exception):
    """Something the user can mend. The command line prints its text as one line and ends with exit code 2."""


class ConfigError(TumortraceError):
    """A configuration file or a ``--set`` that does not say something tumortrace understands."""


class DataError(TumortraceError):
    """A dataset, picture or annotation file that cannot be used as a whole."""


class ModelError(TumortraceError):
    """A run folder or ONNX file that cannot be used as a model."""


def require_extra(module: str, *, extra: str, purpose: str) -> None:
    """Check that an optional library is installed before work starts that needs it.

    Args:
        module: Importable name, for example ``"matplotlib"``.
        extra: The extra of tumortrace that installs it, for example ``"report"``.
        purpose: What it is needed for, as the end of "... is needed to".

    Raises:
        TumortraceError: The library is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise TumortraceError(f"{module} is needed to {purpose}; install it with: pip install 'tumortrace[{extra}]'")
