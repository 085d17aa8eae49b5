"""The command line: thin, and quick to start because every heavy import sits inside the command that needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import tumortrace
from tumortrace.errors import EXTRAS, TumortraceError, installed, require_extra
from tumortrace.machine import usable_cores
from tumortrace.progress import open_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tumortrace.data.findings import Finding
    from tumortrace.trust.evaluation import Evaluation

app = typer.Typer(
    name="tumortrace",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From annotated 2D brain-MRI slices to a tumour segmenter, and from a scan to a tumour mask.\n\n"
    "Research software, not a medical device.",
)
console = open_console()
log = open_console(stderr=True)

INTERRUPTED = 130
"""Exit code that typer gives to a Ctrl-C, as shells do."""

Part = Literal["test", "val", "train", "all"]
Target = Literal["masks", "via"]

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images with annotations.")]
ModelOption = Annotated[str, typer.Option("--model", metavar="MODEL", help="A run folder or an .onnx file.")]


def main() -> None:
    """Run the command line; what the user can mend ends with one line and exit code 2, an interruption with 130."""
    try:
        app()
    except TumortraceError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a folder without permission: the operating system's own words name file and cause.
        _fail(f"{error.filename or 'input/output'}: {error.strerror or error}; check path, permissions and disk")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            log.print("interrupted; the files that were finished are kept")
        raise


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for everything it makes.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Show everything on generated slices: data, training, scores, masks, figures; about two minutes.

    Example: tumortrace demo --out runs/demo
    """
    require_extra("train", purpose="train")
    from tumortrace.demo import run_demo

    run_demo(out, console)


@app.command()
def train(
    data: DataArgument,
    config: Annotated[
        str | None, typer.Option("--config", metavar="NAME|FILE", help="default, paper, smoke, or a TOML file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder [runs/NAME].")] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out after a stop.")] = False,
) -> None:
    """Train a segmenter on the TRAIN part and measure each epoch on VAL.

    Example: tumortrace train br35h --config default --set training.epochs=3 --out runs/first
    """
    require_extra("train", purpose="train")
    from tumortrace.config import load_config
    from tumortrace.data.dataset import open_dataset, refuse_inside
    from tumortrace.runfolder import check_run_folder

    name = config or "default"
    run = out or Path("runs") / Path(name).stem
    if resume and (config or overrides):
        raise TumortraceError("--resume takes its settings from the run's config.toml; leave --config and --set away")
    check_run_folder(run, resume=resume)
    settings = load_config(str(run / "config.toml") if resume else name, overrides or ())
    refuse_inside(run, data)
    dataset = open_dataset(data)
    from tumortrace.train.run import train as train_run  # torch takes seconds: a mistake above is told before

    result = train_run(dataset, settings, out=run)
    _report_findings(result.findings, kept_in=run / "manifest.json")
    _write_loss_figure(run, result.kept_epoch)
    console.print(
        f"Trained on {result.train_count} cases, measured on {result.val_count}; "
        f"kept epoch {result.kept_epoch} of {len(result.rows)}.\nRun folder: {run}"
    )
    _exit_if_unreadable(result.findings)


@app.command()
def evaluate(
    data: DataArgument,
    model: ModelOption = "default",
    part: Annotated[Part, typer.Option("--part", help="Which part of the data.")] = "test",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/MODEL-PART].")] = None,
) -> None:
    """Score a model: Table I, per-image rows, baselines, comparison pictures.

    Example: tumortrace evaluate br35h --model runs/first --part val --out runs/first-val
    """
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.data.dataset import open_dataset, refuse_inside
    from tumortrace.inference.model import open_model
    from tumortrace.report.cases import write_case_figures, write_comparison
    from tumortrace.trust.evaluation import evaluate as score
    from tumortrace.trust.evaluation import includes_training, write_evaluation

    opened = open_model(model)
    folder = out or Path("runs") / f"{opened.name}-{part}"
    refuse_inside(folder, data)
    dataset = open_dataset(data)
    records = dataset.select(part)
    training = dataset.select("train") if part in ("val", "test") and "train" in dataset.parts() else ()
    result = score(
        opened,
        records,
        training=training,
        findings=dataset.findings,
        on_case=lambda case, prediction: write_comparison(case, prediction, out=folder),
    )
    write_evaluation(result, folder)
    figures = write_case_figures(result, records, opened, out=folder)
    _report_findings(result.findings, kept_in=folder / "summary.json")
    _print_table(result)
    if includes_training(result, trained_on=opened.card.get("trained_on")):
        log.print("note: these are images that the model was trained on; the score says nothing about others")
    written = ["per_image.csv", "summary.json", "comparisons/", *(str(path.relative_to(folder)) for path in figures)]
    console.print(f"Written to {folder}: {', '.join(written)}")
    _exit_if_unreadable(result.findings)


