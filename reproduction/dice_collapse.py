"""Why the student paper's Dice loss collapses, and what prevents it.

``python -m reproduction.dice_collapse BR35H --out runs/dice-collapse`` finds the best constant output under every loss
for the tumours of TRAIN (``results/dice_collapse/constants.csv``), trains the rows of ``ROWS`` that are not finished
(an epoch a line in ``results/dice_collapse/ROW.csv``, the weights in ``--out``), and writes
``results/dice_collapse.csv`` and ``figures/dice_collapse.png`` and ``.svg`` of all that are. ``--row NAME`` trains one
row; ``--epochs 0`` none. A row is learnt on the TRAIN side of a fold and measured on its held-out side; its threshold
is chosen on slices that it was trained on. On a CPU with ``--threads 1`` the seed fixes every number.

The cures are tried from two settings. ``SLOW``: the student paper's Dice at 5e-7, and at eight times that, because a
step of Adam moves the output of a network eight times narrower roughly eight times less (Yang et al. 2022). ``POOLED``:
both one-hot channels in one fraction, at a rate of 1e-4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor, nn

from reproduction.collapsed_losses import LOSSES, best_constant, loss_of_constant
from reproduction.part_runs import find_device
from reproduction.size import SIZES, SMALL, Size, SizeOption, claim_results, load_size
from reproduction.tables import read_table, write_table
from tumortrace.cli import run_script
from tumortrace.copies.split_files import apply_split, write_split
from tumortrace.copies.splits import make_folds
from tumortrace.copies.survey import Survey, survey_cases
from tumortrace.data.cases import CaseRecord
from tumortrace.data.dataset import open_dataset
from tumortrace.errors import TumortraceError
from tumortrace.progress import tell
from tumortrace.reporting.figures import save_figure
from tumortrace.training.arrays import PreparedPart, evenly_spaced, prepare_part
from tumortrace.training.checkpoint import save_weights
from tumortrace.training.networks import UNet, build_network

FOLDS, FOLD = 3, 3
CHOOSING = 60
"""Training slices on which the best threshold is chosen."""
MARKS = "osDp^v8PXh<>d*H1"
"""Of the lines in the figure."""
QUANTILES = (0.1, 0.5, 0.9)
"""Of the tumours' shares: the small, the usual and the large one of the figure."""
ALL_SLICES = "TRAIN slices"


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        label: Label in the figure.
        loss: Key of ``LOSSES``.
        learning_rate: Learning rate of Adam, constant except for a warm-up.
        start: Initial bias of the output: drawn at random like all weights (None), at the tumour's mean fraction
            (``"share"``), or at the best constant under the row's loss (``"attractor"``).
        warm_up: The rate rises linearly over the first tenth of all steps.
        clip: Largest norm of the gradient; 0 does not clip.
        decoder_norm: Batch normalisation ends the bottleneck and every block of the decoder, as in the encoder.
        seed: Seed of initial weights and order; it alone decides whether an untrained output is above one half.
    """

    label: str
    loss: str = "paper"
    learning_rate: float = 1e-4
    start: str | None = None
    warm_up: bool = False
    clip: float = 0.0
    decoder_norm: bool = False
    seed: int = 0


SLOW: dict[str, Row] = {
    "slow-5e-7": Row("lr 5e-7", learning_rate=5e-7),
    "slow-5e-7-at-attractor": Row("lr 5e-7, begun at the best constant", learning_rate=5e-7, start="attractor"),
    "slow": Row("lr 4e-6", learning_rate=4e-6),
    "slow-seed-1": Row("lr 4e-6, another seed", learning_rate=4e-6, seed=1),
    "slow-to-1e-4": Row("lr 1e-4"),
    "slow-to-1e-4-seed-1": Row("lr 1e-4, another seed", seed=1),
    "slow-to-1e-3": Row("lr 1e-3", learning_rate=1e-3),
    "slow-foreground": Row("lr 4e-6, foreground only", "foreground", 4e-6),
    "slow-unsquared": Row("lr 4e-6, no squares", "unsquared", 4e-6),
    "slow-batch": Row("lr 4e-6, batch-pooled", "batch", 4e-6),
    "slow-bias-prior": Row("lr 4e-6, output-bias prior", learning_rate=4e-6, start="share"),
    "slow-warm-up": Row("lr 4e-6, warm-up", learning_rate=4e-6, warm_up=True),
    "slow-clip": Row("lr 4e-6, clipped", learning_rate=4e-6, clip=0.1),
    "slow-decoder-norm": Row("lr 4e-6, normalised decoder", learning_rate=4e-6, decoder_norm=True),
    "slow-plus-cross-entropy": Row("lr 4e-6, + cross-entropy", "paper + cross-entropy", 4e-6),
    "slow-cross-entropy": Row("lr 4e-6, cross-entropy alone", "cross-entropy", 4e-6),
}
"""The student paper's Dice at low rates, and what might help."""

