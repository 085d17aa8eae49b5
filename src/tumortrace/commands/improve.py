"""The command that trains on corrected masks and tests what that brought."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tumortrace
from tumortrace.commands.options import LabelOption, SetOption
from tumortrace.commands.output import (
    console,
    exit_if_unreadable,
    name_next_command,
    print_json,
    report_findings,
    words_to_continue,
)
from tumortrace.wording import command_line, counted

if TYPE_CHECKING:
    from tumortrace.api.answers import ImproveResult


def improve(  # noqa: PLR0913, PLR0917 - the options of the command
    corrected: Annotated[list[Path], typer.Argument(metavar="CORRECTED...", help="Folders of corrected cases.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder of the new model.")],
    start_from: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Model to train further [as in segment --model].")
    ] = None,
    replay: Annotated[
        list[Path] | None, typer.Option("--replay", metavar="DATA", help="Old data to mix in; may be repeated.")
    ] = None,
    standard: Annotated[
        Path | None, typer.Option("--standard", metavar="DATA", help="Data that shows whether anything was forgotten.")
    ] = None,
    overrides: SetOption = None,
    label: LabelOption = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out after a stop.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print improvement.json on stdout, and nothing else.")
    ] = False,
) -> None:
    """Train a model on corrected masks, and test whether it is better.

    A part of the corrected cases is held out for good, by copies and patients, and frozen in the run. The old and the
    new model are compared on it and on a standard set. Only a better model becomes the default of the folder of --out.

    Example: tumortrace improve corrected/ --from fast --out runs/mine
    """
    with name_next_command(lambda: words_to_continue(out, drop=("--from", "--set"))):
        result = tumortrace.improve(
            corrected,
            out=out,
            start_from=start_from,
            replay=replay,
            standard=standard,
            overrides=overrides or (),
            label=label,
            resume=resume,
        )
    report_findings(result.findings, listed_in=out / "improvement.json")
    if as_json:
        print_json(result.document)
    else:
        _print_result(result, corrected)
    exit_if_unreadable(result.findings)


def _print_result(result: ImproveResult, corrected: list[Path]) -> None:
    done = result.improvement
    replayed = f" and {counted(done.replay_count, 'replayed case')}" if done.replay_count else ""
    console.print(
        f"Trained on {counted(done.train_count, 'corrected case')}{replayed}; {len(done.held_out)} held out.",
        *(judgement.sentence for judgement in done.judgements),
        f"Verdict on the held-out part: {result.verdict}.",
        sep="\n",
    )
    if result.is_default:
        console.print(f"{done.folder} is now the default of its folder ({done.default_file}).")
    else:
        from tumortrace.improvement.improve import speaks_against

        reasons = "; ".join(judgement.outcome for judgement in speaks_against(done.judgements))
        console.print(f"The default of the folder stays ({reasons}).")
        more = command_line("improve", *corrected, "MORE", "--from", done.folder, "--out", "ANOTHER")
        console.print(f"Next: correct slices of more patients, and give all of them: {more}")
        console.print(f"To use the new model all the same: --model {done.folder}")
    scores = [done.folder / "scores" / f"{name}-held-out-part" for name in ("old", "new")]
    console.print(f"Case by case: {command_line('compare', *scores)}")
