from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from tumortrace.data.cases import Case, CaseRecord
from tumortrace.data.slice import Slice
from tumortrace.evaluation.evaluate import CaseScore
from tumortrace.evaluation.folder import comparison_path, gallery_path
from tumortrace.inference.predict import Prediction
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.reporting import cases
from tumortrace.reporting.cases import CASES_A_FIGURE, GALLERY, CasePictures
from tumortrace.reporting.error_map import SAFE_LEGEND
from tumortrace.reporting.figures import CasePanels

MakeScore = Callable[..., CaseScore]
AddAll = Callable[..., CasePictures]

# Dice 2 tp / (2 tp + fp + fn) of cases 0 to 6, the fourth undefined: 0.5, 0.8, 0.0, -, 0.909, 0.667, 0.571
COUNTS = [(1, 1, 1), (2, 1, 0), (0, 2, 1), (0, 0, 0), (5, 0, 1), (1, 0, 1), (2, 1, 2)]

TRUTH = np.array([[0, 1, 1], [0, 0, 0]], dtype=bool)
MASK = np.array([[0, 0, 1], [1, 0, 0]], dtype=bool)


def make_slice(grey: int, case_id: str) -> Slice:
    pixels = np.array([[grey, 0, 0], [0, 0, 255]], dtype=np.uint8)
    return Slice(pixels=pixels, case_id=case_id, spacing_mm=None, colour_share=0.0)


@pytest.fixture
def add_all(make_score: MakeScore, tmp_path: Path) -> AddAll:
    """Hand cases with these counts to the pictures of an evaluation; the first pixel of each is its number."""

    def add(counts: list[tuple[int, int, int]], *, names: list[str] | None = None) -> CasePictures:
        pictures = CasePictures(tmp_path / "out")
        for index, each in enumerate(counts):
            name = names[index] if names else f"TEST/y{index}"
            record = CaseRecord(name, "test", tmp_path / f"{index}.png", None)
            prediction = Prediction(MASK.astype(np.float32), MASK, (), confidence=0.5, review=False, reasons=())
            score = make_score(name, PixelCounts(*each, tn=20))
            pictures.add(Case(record, make_slice(index, name), TRUTH), prediction, score)
        return pictures

    return add


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[CasePanels]]:
    """What was handed to the drawing of figures, by their titles; empty figures stand for those that are drawn."""
    seen: dict[str, list[CasePanels]] = {}

    def draw(panels: list[CasePanels], *, title: str) -> Figure:
        seen[title] = panels
        return Figure(figsize=(1, 1))

    monkeypatch.setattr(cases, "draw_cases", draw)
    return seen


def names_of(panels: list[CasePanels]) -> list[str]:
    return [panel.title.split("\n")[0] for panel in panels]


def test_best_and_worst_are_ranked_by_dice(drawn: dict[str, list[CasePanels]], add_all: AddAll, tmp_path: Path):
    paths = add_all(COUNTS).write()
    assert paths == [tmp_path / "out" / "figures" / f"{name}.png" for name in ("best", "worst", "random")]
    assert all(cv2.imread(str(path)) is not None for path in paths)
    assert [panel.title for panel in drawn["Best cases"]] == [
        "TEST/y4\nDice 0.909",
        "TEST/y1\nDice 0.800",
        "TEST/y5\nDice 0.667",
        "TEST/y6\nDice 0.571",
    ]
    assert names_of(drawn["Worst cases"]) == ["TEST/y2", "TEST/y0", "TEST/y6", "TEST/y5"]


def test_random_cases_have_a_tumour_and_are_the_same_for_every_model(
    drawn: dict[str, list[CasePanels]], add_all: AddAll
):
    chosen = []
    names = [f"TEST/y{index}" for index in range(14)]
    for counts in ([(index, 1, 1) for index in range(1, 15)], [(9, index, 0) for index in range(14)]):
        for order in (names, names[::-1]):
            add_all([*counts, (0, 3, 0)], names=[*order, "TEST/free"]).write()
            chosen.append(names_of(drawn["Random cases"]))
    assert all(each == chosen[0] for each in chosen)
    assert len(set(chosen[0])) == CASES_A_FIGURE
    assert chosen[0] not in (names[:CASES_A_FIGURE], ["TEST/free"])


def test_panels_show_the_case_s_own_image_truth_and_prediction(drawn: dict[str, list[CasePanels]], add_all: AddAll):
    add_all(COUNTS).write()
    best = drawn["Best cases"][0]
    assert best.pixels.tolist() == [[4, 0, 0], [0, 0, 255]]
    assert best.truth.tolist() == TRUTH.tolist()
    assert best.prediction.tolist() == MASK.tolist()


def test_fewer_cases_than_a_figure_holds_are_all_drawn(drawn: dict[str, list[CasePanels]], add_all: AddAll):
    add_all(COUNTS[:2]).write()
    assert {title: len(panels) for title, panels in drawn.items()} == {
        "Best cases": 2, "Worst cases": 2, "Random cases": 2,
    }  # fmt: skip


def test_without_a_dice_there_is_a_comparison_and_no_figure(
    drawn: dict[str, list[CasePanels]], add_all: AddAll, tmp_path: Path
):
    assert add_all([(0, 0, 0)]).write() == []
    assert not drawn
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparisons"]


def test_a_comparison_has_the_image_s_size_and_the_page_s_colours(add_all: AddAll, tmp_path: Path):
    add_all(COUNTS[:1])
    picture = cv2.imread(str(comparison_path(tmp_path / "out", "TEST/y0")))
    assert picture is not None
    found, missed, marked = (list(rgb) for _, rgb in SAFE_LEGEND[:3])
    black = [0, 0, 0]
    assert picture[:, :, ::-1].tolist() == [[black, missed, found], [marked, black, black]]


def test_the_gallery_keeps_the_slices_that_a_report_shows_and_no_others(add_all: AddAll, tmp_path: Path):
    count = sum(GALLERY.values()) + 20
    add_all([(index, 1, 1) for index in range(count)]).write()
    kept = {path.name for path in (tmp_path / "out" / "gallery" / "TEST").iterdir()}
    assert {f"y{index}.png" for index in [*range(GALLERY["worst"]), *range(count - GALLERY["best"], count)]} <= kept
    assert len(kept) <= sum(GALLERY.values())
    shown = cv2.imread(str(gallery_path(tmp_path / "out", "TEST/y3")), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert shown.tolist() == [[3, 0, 0], [0, 0, 255]]


def test_names_that_leave_no_room_for_an_ending_have_pictures_of_their_own(add_all: AddAll, tmp_path: Path):
    names = [f"TEST/{'ä' * 120}{end}.png" for end in "ab"]  # 245 bytes of the 255 that a name may have
    pictures = add_all([(1, 1, 1)] * 2, names=names)
    pictures.write()
    for place in (comparison_path, gallery_path):
        assert len({path for name in names if (path := place(tmp_path / "out", name)).is_file()}) == 2