POOLED: dict[str, Row] = {
    "pooled": Row("channels pooled, lr 1e-4", "pooled channels"),
    "pooled-seed-1": Row("another seed", "pooled channels", seed=1),
    "pooled-to-1e-5": Row("lr 1e-5", "pooled channels", 1e-5),
    "pooled-to-1e-3": Row("lr 1e-3", "pooled channels", 1e-3),
    "pooled-to-foreground": Row("foreground only", "foreground"),
    "pooled-unsquared": Row("no squares", "pooled channels, unsquared"),
    "pooled-batch": Row("batch-pooled", "pooled channels, batch"),
    "pooled-bias-prior": Row("output-bias prior", "pooled channels", start="share"),
    "pooled-warm-up": Row("warm-up", "pooled channels", warm_up=True),
    "pooled-clip": Row("clipped", "pooled channels", clip=0.1),
    "pooled-decoder-norm": Row("normalised decoder", "pooled channels", decoder_norm=True),
    "pooled-plus-cross-entropy": Row("+ cross-entropy", "pooled channels + cross-entropy"),
    "cross-entropy": Row("cross-entropy alone", "cross-entropy"),
    "all-cures": Row(
        "all cures", "batch foreground + cross-entropy", start="share", warm_up=True, clip=0.1, decoder_norm=True
    ),
}
"""Both channels in one fraction, and what might help; each class by itself at this rate is ``slow-to-1e-4``."""

ROWS = SLOW | POOLED
COLLAPSED = ("slow-5e-7", "slow-5e-7-at-attractor", "slow", "slow-seed-1", "pooled", "pooled-seed-1")


@dataclass(frozen=True)
class EpochNumbers:
    """What is recorded after an epoch; after epoch 0, nothing is learnt yet, and what comes from learning is NaN.

    Attributes:
        epoch: Counted from 1.
        learnt_from: Slices of the TRAIN side.
        train_loss: The row's loss, mean over the epoch's steps.
        held_out_loss: The row's loss, mean over batches of the held-out side, as all that follows but the last two.
        probability: Mean predicted probability of tumour over all pixels.
        inside: Mean over the pixels of the truth.
        outside: Mean over all others.
        above_half: Share of pixels at 0.5 or more.
        dice: Mean over slices of the Dice at 0.5.
        dice_best: Likewise, at ``threshold``.
        threshold: The constant one with the highest mean Dice on ``CHOOSING`` training slices.
        head_gradient: Norm of the last layer's gradient before clipping, mean over the epoch's steps.
    """

    epoch: int
    learnt_from: int
    train_loss: float
    held_out_loss: float
    probability: float
    inside: float
    outside: float
    above_half: float
    dice: float
    dice_best: float
    threshold: float
    head_gradient: float


def build(row: Row, *, share: float, attractor: float, size: Size = SMALL) -> UNet:
    """The network with the row's changes; its first weights depend on the row's seed alone.

    Args:
        row: Key of ``ROWS``.
        share: Mean share of tumour on the TRAIN side, in (0, 1).
        attractor: Best constant output there, in (0, 1).
        size: Size of the network.
    """
    config = load_size(size)
    network = build_network(config.network, size_hw=config.recipe.size_hw, seed=row.seed)
    assert isinstance(network, UNet)
    if row.decoder_norm:
        for block in (network.bottleneck, *network.decoders):
            assert isinstance(block, nn.Sequential)
            widths = [layer.out_channels for layer in block if isinstance(layer, nn.Conv2d)]
            block.append(nn.BatchNorm2d(widths[-1]))
    if row.start is not None:
        assert network.head.bias is not None
        begin = share if row.start == "share" else attractor
        with torch.no_grad():
            network.head.bias.copy_(torch.tensor([0.0, math.log(begin / (1 - begin))]))
    return network


