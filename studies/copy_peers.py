"""Compare the search for copies with other tools, on the same planted copies.

1. ``python -m studies.copy_peers plant lgg --out planted`` writes the slices into ``planted/train`` and 100 changed
   copies of each kind into ``planted/test``, and what tumortrace finds into ``planted/tumortrace.json``.
2. ``python studies/copy_peers_foreign.py planted``, in an environment with imgleakcheck, cleanvision and imagededup,
   writes what these find, a JSON file each.
3. ``python -m studies.copy_peers score planted`` prints the table.

Two slices are strangers if the dataset names different patients for them. Where a tool gives a distance, a second
column, marked with a star, takes the largest threshold that joins at most one pair of strangers in 100,000. No user
could know it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from studies.planted_copies import PLANTED, PLANTS, Picture, are_strangers, count_cpu_seconds
from tumortrace.copies.find import find_copies
from tumortrace.copies.signatures import measure_signature, stack_signatures
from tumortrace.data.dataset import open_dataset
from tumortrace.data.png_writing import write_png
from tumortrace.data.slice_file import read_slice
from tumortrace.json_csv import write_json
from tumortrace.progress import track
from tumortrace.training.encoder import EfficientNetLite, load_pretrained

FALSE_SHARE = 1e-5
"""Pairs of strangers that may be joined, as a fraction of all pairs of strangers."""

app = typer.Typer(add_completion=False)


@app.command()
def plant(data: Path, out: Annotated[Path, typer.Option()]) -> None:
    """Write slices and planted copies, then search with tumortrace and with an ImageNet embedding."""
    records = open_dataset(data).records
    pictures = [read_slice(record.image_path).pixels for record in records]
    chosen = np.random.default_rng(0).permutation(len(pictures))[:PLANTED].tolist()
    rows = []
    planted: list[Picture] = []
    for kind, (name, change) in enumerate(PLANTS.items()):
        rng = np.random.default_rng(1)
        for index in chosen:
            rows.append({"file": f"{kind:02d}_{index:05d}.png", "change": name, "of": f"{index:05d}.png"})
            planted.append(np.ascontiguousarray(change(pictures[index], rng)))
    for index, picture in enumerate(pictures):
        write_png(out / "train" / f"{index:05d}.png", picture)
    for row, picture in zip(rows, planted, strict=True):
        write_png(out / "test" / row["file"], picture)
    patients = {f"{index:05d}.png": record.patient or "" for index, record in enumerate(records)}
    write_json(out / "planted.json", {"planted": rows, "patients": patients})
    names = [row["file"] for row in rows]
    for tool, search in (("tumortrace", _search_ours), ("ImageNet embedding", _search_embedding)):
        started = count_cpu_seconds()
        pairs = search(pictures, planted)
        seconds = count_cpu_seconds() - started
        listed = [(names[row], f"{column:05d}.png", float(distance)) for row, column, distance in pairs]
        write_json(out / f"{tool}.json", {"seconds": seconds, "pairs": listed})


@app.command()
def score(folder: Path) -> None:
    """Print the table: copies found of each kind, pairs of strangers, seconds."""
    document = json.loads((folder / "planted.json").read_text())
    columns: dict[str, dict[str, int]] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: (path.stem != "tumortrace", path.name)):
        if path.name != "planted.json":
            found = json.loads(path.read_text())
            columns |= _score_tool(path.stem, found, document)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["100 planted copies", *columns])
    for row in next(iter(columns.values())):
        writer.writerow([row, *(column[row] for column in columns.values())])


Found = list[tuple[int, int, float]]
"""Index of a planted copy, index of a slice, and their distance: lower is more similar."""


def _search_ours(pictures: list[Picture], planted: list[Picture]) -> Found:
    signatures = stack_signatures(map(measure_signature, pictures))
    copies = find_copies(stack_signatures(map(measure_signature, planted)), signatures)
    return [(pair.first, pair.second, 1 - pair.similarity) for pair in copies]


def _search_embedding(pictures: list[Picture], planted: list[Picture]) -> Found:
    """Compare pooled EfficientNet-Lite0 features by cosine distance, as general tools for near-duplicates do."""
    encoder = EfficientNetLite("efficientnet-lite0")
    load_pretrained(encoder)
    encoder.eval()
    known, asked = (np.stack([_embed(encoder, each) for each in track(some, "Embedding", total=len(some))])
                    for some in (pictures, planted))  # fmt: skip
    distances = 1 - asked @ known.T
    rows, columns = np.nonzero(distances < 0.3)
    return [(int(row), int(column), float(distances[row, column])) for row, column in zip(rows, columns, strict=True)]


@torch.no_grad()
def _embed(encoder: EfficientNetLite, picture: Picture) -> NDArray[np.float32]:
    image = torch.from_numpy(picture.astype(np.float32))[None, None] / 255
    small = torch.nn.functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=True)
    vector = encoder(2 * small - 1)[-1].mean(dim=(2, 3))[0].numpy()
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def _score_tool(tool: str, found: dict[str, Any], document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the column of a tool at its own threshold, and at the best one if it gives distances."""
    own = found.get("threshold", float("inf"))
    columns = {tool: _count(found, document, lambda distance: distance <= own)}
    if tool != "tumortrace" and len({distance for *_, distance in found["pairs"]}) > 1:
        best = _choose_threshold(found, document)
        columns[f"{tool} *"] = _count(found, document, lambda distance: distance <= best)
        if tool == "ImageNet embedding":
            del columns[tool]  # it has no threshold of its own
    return columns


def _choose_threshold(found: dict[str, Any], document: dict[str, Any]) -> float:
    """Return the largest distance at which at most ``FALSE_SHARE`` of the pairs of strangers are joined."""
    origin = {row["file"]: row["of"] for row in document["planted"]}
    patients = document["patients"]
    false = sorted(
        distance for test, train, distance in found["pairs"] if are_strangers(patients[origin[test]], patients[train])
    )
    pairs = sum(are_strangers(patients[name], other) for name in origin.values() for other in patients.values())
    allowed = int(FALSE_SHARE * pairs)
    return np.nextafter(false[allowed], -1) if len(false) > allowed else float("inf")


def _count(found: dict[str, Any], document: dict[str, Any], near: Callable[[float], bool]) -> dict[str, int]:
    origin = {row["file"]: row["of"] for row in document["planted"]}
    patients = document["patients"]
    kept = [(test, train) for test, train, distance in found["pairs"] if near(distance)]
    # A neighbouring slice of the same scan may be as near as the slice itself: that counts as found.
    right = {test for test, train in kept if origin[test] == train or patients[origin[test]] == patients[train] != ""}
    rows = dict.fromkeys(PLANTS, 0)
    for row in document["planted"]:
        rows[row["change"]] += row["file"] in right
    strangers = sum(are_strangers(patients[origin[test]], patients[train]) for test, train in kept)
    return rows | {"pairs of strangers": strangers, "CPU seconds": round(found["seconds"])}


if __name__ == "__main__":
    app()
