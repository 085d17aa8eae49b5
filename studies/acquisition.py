"""How well plane and contrast are recognised, and the weights that do it.

``python -m studies.acquisition DATA`` takes the folder that holds ``figshare``, ``brisc``, ``lgg``, ``no_tumour_extra``
and ``brats2013``. Subjects are held out in turn (those of a source that names none all together), then whole
sources. It writes ``docs/results/tables/acquisition_*.csv`` and, from all slices,
``src/tumortrace/weights/acquisition.npz``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tumortrace.cli import run_script
from tumortrace.data.slice_file import read_slice
from tumortrace.data.upright import turn_upright
from tumortrace.files import write_atomically
from tumortrace.inference.acquisition import CLIP, CONTRASTS, LOWEST, PLANES, rate
from tumortrace.inference.acquisition_features import draw_head, measure_contrast_features, measure_plane_features
from tumortrace.json_csv import read_csv, write_csv
from tumortrace.progress import track
from tumortrace.wording import percent

TABLES = Path("docs/results/tables")
WEIGHTS = Path("src/tumortrace/weights/acquisition.npz")
FOLDS, BATCH, STEPS, HIDDEN = 5, 256, 600, 64
NOISE = 0.1
"""Standard deviation of the noise on standardised features in training."""

SHORT = {
    "BRISC 2025 no_tumor (Kaggle pictures)": "kaggle heads",
    "BRISC 2025 no_tumor (looks like IXI)": "ixi",
    "NiChart demo_dataset": "nichart",
    "Pardoe hippocampus-amygdala set": "pardoe",
    "neurolabusc/dcm_qa_decubitus": "decubitus",
    "neurolabusc/dcm_qa_uih": "uih",
    "rii-mango/Papaya": "papaya",
    "Baghdad MS data (Muslim et al. 2022)": "baghdad ms",
    "Ljubljana longitudinal MS data (open_ms_data)": "ljubljana ms",
}
"""Short names of the sources of ``no_tumour_extra``."""

SEQUENCES = {"T1": "T1", "T1 (MP2RAGE, 7 T)": "T1", "T2": "T2", "FLAIR": "FLAIR", "flair": "FLAIR"}

NAMES = {"plane": PLANES, "contrast": CONTRASTS}
MEASURES = {"plane": measure_plane_features, "contrast": measure_contrast_features}


@dataclass(frozen=True)
class Labelled:
    """A slice with its source, subject, plane and contrast; plane and contrast are empty where they are unknown."""

    path: Path
    source: str
    subject: str
    plane: str
    contrast: str


@dataclass(frozen=True, eq=False)
class Measured:
    """Features of all slices, plain and mirrored, by kind; shape (N, F) each."""

    plain: dict[str, NDArray[np.float64]]
    mirrored: dict[str, NDArray[np.float64]]


def list_slices(data: Path) -> list[Labelled]:
    """List the slices whose plane or contrast is known, each picture once."""
    return [*_list_t1_with_contrast(data), *_list_tumour_free(data), *_list_lgg(data)]


def _list_t1_with_contrast(data: Path) -> Iterator[Labelled]:
    contrast = CONTRASTS[1]
    for row in read_csv(data / "figshare" / "pairs.csv"):
        path = data / "figshare" / "images" / row["image"]
        yield Labelled(path, "figshare", f"figshare fold {row['fold']}", row["plane"], contrast)
    for row in read_csv(data / "brisc" / "pairs.csv"):
        if not row["fold"]:  # the others show slices of figshare
            yield Labelled(data / "brisc" / row["image"], "figshare", "brisc without a twin", row["plane"], contrast)


def _list_tumour_free(data: Path) -> Iterator[Labelled]:
    for row in read_csv(data / "no_tumour_extra" / "sources.csv"):
        source, plane = SHORT[row["source"]], row["plane"].replace("oblique", "")
        path, subject = data / "no_tumour_extra" / row["file"], f"{source} {row['subject']}"
        yield Labelled(path, source, subject, plane, SEQUENCES.get(row["sequence"], ""))


def _list_lgg(data: Path) -> Iterator[Labelled]:
    for row in read_csv(data / "lgg" / "pairs.csv"):
        yield Labelled(data / "lgg" / "images" / row["image"], "lgg", row["patient"], "axial", "FLAIR")


def list_brats(data: Path) -> list[Labelled]:
    """List the skull-stripped slices that took no part in any choice."""
    folder = data / "brats2013"
    return [
        Labelled(
            folder / "images" / row["image"],
            "brats2013",
            row["patient"],
            "axial",
            SEQUENCES.get(row["sequence"], CONTRASTS[1]),
        )
        for row in read_csv(folder / "pairs.csv")
    ]


def measure(slices: list[Labelled]) -> Measured:
    """Measure all slices; none of them is blank."""
    plain: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in NAMES}
    mirrored: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in NAMES}
    for each in track(slices, "Measuring", total=len(slices)):
        head = draw_head(turn_upright(read_slice(each.path).pixels))
        if head is None:
            raise ValueError(f"{each.path}: is blank")
        for kind, measure_head in MEASURES.items():
            plain[kind].append(measure_head(head))
            mirrored[kind].append(measure_head(np.ascontiguousarray(head[:, ::-1])))
    return Measured(
        {kind: np.array(rows) for kind, rows in plain.items()},
        {kind: np.array(rows) for kind, rows in mirrored.items()},
    )


def label(slices: list[Labelled], kind: str) -> NDArray[np.intp]:
    """Return the number of each slice's name; -1 where it is unknown."""
    names = NAMES[kind]
    return np.array([names.index(name) if (name := getattr(each, kind)) in names else -1 for each in slices])


