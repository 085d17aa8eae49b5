from __future__ import annotations

import numpy as np
import pytest

from tumortrace.reporting.gallery import PANEL_PX, four_panels

PREDICTION = np.array([[True, True, False], [False, False, False]])
TRUTH = np.array([[True, False, True], [False, False, False]])
GREY = np.array([[200, 100, 40], [0, 255, 10]], dtype=np.uint8)


@pytest.mark.parametrize("colours", ["safe", "paper"])
def test_four_panels_stand_side_by_side(colours: str):
    panels = four_panels(GREY, PREDICTION, TRUTH, colours=colours)  # type: ignore[arg-type]
    height, width, _ = panels.shape
    assert (height, width) == (round(PANEL_PX * 2 / 3), 4 * PANEL_PX + 3 * 6)
    truth = panels[:, PANEL_PX + 6 : 2 * PANEL_PX + 6]
    assert truth[5, 5].tolist() == [255, 255, 255]
    assert truth[5, PANEL_PX // 2].tolist() == [0, 0, 0]
    assert (panels[:, PANEL_PX : PANEL_PX + 6] == 255).all()


def test_one_pixel():
    one = np.ones((1, 1), dtype=np.bool_)
    assert four_panels(np.zeros((1, 1), np.uint8), one, one, colours="safe").shape == (PANEL_PX, 4 * PANEL_PX + 18, 3)
