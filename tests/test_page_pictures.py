"""The tool that takes pictures of the page, called wrongly."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_without_an_address_it_says_what_is_missing():
    pytest.importorskip("playwright", reason="playwright is not installed")
    command = [sys.executable, "-m", "tools.page_pictures"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "Missing argument 'address'" in ended.stderr
    assert "Traceback" not in ended.stderr