def weigh(labels: NDArray[np.intp], sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the chance of each slice: names equally, and within a name sources by the root of their number."""
    weights = np.zeros(len(labels))
    for name in np.unique(labels):
        for source in np.unique(sources[labels == name]):
            chosen = (labels == name) & (sources == source)
            weights[chosen] = chosen.sum() ** -0.5
        weights[labels == name] /= weights[labels == name].sum()
    return weights / weights.sum()


def fit(
    measured: Measured, kind: str, labels: NDArray[np.intp], sources: NDArray[np.str_], chosen: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """Fit the network of one kind to the chosen slices and their mirror images, on one thread, from seed 0."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sides = measured.plain[kind][chosen], measured.mirrored[kind][chosen]
    mean, deviation = sides[0].mean(axis=0), sides[0].std(axis=0) + 1e-2
    tensors = [torch.tensor(np.clip((each - mean) / deviation, -CLIP, CLIP), dtype=torch.float32) for each in sides]
    truths, chances = torch.tensor(labels[chosen]), torch.tensor(weigh(labels[chosen], sources[chosen]))
    network = _build(kind, len(mean))
    learning_rate, decay = (1e-3, 0.3) if kind == "plane" else (2e-3, 0.1)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=decay)
    for step in range(STEPS):
        drawn = torch.multinomial(chances, BATCH, replacement=True)
        inputs = tensors[step % 2][drawn]
        loss = nn.functional.cross_entropy(network(inputs + NOISE * torch.randn(inputs.shape)), truths[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    arrays = {f"{kind}_mean": mean, f"{kind}_deviation": deviation}
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(layers):
        arrays[f"{kind}_weights_{number}"] = layer.weight.detach().numpy().T
        arrays[f"{kind}_bias_{number}"] = layer.bias.detach().numpy()
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def _build(kind: str, inputs: int) -> nn.Sequential:
    if kind == "plane":
        return nn.Sequential(nn.Linear(inputs, len(PLANES)))
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, len(CONTRASTS)))


def hold_out(
    measured: Measured, kind: str, slices: list[Labelled], folds: NDArray[np.str_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the labels, and the probabilities from networks that were fitted on the other folds."""
    labels, sources = label(slices, kind), np.array([each.source for each in slices])
    probabilities = np.full((len(slices), len(NAMES[kind])), np.nan)
    for fold in np.unique(folds[labels >= 0]):
        here = folds == fold
        weights = fit(measured, kind, labels, sources, (labels >= 0) & ~here)
        probabilities[here] = rate(measured.plain[kind][here], weights, kind)
    return labels, probabilities


def tabulate(
    kind: str, keys: list[str], labels: NDArray[np.intp], probabilities: NDArray[np.float64], *, column: str
) -> list[dict[str, object]]:
    """List for each key the slices, those that get a name, and how many of these are right."""
    best, named = probabilities.argmax(axis=1), probabilities.max(axis=1) >= LOWEST[kind]
    rows = []
    for key in sorted(set(keys)):
        here = np.array([each == key for each in keys]) & (labels >= 0)
        if not here.any():
            continue
        right = (best == labels)[here & named]
        others = best[here & named][~right]
        rows.append(
            {
                column: key,
                "n": int(here.sum()),
                "most likely name right": _per_cent((best == labels)[here]),
                "named": _per_cent(named[here]),
                "right of the named": _per_cent(right) if right.size else "",
                "named instead": ", ".join(
                    f"{NAMES[kind][name]} {np.sum(others == name)}" for name in np.unique(others)
                ),
            }
        )
    return rows


def _per_cent(hits: NDArray[np.bool_]) -> str:
    return percent(float(hits.mean()), 1)


def _write(name: str, rows: list[dict[str, object]]) -> None:
    write_csv(TABLES / f"acquisition_{name}.csv", rows, columns=tuple(rows[0]))
    for row in rows:
        print(name, *row.values(), sep=" | ")


def divide_subjects(slices: list[Labelled]) -> NDArray[np.str_]:
    """Divide the subjects into folds at random."""
    subjects = np.random.default_rng(0).permutation(sorted({each.subject for each in slices}))
    folds = {subject: str(number % FOLDS) for number, subject in enumerate(subjects)}
    return np.array([folds[each.subject] for each in slices])


def main(data: Path) -> None:
    """Print and write the tables, and write the weights."""
    slices, brats = list_slices(data), list_brats(data)
    measured, unseen = measure(slices), measure(brats)
    sources = np.array([each.source for each in slices])
    final: dict[str, NDArray[np.float32]] = {}
    stripped: list[dict[str, object]] = []
    for kind in NAMES:
        names = [getattr(each, kind) for each in slices]
        by_subject = hold_out(measured, kind, slices, divide_subjects(slices))
        _write(f"{kind}_subjects", tabulate(kind, names, *by_subject, column=kind))
        by_source = hold_out(measured, kind, slices, sources)
        pairs = [f"{source}: {name}" if name else "" for source, name in zip(sources, names, strict=True)]
        _write(f"{kind}_sources", tabulate(kind, pairs, *by_source, column="held-out source"))
        labels = label(slices, kind)
        weights = fit(measured, kind, labels, sources, labels >= 0)
        final |= weights
        names = [getattr(each, kind) for each in brats]
        probabilities = rate(unseen.plain[kind], weights, kind)
        stripped += tabulate(kind, names, label(brats, kind), probabilities, column="name")
    _write("brats", stripped)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **final)
    write_atomically(WEIGHTS, packed.getvalue())
    print(f"{WEIGHTS}: {len(packed.getvalue()) / 1024:.0f} KiB")


if __name__ == "__main__":
    run_script(main)
