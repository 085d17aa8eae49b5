"""Sections of a report on training runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tumortrace.config import load_config
from tumortrace.data.names import natural_key
from tumortrace.errors import DataError
from tumortrace.json_csv import read_json
from tumortrace.reporting import html
from tumortrace.reporting.charts import draw_fold_losses
from tumortrace.reporting.figures import draw_run_losses, read_metrics
from tumortrace.reporting.html import Section
from tumortrace.run_folder import CONFIG, MANIFEST, METRICS
from tumortrace.wording import counted, describe_seconds


def find_runs(folder: Path, name: str) -> dict[str, Path]:
    """Return the finished runs in a folder by name: the folder itself, or the folds of a cross-validation."""
    runs = {name: folder} if (folder / MANIFEST).is_file() else {}
    folds = (path.parent for path in folder.glob(f"fold-*/{MANIFEST}"))
    return runs | {fold.name: fold for fold in sorted(folds, key=lambda fold: natural_key(fold.name))}


def run_sections(runs: Mapping[str, Path]) -> list[Section]:
    """Show where the weights come from: one run, or all folds."""
    return [
        Section("Training curves", _draw_curves(runs)),
        Section("Training data", _describe_training(runs)),
        Section("Settings", _show_settings(runs)),
        Section("Manifest", _show_manifests(runs)),
    ]


def _draw_curves(runs: Mapping[str, Path]) -> Markup:
    if len(runs) == 1:
        (folder,) = runs.values()
        figure = draw_run_losses(folder, kept_epoch=int(_load_manifest(folder)["kept_epoch"]))
        return html.chart(figure, alt="Loss by epoch", caption="Loss by epoch of the run.")
    loss = load_config(str(next(iter(runs.values())) / CONFIG)).training.loss
    figure = draw_fold_losses({name: read_metrics(folder / METRICS) for name, folder in runs.items()}, loss=loss)
    caption = "Losses of each fold by epoch. The held-out fold is not used in training."
    return html.chart(figure, alt="Losses by epoch of each fold", caption=caption)


def _describe_training(runs: Mapping[str, Path]) -> Markup:
    rows = []
    for name, folder in runs.items():
        manifest = _load_manifest(folder)
        data = manifest["data"]["train"]
        rows.append(
            [
                name,
                f"{counted(data['count'], 'case')}, {data['sha256'][:12]}",
                f"{manifest['parameters']:,}",
                f"{manifest['kept_epoch']}",
                describe_seconds(manifest["epoch_seconds"]),
                f"{manifest['device']}, seed {manifest['seed']}",
            ]
        )
    head = ["run", "trained on (sha256)", "parameters", "kept epoch", "time of epochs", "device"]
    return html.table(head, rows, text_columns=2)


def _show_settings(runs: Mapping[str, Path]) -> Markup:
    """Show the settings of the run; the folds of a cross-validation share theirs."""
    path = next(iter(runs.values())) / CONFIG
    try:
        return html.verbatim(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a run folder as train wrote it") from None


def _show_manifests(runs: Mapping[str, Path]) -> Markup:
    shown = Markup()
    for name, folder in runs.items():
        manifest = _load_manifest(folder)
        manifest.pop("findings", None)  # of the data: an evaluation has a section for them
        for part in ("train", "val"):
            manifest["data"][part].pop("cases", None)  # one hash per case: the file holds them
        shown += html.heading(name) + html.verbatim(json.dumps(manifest, indent=1))
    return shown


def _load_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = read_json(path)
        _ = manifest["data"]["train"]["count"], manifest["parameters"], manifest["kept_epoch"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: not a manifest of this version ({error}); give a run folder as train wrote it"
        ) from None
    return manifest