@app.command()
def segment(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders or glob patterns.")],
    model: ModelOption = "default",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the masks.")] = Path("tumortrace-masks"),
    *,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json on stdout, and nothing else.")] = False,
) -> None:
    """Find the tumour in pictures: a mask for each, and results.json.

    Example: tumortrace segment scans/ --model runs/first --out masks --overlay
    """
    from tumortrace.inference.batch import find_pictures, refuse_out_in_inputs, segment_pictures
    from tumortrace.inference.model import open_model

    refuse_out_in_inputs(out, inputs)
    pictures, skipped = find_pictures(inputs)
    results = segment_pictures(open_model(model), pictures, out=out, skipped=skipped, overlay=overlay)
    failed = [image for image in results["images"] if image["status"] == "error"]
    for image in failed:
        log.print(image["reason"])
    if as_json:
        print(json.dumps(results, indent=2))  # noqa: T201 - the document itself, untouched by rich
    else:
        _print_segmented(results, failed=len(failed), out=out)
    if failed:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A dataset, or a folder of masks.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write to.")],
    to: Annotated[Target, typer.Option("--to", help="Masks as PNG, or VIA annotations.")],
) -> None:
    """Turn annotations into masks, or masks into annotations.

    Example: tumortrace convert br35h br35h-masks --to masks
    """
    from tumortrace.data.convert import convert_to_masks, convert_to_via

    result = (convert_to_masks if to == "masks" else convert_to_via)(source, destination)
    _report_findings(result.findings, kept_in=destination / "findings.json")
    console.print(f"{result.count} cases written to {destination}")
    if result.failed:
        raise typer.Exit(1)


@app.command()
def info(
    target: Annotated[str | None, typer.Argument(metavar="MODEL|RUN", help="A run folder or an .onnx file.")] = None,
) -> None:
    """Show the version, what is installed, and what a model says of itself.

    Example: tumortrace info runs/first
    """
    from tumortrace.inference.model import open_model

    console.print(f"tumortrace {tumortrace.__version__} (research software, not a medical device)")
    console.print("installed extras: " + (", ".join(extra for extra in EXTRAS if installed(extra)) or "none"))
    console.print(f"CPU cores: {usable_cores()}, GPU: {_describe_gpu()}")
    if target is None:
        return
    model = open_model(target)
    console.print(f"\nmodel: {model.name}\nfile: {model.path}\nsha256: {model.sha256}")
    console.print(f"recipe: {model.recipe}\ncard: {json.dumps(model.card)}")
    layers = model.path.with_name("network.txt")
    if layers.is_file():
        console.print(layers.read_text(encoding="utf-8"))


def _describe_gpu() -> str:
    if not installed("train"):
        return "not looked for, torch is not installed"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _write_loss_figure(run: Path, kept_epoch: int) -> None:
    if not installed("report"):
        log.print("no loss figure: install it with pip install 'tumortrace[report]'")
        return
    from tumortrace.report.figures import draw_losses, read_metrics, save_figure

    save_figure(draw_losses(read_metrics(run / "metrics.csv"), kept_epoch=kept_epoch), run / "losses.png")


def _print_table(evaluation: Evaluation) -> None:
    from tumortrace.report.tables import table_of_scores

    console.print(table_of_scores(evaluation))


def _print_segmented(results: dict[str, Any], *, failed: int, out: Path) -> None:
    images = results["images"]
    tumours = sum(image["tumour"] is True for image in images)
    review = sum(image["review"] for image in images if image["status"] == "ok")
    console.print(
        f"{len(images) - failed} of {len(images)} pictures segmented, {tumours} with a tumour, {review} to review"
    )
    if results["skipped"]:
        console.print(f"{len(results['skipped'])} files of other types skipped (named in results.json)")
    console.print(f"Masks and results.json: {out}")


def _report_findings(findings: Sequence[Finding], *, kept_in: Path, shown: int = 10) -> None:
    """Name the faults of the data on stderr: counted by kind, then the worst ones, and the file that holds them all."""
    from tumortrace.data.findings import count_by_kind

    if not findings:
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in count_by_kind(findings).items())
    log.print(f"{len(findings)} findings in the data: {counts}")
    for finding in sorted(findings, key=lambda finding: finding.severity)[:shown]:
        log.print(f"  {finding.line()}")
    if len(findings) > shown:
        log.print(f"  and {len(findings) - shown} more, all in {kept_in}")


def _exit_if_unreadable(findings: Sequence[Finding]) -> None:
    if any(finding.kind == "unreadable" for finding in findings):
        raise typer.Exit(1)


def _fail(message: str) -> None:
    log.print(f"error: {' '.join(message.split())}")
    sys.exit(2)


if __name__ == "__main__":
    main()
