from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tumortrace.errors import DataError
from tumortrace.reporting.error_map import PAPER_LEGEND, SAFE_LEGEND
from tumortrace.reporting.figures import (
    CasePanels,
    draw_cases,
    draw_losses,
    draw_run_losses,
    read_metrics,
    save_figure,
    smooth,
)

HEADER = "epoch,train_loss,val_loss,val_dice,images_per_second,loader_share,seconds\n"

Row = dict[str, float | None]


def case(title: str = "TEST/y7.jpg\nDice 0.667", *, size_hw: tuple[int, int] = (6, 9)) -> CasePanels:
    pixels = np.arange(size_hw[0] * size_hw[1], dtype=np.uint16).reshape(size_hw)
    truth, prediction = np.zeros((2, *size_hw), dtype=bool)
    truth[1, 2:4] = True
    prediction[1, 3:5] = True
    return CasePanels(title, pixels, truth, prediction)


def losses(train: list[float | None], val: list[float | None]) -> list[Row]:
    pairs = enumerate(zip(train, val, strict=True), start=1)
    return [{"epoch": float(epoch), "train_loss": one, "val_loss": other} for epoch, (one, other) in pairs]


def texts_of(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text) if text.get_text()}


def boxes_of(figure: Figure) -> dict[str, tuple[float, float, float, float]]:
    """Where each text stands after drawing: left, bottom, right, top, as shares of the figure."""
    figure.draw_without_rendering()
    to_share = figure.transFigure.inverted()
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return {text.get_text(): tuple(text.get_window_extent().transformed(to_share).extents) for text in shown}


def test_smoothing_by_hand():
    # Weights of 2, 6, 1 at weight 0.5: averages 1, 3.5, 2.25 from zero, divided by 0.5, 0.75, 0.875.
    smoothed = smooth(np.array([2.0, 6.0, 1.0]), 0.5)
    assert smoothed.tolist() == pytest.approx([2.0, 3.5 / 0.75, 2.25 / 0.875])


def test_smoothing_keeps_the_first_value_and_a_constant():
    assert smooth(np.array([3.25])).tolist() == pytest.approx([3.25])
    assert smooth(np.full(5, 0.7)).tolist() == pytest.approx([0.7] * 5)
    assert smooth(np.array([4.0, 8.0]), 0.0).tolist() == [4.0, 8.0]
    assert smooth(np.array([])).shape == (0,)


def test_metrics_are_read_with_empty_cells_as_none(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(f"{HEADER}1,0.5,,,20.25,0.125,2\n2,nan,0.25,0.75,20,0,1.5\n")
    first, second = read_metrics(tmp_path / "metrics.csv")
    assert list(first.values()) == [1.0, 0.5, None, None, 20.25, 0.125, 2.0]
    assert second["train_loss"] != second["train_loss"]
    assert (second["val_loss"], second["val_dice"]) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no epoch in it yet; wait for the first or go on with train --resume"),
        (HEADER.encode(), "no epoch in it yet"),
        (
            f"{HEADER}1,a half,,,1,1,1\n".encode(),
            r"not a table of epochs \(could not convert string to float: 'a half'",
        ),
        (f"{HEADER}1,0.5,,,1,1,1,7\n".encode(), r"not a table of epochs \(.*; give the file as train wrote it"),
        (b"\xff\xfe\x00", r"not a table of epochs \('utf-8' codec"),
        (b"epoch,seconds\n1,2\n", "lacks the columns train_loss, val_loss; give the file as train wrote it"),
    ],
)
def test_a_file_that_is_no_table_of_epochs_is_one_line(tmp_path: Path, content: bytes, expected: str):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"metrics\.csv: {expected}") as caught:
        read_metrics(path)
    assert "\n" not in str(caught.value)


def test_missing_metrics_name_what_to_give(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"metrics\.csv: cannot be read \(No such file or directory\); give a run folder"
    ):
        read_metrics(tmp_path / "metrics.csv")


