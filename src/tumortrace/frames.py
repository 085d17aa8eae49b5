"""Results as pandas tables, where pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tumortrace.errors import TumortraceError

if TYPE_CHECKING:
    import pandas as pd


def make_frame(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows of equal keys as a pandas table.

    Raises:
        TumortraceError: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise TumortraceError("pandas is needed to make a table of results; install it with: pip install pandas")
    import pandas as pd  # noqa: PLC0415 - only where a table is asked for

    return pd.DataFrame(list(rows))
