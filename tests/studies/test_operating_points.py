"""The picture of operating points: what is drawn of two evaluations, one of them without tumour-free slices."""

from __future__ import annotations

from studies.operating_points import draw_operating_points


def test_a_point_that_is_undefined_is_not_drawn_and_the_used_one_has_its_intervals():
    whole = _summary([_point(0.0, 0.9, 2.0, painted=0.3), _point(0.5, 0.8, 1.0, painted=0.1)], used=0.5)
    ill_alone = _summary([_point(0.0, 0.7, 4.0, painted=None), _point(0.5, 0.6, 3.0, painted=None)], used=0.0)
    froc, trade_off = draw_operating_points({"whole": whole, "ill alone": ill_alone}).axes
    assert [line.get_label() for line in froc.lines if not line.get_label().startswith("_")] == ["whole", "ill alone"]
    assert [line.get_label() for line in trade_off.lines if not line.get_label().startswith("_")] == ["whole"]
    curve, across, up, used = froc.lines[:4]
    assert curve.get_xydata().tolist() == [[2.0, 0.9], [1.0, 0.8]]
    assert across.get_xydata().tolist() == [[0.5, 0.8], [1.5, 0.8]]
    assert up.get_xydata().tolist() == [[1.0, 0.7], [1.0, 0.9]]
    assert used.get_xydata().tolist() == [[1.0, 0.8]]


def _summary(points: list[dict[str, object]], used: float) -> dict[str, object]:
    return {"froc": points, "calibration": {"peak_threshold": used}}


def _point(peak: float, sensitivity: float, false_lesions: float, painted: float | None) -> dict[str, object]:
    return {
        "peak_threshold": peak,
        "sensitivity": sensitivity,
        "sensitivity_ci95": [round(sensitivity - 0.1, 1), round(sensitivity + 0.1, 1)],
        "false_lesions_per_head": false_lesions,
        "false_lesions_ci95": [false_lesions - 0.5, false_lesions + 0.5],
        "dice": 0.8,
        "dice_ci95": [0.7, 0.9],
        "painted": painted,
        "painted_ci95": painted and [painted / 2, painted * 2],
    }
