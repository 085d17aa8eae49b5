"""The slices that a model was trained on, as far as they are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tumortrace.copies.described import DescribedCases, SurveyedCase
from tumortrace.copies.leakage import Leak, find_leaks
from tumortrace.copies.survey import Survey
from tumortrace.copies.training_index import TrainingIndex, build_training_index, load_training_index
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.baselines import Baselines
from tumortrace.inference.card import read_card
from tumortrace.inference.model import SHIPPED, Model, is_shipped
from tumortrace.json_csv import read_json
from tumortrace.run_folder import MANIFEST, TRAINING_INDEX

DIGITS = 16
"""Hexadecimal digits of the SHA-256 by which a model's card names a training slice."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """The known part of the slices that a model was trained on.

    Attributes:
        index: Those training slices that scored slices can be compared with; None if there are none.
        total: Number of different training slices; None if unknown.
        baselines: Predictions without a network, made from the index, or else from what TRAIN has beside scored slices.
        choosers: SHA-256 of the slices that the kept epoch was chosen on, as far as they are known.
    """

    index: TrainingIndex | None
    total: int | None
    baselines: Baselines
    choosers: frozenset[str] = frozenset()

    @property
    def at_hand(self) -> int:
        """Number of different training slices that scored slices can be compared with."""
        return len(set(self.index.hashes)) if self.index else 0

    @property
    def complete(self) -> bool:
        """Whether all training slices are at hand, so that a slice without a copy among them is clean."""
        return self.total is not None and self.at_hand >= self.total

    def find_leaks(self, survey: Survey) -> dict[str, Leak]:
        """Return what cases share with the training slices at hand, by case id."""
        return find_leaks(survey, self.index) if self.index else {}


def trace_training(model: Model, survey: DescribedCases, *, scored: Collection[str] = ()) -> Provenance:
    """Find out what a model was trained on.

    A run folder remembers all its training slices (``training.npz``). The card of a shipped model lists their hashes
    only, with their truth and without; of these, the slices that lie in the surveyed data can be compared.

    Args:
        model: Model from ``open_model``; its run folder is the folder of its file.
        survey: The data that the model is scored on, its TRAIN part included, and any other that it may be trained on.
        scored: Ids of the scored cases: where TRAIN stands for unknown training slices, no baseline is made from these.

    Raises:
        DataError: ``training.npz`` is damaged.
        ModelError: The card beside the model is damaged.
    """
    path = model.path.with_name(TRAINING_INDEX.name)
    if path.is_file():
        known = replace(known_training(load_training_index(path)), choosers=_read_choosers(model))
        # A run that started from a model without such a file does not know that model's training slices.
        return known if model.card.get("remembered", True) else replace(known, total=None)
    card = read_card(model) or {}
    listed = {sha256[:DIGITS] for sha256 in card.get("training_sha256", ())}
    pictures = {sha256[:DIGITS] for sha256 in card.get("training_pictures_sha256", ())}
    at_hand = _list_at_hand(survey.cases, listed, pictures)
    index = build_training_index(survey, only=at_hand) if at_hand else None
    return Provenance(index, len(listed) or None, Baselines(index or _index_train(survey, scored)))


def known_training(index: TrainingIndex) -> Provenance:
    """Return the provenance of a model whose training slices are all in an index."""
    return Provenance(index, len(set(index.hashes)), Baselines(index))


def shipped_ancestors(model: Model) -> list[str]:
    """Return the shipped models that a model descends from, itself included.

    A run that knows all slices of its weights descends from none; the one it began from may bear the name of one.
    """
    if is_shipped(model):
        return [model.name]
    if model.card.get("remembered", True):
        return []
    listed = model.card.get("shipped_ancestors")  # an earlier version named the nearest ancestor alone
    named = listed if isinstance(listed, list) else [model.card.get("began_from")]
    return sorted(set(map(str, named)) & set(SHIPPED))


def _read_choosers(model: Model) -> frozenset[str]:
    """Return the SHA-256 of the slices that chose a run's epoch, if its manifest is there and belongs to the model."""
    try:
        cases = dict(read_json(model.path.with_name(MANIFEST.name))["data"]["val"]["cases"])
    except (OSError, KeyError, TypeError, ValueError):
        return frozenset()
    chose = hash_part(cases) == model.card.get("selected_on")  # where the last epoch is kept, VAL chose nothing
    return frozenset(cases.values()) if chose else frozenset()


def _list_at_hand(cases: Sequence[SurveyedCase], listed: set[str], pictures: set[str]) -> list[int]:
    """List the cases that are training slices: by their hash, or one for each picture outlined anew."""
    chosen = [number for number, case in enumerate(cases) if case.sha256[:DIGITS] in listed]
    known = {cases[number].picture_sha256 for number in chosen}
    for number, case in enumerate(cases):
        if case.picture_sha256[:DIGITS] in pictures and case.picture_sha256 not in known:
            known.add(case.picture_sha256)
            chosen.append(number)
    return sorted(chosen)


def _index_train(survey: DescribedCases, scored: Collection[str]) -> TrainingIndex | None:
    records = [case.record for case in survey.cases]
    train = [n for n, record in enumerate(records) if record.part == "train" and record.case_id not in scored]
    return build_training_index(survey, only=train) if train else None
