"""The package as a stranger gets it: built, installed without extras in an environment of its own, and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: object, cwd: Path) -> str:
    # The source tree must not be importable: only what the wheel holds counts.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that holds the wheel and what it requires, nothing more."""
    folder = tmp_path_factory.mktemp("plain")
    venv.create(folder, with_pip=True)
    (wheel,) = built.glob("*.whl")
    pins = ROOT / "constraints.txt"
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", pins, wheel, cwd=folder)
    return folder / "bin"


def test_wheel_and_sdist_hold_what_they_should(built):
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"tumortrace/configs/{name}.toml" for name in ("default", "narrow", "paper", "smoke")} <= names
    assert "tumortrace/py.typed" in names
    suffixes = ("onnx", "json", "safetensors")
    assert {f"tumortrace/weights/{name}.{suffix}" for name in ("default", "fast") for suffix in suffixes} <= names
    assert {"tumortrace/weights/box-encoder.onnx", "tumortrace/weights/box-decoder.onnx"} <= names
    assert "tumortrace/weights/LICENSE.txt" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "docs")) for name in names)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "Makefile", "constraints.txt", "tests/conftest.py"} <= inside


def test_plain_install_helps_informs_and_segments(installed, tiny_run, phantom_data, tmp_path):
    packages = {entry["name"] for entry in json.loads(run(installed / "pip", "list", "--format", "json", cwd=tmp_path))}
    assert not packages & {"torch", "matplotlib", "scipy", "onnx", "fastapi", "ray", "pydicom", "pydantic"}
    assert "segment" in run(installed / "tumortrace", "--help", cwd=tmp_path)
    assert "installed extras: none" in run(installed / "tumortrace", "info", cwd=tmp_path)
    model = tiny_run / "model.onnx"
    assert "recipe.size_hw: 48, 32" in run(installed / "tumortrace", "info", model, cwd=tmp_path)
    command = ["segment", phantom_data / "no_tumour", "--model", model, "--out", "masks", "--overlay", "--json"]
    results = json.loads(run(installed / "tumortrace", *command, cwd=tmp_path))
    assert [image["status"] for image in results["images"]] == ["ok"] * 3
    assert all((tmp_path / "masks" / image["mask"]).is_file() for image in results["images"])


def test_plain_install_splits_and_converts(installed, phantom_data, tmp_path):
    assert "Written to" in run(installed / "tumortrace", "split", phantom_data, "--out", "split.json", cwd=tmp_path)
    assert "cases written" in run(
        installed / "tumortrace", "convert", phantom_data, "coco", "--to", "coco", cwd=tmp_path
    )


def test_plain_install_takes_less_than_400_mb(installed):
    (packages,) = installed.parent.glob("lib/python*/site-packages")
    ours = (folder for folder in packages.iterdir() if not folder.name.startswith(("pip", "setuptools")))
    files = (path.stat() for folder in ours for path in (folder, *folder.rglob("*")))
    assert 100e6 < sum(file.st_blocks * 512 for file in files) < 400e6


def test_plain_install_segments_a_sample_from_the_shell_and_from_python(installed, tmp_path):
    assert "1 with a tumour" in run(installed / "tumortrace", "segment", "--sample", "--out", "try", cwd=tmp_path)
    program = (
        "import socket; socket.socket = socket.getaddrinfo = None\n"
        "from tumortrace import Segmenter\n"
        "prediction = Segmenter().predict('try/sample.png', spacing_mm=(0.5, 0.5))\n"
        "print(len(prediction.lesions), prediction.lesions[0].area_mm2 > 0, prediction.rejected)"
    )
    assert run(installed / "python", "-c", program, cwd=tmp_path) == "1 True False\n"


@pytest.mark.parametrize(
    ("command", "extra", "rest"),
    [
        ("audit", "report", ()),
        ("evaluate", "report", ()),
        ("compare", "report", ("other",)),
        ("report", "report", ()),
        ("train", "train", ()),
        ("sweep", "train", ()),
        ("crossval", "train", ()),
        ("improve", "train", ("--out", "run")),
        ("export", "train", ("--out", "model.onnx")),
        ("segment", "cluster", ("s3://bucket/scans",)),
    ],
)
def test_plain_install_says_what_a_command_needs(installed, phantom_data, tmp_path, command, extra, rest):
    done = subprocess.run(
        [str(installed / "tumortrace"), command, str(phantom_data), *rest],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    remedy = rf"install it with: pip install 'tumortrace\[{extra}\]'"
    assert re.fullmatch(rf"error: .*(torch|matplotlib|pyarrow) is needed.*; {remedy}\n", done.stderr), done.stderr
