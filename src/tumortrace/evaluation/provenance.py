"""What a model was trained on, as far as its run folder tells, and what must be said of a score because of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tumortrace.copies.survey import describe_cases
from tumortrace.copies.training_index import TrainingIndex, build_training_index, load_training_index
from tumortrace.data.dataset import Dataset
from tumortrace.data.fingerprint import hash_part
from tumortrace.evaluation.baselines import Baselines
from tumortrace.evaluation.evaluate import Evaluation
from tumortrace.inference.card import read_card
from tumortrace.inference.model import Model
from tumortrace.run_folder import TRAINING_INDEX

DIGITS = 16
"""Of a SHA-256, by which a training slice is known on a model's card: two of a million slices never share so many."""


@dataclass(frozen=True, eq=False)
class Provenance:
    """What is known of a model's training.

    Attributes:
        memory: Of its training slices; None if the model came without its run folder.
        baselines: From that memory, or else from the TRAIN part of the dataset at hand, if it has one.
        hashes: First ``DIGITS`` of the SHA-256 of each training slice (``hash_case``): from that memory, or from the
            card beside a model that ships; empty if unknown.
    """

    memory: TrainingIndex | None
    baselines: Baselines
    hashes: frozenset[str] = frozenset()


def trace_training(model: Model, dataset: Dataset) -> Provenance:
    """Find out what a model learnt from.

    Args:
        model: From ``open_model``; its run folder is where its file lies.
        dataset: That it is to be scored on.

    Raises:
        DataError: The run's memory is damaged, or not one training case can be read.
        ModelError: The card beside the model is damaged.
    """
    path = model.path.with_name(TRAINING_INDEX.name)
    if path.is_file():
        memory = load_training_index(path)
        return Provenance(memory, Baselines(memory), _shorten(memory.hashes))
    training = dataset.select("train") if "train" in dataset.parts() else ()
    card = read_card(model) or {}
    baselines = Baselines(build_training_index(describe_cases(training)) if training else None)
    return Provenance(None, baselines, _shorten(card.get("training_sha256", ())))


def caution(evaluation: Evaluation, provenance: Provenance) -> list[str]:
    """What a reader of the scores must be told; nothing if they can be taken as they are."""
    notes = []
    if provenance.memory is None:
        what = "what the slices that the model learnt from look like" if provenance.hashes else "what it was trained on"
        notes.append(f"{what} is unknown (no training.npz beside the model): copies cannot be told")
    elif evaluation.card.get("remembered") is False:
        notes.append(
            f"the model began from {evaluation.card.get('began_from')}, whose training slices are unknown: copies of "
            "those cannot be told"
        )
    if seen := sum(score.sha256[:DIGITS] in provenance.hashes for score in evaluation.scores):
        notes.append(f"{seen} of these images are what the model was trained on; no score on them can be believed")
    hashes = {score.file: score.sha256 for score in evaluation.scores}
    if evaluation.card.get("selected_on") == hash_part(hashes):
        notes.append("this part chose the model's epoch; its score is too good to be true")
    return notes


def _shorten(hashes: Iterable[str]) -> frozenset[str]:
    return frozenset(sha256[:DIGITS] for sha256 in hashes)
