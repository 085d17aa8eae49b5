from __future__ import annotations

import contextlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tumortrace.web.archives import is_zip, unpack_zip
from tumortrace.web.limits import Limits, RefusalError, Unpacked

Add = Callable[[zipfile.ZipFile], object]


def make(tmp_path: Path, *adds: Add, **options: int) -> Path:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for add in adds:
            add(archive)
    return path


def entry(name: str, data: bytes = b"data", **fields: int) -> Add:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        for key, value in fields.items():
            setattr(info, key, value)
        archive.writestr(info, data)

    return add


def refuse(tmp_path: Path, path: Path, **limits: int) -> RefusalError:
    """Unpack; nothing may be written before the refusal."""
    target = tmp_path / "target"
    with pytest.raises(RefusalError) as refused:
        unpack_zip(path, target, name="study.zip", limits=Limits(**limits), unpacked=Unpacked())
    assert not target.exists()
    assert str(refused.value).startswith("study.zip: ")
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_name_that_is_not_said_to_be_utf_8_is_read_as_such(tmp_path):
    """As macOS and Info-ZIP write it; zipfile reads these bytes as cp437."""
    path = make(tmp_path, entry("K__pfe/IM1"))
    path.write_bytes(path.read_bytes().replace(b"K__pfe", "K\u00f6pfe".encode()))
    assert unpack_zip(path, tmp_path / "target", name="study.zip", limits=Limits(), unpacked=Unpacked()) == 1
    assert (tmp_path / "target/K\u00f6pfe/IM1").read_bytes() == b"data"


def test_files_are_unpacked_below_the_folder(tmp_path):
    path = make(
        tmp_path, entry("a/IM1", b"1"), entry("a\\IM2", b"2"), entry("b.nii.gz", b"\x1f\x8b3"), entry("c/", b"")
    )
    assert is_zip(path)
    assert unpack_zip(path, tmp_path / "target", name="study.zip", limits=Limits(), unpacked=Unpacked()) == 3
    found = {str(one.relative_to(tmp_path / "target")): one.read_bytes() for one in (tmp_path / "target").rglob("*.*")}
    assert found == {"b.nii.gz": b"\x1f\x8b3"}
    assert (tmp_path / "target/a/IM2").read_bytes() == b"2"


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "..\\evil",
        "C:/evil",
        "C:evil",
        "a/b\x01.png",
        "x" * 300,
        "a\u202egnp.exe",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    assert refuse(tmp_path, make(tmp_path, entry("good.png"), entry(name))).status == 415


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    assert "link or device" in str(refuse(tmp_path, make(tmp_path, entry("a", external_attr=(kind | 0o777) << 16))))


def test_bombs_are_refused_by_what_they_promise(tmp_path):
    path = make(tmp_path, entry("bomb", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 2000
    assert refuse(tmp_path, path, unpacked_bytes=10**5).limit == "unpacked_bytes"


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_says(tmp_path):
    path = make(tmp_path, entry("bomb", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED))
    data = path.read_bytes().replace((10**6).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(RefusalError, match="cannot be unpacked"):
        unpack_zip(path, tmp_path / "target", name="study.zip", limits=Limits(unpacked_bytes=5000), unpacked=Unpacked())
    assert sum(one.stat().st_size for one in (tmp_path / "target").rglob("*")) <= 1000


def test_too_many_entries_are_refused_before_their_list_is_read(tmp_path, monkeypatch):
    path = make(tmp_path, *(entry(f"{index}", b"") for index in range(30)))
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    assert refuse(tmp_path, path, parts=20).limit == "parts"


def test_a_long_list_of_few_entries_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = make(tmp_path, entry("a", b"", extra=b"\x00\x00\xf0\xff" + bytes(0xFFF0)))  # type: ignore[arg-type]
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    assert refuse(tmp_path, path, parts=20).limit == "parts"


def tar_bytes() -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a"))
        return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("inner.zip", b"PK\x03\x04"),
        ("picture.png", b"PK\x03\x04 is what its bytes say"),
        ("a.gz", b"\x1f\x8b"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c"),
        ("a.rar", b"Rar!\x1a\x07"),
        ("a.tar", tar_bytes()),
        ("a.xz", b"\xfd7zXZ\x00"),
    ],
)
def test_archives_within_are_refused(tmp_path, name, data):
    assert "itself an archive" in str(refuse(tmp_path, make(tmp_path, entry("good.png"), entry(name, data))))


def test_encrypted_repeated_empty_rare_and_damaged_ones_are_refused(tmp_path):
    path = make(tmp_path, entry("a"))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[directory + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in str(refuse(tmp_path, path))
    with pytest.warns(UserWarning, match="Duplicate"):
        path = make(tmp_path, entry("a"), entry("a"))
    assert "comes twice" in str(refuse(tmp_path, path))
    assert "comes twice" in str(refuse(tmp_path, make(tmp_path, entry("a"), entry("A"))))
    assert "empty" in str(refuse(tmp_path, make(tmp_path)))
    assert "rare method" in str(refuse(tmp_path, make(tmp_path, entry("a", compress_type=zipfile.ZIP_LZMA))))
    path = make(tmp_path, entry("a", b"data" * 100))
    path.write_bytes(path.read_bytes()[:-30])
    assert "truncated" in str(refuse(tmp_path, path))


def test_damaged_content_is_refused(tmp_path):
    path = make(tmp_path, entry("a", b"data" * 100))
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    with pytest.raises(RefusalError, match="cannot be unpacked"):
        unpack_zip(path, tmp_path / "target", name="study.zip", limits=Limits(), unpacked=Unpacked())


def test_zip64_is_refused(tmp_path):
    path = make(tmp_path, entry("a"))
    data = path.read_bytes()
    end = data.index(b"PK\x05\x06")
    path.write_bytes(data[:end] + b"PK\x06\x07" + bytes(16) + data[end:])
    assert "zip64" in str(refuse(tmp_path, path))


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_zips_are_unpacked_or_refused_and_never_a_bug(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = make(folder, entry("a/IM1", b"1" * 50, compress_type=zipfile.ZIP_DEFLATED), entry("b", b"2"))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(RefusalError):
        unpack_zip(path, folder / "target", name="study.zip", limits=Limits(), unpacked=Unpacked())
    assert all(one.is_relative_to(folder) for one in folder.rglob("*"))
    assert not (folder.parent / "evil").exists()
