"""The student paper's figures: their numbers worked out by hand, and every figure made by its name."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from reproduction.committed_numbers import NumbersMissingError, read_rows
from reproduction.paper_cases import METRICS, Scores
from reproduction.paper_curves import Curve
from reproduction.paper_figures import MAKERS
from reproduction.tables import write_table

from reproduction import architecture, paper_cases, paper_curves, paper_figures
from tumortrace.config import load_config, to_toml
from tumortrace.errors import TumortraceError
from tumortrace.evaluation.evaluate import Evaluation
from tumortrace.evaluation.folder import write_evaluation
from tumortrace.metrics.overlap import PixelCounts
from tumortrace.training.networks import UNet, describe_network

TOTAL = 31_032_578
DRAWN = [name for name in MAKERS if name not in {"table_1", "annex"}]


def curve(batch_size: int, rate: float, *losses: float, seed: int = 0) -> Curve:
    array = np.array(losses)
    return Curve(batch_size, rate, seed, np.arange(1.0, len(losses) + 1), array / 2, array, np.full(len(losses), 0.5))


def write_sweep(folder: Path, runs: dict[str, tuple[int, float, int, str]]) -> Path:
    """Runs by name: batch size, learning rate, seed, and the lines of the epochs."""
    lines = [f"{name},{size},{rate},{seed}" for name, (size, rate, seed, _) in runs.items()]
    folder.mkdir()
    head = "run,training.batch_size,training.learning_rate,seed"
    (folder / "results.csv").write_text("\n".join([head, *lines, ""]))
    for name, (*_, epochs) in runs.items():
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "metrics.csv").write_text(f"epoch,train_loss,val_loss,val_dice,seconds\n{epochs}")
    return folder


@pytest.fixture
def into(tmp_path) -> Path:
    """A folder with all numbers that figures are drawn from, made up."""
    results = tmp_path / "reproduction" / "results"
    curves = [
        {"batch_size": size, "learning_rate": rate, "seed": seed, "epoch": epoch, "train_loss": 1 / (epoch + seed),
         "val_loss": rate + 1 / epoch, "val_dice": 0.5}
        for size in (2, 4, 8) for rate in (2e-3, 1e-3) for seed in (0, 1) for epoch in (1, 2, 3)
    ]  # fmt: skip
    write_table(results / "grid_curves.csv", curves)
    scores = [{"group": f"g{index % 4}", **dict.fromkeys(METRICS, index / 10)} for index in range(11)]
    write_table(results / "scores.csv", scores)
    for name in paper_curves.DICE_ROWS:
        epochs = [
            {"epoch": epoch, "train_loss": loss, "held_out_loss": 0.4} for epoch, loss in ((0, math.nan), (1, 0.5))
        ]
        write_table(results / "dice_collapse" / f"{name}.csv", epochs)
    return results.parent


def test_the_network_has_as_many_parameters_as_the_report_says():
    runs = architecture.trace_network(*architecture.paper_network())
    for rows in (architecture.tabulate_layers(runs), architecture.tabulate_blocks(runs)):
        *parts, total = rows
        assert (total["layer"], total["parameters"]) == ("total", TOTAL)
        assert sum(row["parameters"] for row in parts) == TOTAL
    # 3 x 3 x 1 x 64 + 64, and 3 x 3 x 64 x 64 + 64, and two numbers a channel.
    assert architecture.tabulate_blocks(runs)[0]["parameters"] == 640 + 36_928 + 128


def test_the_annex_agrees_with_the_table_that_train_writes():
    network, size_hw = architecture.paper_network()
    rows = architecture.tabulate_layers(architecture.trace_network(network, size_hw))[:-1]
    ours = [
        (row["layer"], f"[-1, {row['channels']}, {row['height']}, {row['width']}]", f"{row['parameters']:,}")
        for row in rows
    ]
    described = describe_network(network, size_hw=size_hw)
    assert re.findall(r"^ +(\w+-\d+) +(\[.*\]) +([\d,]+)$", described, re.MULTILINE) == ours


def test_the_drawing_shows_what_the_network_computes():
    network = UNet((4, 8, 16)).to("meta").eval()
    runs = architecture.trace_network(network, (32, 48))
    boxes = architecture.lay_out(runs)
    assert [box.shape for box in boxes] == [
        (1, 32, 48), (4, 32, 48), (4, 32, 48),
        (4, 16, 24), (8, 16, 24), (8, 16, 24),
        (8, 8, 12), (16, 8, 12), (16, 8, 12),
        (8, 16, 24), (8, 16, 24), (8, 16, 24), (8, 16, 24),
        (4, 32, 48), (4, 32, 48), (4, 32, 48), (4, 32, 48),
        (2, 32, 48),
    ]  # fmt: skip
    made = {run.given for run in runs}
    assert {box.shape for box in boxes[1:]} == made
    # What a decoder takes is the copy and what came up.
    for number, box in enumerate(boxes):
        if box.fill == "copy":
            (taken,) = [run.taken for run in runs if run.path.startswith("decoders") and run.path.endswith(".0")
                        and run.taken[1] == box.shape[1]]  # fmt: skip
            assert box.shape[0] + boxes[number + 1].shape[0] == taken[0]
            assert any(each.fill == "normed" and each.shape == box.shape for each in boxes[:number])
    figure = architecture.draw_network(runs)
    texts = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert [text for text in texts if " x " in text] == ["32 x 48", "16 x 24", "8 x 12"]
    numbers = [int(text.rstrip("+")) for text in texts if " x " not in text]
    assert numbers == [box.shape[0] for box in boxes]
    assert "widths 4-8-16" in figure.axes[0].get_title()


def test_a_sweep_is_condensed_diverged_runs_as_far_as_they_came(tmp_path):
    sweep = write_sweep(
        tmp_path / "sweep",
        {
            "s01-seed0": (2, 0.002, 0, "1,0.5,0.25,0.125,9\n2,0.375,,0.5,9\n"),
            "s02-seed1": (4, 0.001, 1, "1,0.25,0.5,0.75,9\n"),
            "s03-seed0": (8, 0.001, 0, ""),  # diverged in its first epoch
        },
    )
    paper_figures.main(only=["best_of_each"], into=tmp_path, sweep=sweep)
    assert (tmp_path / "results" / "grid_curves.csv").read_text().splitlines() == [
        "batch_size,learning_rate,seed,epoch,train_loss,val_loss,val_dice",
        "2,0.002,0,1,0.5,0.25,0.125",
        "2,0.002,0,2,0.375,,0.5",
        "4,0.001,1,1,0.25,0.5,0.75",
    ]
    first, second = paper_curves.read_curves(tmp_path / "results" / "grid_curves.csv", remedy="")
    assert (first.batch_size, first.learning_rate, first.seed) == (2, 0.002, 0)
    np.testing.assert_array_equal(first.val_loss, [0.25, math.nan])
    np.testing.assert_array_equal(second.train_loss, [0.25])


def test_runs_that_differ_in_something_else_are_refused(tmp_path):
    epoch = "1,0.5,0.25,0.125,9\n"
    sweep = write_sweep(tmp_path / "sweep", {"a": (2, 0.002, 0, epoch), "b": (2, 0.002, 0, epoch)})
    with pytest.raises(TumortraceError, match="more than one run of batch size 2"):
        paper_curves.condense_sweep(sweep)
    (tmp_path / "sweep" / "results.csv").write_text("run,seed\na,0\n")
    with pytest.raises(typer.BadParameter, match="no sweep over"):
        paper_figures.main(only=["annex"], into=tmp_path, sweep=sweep)


def test_the_best_learning_rate_has_the_lowest_mean_over_seeds_in_an_epoch():
    settings = paper_curves.gather(
        [
            curve(2, 1e-3, 0.9, 0.5, 0.7),
            curve(2, 1e-3, 0.9, 0.7, 0.7, seed=1),  # means 0.9, 0.6, 0.7
            curve(2, 1e-4, 0.8, 0.2, 0.9),
            curve(2, 1e-4, 0.8, 1.2, 0.9, seed=1),  # 0.8, 0.7, 0.9: the lowest single loss does not count
            curve(2, 2e-3, 0.8, 0.1, math.nan),
            curve(2, 2e-3, 0.9, math.nan, seed=1),  # 0.85 in the only epoch in which both have a loss
            curve(4, 1e-3, math.nan, math.inf),
        ]
    )
    assert [(each.batch_size, each.learning_rate) for each in settings] == [(2, 2e-3), (2, 1e-3), (2, 1e-4), (4, 1e-3)]
    assert list(paper_curves.choose_best(settings)) == [2]
    rows = paper_curves.tabulate_settings(settings)
    assert [row["best_epoch"] for row in rows] == [1, 2, 2, None]
    assert [row["lowest_val_loss"] for row in rows[:3]] == pytest.approx([0.85, 0.6, 0.7])
    assert math.isnan(rows[3]["lowest_val_loss"])
    assert [row["best_of_batch_size"] for row in rows] == ["no", "yes", "no", "no"]
    assert [row["seeds"] for row in rows] == [2, 2, 2, 1]


def test_what_diverged_is_named_in_the_figure():
    settings = paper_curves.gather(
        [
            curve(2, 2e-3, 0.8, math.nan, math.nan),
            curve(2, 1e-3, 0.8, 0.5, 0.6),
            curve(2, 1e-3, 0.8, 0.7, 0.6, seed=1),
            curve(2, 1e-4, math.inf),
        ]
    )
    figure = paper_curves.draw_rates(2, settings)
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == [
        "0.002 (one seed, diverged or stopped after epoch 1)",
        "0.001",
        "0.0001 (one seed, no epoch in which every seed has a loss)",
    ]
    (mean,) = [line for line in figure.axes[0].lines if line.get_label() == "0.001"]
    assert np.asarray(mean.get_ydata()).tolist() == pytest.approx([0.8, 0.6, 0.6])


def test_the_losses_are_those_of_the_best_settings_best_run_smoothed(tmp_path):
    losses = [(0, 1, 0.5, 0.4), (0, 2, 0.25, 0.3), (1, 1, 0.5, 0.4), (1, 2, 0.25, 0.2)]
    rows = [
        {"batch_size": 4, "learning_rate": rate, "seed": seed, "epoch": epoch, "train_loss": train,
         "val_loss": factor * val, "val_dice": 0.5}
        for rate, factor in ((1e-3, 1), (1e-4, 2)) for seed, epoch, train, val in losses
    ]  # fmt: skip
    write_table(tmp_path / "grid_curves.csv", rows)
    drawn = paper_curves.make_losses(tmp_path)
    first, second = drawn.tables["losses"]
    assert (first["learning_rate"], first["seed"], first["lowest_val_loss"]) == (1e-3, 1, "no")
    assert (second["epoch"], second["val_loss"], second["lowest_val_loss"]) == (2, 0.2, "yes")
    assert first["val_loss_smoothed"] == pytest.approx(0.4)
    assert second["val_loss_smoothed"] == pytest.approx((0.6 * 0.4 * 0.4 + 0.4 * 0.2) / (1 - 0.6**2))
    assert drawn.figure is not None
    assert "lowest validation loss: epoch 2" in drawn.figure.axes[0].get_legend_handles_labels()[1]


def test_a_run_takes_the_best_ones_place(tmp_path, into):
    run = tmp_path / "run"
    run.mkdir()
    config = load_config("smoke")
    (run / "config.toml").write_text(to_toml(replace(config, training=replace(config.training, batch_size=6))))
    (run / "metrics.csv").write_text("epoch,train_loss,val_loss,val_dice\n1,0.5,,\n2,0.5,0.25,0.5\n3,0.25,0.375,0.5\n")
    paper_figures.main(only=["losses"], into=into, run=run)
    rows = read_rows(into / "results" / "losses.csv", remedy="")
    assert [row["batch_size"] for row in rows] == ["6"] * 3
    assert [row["val_loss"] for row in rows] == ["", "0.25", "0.375"]
    assert [row["lowest_val_loss"] for row in rows] == ["no", "yes", "no"]


def test_table_1_by_hand_with_an_undefined_score():
    values = np.array([0.0, 0.25, 0.5, 1.0, math.nan])
    scores = Scores(("g1", "g2", "g3", "g4", "g5"), dict.fromkeys(METRICS, values))
    row = paper_cases.tabulate_scores(scores)[1]
    assert (row["metric"], row["images"], row["groups"]) == ("recall", 5, 5)
    assert (row["mean"], row["min"], row["max"]) == (0.4375, 0.0, 1.0)
    # Between the four that are defined: at 0.05 x 3 = 0.15 and 0.95 x 3 = 2.85 of the way from the first to the last.
    assert row["p05"] == pytest.approx(0.15 * 0.25)
    assert row["p95"] == pytest.approx(0.5 + 0.85 * 0.5)
    assert 0 <= row["ci95_low"] < 0.4375 < row["ci95_high"]
    assert (row["undefined"], row["undefined_groups"]) == (1, "g5")
    assert [row[f"report_{name}"] for name in ("mean", "p05", "p95", "max")] == [0.452, 0.128, 0.711, 0.759]
    text = paper_cases.write_markdown([row])
    assert "| recall | 0.438 [" in text
    assert "| 0.000 | 1.000 | 0.038 to 0.925 | 0.452 | 0.128 to 0.711 | 0.759 |" in text
    assert "Undefined and left out: recall 1 (g5)." in text


def test_an_evaluation_is_condensed_without_names_of_files(make_score, tmp_path, capsys):
    folder = tmp_path / "evaluation"
    missed = make_score("VAL/y1.jpg", PixelCounts(0, 0, 3, 9), group="g1")
    half = make_score("VAL/y2.jpg", PixelCounts(2, 0, 2, 8), group="g2")
    write_evaluation(Evaluation((missed, half), (), {"name": "m", "sha256": ""}, 0.5), folder)
    paper_figures.main(only=["table_1"], into=tmp_path, evaluation=folder)
    assert (tmp_path / "results" / "scores.csv").read_text() == (
        "group,precision,recall,dice,iou\ng1,,0,0,0\ng2,1,0.5,0.666667,0.5\n"
    )
    assert "y1" not in (tmp_path / "results" / "table_1.csv").read_text()
    printed = capsys.readouterr().out
    assert "2 images in 2 groups" in printed
    assert "precision 1 (g1)" in printed


def test_scores_that_are_all_undefined_leave_a_metric_empty():
    scores = Scores(("g1", "g2"), dict.fromkeys(METRICS, np.full(2, math.nan)))
    assert paper_cases.draw_distribution(scores).axes
    assert {row["images"] for row in paper_cases.tabulate_distribution(scores)} == {0}
    assert "| Dice | - [-, -] | - |" in paper_cases.write_markdown(paper_cases.tabulate_scores(scores))


def test_bars_count_every_defined_score_once():
    scores = Scores(("g",) * 5, dict.fromkeys(METRICS, np.array([0.0, 0.06, 0.07, 1.0, math.nan])))
    bars = [row for row in paper_cases.tabulate_distribution(scores) if row["metric"] == "dice"]
    assert {round(row["from"], 2): row["images"] for row in bars if row["images"]} == {0.0: 1, 0.05: 2, 0.95: 1}


def test_the_comparison_shows_all_four_colours_and_counts_them():
    drawn = paper_cases.make_comparison(Path())
    (row,) = drawn.tables["comparison"]
    pixels = [row[name] for name in ("tp", "fp", "fn", "tn")]
    assert min(pixels) > 0
    assert sum(pixels) == 256 * 256
    assert row["dice"] == pytest.approx(2 * pixels[0] / (2 * pixels[0] + pixels[1] + pixels[2]))
    truth = np.zeros((40, 40), dtype=np.bool_)
    truth[10:20, 10:20] = True
    expected = np.zeros_like(truth)
    expected[18:22, 21:25] = True  # ten pixels less three at each end, five down and eight to the right
    np.testing.assert_array_equal(paper_cases.spoil(truth), expected)


def test_best_phantoms_come_first_and_random_ones_are_others():
    best = paper_cases.make_best_cases(Path()).tables["best_cases"]
    random = paper_cases.make_random_cases(Path()).tables["random_cases"]
    dices = sorted((case.counts.dice for case in paper_cases.segment_phantoms()), reverse=True)
    assert [row["dice"] for row in best] == dices[: paper_cases.SHOWN]
    assert len(random) == paper_cases.SHOWN
    assert {row["phantom"] for row in random} != {row["phantom"] for row in best}


@pytest.mark.parametrize("name", MAKERS)
def test_every_figure_is_made_by_its_name_and_always_the_same(name, into):
    written = []
    for _ in range(2):
        paper_figures.main(only=[name], into=into)
        written.append({path.name: path.read_bytes() for path in sorted((into / "figures").glob("*"))})
    assert written[0] == written[1]
    assert list(written[0]) == ([f"{name}.png", f"{name}.svg"] if name in DRAWN else [])
    if name in DRAWN:
        assert written[0][f"{name}.png"].startswith(b"\x89PNG")
    for table in MAKERS[name](into / "results").tables:
        with (into / "results" / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            assert list(csv.DictReader(file))


def test_what_has_no_numbers_is_skipped_and_named(tmp_path, monkeypatch):
    names = ["validation_loss_batch_8", "best_of_each", "losses", "dice_loss", "score_distribution", "table_1"]
    lines: list[str] = []
    monkeypatch.setattr(paper_figures, "tell", lines.append)
    paper_figures.main(only=names, into=tmp_path)
    assert [line.split(" skipped: ")[0] for line in lines] == names
    assert "--sweep" in lines[0]
    assert "--evaluation" in lines[-1]
    assert not (tmp_path / "figures").exists()


def test_a_batch_size_that_was_not_run_yet_is_missing(into):
    rows = read_rows(into / "results" / "grid_curves.csv", remedy="")
    write_table(into / "results" / "grid_curves.csv", [row for row in rows if row["batch_size"] != "8"])
    with pytest.raises(NumbersMissingError, match="no run of batch size 8"):
        paper_curves.make_rates(into / "results", 8)


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(typer.BadParameter, match="no figure nothing; there are architecture"):
        paper_figures.main(only=["nothing"], into=tmp_path)
