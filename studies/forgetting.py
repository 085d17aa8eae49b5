"""What a training on one hospital's corrected slices costs on other hospitals.

``python -m studies.forgetting DATA --sources DIR --base MODEL --out OUT`` starts from a model that was not trained on
fold 4. The shipped models were; a twin of ``fast`` was not. 80 slices of lgg patients of fold 4 are corrected by their
truth; 100 slices of the other sources in fold 4 are the standard set. The model is improved on the corrected slices
alone, and with 200 slices of the other folds mixed in. A third row is the mean of the weights before and after the
first training (Wortsman et al. 2022). Every row is compared with the model before, on the held-out corrected slices and
on the standard set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from benchmarks.common import make_table
from reproduction.tables import read_table, write_table
from rich.console import Console

from studies.learning import SHORTER
from studies.mean_of_runs import average
from studies.screening import open_sources
from tumortrace.cli import run_script
from tumortrace.config import load_config
from tumortrace.copies.split_files import apply_split
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import Dataset
from tumortrace.evaluation.evaluate import CaseScore, evaluate
from tumortrace.evaluation.provenance import trace_training
from tumortrace.files import write_atomically
from tumortrace.improvement.improve import Improvement, improve
from tumortrace.improvement.judge import Judgement, judge
from tumortrace.improvement.material import gather
from tumortrace.improvement.models import Models
from tumortrace.improvement.settings import settings_of
from tumortrace.inference.model import Model, open_model
from tumortrace.run_folder import BEST, CONFIG, FIRST, MODEL
from tumortrace.training.arrays import evenly_spaced
from tumortrace.training.export import make_onnx
from tumortrace.training.networks import build_network

CORRECTED, STANDARD, REPLAY = 80, 100, 200
"""Numbers of slices."""

FOLD = 4
UNSEEN = "lgg"
FIELDS = ("training", "part", "n", "groups", "old", "new", "difference", "low", "high", "verdict")


def open_parts(data: Path, sources: Path) -> tuple[Dataset, Dataset, Dataset]:
    """Return corrected, replayed and standard slices, evenly spaced in their sources."""
    whole, split = open_sources(data, sources)
    divided = apply_split(whole, split, fold=FOLD)

    def pick(part: str, count: int, *, unseen: bool) -> Dataset:
        fitting = [r for r in divided.records if r.part == part and (r.source == UNSEEN) == unseen]
        picked = [replace(record, part="") for record in evenly_spaced(fitting, count)]
        return replace(whole, records=tuple(picked), findings=())

    return (
        pick("test", CORRECTED, unseen=True),
        pick("train", REPLAY, unseen=False),
        pick("test", STANDARD, unseen=False),
    )


def mix(run: Path, out: Path) -> Model:
    """Return a model with the mean of a run's first and kept weights."""
    config = load_config(str(run / CONFIG))
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=0)
    network.load_state_dict(average([run / FIRST, run / BEST]))
    sample = torch.zeros(1, 1, *config.recipe.size_hw)
    data = make_onnx(network.eval(), recipe=config.recipe, card={"name": "mixed"}, feature_ranges={}, sample=sample)
    write_atomically(out / MODEL, data)
    return open_model(str(out / MODEL))


def score(model: Model, records: Sequence[CaseRecord]) -> tuple[CaseScore, ...]:
    """Return the scores of a model on slices."""
    survey = survey_cases(records)
    return evaluate(model, records, survey, trace_training(model, survey)).scores


def compare_mixed(mixed: Model, start: Model, done: Improvement, parts: tuple[Dataset, ...]) -> list[Judgement]:
    """Compare the mixed model with the one before on the sets that an improvement was compared on."""
    corrected, _, standard = parts
    held = [record for record in corrected.records if record.case_id in done.held_out]
    sets = {"held-out part": held, "standard set": list(standard.records)}
    return [
        judge(score(start, records), score(mixed, records), part=part, old_model=start.name)
        for part, records in sets.items()
    ]


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the sources.")],
    sources: Annotated[Path, typer.Option(help="Folder of studies.sources.")],
    base: Annotated[str, typer.Option(help="Model to start from, which was not trained on fold 4.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the rows.")] = Path("runs/forgetting"),
) -> None:
    """Measure every row that is missing, then print all."""
    path = out / "forgetting.csv"
    rows = read_table(path)
    start, parts = open_model(base), open_parts(data, sources)
    corrected, replay, standard = parts
    settings = settings_of(start, SHORTER)
    for name, old in (("corrected slices alone", None), ("with old slices mixed in", replay)):
        if any(row["training"] == name for row in rows):
            continue
        run = out / name.replace(" ", "-")
        done = improve(
            gather(corrected, old, standard), Models(start, None), settings, out=run, resume=False, minutes=math.inf
        )
        rows += [_row(name, judgement) for judgement in done.judgements]
        if old is None:
            mixed = mix(run, out / "mixed")
            rows += [_row("mean of before and after", each) for each in compare_mixed(mixed, start, done, parts)]
        write_table(path, rows)
    table = make_table("What is gained and what is forgotten", *FIELDS)
    for row in rows:
        table.add_row(*(row[field] for field in FIELDS))
    Console(width=160).print(table)


def _row(training: str, judgement: Judgement) -> dict[str, str]:
    low, high = judgement.ci95
    values = asdict(judgement) | {"training": training, "low": low, "high": high}
    return {key: f"{values[key]:.4f}" if isinstance(values[key], float) else str(values[key]) for key in FIELDS}


if __name__ == "__main__":
    run_script(main)
