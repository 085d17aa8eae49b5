"""What a model was trained on, as far as its run folder tells, and what must be said of a score because of it."""

from __future__ import annotations

from dataclasses import dataclass

from tumortrace.data.dataset import Dataset
from tumortrace.data.fingerprint import hash_part
from tumortrace.inference.model import Model
from tumortrace.runfolder import MEMORY
from tumortrace.trust.baselines import Baselines
from tumortrace.trust.evaluation import Evaluation
from tumortrace.trust.memory import TrainingMemory, load_memory, remember
from tumortrace.trust.survey import look_over


@dataclass(frozen=True, eq=False)
class Provenance:
    """What is known of a model's training.

    Attributes:
        memory: Of its training slices; None if the model came without its run folder.
        baselines: From that memory, or else from the TRAIN part of the dataset at hand, if it has one.
    """

    memory: TrainingMemory | None
    baselines: Baselines


def trace_training(model: Model, dataset: Dataset) -> Provenance:
    """Find out what a model learnt from.

    Args:
        model: From ``open_model``; its run folder is where its file lies.
        dataset: That it is to be scored on.

    Raises:
        DataError: The run's memory is damaged, or not one training case can be read.
    """
    path = model.path.with_name(MEMORY.name)
    if path.is_file():
        memory = load_memory(path)
        return Provenance(memory, Baselines(memory))
    training = dataset.select("train") if "train" in dataset.parts() else ()
    return Provenance(None, Baselines(remember(look_over(training)) if training else None))


def caution(evaluation: Evaluation, provenance: Provenance) -> list[str]:
    """What a reader of the scores must be told; nothing if they can be taken as they are."""
    notes = []
    if provenance.memory is None:
        notes.append("what the model was trained on is unknown (no training.npz beside it): copies cannot be told")
    else:
        known = set(provenance.memory.hashes)
        seen = sum(score.sha256 in known for score in evaluation.scores)
        if evaluation.card.get("remembered") is False:
            notes.append(
                f"the model began from {evaluation.card.get('began_from')}, whose training slices are unknown: copies "
                "of those cannot be told"
            )
        if seen:
            notes.append(f"{seen} of these images are what the model was trained on; no score on them can be believed")
    hashes = {score.file: score.sha256 for score in evaluation.scores}
    if evaluation.card.get("selected_on") == hash_part(hashes):
        notes.append("this part chose the model's epoch; its score is too good to be true")
    return notes
