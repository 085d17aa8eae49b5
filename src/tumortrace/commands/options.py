"""The arguments and options that several commands take."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tumortrace.errors import TumortraceError

DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images or scans, annotated.")]
SeveralData = Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders of images or scans, annotated.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")
]
SplitOption = Annotated[
    Path | None, typer.Option("--split", metavar="FILE", help="Use the sides of a split that `split` wrote.")
]
FoldOption = Annotated[
    int | None, typer.Option("--fold", metavar="I", help="Fold of --split: train omits it, evaluate scores it.")
]
NegativesOption = Annotated[
    Path | None, typer.Option("--negatives", metavar="DIR", help="Folder of images or scans known to hold no tumour.")
]
LabelOption = Annotated[
    str | None,
    typer.Option("--label", metavar="NAME", help="Label of the regions, pixels or voxels that are tumour [all]."),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="default, fast, a run folder or an .onnx file [default, or what `improve` chose in this folder].",
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: auto or HOST:PORT; --out must be shared."),
]


def expand_home(arguments: Sequence[str]) -> list[str]:
    """Write out ``~/`` where the shell left it: behind ``--out=`` or ``@``, and in quotes.

    Args:
        arguments: Words behind the program's name; ``~`` elsewhere than at the start of a path stays.
    """
    home = os.path.expanduser("~")  # noqa: PTH111 - stays as it is where there is no home; Path raises an error
    return [re.sub(r"^(--[a-z0-9-]+=|@)?~(?=/|$)", lambda found: (found[1] or "") + home, word) for word in arguments]


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse an argument without content: a variable of the shell that was never set is the usual cause.

    Args:
        arguments: Words behind the program's name.

    Raises:
        TumortraceError: One of them is empty, or an option is set to nothing; names the option.
    """
    for word, before in zip(arguments, ["", *arguments], strict=False):
        if not word.strip() or re.fullmatch(r"--[a-z0-9-]+=\s*", word):
            option = word.split("=")[0].strip() or (before if before.startswith("--") else "an argument")
            raise TumortraceError(f"{option} is empty; give it a value, or omit it")
