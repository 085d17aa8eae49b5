"""What an import costs: no heavy library comes in before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELP = """
import tumortrace.cli
from typer.testing import CliRunner
assert CliRunner().invoke(tumortrace.cli.app, ["--help"]).exit_code == 0
"""
HEAVY = ("torch", "matplotlib", "ray", "fastapi", "pydicom", "nibabel", "highdicom", "gdcm", "scipy", "onnx", "h5py")


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import tumortrace",
        HELP,
        "import tumortrace.inference.batch.folder, tumortrace.inference.model",
        "import tumortrace.copies.survey, tumortrace.copies.splits",
        "import tumortrace.data.scans",
        "import tumortrace.sources.prepare",
    ],
)
def test_heavy_libraries_stay_out(code):
    loaded = modules_after(code)
    assert "tumortrace" in loaded
    assert not loaded.intersection(HEAVY)


def test_help_waits_for_no_picture_or_network():
    assert not modules_after(HELP).intersection({"numpy", "cv2", "onnxruntime"})


def test_segmenting_waits_for_no_dataset_or_phantom():
    loaded = modules_after("import tumortrace.cli, tumortrace.inference.batch.inputs")
    assert "tumortrace.inference.segmenter" in loaded
    assert not loaded.intersection({"tumortrace.api", "tumortrace.data.dataset", "tumortrace.phantoms.slices"})


def test_training_here_loads_nothing_of_ray():
    loaded = modules_after("import tumortrace.api, tumortrace.trials.sweep, tumortrace.trials.crossval")
    assert "torch" in loaded
    assert not loaded.intersection({"ray", "pyarrow"})


def test_monai_waits_for_a_loss_that_needs_it():
    code = (
        "import tumortrace.training.run; from tumortrace.training.losses import make_loss; make_loss('cross_entropy')"
    )
    loaded = modules_after(code)
    assert "torch" in loaded
    assert not loaded.intersection({"monai", "matplotlib"})


def test_the_probe_sees_a_heavy_library_when_there_is_one():
    assert "matplotlib" in modules_after("import tumortrace.reporting.figures")