def test_a_case_that_is_not_square_has_four_panels_of_its_own_shape():
    figure = draw_cases([case()], title="Worst cases")
    assert len(figure.axes) == 4
    image, truth, prediction, comparison = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert image.shape == truth.shape == prediction.shape == (6, 9)
    assert (image[0, 0], image[-1, -1]) == (0, 255)  # 16-bit values stretched to what a page can show
    assert np.argwhere(truth).tolist() == [[1, 2], [1, 3]]
    assert np.argwhere(prediction).tolist() == [[1, 3], [1, 4]]
    found, missed, marked = (list(rgb) for _, rgb in SAFE_LEGEND[:3])
    assert comparison[1, 2:5].tolist() == [missed, found, marked]
    assert [axes.images[0].get_clim() for axes in figure.axes[:3]] == [(0, 255), (0, 1), (0, 1)]


def test_every_case_has_its_row_and_every_colour_its_name():
    figure = draw_cases([case(f"y{n}.jpg\nDice 0.{n}", size_hw=(6, 4 + n)) for n in range(3)], title="Worst cases")
    assert len(figure.axes) == 12
    wanted = {"Worst cases", "image", "truth", "prediction", "comparison"} | {label for label, _ in SAFE_LEGEND}
    assert texts_of(figure) == wanted | {"y0.jpg\nDice 0.0", "y1.jpg\nDice 0.1", "y2.jpg\nDice 0.2"}
    (legend,) = figure.legends
    faces = [tuple(round(255 * value) for value in patch.get_facecolor()[:3]) for patch in legend.get_patches()]
    assert faces == [rgb for _, rgb in SAFE_LEGEND]


def test_the_colours_of_the_student_paper_are_an_option():
    figure = draw_cases([case()], title="Cases", colours="paper")
    assert {label for label, _ in PAPER_LEGEND} <= texts_of(figure)
    comparison = np.asarray(figure.axes[3].images[0].get_array())
    assert comparison[1, 2:5].tolist() == [[0, 90, 255], [255, 255, 255], [255, 140, 0]]
    assert comparison[0, 0].tolist() == [0, 0, 0]


def test_an_all_black_slice_with_empty_masks_can_be_drawn(tmp_path: Path):
    black = CasePanels("empty", np.zeros((4, 5), dtype=np.uint8), *np.zeros((2, 4, 5), dtype=bool))
    save_figure(draw_cases([black], title="Random cases"), tmp_path / "figure.png")
    assert cv2.imread(str(tmp_path / "figure.png")) is not None


