"""The notebooks of ``notebooks/``, run on generated data and committed small.

``python -m tools.notebooks`` runs each in a new kernel and an empty folder, and writes it back with its output: without
times, machine paths and messages of progress.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
SECONDS = re.compile(r"\d+(?:\.\d+)? (?:s|min)\b")
BYTES = 220_000
"""Largest notebook that is committed."""


def main() -> int:
    """Run and write every notebook; return the exit status."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = run_notebook(path)
        path.write_text(nbformat.writes(strip_notebook(notebook)) + "\n", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


def run_notebook(path: Path) -> NotebookNode:
    """Run a notebook in a new kernel and an empty folder.

    Args:
        path: The notebook.

    Raises:
        CellExecutionError: A cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
        hide(notebook, folder)
    return notebook


def hide(notebook: NotebookNode, folder: str) -> None:
    """Replace the folder that a notebook ran in by a dot, in all text that it printed."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text" in output:
                output.text = output.text.replace(folder, ".")
            if "text/plain" in output.get("data", {}):
                output.data["text/plain"] = output.data["text/plain"].replace(folder, ".")


def strip_notebook(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs from run to run: times, messages of progress, and metadata of the machine."""
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "text" in output:
                    output.text = SECONDS.sub("... s", output.text)
    return notebook


if __name__ == "__main__":
    sys.exit(main())