def train_row(
    row: Row, train: PreparedPart, held_out: PreparedPart, *, epochs: int, size: Size = SMALL
) -> tuple[nn.Module, list[Any]]:
    """Train a row and measure it before the first epoch and after each.

    Args:
        row: Key of ``ROWS``.
        train: Learnt from; every slice holds tumour.
        held_out: Measured on.
        epochs: Number of epochs, 1 or more.
        size: Size of the network.

    Returns:
        The network with its last weights, on the CPU, and the ``EpochNumbers``.
    """
    training = load_size(size).training
    shares = train.truths.double().mean(dim=(1, 2)).numpy()
    attractor = best_constant(row.loss, shares)
    network = build(row, share=float(shares.mean()), attractor=attractor, size=size).to(find_device(training))
    optimizer = torch.optim.Adam(network.parameters(), lr=row.learning_rate)
    steps = epochs * math.ceil(len(train) / training.batch_size)
    numbers = [measure(network, row, train, held_out, batch_size=training.batch_size)]
    for epoch in range(1, epochs + 1):
        order = torch.from_numpy(np.random.default_rng([row.seed, epoch]).permutation(len(train)))
        batches = torch.split(order, training.batch_size)
        network.train()
        learnt = []
        for number, indices in enumerate(batches):
            optimizer.param_groups[0]["lr"] = rate_at(row, (epoch - 1) * len(batches) + number, steps=steps)
            learnt.append(learn(network, row, optimizer, train.images[indices], train.truths[indices].long()))
        loss, gradient = np.mean(learnt, axis=0).tolist()
        if not math.isfinite(loss):
            raise TumortraceError(f"{row.label}: the loss is no longer a number in epoch {epoch}; lower its rate")
        measured = measure(network, row, train, held_out, batch_size=training.batch_size)
        numbers.append(replace(measured, epoch=epoch, train_loss=loss, head_gradient=gradient))
        tell(f"  epoch {epoch}/{epochs}  loss {loss:.4f}  p {measured.probability:.3f}  Dice {measured.dice:.3f}")
    return network.cpu(), numbers


