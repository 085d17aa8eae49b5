"""The coarse search: parts of windows, and which way a cut lies on a turned slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tumortrace.copies import candidates
from tumortrace.copies.candidates import WHOLE, _cut_out, _Found, _gather, _plan_cuts, _turn_back, find_candidates
from tumortrace.copies.registration import cut_matrix, rescale
from tumortrace.copies.signatures import COARSE_PX, measure_signature, stack_signatures
from tumortrace.copies.similarity import ORIENTATIONS, SIDE_PX, orient

DrawHead = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("orientation", range(8))
def test_a_cut_of_a_turned_slice_is_found_on_the_slice_as_it_is(orientation: int):
    turns, flip = ORIENTATIONS[orientation]
    cut = (0.1, 0.2, 0.3, 0.0)  # of 20 columns and 10 rows: 2, 6 columns and 2 rows
    picture = np.arange(200).reshape((20, 10) if turns % 2 else (10, 20))
    expected = orient(picture, turns=turns, flip=flip)[2:, 2:-6]
    left, top, right, bottom = _turn_back(cut, orientation)
    height, width = picture.shape
    part = picture[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]
    assert np.array_equal(orient(part, turns=turns, flip=flip), expected)


def test_a_part_is_brought_to_mean_0_and_norm_1():
    # A ramp along 24 columns: a cut of a quarter on the left leaves 18, on which 12 places lie 1.5 columns apart.
    ramp = np.tile(np.arange(COARSE_PX, dtype=np.float32), (1, COARSE_PX, 1))
    (part,) = _cut_out(ramp, (0.25, 0.0, 0.0, 0.0))
    places = 6 + 1.5 * (np.arange(12) + 0.5) - 0.5
    centred = np.tile(places - places.mean(), (12, 1))
    assert part.reshape(12, 12) == pytest.approx(centred / np.linalg.norm(centred), abs=1e-5)
    assert not _cut_out(np.ones((1, COARSE_PX, COARSE_PX), np.float32), WHOLE).any()


def test_the_map_of_a_cut_by_hand():
    # Half of 96 columns is cut off at the left: the first of the part lies between the 48th and the 49th.
    x, y, _ = cut_matrix((0.5, 0.0, 0.0, 0.0)) @ np.array([0.0, 7.0, 1.0])
    assert (x, y) == (47.75, 7.0)
    matrix = np.array([[0.9, 0.1, 5.0], [-0.2, 1.1, -3.0], [0.0, 0.0, 1.0]])
    assert rescale(rescale(matrix, 32), SIDE_PX, from_px=32) == pytest.approx(matrix)


def test_edges_that_are_whole_are_not_cut():
    assert _plan_cuts([0, 0, 0, 0]) == []
    one = _plan_cuts([2, 0, 0, 0])
    assert {cut[1:] for cut in one} == {(0.0, 0.0, 0.0)}
    assert max(cut[0] for cut in one) >= 0.3
    assert WHOLE not in _plan_cuts([1, 2, 1, 2])


def test_a_head_that_is_cut_off_is_looked_for_in_others_and_a_whole_one_is_not(draw_head: DrawHead):
    heads = [draw_head(seed) for seed in range(4)]
    crop = heads[2][:, 40:]
    whole, cut = (stack_signatures([measure_signature(picture)]) for picture in (heads[2], crop))
    assert not (whole.cut_ltrb > 0.08).any()
    assert (cut.cut_ltrb > 0.33).tolist() == [[True, False, False, False]]
    others = stack_signatures(map(measure_signature, heads))
    candidates = find_candidates(cut, others, rows=np.arange(1))
    assert any(each.cut != WHOLE for each in candidates[0, 2])
    assert all(
        each.cut == WHOLE for many in find_candidates(whole, others, rows=np.arange(1)).values() for each in many
    )


@pytest.mark.parametrize("parts", [2, 3])
def test_what_is_thinned_out_on_the_way_is_what_is_kept_of_all_at_once(parts: int, monkeypatch: pytest.MonkeyPatch):
    # 6 slices and 40 references, of which a part holds 5 for each slice; many are equally similar, and some very.
    similarity = np.random.default_rng(3).integers(5, 11, size=(6, 40)).astype(np.float32) / 10
    row, column = (each.ravel() for each in np.indices(similarity.shape))
    found = _Found(row, column, similarity.ravel(), column % 3 == 0)
    some = [_Found(*(each[(column >= start) & (column < start + 5)] for each in found)) for start in range(0, 40, 5)]
    monkeypatch.setattr(candidates, "_PARTS", parts)
    monkeypatch.setattr(candidates, "_MOST", 7)
    gathered, expected = _gather(some, 2), found.keep_nearest(2)
    assert len(expected.row) > 12  # more than the nearest two of each, and not all
    assert len(expected.row) < 6 * 8
    for one, other in zip(gathered, expected, strict=True):
        assert np.array_equal(one, other)
