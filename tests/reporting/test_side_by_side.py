from __future__ import annotations

from tumortrace.reporting.side_by_side import draw_side_by_side, same_images

Row = dict[str, str]


def row(file: str, *, clean: str = "true", dice: str = "0.5", sha256: str = "") -> Row:
    return {"file": file, "sha256": sha256 or file, "clean": clean, "dice": dice, "group": ""}


def test_what_is_clean_for_every_model_is_compared_and_nothing_else():
    one = [row("a"), row("b"), row("c", clean="false"), row("only here")]
    other = [row("b"), row("a", clean="false"), row("c")]
    assert same_images([one, other]) == (["b"], "the same 1 image, clean for every model")


def test_where_no_image_is_clean_for_all_the_common_ones_are_compared():
    one, other = [row("a"), row("b"), row("c")], [row("a", clean=""), row("b", clean=""), row("c", sha256="changed")]
    assert same_images([one, other]) == (["a", "b"], "the same 2 images, not known to be clean for every model")


def test_the_chart_says_which_images_it_is_on():
    one, other = [row("a"), row("b"), row("c", dice="")], [row("b", dice="0.9"), row("a"), row("d")]
    assert "All on the same 2 images, clean for every model." in draw_side_by_side([("one", one), ("other", other)])


def test_nothing_in_common_is_said():
    for one, other in (([row("a")], [row("b")]), ([row("a", dice="")], [row("a", dice="")])):
        text = draw_side_by_side([("one", one), ("other", other)])
        assert "nothing can be set side by side" in text
        assert "<figure" not in text
