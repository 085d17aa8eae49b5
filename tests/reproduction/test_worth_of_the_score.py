"""The student paper's label pipeline and metric, and what they are worth: worked out by hand on tiny arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reproduction import paper_rules
from reproduction import worth_of_the_score as worth
from tumortrace.copies.described import SurveyedCase
from tumortrace.copies.survey import survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.geometry import Circle, Ellipse, Polygon, rasterize
from tumortrace.metrics.overlap import count_pixels

WIDE = (10.5, 3.5)


def square(first: int, last: int) -> Polygon:
    """Corners on the centres of two pixels of the diagonal."""
    return Polygon(np.array([(first, first), (last, first), (last, last), (first, last)], dtype=np.float64))


def case_of(*regions: Polygon | Ellipse, size_hw: tuple[int, int] = (512, 512)) -> SurveyedCase:
    truth = rasterize(regions, size_hw)
    record = CaseRecord("VAL/y0.jpg", "val", None, regions)
    return SurveyedCase(record, size_hw, "", 1, int(truth.sum()), np.packbits(truth), None)


@pytest.fixture(scope="module")
def found(phantom_data):
    return survey_cases(open_dataset(phantom_data).select("val"))


def test_a_quarter_of_a_radian_is_read_as_a_quarter_turn():
    misread = paper_rules.misread_theta(Ellipse((15.0, 14.0), WIDE, 0.25))
    upright = Ellipse((15.0, 14.0), WIDE[::-1], 0.0)
    assert misread.theta_rad == pytest.approx(math.pi / 2)
    np.testing.assert_array_equal(rasterize([misread], (30, 31)), rasterize([upright], (30, 31)))


@pytest.mark.parametrize("region", [square(1, 3), Circle((2.0, 3.0), 1.5), Ellipse((2.0, 3.0), WIDE, 0.0)])
def test_what_is_not_turned_stays(region):
    np.testing.assert_array_equal(rasterize([paper_rules.misread_theta(region)], (9, 8)), rasterize([region], (9, 8)))


def test_opencv_paints_the_outline_too():
    expected = np.zeros((5, 6), dtype=np.uint8)
    expected[1:4, 1:4] = 255
    np.testing.assert_array_equal(paper_rules.paint([square(1, 3)], (5, 6)), expected)
    assert rasterize([square(1, 3)], (5, 6)).sum() == 4  # by the pixel-centre rule


def test_painting_cuts_coordinates_to_whole_pixels():
    shifted = Polygon(square(1, 3).points_xy + 0.9)
    np.testing.assert_array_equal(paper_rules.paint([shifted], (5, 6)), paper_rules.paint([square(1, 3)], (5, 6)))
    cross = paper_rules.paint([Circle((2.9, 1.2), 1.7)], (5, 6)) > 0
    assert sorted(map(tuple, np.argwhere(cross).tolist())) == [(0, 2), (1, 1), (1, 2), (1, 3), (2, 2)]


def test_painting_reads_theta_as_radians():
    upright = np.argwhere(paper_rules.paint([Ellipse((15.0, 15.0), (10.0, 3.0), math.pi / 2)], (31, 31)))
    assert np.ptp(upright, axis=0).tolist() == [20, 6]  # rows, columns


def test_jpeg_spoils_only_the_blocks_that_an_outline_crosses():
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[:, 8:] = 255  # between blocks of 8 pixels: each holds one value
    np.testing.assert_array_equal(paper_rules.through_jpeg(mask), mask)
    mask[:, 8:11] = 0
    spoilt = paper_rules.through_jpeg(mask)
    assert not np.isin(spoilt[:, 8:16], (0, 255)).all()
    np.testing.assert_array_equal(spoilt[:, :8], mask[:, :8])
    np.testing.assert_array_equal(spoilt[:, 16:], mask[:, 16:])


def test_a_resize_makes_values_in_between():
    wider = paper_rules.resize_bilinear(np.array([[0, 255]], dtype=np.uint8), (1, 4))
    np.testing.assert_allclose(wider, [[0, 0.25, 0.75, 1]], atol=1e-6)
    # Shrunk by two, a pixel looks two pixels far: weights 0.75, 0.75, 0.25, which add up to 1.75.
    narrower = paper_rules.resize_bilinear(np.array([[255, 255, 0, 0]], dtype=np.uint8), (1, 2))
    np.testing.assert_allclose(narrower, [[1.5 / 1.75, 0.25 / 1.75]], atol=1e-6)
    assert wider.dtype == narrower.dtype == np.float32


def test_truncation_leaves_only_a_full_one():
    soft = np.array([[0, 0.5, 0.999, np.nextafter(np.float32(1), np.float32(0)), 1]], dtype=np.float32)
    assert paper_rules.truncate(soft).tolist() == [[False, False, False, False, True]]
    assert paper_rules.truncate(soft, 1e-6).tolist() == [[False, False, False, True, True]]


def test_a_halo_is_missed_or_not_counted():
    truth = np.array([[1, 1, 0.5, 0.01, 0, 0]], dtype=np.float32)  # two pixels of tumour, a halo of two
    prediction = np.array([[1, 1, 1, 0, 0, 1]], dtype=np.bool_)
    counts = paper_rules.count(prediction, truth)
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (2, 1, 1, 1)  # the hit on 0.5 is none of them
    assert counts.precision == counts.recall == pytest.approx(2 / 3)
    assert counts.dice == pytest.approx(4 / 6)
    assert counts.iou == pytest.approx(2 / 4)


def test_with_a_binary_truth_the_metric_is_ours():
    prediction, truth = np.random.default_rng(0).random((2, 9, 7)) < 0.4
    assert paper_rules.count(prediction, truth.astype(np.float32)) == count_pixels(prediction, truth)


def test_the_chain_leaves_alone_what_fills_blocks_and_eats_what_does_not():
    whole = paper_rules.paint([square(64, 127)], (512, 512)) > 0
    np.testing.assert_array_equal(paper_rules.label([square(64, 127)], (512, 512)), whole)
    shifted = paper_rules.paint([square(67, 130)], (512, 512)) > 0
    label = paper_rules.label([square(67, 130)], (512, 512))
    assert not (label & ~shifted).any()
    assert 0.5 < label.sum() / shifted.sum() < 1
    assert label[72:128, 72:128].all()  # the blocks inside are constant


def test_faults_in_the_table_are_the_reports():
    case = case_of(Ellipse((60.0, 50.0), (30.0, 12.0), 3.0), size_hw=(120, 100))
    np.testing.assert_array_equal(
        worth.soften(case, worth.ALL), paper_rules.soft_truth(case.record.truth, case.size_hw)
    )
    without = [worth.soften(case, worth.ALL - {fault}) for fault in ("theta", "paint", "jpeg", "bilinear")]
    assert all(not np.array_equal(soft, worth.soften(case, worth.ALL)) for soft in without)
    clean = worth.soften(case, frozenset())
    np.testing.assert_array_equal(worth.harden(clean, frozenset()), worth.to_grid(case.truth()))
    assert set(np.unique(clean)) == {0, 1}


def test_half_a_turn_is_misread_and_none_is_not():
    half, none = (case_of(Ellipse((50.0, 50.0), (30.0, 10.0), theta)) for theta in (math.pi, 0.0))
    turned = rasterize([Ellipse((50.0, 50.0), (30.0, 10.0), math.radians(360 * math.pi % 180))], (512, 512))
    assert worth.turned_dice([half, none]) == [count_pixels(turned, half.truth()).dice, 1.0]
    assert worth.turned_dice([half])[0] < worth.DISPLACED


def test_vanished_pixels_are_counted_from_what_was_drawn():
    case = case_of(square(67, 130))
    painted = paper_rules.paint([square(67, 130)], (512, 512)) > 0
    label = paper_rules.label([square(67, 130)], (512, 512))
    assert worth.vanished([case], worth.ALL) == pytest.approx(1 - label.sum() / painted.sum())
    whole = case_of(square(64, 127))
    both = 1 - (label.sum() + 64 * 64) / (painted.sum() + 64 * 64)  # pixels of all cases together
    assert worth.vanished([case, whole], worth.ALL) == pytest.approx(both)


def test_where_a_perfect_mask_loses():
    # The painted square has 64 x 64 pixels and the true one 63 x 63; it fills its blocks, so there is no halo.
    dropped, missed = (row.cells["share"].mean for row in worth.lost_in_perfect([case_of(square(64, 127))], ["a"]))
    assert dropped == 0
    assert missed == pytest.approx((64**2 - 63**2) / 63**2)
    dropped, _ = (row.cells["share"].mean for row in worth.lost_in_perfect([case_of(square(67, 130))], ["a"]))
    assert dropped > 0


def test_on_generated_data_a_perfect_mask_is_perfect_by_our_metric_alone(found):
    perfect = worth.score("perfect", worth.perfect_masks(found.cases), found.cases, found.groups).cells
    labels = worth.score("labels", worth.label_masks(found.cases), found.cases, found.groups).cells
    assert perfect["our metric: Dice"].mean == 1
    assert perfect["student paper's metric: Dice"].mean < 0.97
    assert perfect["student paper's metric: Dice"].largest < 1
    assert labels["student paper's metric: precision"].mean == 1
    assert labels["student paper's metric: Dice"].mean < perfect["student paper's metric: Dice"].mean
    assert labels["our metric: Dice"].mean < 1


def test_faults_cost_nothing_where_there_are_none(found):
    none, full = (
        worth.score_faults(name, found.cases, found.groups).cells for name in ("none", "all of the student paper's")
    )
    assert [none[column].mean for column in (worth.AS_LABEL, worth.AS_TRUTH)] == [1, 1]
    assert all(full[column].mean < 0.97 for column in (worth.AS_LABEL, worth.AS_TRUTH))


def test_what_is_undefined_is_left_out_and_what_agrees_has_no_interval():
    mean = worth.average([0.2, math.nan, 0.6], ["a", "b", "c"])
    assert mean.mean == pytest.approx(0.4)
    assert (mean.largest, mean.images) == (0.6, 2)
    assert mean.low < 0.4 < mean.high
    assert math.isnan(worth.average([1.0, 1.0, 1.0], ["a", "b", "c"]).low)
    nothing = worth.average([math.nan], ["a"])
    assert math.isnan(nothing.mean)
    assert nothing.images == 0


def test_the_csv_has_a_line_a_cell(tmp_path):
    cells = {"x": worth.Cell(0.5, 0.25, 0.75, 1.0, 3), "y": worth.bare(0.125, 4)}
    worth.write_rows(tmp_path / "a.csv", [worth.Row("score", "perfect, mask", cells)])
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "table,row,column,mean,ci95_low,ci95_high,largest,images",
        'score,"perfect, mask",x,0.5000,0.2500,0.7500,1.0000,3',
        'score,"perfect, mask",y,0.1250,,,,4',
    ]


def test_the_command_writes_tables_and_figures_and_scores_a_network(tmp_path, phantom_data, tiny_run, capsys):
    worth.main(phantom_data, model=[f"a network={tiny_run}"], out=tmp_path)
    lines = (tmp_path / "results" / "worth_of_the_score.csv").read_text().splitlines()
    names = {line.split(",")[1] for line in lines if line.startswith("score")}
    assert names == {"perfect mask", "mask like the student paper's labels", "a network"}
    for suffix in (".png", ".svg"):
        assert (tmp_path / "figures" / f"worth_of_the_score{suffix}").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "4 slices of VAL" in printed
    assert "copies" in printed


def test_bars_are_as_long_as_the_means():
    scores = {f"{rule}: Dice": worth.bare(mean, 1) for rule, mean in ((worth.THEIRS, 0.25), (worth.OURS, 0.5))}
    faults = {worth.AS_LABEL: worth.bare(0.75, 1), worth.AS_TRUTH: worth.bare(1.0, 1)}
    figure = worth.draw([worth.Row("score", "a", scores), worth.Row("fault", "b", faults)], "no slices")
    assert [[bar.get_width() for bar in axes.patches] for axes in figure.axes] == [[0.25, 0.5], [1.0, 0.75]]
