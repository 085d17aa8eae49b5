"""Tumour-free slices: the class folder ``notumor`` or ``no_tumor`` of a download."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from tumortrace.data.folders import is_picture, name_of
from tumortrace.sources.download import Download
from tumortrace.sources.items import Item, Plan, Source, keep_picture, name_second

_FOLDERS = frozenset({"notumor", "no_tumor", "notumour", "no_tumour", "no"})


def plan(download: Download) -> Plan:
    """Plan every picture directly in a folder of tumour-free slices; two of one name get their outer folder's name."""
    own = download.root.resolve().name  # the class folder itself may be given
    paths = [path for path in download.members if is_picture(path) and _is_tumour_free(f"{own}/{path}")]
    names = Counter(name_of(path).casefold() for path in paths)
    items: dict[str, Item] = {}
    findings = []
    for path in paths:
        output = name_of(path) if names[name_of(path).casefold()] == 1 else _long_name(path)
        if output.casefold() in items:
            findings.append(name_second(path, items[output.casefold()].sources[0]))
        else:
            items[output.casefold()] = Item((path,), (output,), partial(keep_picture, name=path))
    return Plan(tuple(items.values()), tuple(findings))


def _is_tumour_free(path: str) -> bool:
    return PurePosixPath(path).parent.name.casefold() in _FOLDERS


def _long_name(path: str) -> str:
    """The file's name behind that of the folder around its class: ``Testing-a.jpg``."""
    outer = PurePosixPath(path).parent.parent.name  # empty where the class folder itself was given
    return f"{outer}-{name_of(path)}" if outer else name_of(path)


SOURCE = Source(
    title="Brain Tumor MRI Dataset, class notumor (or the class no_tumor of another download)",
    rule="Every picture directly in a folder notumor, no_tumor or no, byte for byte, in one flat folder.",
    layout="a folder notumor, no_tumor or no with pictures",
    plan=plan,
)
