"""Work on a Ray cluster; the only room that imports ray."""

import os

# Before ray is imported: it reports usage to its makers by default, and writes lines of its own to stderr.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_BACKEND_LOG_LEVEL="fatal")