@pytest.mark.parametrize("rows", [1, 4])
def test_no_text_of_a_case_figure_leaves_the_page_or_covers_another(rows: int):
    names = [f"TRAIN/{'a long name of a slice ' * 3}{n}.jpg\nDice 0.500" for n in range(rows)]
    boxes = boxes_of(draw_cases([case(name, size_hw=(300, 240)) for name in names], title="Best cases"))
    assert len(boxes) == 9 + rows
    for left, bottom, right, top in boxes.values():
        assert min(left, bottom) >= 0
        assert max(right, top) <= 1
    listed = list(boxes.items())
    for index, (text, one) in enumerate(listed):
        for other_text, other in listed[index + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (text, other_text)


def test_long_names_keep_their_end():
    figure = draw_cases([case("TEST/" + "x" * 40 + "_042.jpg\nDice 0.5")], title="Best cases")
    (label,) = (text for text in texts_of(figure) if "Dice" in text)
    assert label == "…" + "x" * 19 + "_042.jpg\nDice 0.5"


def test_dollars_in_a_name_are_no_formula(tmp_path: Path):
    save_figure(draw_cases([case("a$^$b.jpg")], title="Best cases"), tmp_path / "figure.svg")
    assert "a$^$b.jpg" in texts_of(draw_cases([case("a$^$b.jpg")], title="Best cases"))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_name_in_a_script_that_the_font_lacks_is_drawn_without_a_warning(suffix: str, tmp_path: Path):
    save_figure(draw_cases([case("\u5934.jpg\nDice 0.667")], title="Best cases"), tmp_path / f"cases.{suffix}")


def test_losses_are_drawn_raw_and_smoothed_with_the_kept_epoch():
    (axes,) = draw_losses(losses([0.8, 0.4, 0.2, 0.2, 0.1], [0.9, 0.3, 0.6, 0.5, 0.5]), kept_epoch=2).axes
    raw_train, smooth_train, raw_val, smooth_val, kept = axes.lines
    assert np.asarray(raw_train.get_xdata()).tolist() == [1, 2, 3, 4, 5]
    assert np.asarray(raw_train.get_ydata()).tolist() == [0.8, 0.4, 0.2, 0.2, 0.1]
    assert np.asarray(raw_val.get_ydata()).tolist() == [0.9, 0.3, 0.6, 0.5, 0.5]
    # At weight 0.6: (0.6 * 0.4 * 0.8 + 0.4 * 0.4) / (1 - 0.36) = 0.55
    assert np.asarray(smooth_train.get_ydata())[:2].tolist() == pytest.approx([0.8, 0.55])
    assert np.asarray(smooth_val.get_ydata())[0] == pytest.approx(0.9)
    assert set(kept.get_xdata()) == {2}
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation", "epoch kept: 2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean cross-entropy (nat per pixel)")


def test_losses_of_few_epochs_are_drawn_as_they_were_measured():
    for train, val in (([0.8, 0.2], [0.9, 0.3]), ([0.8, 0.2, 0.2, 0.2, 0.1], [None, 0.3, None, 0.2, None])):
        (axes,) = draw_losses(losses([*train], [*val]), kept_epoch=2).axes
        one, other, _ = axes.lines
        assert np.asarray(one.get_ydata()).tolist() == train
        assert np.asarray(other.get_ydata()).tolist() == [loss for loss in val if loss is not None]
        assert axes.get_title() == "Loss by epoch"


def test_losses_without_validation_have_one_curve():
    (axes,) = draw_losses(losses([0.8, 0.4], [None, None]), kept_epoch=2).axes
    assert [line.get_label() for line in axes.lines if not str(line.get_label()).startswith("_")] == [
        "training",
        "epoch kept: 2",
    ]


def test_different_losses_never_share_an_axis():
    rows = losses([0.8, 0.4], [0.5, 0.3])
    above, below = draw_losses(rows, kept_epoch=2, loss="dice_cross_entropy").axes
    assert (above.get_ylabel(), below.get_ylabel()) == ("dice cross entropy loss", "mean cross-entropy (nat per pixel)")
    assert np.asarray(above.lines[0].get_ydata()).tolist() == [0.8, 0.4]
    assert np.asarray(below.lines[0].get_ydata()).tolist() == [0.5, 0.3]
    assert (above.get_xlabel(), below.get_xlabel()) == ("", "epoch")
    (only,) = draw_losses(losses([0.8], [None]), kept_epoch=1, loss="tversky").axes
    assert only.get_ylabel() == "tversky loss"


def test_a_run_s_figure_names_the_loss_of_its_settings(tiny_run: Path):
    ((_, loss),) = {(axes.get_title(), axes.get_ylabel()) for axes in draw_run_losses(tiny_run, kept_epoch=1).axes}
    assert loss == "mean cross-entropy (nat per pixel)"


@pytest.mark.parametrize(
    ("train", "scale"),
    [([0.5, 0.11], "linear"), ([0.5, 0.1], "log"), ([0.5], "linear"), ([0.5, 0.0], "linear"), ([], "linear")],
)
def test_a_logarithmic_axis_is_for_losses_that_change_fivefold(train: list[float | None], scale: str):
    rows = losses([*train, float("nan")], [None] * (len(train) + 1))
    (axes,) = draw_losses(rows, kept_epoch=1).axes
    assert axes.get_yscale() == scale


def test_ticks_are_whole_epochs_and_plain_numbers():
    figure = draw_losses(losses([0.5, 0.2, 0.02], [0.6, 0.3, 0.1]), kept_epoch=3)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    shown = [tick.get_text() for tick in axes.get_yticklabels() if low <= tick.get_position()[1] <= high]
    assert shown == ["0.02", "0.05", "0.1", "0.2", "0.5"]
    assert [tick.get_text() for tick in axes.get_xticklabels() if 0.5 <= tick.get_position()[0] <= 3.5] == [
        "1",
        "2",
        "3",
    ]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(suffix: str, tmp_path: Path):
    for name in ("one", "two"):
        save_figure(draw_cases([case()], title="Best cases"), tmp_path / "new" / f"{name}.{suffix}")
    one, two = ((tmp_path / "new" / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert b"dc:date" not in one


def test_a_png_has_the_size_of_its_figure(tmp_path: Path):
    save_figure(draw_losses(losses([0.5], [None]), kept_epoch=1), tmp_path / "losses.png")
    picture = cv2.imread(str(tmp_path / "losses.png"))
    assert picture is not None
    assert picture.shape == (672, 1152, 3)  # 4.2 and 7.2 inches at 160 dots an inch
