"""Weights and card of the prompted model in the package, from a run.

``python -m tools.publish_boxes RUN --scores DIR --split FILE`` takes encoder and decoder of the run and the scores of
``studies.prompted`` on held-out slices. It writes ``box-encoder.onnx`` and ``box-decoder.onnx``, the weights in half
precision, and ``box.json`` into ``src/tumortrace/weights``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import onnx
import typer

from tools.publish_weights import DATA, LICENCE, SOURCES, WEIGHTS, write_card
from tumortrace.cli import run_script
from tumortrace.copies.split_files import read_split
from tumortrace.files import write_atomically
from tumortrace.inference.model import BOX_MODEL
from tumortrace.inference.onnx_file import CARD, SEAL, seal
from tumortrace.json_csv import read_csv
from tumortrace.metrics.aggregate import interval_bounds
from tumortrace.metrics.intervals import mean_interval
from tumortrace.run_folder import BOX_DECODER, BOX_ENCODER, MANIFEST
from tumortrace.training.half import store_onnx_in_half

LIMITS = (
    "Research only, not a medical device: no mask may decide about a patient.",
    "It outlines what the box means and does not judge whether that is a tumour.",
    "It was not tested on children, infarcts, haemorrhages, abscesses or scans after surgery.",
)
STAGE = (
    "tumortrace train DATA/figshare sources/brisc DATA/lgg sources/br35h --negatives sources/tumour_free "
    "--split sources/folds.json --fold 4 --config box --set training.threads=1"
)
RETRAIN = f"{SOURCES} && {STAGE} --out runs/box (stages of the shipped weights: docs/results/prompted.md)"


def main(run: Path, scores: Annotated[Path, typer.Option()], split: Annotated[Path, typer.Option()]) -> None:
    """Write the model and its card."""
    groups = {case.file: case.group for case in read_split(split).cases}
    for name in (BOX_DECODER, BOX_ENCODER):
        model = onnx.load(run / name)
        properties = {entry.key: entry.value for entry in model.metadata_props if entry.key != SEAL}
        card = json.loads(properties[CARD]) | {"name": BOX_MODEL}
        renewed = {CARD: json.dumps(card, sort_keys=True)}
        onnx.helper.set_model_props(model, properties | renewed)  # it drops what it is not given
        store_onnx_in_half(model)
        data = seal(model.SerializeToString())
        write_atomically(WEIGHTS / name, data)
        print(f"{WEIGHTS / name}: {len(data) / 2**20:.1f} MiB")
    write_card(BOX_MODEL, describe(run, scores, groups, sha256=_hash_both()))


def _hash_both() -> str:
    """The hash of the model, which is that of its files' hashes."""
    hashes = [hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() for name in (BOX_ENCODER, BOX_DECODER)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def describe(run: Path, scores: Path, group_of: Mapping[str, str], *, sha256: str) -> dict[str, Any]:
    """Return the card."""
    manifest = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    cases = manifest["data"]["train"]["cases"]
    counts = {source: sum(case.startswith(f"{source}/") for case in cases) for source in DATA}
    return {
        "sha256": sha256,
        "summary": "What a loose box and clicks mean on one 2D brain MR slice (a light network, EfficientNet-Lite0)",
        "intended_use": "research and teaching; outlining tumours with a few clicks",
        "limits": LIMITS,
        "data": [{**DATA[source], "cases": count} for source, count in counts.items() if count],
        "data_sha256": manifest["data"]["train"]["sha256"],
        "licence": LICENCE,
        "retrain": RETRAIN,
        "scored_on": "slices of fold 4, of which the model was trained on no slice, no copy and no patient",
        "scores": {
            f"mean Dice, box {name} too wide on each side": score(scores / "boxes.csv", box, group_of)
            for name, box in (("15 %", "0.15"), ("30 %", "0.3"))
        },
    }


def score(path: Path, box: str, group_of: Mapping[str, str]) -> dict[str, Any]:
    """Return mean Dice, interval over the split's groups and number of slices by source, for boxes of one looseness."""
    rows = [row for row in read_csv(path) if row["way"] == "box" and row["box"] == box]
    described = {}
    for source in sorted({row["source"] for row in rows}):
        dices = [float(row["dice"]) for row in rows if row["source"] == source]
        groups = [group_of[row["file"]] for row in rows if row["source"] == source]
        interval = interval_bounds(mean_interval(dices, groups))
        described[source] = {"value": sum(dices) / len(dices), "ci95": interval, "n": len(dices)}
    return described


if __name__ == "__main__":
    run_script(main)
