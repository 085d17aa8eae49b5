"""Tests of the room that imports ray; they are skipped where it is not installed."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import studies.cluster_nodes  # noqa: F401 - sets what ray reads when it is imported
