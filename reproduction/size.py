"""The two sizes of the experiments: small, and the student paper's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from reproduction.tables import read_table, write_table
from tumortrace.config import Config, load_config
from tumortrace.errors import ConfigError, DataError
from tumortrace.typed_toml import parse_toml


@dataclass(frozen=True)
class Size:
    """A network and its input.

    Attributes:
        name: Name for ``--size``.
        network: Name of the network.
        base: The configuration that ships with the package.
        run: Overrides for the run that gives Table I, each as given to ``--set``.
        settings: Overrides for all other trainings.
        into: Default folder of results/ and figures/.
    """

    name: str
    network: str
    base: str
    run: tuple[str, ...]
    settings: tuple[str, ...]
    into: Path


SMALL = Size(
    name="small",
    network="the student paper's network, 8 x narrower",
    base="narrow",
    run=("training.threads=1",),  # with one, the seed fixes every number on a CPU
    settings=("recipe.size_hw=[128, 128]", "training.threads=1"),
    into=Path("reproduction"),
)
FULL = Size(
    name="full",
    network="the student paper's network",
    base="paper",
    run=(),
    settings=("training.keep=last",),  # as the narrow one: nothing is chosen on what is scored
    into=Path("reproduction/full"),
)
SIZES = {size.name: size for size in (SMALL, FULL)}

SizeName = Literal["small", "full"]
SizeOption = Annotated[
    SizeName,
    typer.Option("--size", help="The student paper's network 8 x narrower at 128 x 128, or as it was (wants a GPU)."),
]


def load_size(size: Size, overrides: Iterable[str] = ()) -> Config:
    """The settings of a training that is not the one run of Table I.

    Args:
        size: Key of ``SIZES``.
        overrides: Overrides as given to ``--set``; they come last.
    """
    return load_config(size.base, [*size.settings, *overrides])


def claim_results(into: Path, size: Size) -> None:
    """Say in ``results/size.csv`` which size the results are of, so that no two are mixed.

    Args:
        into: Folder of ``results/``.
        size: Size of the results to write there.

    Raises:
        DataError: Another size's results are there.
    """
    path = into / "results" / "size.csv"
    there = read_table(path)
    if there and there[0]["size"] != size.name:
        raise DataError(
            f"{into}: holds results of the size {there[0]['size']}, not {size.name}; give another --into, such as "
            f"{into / size.name}"
        )
    config = load_size(size)
    height, width = config.recipe.size_hw
    widths = " ".join(map(str, config.network.widths))
    write_table(path, [{"size": size.name, "widths": widths, "height_px": height, "width_px": width}])


def read_size(results: Path) -> Size:
    """The size that a folder's results are of; without ``size.csv`` the small one."""
    rows = read_table(results / "size.csv")
    return SIZES[rows[0]["size"]] if rows else SMALL


def resize_sweep(text: str, size: Size, overrides: Iterable[str] = ()) -> str:
    """A sweep's file at a size: what fits the small network alone is exchanged for what this one wants.

    Args:
        text: Text of a file in ``sweeps/``, written for ``SMALL``, with a ``[grid]`` or ``[[settings]]``.
        size: Key of ``SIZES``; the small one leaves the text as it is.
        overrides: Further overrides for every setting, each as given to ``--set``.

    Returns:
        TOML.

    Raises:
        ConfigError: The file has neither.
    """
    if size.name == SMALL.name:
        return text
    tables = parse_toml(text, "the sweep")
    space = "grid" if "grid" in tables else "settings"
    if space not in tables:
        raise ConfigError("the sweep has neither [grid] nor [[settings]]; give what is searched in one of them")
    searched = tables.pop(space)
    dropped = {_key_and_value(each)[0] for each in SMALL.settings}
    added = dict(_key_and_value(each) for each in [*size.settings, *overrides])
    lines = _write_pairs(tables | {"base": size.base})
    for setting in [searched] if space == "grid" else searched:
        kept = {key: value for key, value in setting.items() if key not in dropped | added.keys()}
        wanted = {key: [value] for key, value in added.items()} if space == "grid" else added
        lines += ["", "[grid]" if space == "grid" else "[[settings]]", *_write_pairs(kept | wanted, quoted=True)]
    return "\n".join([*lines, ""])


def _key_and_value(override: str) -> tuple[str, Any]:
    """``"training.keep=last"`` as ``("training.keep", "last")``, the value as the configuration takes it."""
    key, _, value = override.partition("=")
    try:
        return key, parse_toml(f"value = {value}", override)["value"]
    except ConfigError:  # text may stand without quotes
        return key, value


def _write_pairs(pairs: dict[str, Any], *, quoted: bool = False) -> list[str]:
    """Lines of TOML; JSON's numbers, strings, booleans and flat lists are TOML's too."""
    return [f"{json.dumps(key) if quoted else key} = {json.dumps(value)}" for key, value in pairs.items()]
