"""Labels of regions, and the choice of one label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tumortrace.data.annotations.records import ImageAnnotation, keep_regions
from tumortrace.data.findings import Finding, warning

_MOST_LISTED = 8


def keep_label(image: ImageAnnotation, label: str) -> ImageAnnotation:
    """Return the annotation with the regions alone that any of their attributes labels so, whatever the letter case."""
    wanted = _label_key(label)
    return keep_regions(
        image, [any(_label_key(value) == wanted for value in attributes.values()) for attributes in image.labels]
    )


def count_labels(images: Iterable[ImageAnnotation]) -> dict[str, Counter[str]]:
    """How often each label occurs, by the attribute that holds it; a region without one counts as ``""``."""
    regions = [attributes for image in images for attributes in image.labels]
    names = dict.fromkeys(name for attributes in regions for name in attributes)
    return {name: Counter(attributes.get(name, "") for attributes in regions) for name in names}


def describe_labels(counts: Mapping[str, Counter[str]]) -> str:
    """The labels of each attribute with their counts, the most frequent ones first."""
    return "; ".join(f"{name}: {_describe_counter(counter)}" for name, counter in counts.items())


def find_united(file: str, counts: Mapping[str, Counter[str]]) -> list[Finding]:
    """A warning for a dataset whose regions carry several labels, since all of them are united.

    Args:
        file: Name of its annotation file, the first of several.
        counts: Labels of all its regions, as ``count_labels`` counts them.
    """
    several = {name: counter for name, counter in counts.items() if len(counter) > 1}
    if not several:
        return []
    cause = f"the regions have several labels ({describe_labels(several)}); all are united into the tumour"
    return [warning("labels-united", file, cause, "choose the tumour's label with --label NAME")]


def _describe_counter(counter: Counter[str]) -> str:
    listed = [f"{label or 'no label'} ({times})" for label, times in counter.most_common(_MOST_LISTED)]
    return ", ".join(listed + ([f"{len(counter) - _MOST_LISTED} more"] if len(counter) > _MOST_LISTED else []))


def _label_key(label: str) -> str:
    return label.strip().casefold()
