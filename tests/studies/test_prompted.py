"""The arithmetic behind the tables of boxes and clicks, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from studies.prompted import (
    MOST_CLICKS,
    SHIFTED,
    Pointed,
    count_prompts,
    cut_by_colour,
    draw_boxes,
    inscribe_ellipse,
    read_pointed,
    score_boxes,
)
from studies.prompted_worth import BOX_S, CLICK_S, MOST_STROKES, OUTLINE_S, count_strokes, seconds_of_prompts

from studies import prompted_tables
from tumortrace.copies.split_files import FORMAT
from tumortrace.data.cases import Case, CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.data.slice import Slice
from tumortrace.json_csv import read_csv, write_json


def case_of(truth: np.ndarray, pixels: np.ndarray) -> Case:
    return Case(CaseRecord("x.png", "", Path("x.png"), ()), Slice(pixels, "x.png"), truth)


def test_missing_masks_of_another_program_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    truth = np.zeros((6, 9), np.bool_)
    truth[1:3, 2:6] = True
    cv2.imwrite(str(tmp_path / "x_0.png"), np.where(truth, 255, 0).astype(np.uint8))
    pointed = [Pointed(case_of(truth, truth.astype(np.uint8)), {"0": (2, 1, 6, 3), "0.3": (1, 0, 7, 4)}, "g")]
    (row,) = score_boxes(pointed, {}, tmp_path)
    assert (row["box"], row["dice"], row["way"]) == ("0", 1.0, tmp_path.name)
    assert f"{tmp_path}: 1 masks are missing, first x_0.3.png" in capsys.readouterr().out


def test_boxes_are_drawn_around_the_outline_and_cut_to_the_slice():
    truth = np.zeros((60, 100), np.bool_)
    truth[0:20, 40:50] = True
    boxes = draw_boxes(case_of(truth, truth.astype(np.uint8)), np.random.default_rng(0))
    assert boxes["0"] == (40, 0, 50, 20)
    assert boxes["0.3"] == (37, 0, 53, 26)
    assert len(boxes[SHIFTED]) == 4


def test_the_split_names_the_groups_of_slices(phantom_data: Path, tmp_path: Path):
    records = open_dataset(phantom_data).select("train")[:3]
    named = (replace(records[0], patient="p"), replace(records[1], patient="q"), records[2])
    assert [each.group for each in read_pointed(named, None, every=1)] == ["p", "q", records[2].case_id]
    cases = [{"file": each.case_id, "sha256": "", "side": "1", "group": "run"} for each in records[:2]]
    split = tmp_path / "folds.json"
    write_json(split, {"format": FORMAT, "by": "groups", "left_out": [], "cases": cases})
    assert [each.group for each in read_pointed(named, split, every=2)] == ["run", records[2].case_id]
    assert [each.group for each in read_pointed(named, split, every=1)] == ["run", "run", records[2].case_id]


def test_the_inscribed_ellipse_fills_pi_quarters_of_its_box():
    mask = inscribe_ellipse(Slice(np.zeros((80, 120), np.uint8), "x"), (20, 10, 100, 70))
    assert mask.sum() == pytest.approx(np.pi / 4 * 80 * 60, rel=0.01)
    assert not mask[:, :20].any()


def test_grabcut_finds_a_bright_block_in_a_loose_box():
    pixels = np.full((60, 80), 30, np.uint8)
    pixels[20:40, 30:50] = 220
    pixels[0] = 0
    mask = cut_by_colour(Slice(pixels, "x"), (26, 16, 54, 44))
    assert mask[22:38, 32:48].all()
    assert mask.sum() < 28 * 28  # less than the box


def test_the_box_is_the_first_prompt():
    assert count_prompts([0.9], 0.85) == 1
    assert count_prompts([0.7, 0.8, 0.86, 0.9], 0.85) == 3
    assert count_prompts([0.7] * MOST_CLICKS, 0.85) == MOST_CLICKS


def test_seconds_add_up_and_a_missed_goal_is_outlined():
    assert seconds_of_prompts([0.7, 0.8, 0.9], 0.85) == BOX_S + 2 * CLICK_S
    assert seconds_of_prompts([0.7] * MOST_CLICKS, 0.85) == BOX_S + (MOST_CLICKS - 1) * CLICK_S + OUTLINE_S


def test_a_stroke_makes_right_what_lies_under_the_brush():
    truth = np.zeros((100, 100), np.bool_)
    truth[40:44, 40:44] = True
    assert count_strokes(truth, truth, 0.9) == 0
    assert count_strokes(np.zeros_like(truth), truth, 0.9) == 1  # the brush of 3 px covers the 4 x 4 pixels
    wide = np.ones_like(truth)
    assert count_strokes(wide, truth, 0.9) == MOST_STROKES


def test_held_out_sources_have_a_row_each_of_their_own_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompted_tables, "TABLES", tmp_path)
    boxes = "source,file,group,way,box,dice\n" + "".join(
        f"{source},{file},{file},{way},{box},{dice}\n"
        for source, file, dice in (("lgg", "a", 0.5), ("lgg", "b", 0.7), ("figshare", "c", 0.9))
        for way, box in (("box", "0.15"), ("box", "0.3"), ("ellipse", "0.15"))
    )
    clicks = "source,file,group,prompts_to_0.85,prompts_to_0.9\nlgg,a,a,2,4\nlgg,b,b,3,20\nfigshare,c,c,1,1\n"
    (tmp_path / "boxes.csv").write_text(boxes)
    (tmp_path / "clicks.csv").write_text(clicks)
    prompted_tables.write_sources([f"all={tmp_path}", f"lgg, alone={tmp_path}:lgg"], {})
    whole, alone = read_csv(tmp_path / "prompted_sources.csv")
    assert (whole["n"], whole["15 % too wide"].split()[0], whole["prompts to 0.85"]) == ("3", "0.700", "2.00")
    assert (alone["source"], alone["n"]) == ("lgg, alone", "2")
    assert (alone["30 % too wide"].split()[0], alone["prompts to 0.9"]) == ("0.600", "12.00")


def test_the_split_replaces_the_groups_of_its_slices(tmp_path: Path):
    (tmp_path / "boxes.csv").write_text("file,group\na,old\nb,own\n")
    rows = prompted_tables.read(tmp_path / "boxes.csv", {"a": "new"})
    assert rows == [{"file": "a", "group": "new"}, {"file": "b", "group": "own"}]
