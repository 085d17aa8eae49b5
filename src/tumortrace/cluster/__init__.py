"""Work on a Ray cluster; the only room that imports ray."""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before ray is imported, which reports usage to its makers by default
