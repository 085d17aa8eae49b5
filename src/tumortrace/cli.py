"""The command line: thin, and quick to start because every heavy import sits inside the command that needs it."""

from __future__ import annotations

import dataclasses
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

    from tumortrace.data.dataset import Dataset
    from tumortrace.data.findings import Finding

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
By = Literal["groups", "source"]
Colours = Literal["safe", "report"]

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images with annotations.")]
SeveralData = Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders of images with annotations.")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="NAME|FILE", help="default, narrow, paper, smoke, or a TOML file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")
]
SplitOption = Annotated[
    Path | None, typer.Option("--split", metavar="FILE", help="Use the sides of a split that `split` wrote.")
]
FoldOption = Annotated[int | None, typer.Option("--fold", metavar="I", help="The fold of --split to hold out.")]
NegativesOption = Annotated[
    Path | None, typer.Option("--negatives", metavar="DIR", help="Folder of images known to hold no tumour.")
]
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
def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, annotated or not.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-audit].")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json on stdout, and nothing else.")] = False,
    fail_on: Annotated[
        Literal["leakage"] | None, typer.Option("--fail-on", help="End with 1 if a part leaks into TRAIN.")
    ] = None,
) -> None:
    """Find copies within and across splits, the annotators' agreement, and every fault of a dataset.

    Example: tumortrace audit br35h --out runs/br35h-audit
    """
    require_extra("report", purpose="draw the audit's page")
    from tumortrace.data.dataset import open_any, refuse_inside
    from tumortrace.report.audit_page import write_audit_page
    from tumortrace.report.tables import tables_of_audit
    from tumortrace.trust.audit import audit_document, write_audit
    from tumortrace.trust.survey import survey

    folder = out or Path("runs") / f"{data.resolve().name}-audit"
    refuse_inside(folder, data)
    dataset = open_any(data)
    found = survey(dataset.records)
    document = audit_document(dataset, found)
    write_audit(document, found, folder)
    write_audit_page(found, document, folder / "audit.html")
    if as_json:
        print(json.dumps(document, indent=2))  # noqa: T201 - the document itself, untouched by rich
    else:
        for table in tables_of_audit(document):
            console.print(table)
        _report_findings((*dataset.findings, *found.findings), kept_in=folder / "findings.json")
        console.print(f"Written to {folder}: audit.html, audit.json, groups.csv, findings.json")
    if fail_on and any(part["images"] for part in document["leaked"].values()):
        raise typer.Exit(1)
    _exit_if_unreadable(found.findings)


@app.command()
def split(
    data: SeveralData,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The split, one JSON file.")],
    negatives: NegativesOption = None,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="K folds instead of train, val and test.")
    ] = None,
) -> None:
    """Divide a dataset so that no copy and no patient is on two sides; a TEST part that is there stays out of folds.

    Example: tumortrace split br35h --out folds.json --folds 5
    """
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.report.tables import table_of_split
    from tumortrace.trust.splits import make_folds, make_parts, write_split
    from tumortrace.trust.survey import survey

    for root in data:
        refuse_inside(out, root)
    dataset = open_datasets(data, negatives=negatives)
    records = [record for record in dataset.records if folds is None or record.part != "test"]
    found = survey(records)
    made = make_parts(found) if folds is None else make_folds(found, folds=folds)
    document = write_split(made, found, out)
    _report_findings((*dataset.findings, *found.findings), kept_in=out, shown=3)
    console.print(table_of_split(document))
    console.print(f"Written to {out}; checked: no copy and no patient is on two sides")
    _exit_if_unreadable(found.findings)


