"""A shipped model with the recipe and scores of a new calibration.

``python tools/recalibrate_weights.py NAME --groups FOLDER --split FILE`` takes the threshold, temperature and
confidence, and the scores, from a folder of ``studies.calibrate``, and writes them into ``NAME.onnx`` and ``NAME.json``
in ``src/tumortrace/weights``. The weights stay.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import onnx
import typer

from tools.publish_weights import SCORED_ON, WEIGHTS, read_rows, score, write_card
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.files import write_atomically
from tumortrace.inference.onnx_file import RECIPE, SEAL, seal
from tumortrace.inference.recipe import recipe_from_json, recipe_to_json


def main(
    name: str, groups: Annotated[Path, typer.Option()], split: Annotated[Path | None, typer.Option()] = None
) -> None:
    """Write recipe and scores."""
    path = WEIGHTS / f"{name}.onnx"
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != SEAL}
    shipped = recipe_from_json(properties[RECIPE])
    fitted = replace(load_config(str(groups / "calibrated.toml")).recipe, size_hw=shipped.size_hw)
    onnx.helper.set_model_props(model, properties | {RECIPE: recipe_to_json(fitted)})
    data = seal(model.SerializeToString())
    document = json.loads((WEIGHTS / f"{name}.json").read_text()) | {
        "sha256": hashlib.sha256(data).hexdigest(),
        "scores": score(read_rows(groups, split), []),
        "scored_on": SCORED_ON[name],
    }
    write_atomically(path, data)
    write_card(name, document)
    print(f"before: {shipped}\nnow: {fitted}")


if __name__ == "__main__":
    run_script(main)
