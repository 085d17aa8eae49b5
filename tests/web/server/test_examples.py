"""The curl commands of docs/server.md, run against a server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tumortrace.web.limits import Limits
from tumortrace.web.protocol import DEADLINES
from tumortrace.web.sample import encode_sample

PAGE = (Path(__file__).parents[3] / "docs/server.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"^(curl .*?)(?: +#.*)?$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)), flags=re.MULTILINE
)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    scan_png: bytes,
    dicom_series: dict[str, bytes],
    make_zip: Callable[..., bytes],
) -> Path:
    """The files that the page names."""
    folder = tmp_path_factory.mktemp("examples")
    files = {
        "head.png": scan_png,
        "other.png": scan_png,
        "scan.nii.gz": encode_sample(),
        "study.zip": make_zip(dicom_series),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_work(command, folder, base_url):
    line = command.replace("curl ", "curl -sS --fail-with-body ", 1).replace("http://127.0.0.1:8080", base_url)
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, timeout=120, check=False)  # noqa: S602 - our own
    assert done.returncode == 0, done.stderr + done.stdout
    if "ndjson" in command:
        assert [json.loads(line)["type"] for line in done.stdout.splitlines()][-1] == "end"
    elif " -o " in command:
        assert (folder / re.search(r" -o (\S+)", command)[1]).stat().st_size > 100
    else:
        assert json.loads(done.stdout)


def test_the_page_has_commands():
    assert len(COMMANDS) >= 10


def test_the_page_states_the_limits():
    limits = Limits()
    text = " ".join(PAGE.split())
    for stated in (
        f"{limits.request_bytes // 2**20} MiB",
        f"{limits.unpacked_bytes // 2**30} GiB unpacked",
        f"{limits.parts:,} files",
        f"{limits.pixels // 10**6} million pixels in a picture",
        f"{limits.slices:,} slices",
        f"{limits.voxels // 10**6} million pixels in all",
        f"{limits.queue} requests are under way",
        f"takes over {limits.work_seconds:g} s",
        f"{DEADLINES.header_s:g} s for its header",
        f"within {DEADLINES.window_s:g} s",
        f"{DEADLINES.body_bytes // 1024} KiB of a body",
        f"{DEADLINES.reply_bytes // 1024} KiB of a reply",
    ):
        assert stated in text
