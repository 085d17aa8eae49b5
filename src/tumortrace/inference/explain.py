"""Why a picture or slice could not be segmented, in one line."""

from __future__ import annotations

from tumortrace.errors import TumortraceError, is_shortage, printable


def explain_failure(error: Exception, path: str) -> str:
    """Say in one line that names the file why it could not be segmented.

    Args:
        error: Error that reading or segmenting raised.
        path: Path of the file.
    """
    if isinstance(error, TumortraceError):
        return str(error) if printable(path) in str(error) else f"{path}: {error}"
    if is_shortage(error):
        return f"{path}: not enough memory for this picture; reduce its size or free memory"
    if isinstance(error, OSError):
        return f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
    cause = " ".join(str(error).split())
    return f"{path}: cannot be segmented ({type(error).__name__}: {cause}); save it again as PNG"
