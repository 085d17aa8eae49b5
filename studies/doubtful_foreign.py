"""Score outlines with the label quality of cleanlab, without tumortrace.

``python studies/doubtful_foreign.py OUT`` reads OUT/arrays.npz (``studies/doubtful_outlines.py`` writes it) and writes
OUT/cleanlab.csv, a row an outline in the same order: low is doubtful.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from cleanlab.segmentation.rank import get_label_quality_scores


def main() -> None:
    """Score all outlines by both of cleanlab's methods."""
    folder = Path(sys.argv[1])
    arrays = np.load(folder / "arrays.npz")
    labels = arrays["truths"].astype(np.int64)
    tumour = arrays["levels"].astype(np.float32)
    probabilities = np.stack([1 - tumour, tumour], axis=1)
    scores = {}
    for method in ("softmin", "num_pixel_issues"):
        scores[f"cleanlab {method}"], _ = get_label_quality_scores(
            labels, probabilities, method=method, batch_size=100_000, n_jobs=1, verbose=False
        )
    with (folder / "cleanlab.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(scores)
        writer.writerows(zip(*scores.values(), strict=True))


if __name__ == "__main__":
    main()