@app.command()
def train(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: ConfigOption = None,
    overrides: SetOption = None,
    split: SplitOption = None,
    fold: FoldOption = None,
    exclude: Annotated[
        Path | None, typer.Option("--exclude", metavar="FILE", help="Images not to learn from, one name a line.")
    ] = None,
    negatives: NegativesOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run folder [runs/NAME].")] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out after a stop.")] = False,
) -> None:
    """Train a segmenter on the TRAIN part and measure each epoch on VAL.

    With --split and --fold, learn from the other folds; the fold that is held out is not looked at.

    Example: tumortrace train br35h --config default --set training.epochs=3 --out runs/first
    """
    require_extra("train", purpose="train")
    from tumortrace.config import load_config
    from tumortrace.data.dataset import exclude as leave_out
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.runfolder import check_run_folder

    name = config or "default"
    run = out or Path("runs") / Path(name).stem
    if resume and (config or overrides):
        raise TumortraceError("--resume takes its settings from the run's config.toml; leave --config and --set away")
    check_run_folder(run, resume=resume)
    settings = load_config(str(run / "config.toml") if resume else name, overrides or ())
    for root in [*data, *([negatives] if negatives else [])]:
        refuse_inside(run, root)
    selecting = settings.training.keep != "last"
    dataset = _divide(open_datasets(data, negatives=negatives), split, fold, selecting=selecting)
    if exclude is not None:
        dataset = leave_out(dataset, exclude)
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
    split: SplitOption = None,
    fold: FoldOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/MODEL-PART].")] = None,
) -> None:
    """Score a model: Table I with intervals, on all images and on the clean ones, beside trivial baselines.

    Clean images have no copy, mirrored or re-contrasted, in what the model was trained on.

    Example: tumortrace evaluate br35h --model runs/first --part val --out runs/first-val
    """
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.inference.model import open_model
    from tumortrace.report.cases import write_case_figures, write_comparison, write_gallery
    from tumortrace.trust.evaluation import evaluate as score
    from tumortrace.trust.provenance import caution, trace_training
    from tumortrace.trust.summary import write_evaluation
    from tumortrace.trust.survey import survey

    opened = open_model(model)
    folder = out or Path("runs") / f"{opened.name}-{data.resolve().name}-{part}"
    refuse_inside(folder, data)
    dataset = _divide(open_datasets([data]), split, fold, selecting=False)
    records = dataset.select(part)
    # Outlines of training slices have a say in the annotators' agreement; other parts stay closed.
    scored = {record.case_id for record in records}
    found = survey([record for record in dataset.records if record.case_id in scored or record.part == "train"])
    provenance = trace_training(opened, dataset)
    result = score(
        opened,
        records,
        found,
        memory=provenance.memory,
        baselines=provenance.baselines,
        on_case=lambda case, prediction: write_comparison(case, prediction, out=folder),
    )
    result = dataclasses.replace(result, findings=(*dataset.findings, *result.findings))
    document = write_evaluation(result, folder)
    figures = write_case_figures(result, records, opened, out=folder)
    write_gallery(result, records, out=folder)
    _report_findings(result.findings, kept_in=folder / "summary.json")
    _print_scores(document)
    for note in caution(result, provenance):
        log.print(f"note: {note}")
    written = ["per_image.csv", "summary.json", "comparisons/", *(str(path.relative_to(folder)) for path in figures)]
    console.print(f"Written to {folder}: {', '.join(written)}\nRead it as a page: tumortrace report {folder}")
    _exit_if_unreadable(result.findings)


