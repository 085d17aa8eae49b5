"""The command that segments pictures and scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumortrace.commands.options import ModelOption, RayOption
from tumortrace.commands.output import choose_model, console, log, print_lines
from tumortrace.errors import TumortraceError, require_extra
from tumortrace.wording import counted, list_ranges

if TYPE_CHECKING:
    from tumortrace.inference.batch.inputs import Engine
    from tumortrace.inference.results.tally import Counts, SegmentSummary


def segment(  # noqa: PLR0913 - the options of the command
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Pictures, DICOM or NIfTI files, folders, archives, s3:// addresses, patterns, or a list as @FILE.",
        ),
    ] = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the masks [tumortrace-masks; of --sample tumortrace-sample]."
        ),
    ] = None,
    *,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1|FILE", help="Segment what lies in a box; FILE.csv has one a row."),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw each mask over its picture or slices.")] = False,
    spacing_mm: Annotated[
        tuple[float, float] | None,
        typer.Option("--spacing-mm", metavar="Y X", help="Distance of rows and of columns in mm, for sizes in mm."),
    ] = None,
    series: Annotated[
        str | None, typer.Option("--series", metavar="UID", help="Only the DICOM series of this SeriesInstanceUID.")
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Also write NAME_seg.dcm for DICOM input, even if it is empty.")
    ] = False,
    no_empty_seg: Annotated[
        bool, typer.Option("--no-empty-seg", help="Write no DICOM-SEG for a series without tumour.")
    ] = False,
    seg_all_frames: Annotated[
        bool, typer.Option("--seg-all-frames", help="Also put the slices without tumour into the DICOM-SEG.")
    ] = False,
    seg_fractional: Annotated[
        bool, typer.Option("--seg-fractional", help="Probabilities (FRACTIONAL) in the DICOM-SEG, not masks (BINARY).")
    ] = False,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Copy patient and study into the DICOM-SEG, as archives need it.")
    ] = False,
    send: Annotated[
        str | None,
        typer.Option("--send", metavar="URL", help="Send each DICOM-SEG to this DICOMweb archive, and read it back."),
    ] = None,
    bids: Annotated[
        bool, typer.Option("--bids", help="Name the masks of scans as BIDS derivatives, with JSON sidecars.")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average with the mirror image, whatever the model says.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Also segment what seems no brain MR slice.")] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Only part I of N, for many processes and one --out.")
    ] = None,
    ray: RayOption = None,
    sample: Annotated[bool, typer.Option("--sample", help="Segment a generated slice, to see it work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json on stdout, and nothing else.")] = False,
) -> None:
    """Segment pictures and scans; write masks and results.json.

    Example: tumortrace segment scans/ --out masks --overlay
    """
    from tumortrace.inference.batch.inputs import segment_inputs, segment_sample
    from tumortrace.inference.results.volume_files import VolumeOptions

    of_seg = {
        "--no-empty-seg": no_empty_seg,
        "--seg-all-frames": seg_all_frames,
        "--seg-fractional": seg_fractional,
        "--keep-names": keep_names,
    }
    if sample:
        own = {"--box": box, "--series": series, "--dicom-seg": dicom_seg, "--send": send, "--bids": bids}
        _refuse({**own, **of_seg, "--shard": shard, "--ray": ray}, "is for your own pictures and scans; omit --sample")
    if not dicom_seg and send is None:
        _refuse(of_seg, "says what a DICOM-SEG holds, and none is written; add --dicom-seg")
    if box is not None:
        _refuse({"--tta": tta}, "averages automatic masks; omit it with --box")
    if shard is not None:
        _refuse({"--ray": ray, "--json": as_json}, "is about all of your inputs; omit it, or --shard")
    if sample == bool(inputs):
        raise TumortraceError("give pictures, folders or patterns to segment, or --sample alone to see it work")
    # The sample goes into a folder of its own, so that trying it out is not in the way of the first real scans.
    folder = out or Path("tumortrace-sample" if sample else "tumortrace-masks")
    chosen, gate = choose_model(model), not no_gate
    if not inputs:
        summary = segment_sample(out=folder, model=chosen, tta=tta, gate=gate, spacing_mm=spacing_mm)
    else:
        summary = segment_inputs(
            inputs,
            out=folder,
            model=chosen,
            overlay=overlay,
            tta=tta,
            gate=gate,
            spacing_mm=spacing_mm,
            series_uid=series,
            options=VolumeOptions(
                dicom_seg=dicom_seg or send is not None,
                empty_seg=not no_empty_seg,
                seg_all_frames=seg_all_frames,
                seg_fractional=seg_fractional,
                bids=bids,
                keep_names=keep_names,
            ),
            send=send,
            box=box,
            shard=shard,
            engine=None if ray is None else _open_engine(ray),
        )
    _show(summary, folder, as_json=as_json)


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse the first option that was given.

    Args:
        options: Value of each option; None and False stand for one that was not given.
        why: End of the message, with the remedy.
    """
    for option, value in options.items():
        if value is not None and value is not False:
            raise TumortraceError(f"{option} {why}")


