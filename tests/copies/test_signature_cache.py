"""The cache of signatures: found again by content, bounded, private, and never in the way."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies import signature_cache
from tumortrace.copies.signature_cache import SWITCH, find_cache_folder, open_signatures
from tumortrace.copies.signatures import Signature, measure_signature

DrawHead = Callable[..., NDArray[np.uint8]]
VALUES = [0.06, -0.4, -0.85, 1.92, 0.03, -1.6, -1.52, 1.08]  # of two windows, at rows and columns 0 and 48


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Turn the cache on in a folder of its own; return the file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(SWITCH, "")
    return tmp_path / "tumortrace" / "signatures.sqlite"


class Measured:
    """Signatures that were measured and not looked up, counted."""

    def __init__(self) -> None:
        self.count = 0

    def measure(self, pixels: NDArray[np.uint8]) -> Signature:
        self.count += 1
        return measure_signature(pixels)

    def all(self, *pictures: NDArray[np.uint8]) -> list[Signature]:
        """Measure pictures by a cache that is opened for them."""
        with open_signatures(self.measure) as measure:
            return [measure(picture) for picture in pictures]


@pytest.fixture
def measured() -> Measured:
    return Measured()


def test_a_slice_is_measured_once_and_comes_back_the_same(draw_head: DrawHead, cache: Path, measured: Measured):
    head = draw_head(1)
    (first,), (second,) = measured.all(head), measured.all(head)
    assert measured.count == 1
    assert cache.is_file()
    assert np.array_equal(first.windows, second.windows)
    assert np.array_equal(first.boxes_xywh, second.boxes_xywh)
    assert np.array_equal(first.cut_ltrb, second.cut_ltrb)
    assert second.windows.dtype == np.float16


def test_content_and_shape_and_type_tell_slices_apart(draw_head: DrawHead, cache: Path, measured: Measured):
    del cache
    head = draw_head(1)
    changed = head.copy()
    changed[80, 60] ^= 1
    measured.all(head, changed, head.reshape(2 * head.shape[0], -1), head.astype(np.uint16), head.copy())
    assert measured.count >= 4
    before = measured.count
    measured.all(head, changed)
    assert measured.count == before


def test_what_was_measured_before_an_interruption_is_kept(draw_head: DrawHead, cache: Path, measured: Measured):
    del cache

    def interrupt() -> None:
        with open_signatures(measured.measure) as measure:
            measure(draw_head(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    measured.all(draw_head(1), draw_head(2))
    assert measured.count == 2


def test_the_oldest_make_room(draw_head: DrawHead, cache: Path, measured: Measured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signature_cache, "MOST_SLICES", 2)
    heads = [draw_head(seed) for seed in range(3)]
    measured.all(heads[0])
    measured.all(heads[1])
    measured.all(heads[0])  # used again, so the second is the oldest now
    measured.all(heads[2])
    with sqlite3.connect(cache) as connection:
        assert connection.execute("SELECT count(*) FROM signatures").fetchone() == (2,)
    assert measured.count == 3
    measured.all(heads[0], heads[2])
    assert measured.count == 3


def test_it_can_be_turned_off(draw_head: DrawHead, cache: Path, measured: Measured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SWITCH, "Off")
    measured.all(draw_head(1))
    with open_signatures(measured.measure) as measure:
        assert measure == measured.measure
    assert not cache.parent.exists()
    assert measured.count == 1


def test_a_damaged_file_is_made_anew(draw_head: DrawHead, cache: Path, measured: Measured):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"no database, but long enough to be read as the header of one" * 100)
    measured.all(draw_head(1))
    measured.all(draw_head(1))
    assert measured.count == 1


def test_a_damaged_entry_is_measured_again(draw_head: DrawHead, cache: Path, measured: Measured):
    measured.all(draw_head(1))
    with sqlite3.connect(cache) as connection:
        connection.execute("UPDATE signatures SET content = x'00'")
    measured.all(draw_head(1))
    assert measured.count == 2


def test_a_folder_that_cannot_be_made_is_no_obstacle(
    draw_head: DrawHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured
):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv(SWITCH, "")
    measured.all(draw_head(1))
    assert measured.count == 1


def test_a_user_without_a_home_has_no_cache(draw_head: DrawHead, monkeypatch: pytest.MonkeyPatch, measured: Measured):
    """A container may run under a number that no user has; ``Path.home`` then raises an error."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv(SWITCH, "")
    measured.all(draw_head(1))
    assert measured.count == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_its_owner_reads_it(draw_head: DrawHead, cache: Path, measured: Measured):
    measured.all(draw_head(1))
    assert cache.stat().st_mode & 0o077 == 0
    assert cache.parent.stat().st_mode & 0o077 == 0


def test_the_folder_follows_the_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache_folder() == tmp_path / "tumortrace"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert find_cache_folder() == tmp_path / "home" / ".cache" / "tumortrace"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert find_cache_folder() == tmp_path / "home" / "Library" / "Caches" / "tumortrace"


def test_the_number_of_the_method_is_raised_with_the_method(draw_head: DrawHead):
    """These values are those of METHOD 2: where they change, raise METHOD and write the new ones here."""
    signature = measure_signature(draw_head(1))
    assert signature_cache.METHOD == 2
    values = signature.windows[:, ::48, ::48].astype(float).ravel()
    assert signature.boxes_xywh[1].tolist() == [6, 13, 121, 151]
    assert values == pytest.approx(VALUES, abs=0.02)
