"""The processor time of the search for planted copies."""

from __future__ import annotations

import subprocess
import sys

from studies.planted_copies import count_cpu_seconds

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def test_the_time_of_processes_that_help_counts():
    before = count_cpu_seconds()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert count_cpu_seconds() - before > 0.2
