from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord, read_case
from tumortrace.data.dataset import open_dataset
from tumortrace.data.slice import Slice
from tumortrace.evaluation.evaluate import CaseScore, Evaluation, evaluate
from tumortrace.inference.model import Model, open_model
from tumortrace.inference.predict import Prediction, predict
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.reporting import cases
from tumortrace.reporting.cases import write_case_figures, write_comparison, write_gallery
from tumortrace.reporting.figures import CasePanels

MakeScore = Callable[..., CaseScore]
DrawAll = Callable[[list[tuple[int, int, int]], Path], list[Path]]

# Dice 2 tp / (2 tp + fp + fn) of cases 0 to 6, the fourth undefined: 0.5, 0.8, 0.0, -, 0.909, 0.667, 0.571
COUNTS = [(1, 1, 1), (2, 1, 0), (0, 2, 1), (0, 0, 0), (5, 0, 1), (1, 0, 1), (2, 1, 2)]

TRUTH = np.array([[0, 1, 1], [0, 0, 0]], dtype=bool)
MASK = np.array([[0, 0, 1], [1, 0, 0]], dtype=bool)


def prediction_of(mask: np.ndarray) -> Prediction:
    return Prediction(mask.astype(np.float32), mask, (), confidence=0.5, review=False, reasons=())


def write_record(folder: Path, case_id: str, *, grey: int = 0) -> CaseRecord:
    image, mask = folder / f"{case_id}.png", folder / f"{case_id}_mask.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.array([[grey, 0, 0], [0, 0, 255]], dtype=np.uint8))
    cv2.imwrite(str(mask), TRUTH.astype(np.uint8) * 255)
    return CaseRecord(case_id, "test", image, mask)


def evaluation_of(counts: list[tuple[int, int, int]], make_score: MakeScore) -> Evaluation:
    scores = [make_score(f"TEST/y{index}", PixelCounts(*each, tn=20)) for index, each in enumerate(counts)]
    return Evaluation(tuple(scores), (), {"name": "m", "sha256": "0"}, threshold=0.5)


@dataclass
class Drawn:
    """What was handed to the drawing of figures."""

    names: dict[str, list[str]] = field(default_factory=dict)
    panels: list[CasePanels] = field(default_factory=list)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Empty figures stand for those that are drawn; the model marks the same pixels in every slice."""
    seen = Drawn()

    def draw(panels: list[CasePanels], *, title: str) -> Figure:
        seen.names[title] = [panel.title for panel in panels]
        seen.panels += panels
        return Figure(figsize=(1, 1))

    def mark(_model: Model, _image: Slice) -> Prediction:
        return prediction_of(MASK)

    monkeypatch.setattr(cases, "draw_cases", draw)
    monkeypatch.setattr(cases, "predict", mark)
    return seen


@pytest.fixture
def draw_all(make_score: MakeScore) -> DrawAll:
    def draw(counts: list[tuple[int, int, int]], tmp_path: Path) -> list[Path]:
        records = [write_record(tmp_path, f"TEST/y{index}", grey=index) for index in range(len(counts))]
        model: Model = None  # type: ignore[assignment] # nothing but the replaced prediction would look at it
        return write_case_figures(evaluation_of(counts, make_score), records, model, out=tmp_path / "out")

    return draw


def test_best_and_worst_are_ranked_by_dice(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    paths = draw_all(COUNTS, tmp_path)
    assert paths == [tmp_path / "out" / "figures" / f"{name}.png" for name in ("best", "worst", "random")]
    assert all(cv2.imread(str(path)) is not None for path in paths)
    assert drawn.names["Best cases"] == [
        "TEST/y4\nDice 0.909",
        "TEST/y1\nDice 0.800",
        "TEST/y5\nDice 0.667",
        "TEST/y6\nDice 0.571",
    ]
    assert [title.split("\n")[0] for title in drawn.names["Worst cases"]] == [
        "TEST/y2",
        "TEST/y0",
        "TEST/y6",
        "TEST/y5",
    ]


def test_random_cases_are_four_that_have_a_dice(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    draw_all([*COUNTS[:4], (0, 0, 0), (3, 1, 1)], tmp_path)
    names = [title.split("\n")[0] for title in drawn.names["Random cases"]]
    assert sorted(names) == ["TEST/y0", "TEST/y1", "TEST/y2", "TEST/y5"]


def test_random_cases_are_the_same_for_every_model(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    counts = [(index, 1, 1) for index in range(1, 15)]
    chosen = []
    for each in (counts, counts[::-1]):
        draw_all(each, tmp_path)
        chosen.append([title.split("\n")[0] for title in drawn.names["Random cases"]])
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 4
    assert chosen[0] != [f"TEST/y{index}" for index in range(4)]


def test_panels_show_the_case_s_own_image_truth_and_prediction(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    draw_all(COUNTS, tmp_path)
    best = drawn.panels[0]
    assert best.pixels.tolist() == [[4, 0, 0], [0, 0, 255]]
    assert best.truth.tolist() == TRUTH.tolist()
    assert best.prediction.tolist() == MASK.tolist()


def test_fewer_cases_than_a_figure_holds_are_all_drawn(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    draw_all(COUNTS[:2], tmp_path)
    assert {title: len(names) for title, names in drawn.names.items()} == {
        "Best cases": 2,
        "Worst cases": 2,
        "Random cases": 2,
    }


def test_without_a_dice_there_is_no_figure(drawn: Drawn, draw_all: DrawAll, tmp_path: Path):
    assert draw_all([(0, 0, 0)], tmp_path) == []
    assert not drawn.names
    assert not (tmp_path / "out").exists()


def test_a_comparison_has_the_image_s_size_and_colours(tmp_path: Path):
    case, _ = read_case(write_record(tmp_path, "TEST/y0.jpg"))
    write_comparison(case, prediction_of(MASK), out=tmp_path / "out")
    picture = cv2.imread(str(tmp_path / "out" / "comparisons" / "TEST" / "y0.jpg_comparison.png"))
    assert picture is not None
    white, black, blue, orange = [255, 255, 255], [0, 0, 0], [0, 90, 255], [255, 140, 0]
    assert picture[:, :, ::-1].tolist() == [[black, blue, white], [orange, black, black]]


def test_a_real_evaluation_is_drawn(tiny_run: Path, phantom_data: Path, tmp_path: Path):
    model = open_model(str(tiny_run), threads=1)
    records = open_dataset(phantom_data).select("test")
    evaluation = evaluate(model, records, survey_cases(records), memory=None)
    paths = write_case_figures(evaluation, records, model, out=tmp_path)
    assert [path.name for path in paths] == ["best.png", "worst.png", "random.png"]
    case, _ = read_case(records[0])
    write_comparison(case, predict(model, case.slice), out=tmp_path)
    (written,) = (tmp_path / "comparisons").rglob("*.png")
    picture = cv2.imread(str(written))
    assert picture is not None
    assert picture.shape == (*case.slice.size_hw, 3)
    write_gallery(evaluation, records, out=tmp_path)
    shown = cv2.imread(str(tmp_path / "gallery" / f"{records[0].case_id}.png"), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert (shown.shape, shown.dtype) == (case.slice.size_hw, np.uint8)
