"""The command that makes a published download into a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tumortrace.commands.output import console, exit_if_unreadable, report_findings
from tumortrace.wording import counted

Name = Literal["br35h", "brisc", "figshare", "lgg", "no_tumour"]


def prepare(
    name: Annotated[Name, typer.Argument(metavar="NAME", help="br35h, brisc, figshare, lgg or no_tumour.")],
    download: Annotated[Path, typer.Argument(metavar="DOWNLOAD", help="The download: a zip, or the unpacked folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
) -> None:
    """Make a published download into a dataset, with a manifest.

    An interrupted preparation goes on when it is called again.

    Example: tumortrace prepare lgg archive.zip --out lgg
    """
    from tumortrace.sources.prepare import SOURCES, prepare_download

    result = prepare_download(name, download, out)
    report_findings(result.findings, listed_in=out / "preparation.json")
    console.print(f"{SOURCES[name].title}: {SOURCES[name].rule}")
    pairs = f"{counted(result.pairs, 'pair')} of image and mask" if result.pairs else counted(result.files, "file")
    patients = f" of {counted(result.patients, 'patient')}" if result.patients else ""
    console.print(
        f"{pairs}{patients} written to {out}; {counted(result.not_used, 'other file')} of the download not used"
    )
    exit_if_unreadable(result.findings)
