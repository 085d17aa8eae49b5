"""Folders of requests: a killed server's go at the next start, those of a running one and of others stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumortrace.web import request_folder
from tumortrace.web.request_folder import PREFIX, _lock, _make_folder, remove_abandoned

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders are not locked on Windows")

PROGRAM = """
import sys, time
from tumortrace.web.request_folder import _make_folder
folder, _ = _make_folder()
(folder / "scan").mkdir()
(folder / "scan/a.png").write_bytes(b"a slice")
print(folder, flush=True)
time.sleep(60)
"""


def test_the_folder_of_a_killed_server_goes_and_that_of_a_running_one_stays(temporary: Path):
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        assert folder.parent == temporary
        assert remove_abandoned() == 0
        assert (folder / "scan/a.png").read_bytes() == b"a slice"
        other.kill()
        other.wait()
    assert remove_abandoned() == 1
    assert list(temporary.iterdir()) == []


def test_what_a_server_did_not_make_stays(temporary: Path):
    (temporary / "tumortrace-other").mkdir()
    (temporary / f"{PREFIX}file").write_bytes(b"a file")
    (temporary / f"{PREFIX}link").symlink_to(temporary / "tumortrace-other")
    assert remove_abandoned() == 0
    assert len(list(temporary.iterdir())) == 3


def test_the_folder_of_another_user_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    (temporary / f"{PREFIX}x").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345 + os.getuid())
    assert remove_abandoned() == 0
    assert (temporary / f"{PREFIX}x").is_dir()


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_that_another_server_takes_for_abandoned_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, *, finished: bool
):
    """The other server finds it before it is locked; it has removed it by then, or is about to."""
    taken: list[Path] = []

    def lock_late(folder: Path) -> int | None:
        if not taken:
            taken.append(folder)
            if not finished:
                raise BlockingIOError
            folder.rmdir()
        return _lock(folder)

    monkeypatch.setattr(request_folder, "_lock", lock_late)
    folder, lock = _make_folder()
    assert folder.parent == temporary
    assert folder.is_dir()
    assert folder != taken[0]
    assert lock is not None
    assert taken[0].exists() == (not finished)
    os.close(lock)


def test_where_folders_cannot_be_locked_they_are_used_all_the_same(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(request_folder, "_lock", lambda _: None)
    folder, lock = _make_folder()
    assert folder.parent == temporary
    assert (folder.is_dir(), lock) == (True, None)
    assert remove_abandoned() == 0