def rate_at(row: Row, step: int, *, steps: int) -> float:
    """The learning rate of one step, counted from 0, of so many."""
    rise = max(steps // 10, 1) if row.warm_up else 1
    return row.learning_rate * min((step + 1) / rise, 1.0)


def learn(
    network: UNet, row: Row, optimizer: torch.optim.Optimizer, images: Tensor, truths: Tensor
) -> tuple[float, float]:
    """One step; returns the loss, and the norm of the last layer's gradient before it is clipped."""
    device = next(network.parameters()).device
    loss = LOSSES[row.loss](network(images.to(device)), truths.to(device))
    optimizer.zero_grad()
    loss.backward()
    gradients = [each.grad.flatten() for each in network.head.parameters() if each.grad is not None]
    gradient = torch.cat(gradients).norm()
    if row.clip:
        nn.utils.clip_grad_norm_(network.parameters(), row.clip)
    optimizer.step()
    return loss.item(), gradient.item()


def measure(
    network: nn.Module, row: Row, train: PreparedPart, held_out: PreparedPart, *, batch_size: int
) -> EpochNumbers:
    """The numbers of the held-out side as of epoch 0; those that come from learning are NaN."""
    logits = run(network, held_out.images, batch_size=batch_size)
    batches = zip(logits.split(batch_size), held_out.truths.split(batch_size), strict=True)
    losses = [LOSSES[row.loss](some, truths.long()).item() for some, truths in batches]
    probabilities, truths = logits.softmax(dim=1)[:, 1], held_out.truths == 1
    chosen = evenly_spaced(range(len(train)), CHOOSING)
    seen = run(network, train.images[chosen], batch_size=batch_size).softmax(dim=1)[:, 1]
    threshold = choose_threshold(seen, train.truths[chosen] == 1)
    return EpochNumbers(
        epoch=0,
        learnt_from=len(train),
        train_loss=math.nan,
        held_out_loss=float(np.mean(losses)),
        probability=probabilities.mean().item(),
        inside=probabilities[truths].mean().item(),
        outside=probabilities[~truths].mean().item(),
        above_half=(probabilities >= 0.5).float().mean().item(),
        dice=mean_dice(probabilities, truths, threshold=0.5),
        dice_best=mean_dice(probabilities, truths, threshold=threshold),
        threshold=threshold,
        head_gradient=math.nan,
    )


@torch.no_grad()
def run(network: nn.Module, images: Tensor, *, batch_size: int) -> Tensor:
    """Logits (N, 2, H, W), on the CPU, of images (N, 1, H, W), normalised by what the network saw in training."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(some.to(device)).cpu() for some in images.split(batch_size)])


def choose_threshold(probabilities: Tensor, truths: Tensor) -> float:
    """The constant threshold with the highest mean Dice, of those that mark a given share of all pixels, and 0.5.

    A collapsed network's probabilities lie so close together that evenly spaced thresholds would miss all of them.

    Args:
        probabilities: Shape (N, H, W), float, from 0 to 1.
        truths: Shape (N, H, W), bool.
    """
    marked = np.geomspace(0.003, 1, 40)
    candidates = [0.5, *np.quantile(probabilities.numpy(), 1 - marked).tolist()]
    dices = [mean_dice(probabilities, truths, threshold=threshold) for threshold in candidates]
    return float(candidates[int(np.argmax(dices))])


def mean_dice(probabilities: Tensor, truths: Tensor, *, threshold: float) -> float:
    """Mean over slices of 2 TP / (2 TP + FP + FN); arguments as ``choose_threshold``'s, no truth of them empty."""
    masks = probabilities >= threshold
    overlap = (masks & truths).sum(dim=(1, 2))
    return (2 * overlap / (masks.sum(dim=(1, 2)) + truths.sum(dim=(1, 2)))).mean().item()


def tabulate_constants(shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The best constant output under every loss, for each of some shares alone and for all slices together.

    Args:
        shares: Foreground shares of the slices, float64, in (0, 1).
    """
    quantiles = {f"quantile {quantile:g}": np.quantile(shares, [quantile]) for quantile in QUANTILES}
    usual = {f"{share:g}": np.array([share]) for share in (0.01, 0.02, 0.04, 0.05, 0.1)}
    rows = []
    for name in LOSSES:
        for label, some in (usual | quantiles | {"mean": shares.mean(keepdims=True), ALL_SLICES: shares}).items():
            best = best_constant(name, some)
            at_best, at_nothing, at_half = loss_of_constant(name, [best, 0.0, 0.5], some)
            row = {"loss": name, "shares": label, "mean_share": some.mean(), "best_constant": best}
            rows.append(row | {"loss_there": at_best, "loss_all_background": at_nothing, "loss_at_half": at_half})
    return rows


def summarise(results: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A row a training: its settings, and its numbers after the last epoch.

    Args:
        results: Epochs of each row, as ``read_numbers`` returns them, by name.
    """
    return [
        {**asdict(ROWS[name]), "row": name, "outcome": outcome(rows[-1]), **rows[-1]} for name, rows in results.items()
    ]


def outcome(last: Mapping[str, float]) -> str:
    """What a threshold of 0.5 makes of the last epoch: ``"all background"`` means fewer than a pixel in a thousand."""
    if last["above_half"] < 1e-3:
        return "all background"
    return "all tumour" if last["above_half"] > 0.999 else "some of both"


def read_numbers(path: Path) -> list[dict[str, float]]:
    """The epochs that were written to a row's file, empty cells as NaN; none if there is no file."""
    return [{key: float(cell) if cell else math.nan for key, cell in row.items()} for row in read_table(path)]


def draw(shares: NDArray[np.float64], results: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Left the loss of a constant output; right what the trainings say inside and outside the tumours, by epoch.

    Args:
        shares: Foreground shares of the slices, float64, in (0, 1).
        results: Epochs of each row, as in ``summarise``; may be empty.
    """
    figure = Figure(figsize=(13.5, 7.6), facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.7))[0]
    draw_constants(left.subplots(), shares)
    grid = right.subplots(2, 2, sharex=True, sharey=True)
    columns = (
        ("student paper's Dice, low rates", "paper", SLOW),
        ("both channels in one fraction", "pooled channels", POOLED),
    )
    for axes_column, (title, loss, rows) in zip(grid.T, columns, strict=True):
        here = {name: results[name] for name in rows if name in results}
        draw_column(axes_column, here, title=title, attractor=best_constant(loss, shares))
    for axes in grid[:, 0]:
        axes.set_ylabel("mean predicted probability of tumour")
    return figure


def draw_column(
    axes_column: Sequence[Axes], results: Mapping[str, Sequence[Mapping[str, float]]], *, title: str, attractor: float
) -> None:
    """Draw what trainings say inside the tumours above, outside below, and the best constant in both.

    Args:
        axes_column: The upper axes and the lower ones.
        results: Epochs of each row, as in ``summarise``; may be empty.
        title: Name of the trainings.
        attractor: Best constant output under their loss, in (0, 1).
    """
    for axes, where in zip(axes_column, ("inside", "outside"), strict=True):
        draw_rows(axes, results, where)
        axes.axhline(attractor, color="black", linewidth=1, linestyle=(0, (1, 2)))
        axes.set(ylim=(-0.03, 1.03), title=f"{title}: {where} the truth")
        axes.title.set_fontsize(10)
    upper, lower = axes_column
    upper.annotate(
        f"best constant {attractor:.2f}",
        (1, attractor),
        xycoords=upper.get_yaxis_transform(),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    lower.set_xlabel("epoch")
    handles, labels = upper.get_legend_handles_labels()
    if handles:
        lower.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=7.5, frameon=False
        )


def draw_constants(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Draw each loss against a constant probability, and mark its minimum.

    Args:
        axes: Drawn on.
        shares: Foreground shares of the slices, float64, in (0, 1).
    """
    named = [
        (f"tumour {np.quantile(shares, q):.1%} of the slice", "paper", np.quantile(shares, [q])) for q in QUANTILES
    ]
    named.append((f"mean over {len(shares)} TRAIN slices", "paper", shares))
    named.append(("the same, channels pooled", "pooled channels", shares))
    styles = [("0.6", ":"), ("0.4", "--"), ("0.5", "-."), ("black", "-"), ("black", (0, (6, 2, 1, 2, 1, 2)))]
    grid = np.linspace(0, 1, 501)
    for (label, loss, some), (grey, line) in zip(named, styles, strict=True):
        best = best_constant(loss, some)
        losses, least = (loss_of_constant(loss, p, some) for p in (grid, best))
        axes.plot(grid, losses, color=grey, linestyle=line, linewidth=1.7, label=f"{label}: {best:.2f}")
        axes.plot([best], [least], marker="o", color=grey, markersize=6)
    axes.axvline(0.5, color="0.75", linewidth=1)
    axes.annotate("threshold", (0.5, 0.0), xytext=(4, 6), textcoords="offset points", fontsize=8, color="0.35")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.02, 1.02), xlabel="constant probability of tumour", ylabel="Dice loss")
    axes.set_title("student paper's Dice loss of a constant output", fontsize=10)
    axes.legend(
        loc="upper left",
        edgecolor="white",
        framealpha=1,
        fontsize=8.5,
        title="minimum at a probability of",
        title_fontsize=8.5,
    )


def draw_rows(axes: Axes, results: Mapping[str, Sequence[Mapping[str, float]]], column: str) -> None:
    """A line a training, the collapsed ones black and thick, each of the others with a mark of its own.

    Args:
        axes: Drawn on.
        results: Epochs of each row, as in ``summarise``.
        column: Field of ``EpochNumbers`` with values from 0 to 1.
    """
    marks = dict(zip(SLOW, MARKS, strict=True)) | dict(zip(POOLED, MARKS[: len(POOLED)], strict=True))
    styles = dict(zip(COLLAPSED, ("-", "--", ":", "-.", "-", "-."), strict=True))
    for name, numbers in results.items():
        collapsed = name in COLLAPSED
        axes.plot(
            [each["epoch"] for each in numbers],
            [each[column] for each in numbers],
            color="black" if collapsed else "0.5",
            linewidth=2 if collapsed else 1,
            linestyle=styles.get(name, "-"),
            marker=marks[name],
            markersize=5,
            fillstyle="full" if collapsed else "none",
            label=ROWS[name].label,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, linewidth=0.4, color="0.88")


def _shares(survey: Survey) -> NDArray[np.float64]:
    """Tumour's share of the frame in every slice of TRAIN that holds any, on the slices' own grids."""
    of_train = [case.tumour_share for case in survey.cases if case.record.part in {"train", ""}]
    return np.array([share for share in of_train if share > 0])


def main(  # noqa: PLR0913, PLR0917 - the options of the command
    data: Path,
    out: Annotated[Path, typer.Option(help="Weights and the split.")] = Path("runs/dice-collapse"),
    into: Annotated[Path, typer.Option(help="Folder of results/ and figures/.")] = Path("reproduction"),
    epochs: Annotated[int, typer.Option(min=0, help="Of every row; 0 trains none.")] = 8,
    row: Annotated[list[str] | None, typer.Option(help="Train these alone.")] = None,
    slices: Annotated[int, typer.Option(min=0, help="Of each side, for a trial; 0 takes all.")] = 0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    size: SizeOption = "small",
) -> None:
    """Find the constants, train the rows that are not finished, and write what is there as tables and a figure."""
    torch.set_num_threads(threads)
    if unknown := set(row or ()) - ROWS.keys():
        raise typer.BadParameter(f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    claim_results(into, SIZES[size])
    whole = open_dataset(data)
    survey = survey_cases(whole.records)
    shares = _shares(survey)
    table = into / "results" / "dice_collapse"
    write_table(table / "constants.csv", tabulate_constants(shares))
    split = make_folds(survey, folds=FOLDS)
    write_split(split, survey, out / "split.json")
    if epochs:
        dataset = apply_split(whole, split, fold=FOLD)
        train, held_out = (_prepare(dataset.select(side), slices, SIZES[size]) for side in ("train", "test"))
        for name in row or ROWS:
            _finish_row(name, train, held_out, size=SIZES[size], epochs=epochs, table=table, out=out)
    results = {name: rows for name in ROWS if (rows := read_numbers(table / f"{name}.csv"))}
    if results:
        write_table(into / "results" / "dice_collapse.csv", summarise(results))
    for suffix in ("png", "svg"):
        save_figure(draw(shares, results), into / "figures" / f"dice_collapse.{suffix}")


def _prepare(records: tuple[CaseRecord, ...], count: int, size: Size) -> PreparedPart:
    """A side on the network's grid: so many of its cases, evenly spaced, or all if 0."""
    chosen = tuple(evenly_spaced(records, count)) if count else records
    return prepare_part(chosen, load_size(size).recipe, name=records[0].part.upper())


def _finish_row(  # noqa: PLR0913 - a row, and all that it is made of
    name: str, train: PreparedPart, held_out: PreparedPart, *, epochs: int, table: Path, out: Path, size: Size = SMALL
) -> None:
    """Train a row unless its file holds as many epochs, trained on as many slices."""
    done = read_numbers(table / f"{name}.csv")
    if done and (done[-1]["epoch"], done[-1]["learnt_from"]) == (epochs, len(train)):
        return
    tell(f"{name} ...")
    network, numbers = train_row(ROWS[name], train, held_out, epochs=epochs, size=size)
    save_weights(out / f"{name}.safetensors", network)
    write_table(table / f"{name}.csv", [asdict(each) for each in numbers])


if __name__ == "__main__":
    run_script(main)
