"""One run at a time writes into a folder, and the lock of a killed one is gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tumortrace import locks
from tumortrace.errors import DataError
from tumortrace.locks import LOCK, hold_folder, lock_folder, lock_shard, refuse_locked


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


def test_a_folder_is_checked_without_a_lock_of_its_own(tmp_path: Path):
    refuse_locked(tmp_path / "new/out")
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path), pytest.raises(DataError, match="another run of tumortrace is writing there"):
        refuse_locked(tmp_path)
    with lock_shard(tmp_path, 1, 2), pytest.raises(DataError, match="shard 1 of 2 is writing there"):
        refuse_locked(tmp_path)
    (tmp_path / LOCK).touch()  # of a killed run
    refuse_locked(tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path):
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "unmounted")
    with pytest.raises(DataError, match=r"out: a link that leads nowhere; correct the link"), lock_folder(link):
        pytest.fail("opened")
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("place", ["notes.txt", "notes.txt/deep/out"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, place: str):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"notes.txt: a file, where a folder is to be"), lock_folder(tmp_path / place):
        pytest.fail("opened")


def test_a_folder_without_permission_is_named_before_anything_is_made(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)  # root may write everywhere
    with pytest.raises(DataError, match=r": no permission to write there"), lock_folder(tmp_path / "new/out"):
        pytest.fail("opened")
    assert list(tmp_path.iterdir()) == []


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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nobody."""
    monkeypatch.setattr(locks, "START_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_shards_of_one_run_share_a_folder_and_keep_all_others_out(tmp_path: Path):
    folder = tmp_path / "out"
    with lock_shard(folder, 1, 3), lock_shard(folder, 3, 3):
        with pytest.raises(DataError, match=r"out: shard \d of 3 is writing there"), lock_folder(folder):
            pytest.fail("a run without shards")
        with pytest.raises(DataError, match="out: shard 1 of 3 is writing there"), lock_shard(folder, 1, 3):
            pytest.fail("the same shard twice")
        with pytest.raises(DataError, match=r"out: shard \d of 3 is writing there"), lock_shard(folder, 1, 2):
            pytest.fail("another number of shards")
        with lock_shard(folder, 2, 3):
            assert len(list(folder.iterdir())) == 3
    assert not folder.exists()
    with lock_folder(folder), pytest.raises(DataError, match="another run"), lock_shard(folder, 1, 3):
        pytest.fail("beside a run without shards")
    with lock_shard(folder, 1, 2):
        pass


def test_who_starts_waits_for_who_merges(tmp_path: Path):
    held = threading.Event()

    def merge() -> None:
        with hold_folder(tmp_path, seconds=0):
            held.set()
            time.sleep(0.2)

    merging = threading.Thread(target=merge)
    merging.start()
    assert held.wait(5)
    started = time.monotonic()
    with lock_shard(tmp_path, 1, 2):
        assert 0.1 < time.monotonic() - started < 5
    merging.join()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_shard_is_gone(tmp_path: Path):
    (tmp_path / ".tumortrace-1-of-7.lock").touch()
    with lock_folder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
