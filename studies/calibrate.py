"""Temperature, thresholds and confidence of a run, fitted on its held-out fold.

``python -m studies.calibrate DATA --sources DIR --fold 4 --run RUN --every 2 --out calibrated.toml`` writes the run's
configuration with the fitted recipe. A cross-validation fits the same on all of its folds; this is for a network too
slow to be trained on each of them. What is fitted here must not be reported on the same slices.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from studies.screening import open_anyhow, open_fold
from tumortrace.cli import run_script
from tumortrace.config import Recipe, load_config, to_toml
from tumortrace.data.cases import CaseRecord, read_cases
from tumortrace.evaluation.crossfit import fit_recipe
from tumortrace.evaluation.summary import FLAGGED
from tumortrace.files import write_atomically
from tumortrace.inference.confidence import confidence, mask_features
from tumortrace.inference.lesions import keep_peaks
from tumortrace.inference.model import Model
from tumortrace.inference.predict import predict
from tumortrace.inference.recipe import temper
from tumortrace.metrics.calibration import CaseHistogram, count_logits
from tumortrace.metrics.overlap import count_pixels
from tumortrace.metrics.selective import fit_confidence
from tumortrace.progress import track
from tumortrace.run_folder import CONFIG


def calibrate(model: Model, records: tuple[CaseRecord, ...]) -> Recipe:
    """Fit a model's recipe on cases that it was not trained on."""
    plain = replace(model, recipe=replace(model.recipe, temperature=1.0))
    kept = []
    histograms: list[CaseHistogram] = []
    for _, case, _ in track(read_cases(records), "Predicting", total=len(records)):
        if case is not None:
            prediction = predict(plain, case.slice)
            histograms.append(count_logits(prediction.probability, prediction.mask, case.truth))
            kept.append((prediction.probability.astype(np.float16), case.truth))
    recipe = fit_recipe(model.recipe, histograms)
    features, dices = [], []
    for half, truth in kept:
        probability = temper(half.astype(np.float32), recipe.temperature)
        mask = keep_peaks(probability >= recipe.threshold, probability, recipe.peak_threshold)
        features.append(mask_features(probability, mask))
        dice = count_pixels(mask, truth).dice
        dices.append(1.0 if np.isnan(dice) else dice)
    weights = fit_confidence(np.array(features), np.array(dices))
    flagged = float(np.quantile([confidence(each, weights) for each in features], FLAGGED))
    return replace(recipe, confidence=weights, review_below=round(flagged, 4))


def main(
    data: Path,
    sources: Annotated[Path, typer.Option(help="Folder that studies.sources wrote.")],
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    out: Annotated[Path, typer.Option(help="The configuration to write.")],
    fold: Annotated[str, typer.Option(help="The fold that was held out.")] = "4",
    every: Annotated[int, typer.Option(help="Take every so many of the slices.")] = 1,
) -> None:
    """Fit and write the recipe; print its numbers."""
    records, _ = open_fold(data, sources, fold)
    recipe = calibrate(open_anyhow(str(run)), tuple(records[::every]))
    write_atomically(out, to_toml(replace(load_config(str(run / CONFIG)), recipe=recipe)).encode())
    print(recipe)


if __name__ == "__main__":
    run_script(main)
