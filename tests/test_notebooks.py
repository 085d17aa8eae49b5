"""The notebooks run on generated data, and are committed small and free of the machine that ran them."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from tools.notebooks import BYTES, NOTEBOOKS, hide, run_notebook, strip_notebook

ROOT = Path(__file__).parent.parent
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """All that the cells print, cell by cell."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]


@pytest.mark.parametrize("name", ["your_scan", "improve"])  # the third trains for longer: make docs-run
def test_a_notebook_runs_and_prints_what_was_committed(name: str):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert printed(strip_notebook(run_notebook(path))) == printed(nbformat.read(path, as_version=4))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_what_is_committed_is_small_whole_and_free_of_the_machine(path: Path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert len(text) <= BYTES
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any(cell.outputs for cell in code)
    assert not re.search(r"/(?:tmp|home|root|work|Users)/", text)
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.get("name") == "stderr" or output.output_type == "error" for output in outputs)


def test_every_notebook_is_linked_from_the_documentation():
    pages = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    assert len(PATHS) == 3
    assert all(f"notebooks/{path.name})" in pages for path in PATHS)


def test_folders_and_times_are_hidden():
    output = nbformat.v4.new_output("stream", name="stdout", text="wrote /x/y/run in 3.2 s")
    noise = nbformat.v4.new_output("stream", name="stderr", text="10 %")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output, noise])])
    hide(notebook, "/x/y")
    assert printed(strip_notebook(notebook)) == ["wrote ./run in ... s"]