def _show(summary: SegmentSummary, folder: Path, *, as_json: bool) -> None:
    """Print what became of a run; exit with status 1 where something failed."""
    from tumortrace.inference.results.results_json import RESULTS

    for reason in summary.all_failures:
        log.print(reason)
    if as_json:
        with (folder / RESULTS).open(encoding="utf-8") as file:
            print_lines(file)  # the document itself
    else:
        console.print(*_describe(summary), sep="\n")
    if summary.all_failures:
        raise typer.Exit(1)


def _describe(summary: SegmentSummary) -> list[str]:
    """Say what became of the pictures and volumes, line by line."""
    lines = []
    if summary.total or not summary.volumes.total:
        lines += _describe_kind(summary, counted(summary.total, "picture"), rejected="slices")
    if summary.volumes.total:
        scans = f"{counted(summary.volumes.total, 'scan')} ({counted(summary.slices, 'slice')})"
        lines += _describe_kind(summary.volumes, scans, rejected="scans")
    if not (summary.ok or summary.volumes.ok) and (summary.rejected or summary.volumes.rejected):
        lines.append("No picture was segmented: there is no mask.")
    return [*lines, *_describe_others(summary), *_describe_place(summary)]


def _describe_others(summary: SegmentSummary) -> list[str]:
    """Say what was skipped, sent or used for nothing."""
    lines = []
    if summary.skipped:
        lines.append(f"{summary.skipped} skipped: files of other types (named in results.json)")
    if summary.objects:
        from tumortrace.inference.results.tally import NAMED

        lines.append(f"{len(summary.objects)} skipped: DICOM copies and objects without scan (named in results.json)")
        lines += _name(summary.objects[:NAMED], len(summary.objects))
    if summary.sent is not None:
        lines.append(f"{counted(summary.sent, 'DICOM-SEG')} sent, and read back the same")
    if summary.unused_rows:
        lines.append(f"{counted(len(summary.unused_rows), 'row')} of boxes used for no picture (named above)")
    if summary.own:
        lines.append(f"{summary.own} skipped: masks and overlays that tumortrace drew (named in results.json)")
    return lines


def _describe_place(summary: SegmentSummary) -> list[str]:
    """Say where the results are, and of a shard what is still to be done."""
    shard = summary.shard
    if shard is None or not shard.unfinished:
        tables = ", results.csv, volumes.csv and lesions.csv" if summary.volumes.total else " and results.csv"
        lines = [f"Masks, results.json{tables}: {summary.out}"]
    else:
        lines = [
            f"Masks: {summary.out}",
            f"Shards to run: {list_ranges(shard.unfinished)}; the last one writes results.json and results.csv",
        ]
    if shard is None:
        return lines
    taken = f"{shard.taken} taken over from an earlier run" if shard.taken else "nothing taken over"
    return [f"Shard {shard.index} of {shard.count}: {taken}", *lines]


def _open_engine(address: str) -> Engine:
    """Return the function that segments on a cluster, once the address is known to be one."""
    require_extra("cluster", purpose="run on a Ray cluster")
    from tumortrace.cluster.archive import segment_on_cluster
    from tumortrace.cluster.connect import check_address

    check_address(address)
    return partial(segment_on_cluster, address)


def _describe_kind(counts: Counts, total: str, *, rejected: str) -> list[str]:
    doubtful = counts.review - counts.rejected - counts.failed
    parts = {"segmented": doubtful, "rejected": counts.rejected, "failed": counts.failed}
    named = [f"{count} {what}" for what, count in parts.items() if count]
    lines = [
        f"{counts.ok} of {total} segmented, {counts.tumours} with a tumour; "
        f"{counts.review} to review" + (f": {', '.join(named)}" if len(named) > 1 else "")
    ]
    if doubtful:
        lines += [f"{doubtful} segmented, to review:", *_name(counts.doubtful, doubtful)]
    if counts.rejected:
        what = f"no brain MR {rejected} (--no-gate segments them all the same)"
        lines += [f"{counts.rejected} rejected: {what}", *_name(counts.rejections, counts.rejected)]
    if counts.failed:
        lines.append(f"{counts.failed} failed: could not be read or segmented (named above and in results.json)")
    return lines


def _name(named: Sequence[str], count: int) -> list[str]:
    """The pictures that are named, and how many are not."""
    more = count - len(named)
    return [f"  {line}" for line in named] + ([f"  and {more} more, all in results.json"] if more else [])