@app.command()
def crossval(  # noqa: PLR0913, PLR0917 - the options of the command
    data: SeveralData,
    config: ConfigOption = None,
    overrides: SetOption = None,
    folds: Annotated[int, typer.Option("--folds", metavar="K", min=2, help="Number of folds.")] = 5,
    by: Annotated[By, typer.Option("--by", help="Folds of groups, or leave one source (DATA) out.")] = "groups",
    negatives: NegativesOption = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder [runs/NAME-crossval].")] = None,
) -> None:
    """Train and score every fold: each case is scored by a model that saw no copy of it. Call it again to go on.

    Example: tumortrace crossval br35h --config default --folds 5 --out runs/br35h-crossval
    """
    require_extra("train", purpose="train")
    require_extra("report", purpose="draw an evaluation's figures")
    from tumortrace.config import load_config
    from tumortrace.data.dataset import open_datasets, refuse_inside
    from tumortrace.report.cases import write_comparison, write_gallery
    from tumortrace.trust.summary import write_evaluation

    name = config or "default"
    folder = out or Path("runs") / f"{Path(name).stem}-crossval"
    settings = load_config(name, overrides or ())
    for root in [*data, *([negatives] if negatives else [])]:
        refuse_inside(folder, root)
    dataset = open_datasets(data, negatives=negatives)
    from tumortrace.train.crossval import cross_validate

    fitted, rows = cross_validate(
        dataset,
        settings,
        folds=folds,
        by=by,
        out=folder,
        on_case=lambda case, prediction: write_comparison(case, prediction, out=folder),
    )
    document = write_evaluation(fitted.evaluation, folder, folds=rows)
    write_gallery(fitted.evaluation, dataset.records, out=folder)
    _report_findings(fitted.evaluation.findings, kept_in=folder / "summary.json")
    _print_scores(document)
    console.print(
        f"Written to {folder}: per_image.csv, summary.json, split.json, fold-1 ... fold-{len(rows)}\n"
        f"Settings with the fitted threshold, temperature and confidence: {folder / 'calibrated.toml'}\n"
        f"Read it as a page: tumortrace report {folder}"
    )
    _exit_if_unreadable(fitted.evaluation.findings)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Folders that evaluate wrote.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON, and nothing else.")] = False,
) -> None:
    """Compare evaluations of the same cases: differences with intervals, permutation tests, Holm over many.

    Example: tumortrace compare runs/first-val runs/second-val
    """
    require_extra("report", purpose="compare evaluations")
    from tumortrace.report.compare_table import comparison_tables
    from tumortrace.trust.compare import compare_evaluations, comparison_document

    result = compare_evaluations(folders)
    if as_json:
        print(json.dumps(comparison_document(result), indent=2))  # noqa: T201 - the document itself
        return
    for table in comparison_tables(result):
        console.print(table)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN|DIR...", help="Runs, evaluations, cross-validations.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="The page [DIR/report.html].")] = None,
    colours: Annotated[
        Colours, typer.Option("--colours", help="For all eyes and grey print, or those of the report.")
    ] = "safe",
) -> None:
    """Write one self-contained page on runs and evaluations; it opens offline and prints well.

    Example: tumortrace report runs/first runs/first-val --out first.html
    """
    require_extra("report", purpose="draw the page's figures")
    from tumortrace.report.page import write_report

    page = out or folders[-1] / "report.html"
    for line in write_report(folders, page, colours=colours):
        log.print(f"note: {line}")
    console.print(f"Written: {page}")


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
    target: Annotated[
        str | None, typer.Argument(metavar="MODEL|RUN", help="default, a run folder or an .onnx file.")
    ] = None,
) -> None:
    """Show the version, what is installed, and what a model says of itself.

    Example: tumortrace info default
    """
    from tumortrace.inference.card import describe_card, read_card
    from tumortrace.inference.model import open_model

    console.print(f"tumortrace {tumortrace.__version__} (research software, not a medical device)")
    console.print("installed extras: " + (", ".join(extra for extra in EXTRAS if installed(extra)) or "none"))
    console.print(f"CPU cores: {usable_cores()}, GPU: {_describe_gpu()}")
    if target is None:
        console.print("the model that ships with it, its data, scores, limits and licence: tumortrace info default")
        return
    model = open_model(target)
    console.print(f"\nmodel: {model.name}\nfile: {model.path}\nsha256: {model.sha256}")
    card = read_card(model)
    if card is not None:
        console.print(describe_card(card))
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


def _divide(dataset: Dataset, split: Path | None, fold: int | None, *, selecting: bool) -> Dataset:
    if split is None:
        if fold is not None:
            raise TumortraceError("--fold is a fold of a split; give its file with --split")
        return dataset
    from tumortrace.trust.splits import apply_split, read_split

    return apply_split(dataset, read_split(split), fold=fold, selecting=selecting)


def _print_scores(document: dict[str, Any]) -> None:
    from tumortrace.report.tables import tables_of_scores

    for table in tables_of_scores(document):
        console.print(table)


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
