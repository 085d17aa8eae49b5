"""One run at a time writes into a folder, and the lock of a killed one is gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tumortrace.errors import DataError
from tumortrace.locks import LOCK, lock_folder


def test_a_folder_is_locked_until_the_block_ends(tmp_path: Path):
    folder = tmp_path / "new/out"
    with lock_folder(folder):
        with pytest.raises(DataError, match=r"out: another run of tumortrace is writing there"), lock_folder(folder):
            pytest.fail("locked twice")
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert not folder.exists()  # made for nothing
    with lock_folder(folder):
        (folder / "result.txt").touch()
    assert [path.name for path in folder.iterdir()] == ["result.txt"]
    with lock_folder(folder), lock_folder(tmp_path / "other"):
        pass


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path):
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "unmounted")
    with pytest.raises(DataError, match=r"out: a link that leads nowhere; correct the link"), lock_folder(link):
        pytest.fail("opened")
    assert not (tmp_path / "unmounted").exists()


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom tumortrace.locks import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert running.stdout is not None
    with running.stdout:
        assert running.stdout.readline().strip() == b"locked"
    with pytest.raises(DataError, match="another run"), lock_folder(tmp_path):
        pytest.fail("locked twice")
    running.kill()
    running.wait()
    with lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_the_file_system_has_no_locks_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("tumortrace.locks._lock", refuse)
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ends_while_another_one_starts_leaves_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = os.open
    first = lock_folder(tmp_path)
    first.__enter__()

    def open_and_let_the_first_end(*arguments: object) -> int:
        descriptor = opened(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "open", opened)
        first.__exit__(None, None, None)  # which removes the file that has just been opened
        return descriptor

    monkeypatch.setattr(os, "open", open_and_let_the_first_end)
    with lock_folder(tmp_path):
        assert (tmp_path / LOCK).is_file()
        with pytest.raises(DataError, match="another run"), lock_folder(tmp_path):
            pytest.fail("locked twice")
