"""The slices that earlier models were trained on, and those they held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tumortrace.copies.leakage import Leak, find_leaks
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex, join, load_training_index
from tumortrace.data.findings import Finding, warning
from tumortrace.evaluation.provenance import shipped_ancestors, trace_training
from tumortrace.improvement.sides import Ties, pull
from tumortrace.inference.model import Model, open_model
from tumortrace.json_csv import Document, read_json

DOCUMENT = Path("improvement.json")
"""What an improvement began with and what came of it, in the run folder."""

FROZEN = Path("held_out.npz")
"""Thumbnails of the held-out slices, of this run and of those before it, by which their copies are recognised later."""


def tie_to(models: Sequence[Model], survey: Survey) -> Ties:
    """Return what ties the cases of a survey to training slices and held-out slices of models.

    Args:
        models: Models from ``open_model``; the shipped models that they descend from count as well.
        survey: The cases.

    Raises:
        DataError: An index beside a model is damaged.
    """
    held_out: dict[str, Leak] = {}
    trained: dict[str, Leak] = {}
    for model in _with_ancestors(models):
        _merge(trained, trace_training(model, survey).find_leaks(survey))
    for index in map(_frozen_index, models):
        if index is not None:
            _merge(held_out, find_leaks(survey, index))
    return Ties(held_out, trained)


def _frozen_index(model: Model) -> TrainingIndex | None:
    """Return the slices that a model's run held out, those of the runs before it included; None without any."""
    path = model.path.with_name(FROZEN.name)
    return load_training_index(path) if path.is_file() else None


def join_frozen(own: TrainingIndex, models: Sequence[Model]) -> TrainingIndex:
    """Return the held-out slices of a run together with those of the models before it."""
    for index in map(_frozen_index, models):
        own = join(index, own) if index is not None else own
    return own


def find_missing(models: Sequence[Model], ties: Ties) -> list[Finding]:
    """Name the corrected cases that earlier runs held out and that are not among the cases any more.

    Args:
        models: Models whose runs held out cases.
        ties: Ties of the cases.
    """
    nearest = {leak.nearest for leak in ties.held_out.values()}
    indices = [index for index in map(_frozen_index, models) if index is not None]
    named = [pair for each in indices for pair in zip(each.names, each.hashes, each.pictures, strict=True)]
    # Of files that show the same, only one is the nearest.
    shown = {digest for name, *digests in named if name in nearest for digest in digests if digest}
    missing = {name for name, *digests in named if name not in nearest and shown.isdisjoint(digests)}
    cause, remedy = "was held out by an earlier run, and is not in the data given", "give its folder as well"
    names = sorted(name for name in missing if not name.startswith("replay/"))
    return [warning("held-out-missing", name, cause, remedy) for name in names]


def read_json_or_empty(path: Path) -> Document:
    """Return what a JSON file of a run holds; empty if it is missing or damaged."""
    try:
        return dict(read_json(path))
    except (OSError, TypeError, ValueError):
        return {}


def _with_ancestors(models: Sequence[Model]) -> list[Model]:
    named = {model.sha256: model for model in models}
    for name in sorted({name for model in models for name in shipped_ancestors(model)}):
        shipped = open_model(name)
        named.setdefault(shipped.sha256, shipped)
    return list(named.values())


def _merge(known: dict[str, Leak], more: dict[str, Leak]) -> None:
    """Add ties; of two of a case the closer one stays."""
    for name, leak in more.items():
        if pull(leak) > pull(known.get(name)):
            known[name] = leak
